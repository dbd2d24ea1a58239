"""Concurrency management, worker reuse, limits, the choice of a CPU, flushing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.runtime import AffinityScope, Work
from numaprobe.topology import Housekeeping, symmetric
from numaprobe.virtual import CpuModel, VirtualMachine
from numaprobe.virtual.worker import VirtualSeat
from numaprobe.workqueue import work_on_cpu

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., VirtualMachine]

MS = 1_000_000


class Log:
    """Works that note when and in which worker they start and end."""

    def __init__(self, machine: VirtualMachine) -> None:
        self.machine = machine
        self.lines: list[tuple[float, str, str]] = []

    def work(self, name: str, *steps: tuple[str, float]) -> Work:
        async def body() -> None:
            comm = self.machine.current.comm
            self.lines.append((self.machine.now() / MS, name, comm))
            for kind, ms in steps:
                await (self.machine.compute if kind == "compute" else self.machine.sleep)(int(ms * MS))
            self.lines.append((self.machine.now() / MS, f"/{name}", comm))

        return Work(body, f"{name}_fn")

    def run(self, queue: Callable[[Work], object], *works: Work) -> list[tuple[float, str, str]]:
        async def main() -> None:
            for work in works:
                queue(work)
            for work in works:
                await self.machine.flush_work(work)

        self.machine.run(main, cpu=7)
        return self.lines


def test_the_next_work_of_a_cpu_starts_when_the_first_sleeps(make: Make) -> None:
    """One worker at a time, however many works; a third starts only when the second sleeps too."""
    machine = make()
    log = Log(machine)
    works = [log.work(name, ("compute", 2), ("sleep", 10), ("compute", 1)) for name in "abc"]
    lines = log.run(lambda work: machine.queue_work_on(2, machine.system_percpu_wq, work), *works)
    assert lines == [
        (0, "a", "kworker/2:0"),
        (2, "b", "kworker/2:1"),
        (4, "c", "kworker/2:2"),
        (13, "/a", "kworker/2:0"),
        (15, "/b", "kworker/2:1"),
        (17, "/c", "kworker/2:2"),
    ]


def test_one_worker_serves_works_that_only_compute(make: Make) -> None:
    machine = make()
    log = Log(machine)
    works = [log.work(name, ("compute", 3)) for name in "abc"]
    lines = log.run(lambda work: machine.queue_work_on(2, machine.system_percpu_wq, work), *works)
    assert [line[2] for line in lines] == ["kworker/2:0"] * 6
    assert machine.now() == 9 * MS


def test_a_hog_no_longer_counts_after_ten_milliseconds(make: Make) -> None:
    """At 10 ms the second worker starts, and the two share the CPU."""
    machine = make()
    log = Log(machine)
    works = [log.work("hog", ("compute", 25)), log.work("next", ("compute", 1))]
    lines = log.run(lambda work: machine.queue_work_on(2, machine.system_percpu_wq, work), *works)
    starts = {name: (time, comm) for time, name, comm in lines}
    assert starts["next"] == (12, "kworker/2:1"), "woken at 10 ms, on the CPU at the end of the hog's turn"
    assert starts["/next"][0] == 13
    assert starts["/hog"][0] == 26


def test_a_sleep_starts_the_ten_milliseconds_again(make: Make) -> None:
    machine = make()
    log = Log(machine)
    works = [log.work("a", ("compute", 8), ("sleep", 1), ("compute", 8)), log.work("b", ("compute", 2))]
    log.run(lambda work: machine.queue_work_on(2, machine.system_percpu_wq, work), *works)
    assert [line[1] for line in log.lines] == ["a", "b", "/b", "/a"]
    assert machine.now() == 18 * MS


def test_6_1_does_not_detect_hogs(make: Make) -> None:
    machine = make(profile="6.1")
    log = Log(machine)
    works = [log.work("hog", ("compute", 25)), log.work("next", ("compute", 1))]
    lines = log.run(lambda work: machine.queue_work_on(2, machine.system_percpu_wq, work), *works)
    assert [(line[0], line[1]) for line in lines] == [(0, "hog"), (25, "/hog"), (25, "next"), (26, "/next")]


def test_unbound_works_all_start_at_once(make: Make) -> None:
    machine = make()
    log = Log(machine)
    works = [log.work(str(n), ("compute", 5)) for n in range(3)]
    lines = log.run(lambda work: machine.queue_work_node(0, machine.system_dfl_wq, work), *works)
    assert [line[0] for line in lines] == [0, 0, 0, 5, 5, 5]
    assert [line[2] for line in lines[:3]] == ["kworker/u33:0", "kworker/u33:1", "kworker/u33:2"]


def test_idle_workers_are_taken_last_in_first_out(make: Make) -> None:
    machine = make()
    log = Log(machine)
    works = [log.work(name, ("sleep", ms)) for name, ms in (("a", 3), ("b", 1), ("c", 2))]
    log.run(lambda work: machine.queue_work_on(2, machine.system_percpu_wq, work), *works)
    log.lines.clear()
    log.run(lambda work: machine.queue_work_on(2, machine.system_percpu_wq, work), log.work("d"))
    assert log.lines[0][2] == "kworker/2:0", "a ended last"


def test_workers_idle_for_long_are_dropped_and_their_ids_used_again(make: Make) -> None:
    machine = make()
    log = Log(machine)

    def queue(work: Work) -> None:
        machine.queue_work_on(2, machine.system_percpu_wq, work)

    log.run(queue, *(log.work(str(n), ("sleep", 1 + n)) for n in range(9)))
    pool = machine.workqueues.pools.of_cpu(2)
    assert len(pool.workers) == 10
    machine.run(lambda: machine.sleep(301 * 10**9))
    log.run(queue, log.work("x"))
    assert len(pool.workers) == 2, "one to work and one spare"
    log.lines.clear()
    log.run(queue, *(log.work(str(n), ("sleep", 1 + n)) for n in range(9)))
    assert sorted(line[2] for line in log.lines[:9]) == [f"kworker/2:{n}" for n in range(9)]


# ---- limits --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("profile", "max_active", "expected"),
    [
        ("6.12", 20, {0: 10, 1: 10}),
        ("6.12", 10, {0: 8, 1: 8}),
        ("6.12", 4, {0: 4, 1: 4}),
        ("6.1", 20, {17: 20, 18: 20}),
    ],
)
def test_max_active_is_shared_by_the_nodes(make: Make, profile: str, max_active: int, expected: dict[int, int]) -> None:
    """6.9 and newer: clamp(ceil(max * node's CPUs / all), min_active 8, max); before, each pool has its own."""
    machine = make(profile=profile)
    wq = machine.alloc_workqueue("limited", unbound=True, max_active=max_active)
    running = {0: 0, 1: 0}
    most = {0: 0, 1: 0}

    def body(node: int) -> Work:
        async def run() -> None:
            running[node] += 1
            most[node] = max(most[node], running[node])
            await machine.sleep(MS)
            running[node] -= 1

        return Work(run, "f")

    async def main() -> None:
        for node in (0, 1) * 30:
            machine.queue_work_on(4 * node, wq, body(node))
        machine.validate()

    machine.run(main)
    assert list(most.values()) == list(expected.values())
    assert {key: limit.maximum for key, limit in wq.limits.items()} == expected


def test_max_active_of_a_cpu(make: Make) -> None:
    machine = make()
    wq = machine.alloc_workqueue("one", unbound=False, max_active=1)
    log = Log(machine)
    log.run(lambda work: machine.queue_work_on(2, wq, work), *(log.work(n, ("sleep", 2)) for n in "ab"))
    assert [line[:2] for line in log.lines] == [(0, "a"), (2, "/a"), (2, "b"), (4, "/b")]


# ---- the choice of a CPU -------------------------------------------------------------------------------------------
def near(machine: VirtualMachine, node: int, cpu: int) -> int | None:
    async def main() -> int | None:
        return machine.workqueues.cpus.near(node, machine.current.cpu)

    return machine.run(main, cpu=cpu)


def test_queue_work_node_takes_the_local_or_the_first_cpu(make: Make) -> None:
    machine = make()
    assert near(machine, 1, cpu=6) == 6, "already on the node"
    assert near(machine, 1, cpu=2) == 4, "the first one of the node"
    assert near(machine, -1, cpu=2) is None
    assert near(machine, 7, cpu=2) is None


def test_queue_work_node_ignores_the_unbound_mask_for_its_choice(make: Make) -> None:
    machine = make(symmetric("iso", nodes=2, cores=4, housekeeping=Housekeeping(isolated=CpuSet.of([4]))))
    assert near(machine, 1, cpu=2) == 4


def test_no_node_means_the_callers_pod(make: Make) -> None:
    machine = make()
    log = Log(machine)
    log.run(lambda work: machine.queue_work_node(-1, machine.system_dfl_wq, work), log.work("a"))
    assert log.lines[0][2] == "kworker/u34:0", "the caller is on CPU 7"


def test_a_caller_where_unbound_work_may_not_run_is_round_robined(make: Make) -> None:
    topology = symmetric("iso", nodes=2, cores=4, housekeeping=Housekeeping(isolated=CpuSet.of([6, 7])))
    machine = make(topology, "6.12", scope=AffinityScope.CPU)
    log = Log(machine)
    log.run(
        lambda work: machine.queue_work(machine.system_dfl_wq, work),
        *(log.work(str(n), ("sleep", 1)) for n in range(8)),
    )
    pools = [line[2].partition(":")[0].partition("u")[2] for line in log.lines[:8]]
    assert pools == [str(33 + cpu) for cpu in (0, 1, 2, 3, 4, 5, 0, 1)]


def test_queue_work_on_a_cpu_workqueue_is_local(make: Make) -> None:
    machine = make()
    log = Log(machine)
    log.run(lambda work: machine.queue_work(machine.system_percpu_wq, work), log.work("a"))
    assert log.lines[0][2] == "kworker/7:0"


def test_queue_work_node_on_a_cpu_workqueue_is_reported(make: Make) -> None:
    machine = make()
    log = Log(machine)
    log.run(lambda work: machine.queue_work_node(0, machine.system_percpu_wq, work), log.work("a"))
    assert [warning.kind for warning in machine.warnings] == ["queue-work-node"]


# ---- one work ------------------------------------------------------------------------------------------------------
def test_a_running_work_is_queued_to_the_pool_that_runs_it(make: Make) -> None:
    """Non-reentrancy: the second run is in the pool (here: the worker) of the first, whatever CPU was asked for."""
    machine = make()
    log = Log(machine)
    work = log.work("a", ("sleep", 5))

    async def main() -> None:
        machine.queue_work_on(1, machine.system_percpu_wq, work)
        await machine.sleep(MS)
        assert machine.queue_work_on(3, machine.system_percpu_wq, work)
        assert not machine.queue_work_on(2, machine.system_percpu_wq, work)
        machine.validate()
        assert await machine.flush_work(work)
        assert not await machine.flush_work(work)

    machine.run(main, cpu=7)
    assert log.lines == [
        (0, "a", "kworker/1:0"),
        (5, "/a", "kworker/1:0"),
        (5, "a", "kworker/1:0"),
        (10, "/a", "kworker/1:0"),
    ]


def test_on_another_workqueue_a_running_work_runs_beside_itself(make: Make) -> None:
    """Non-reentrancy holds within one workqueue, as in the kernel; flush then waits for the later one."""
    machine = make()
    log = Log(machine)
    work = log.work("a", ("sleep", 5))

    async def main() -> int:
        machine.queue_work_on(1, machine.system_percpu_wq, work)
        await machine.sleep(MS)
        machine.queue_work_on(1, machine.system_dfl_wq, work)
        machine.validate()
        await machine.sleep(MS)
        machine.validate()
        assert await machine.flush_work(work)
        machine.validate()
        return machine.now()

    assert machine.run(main, cpu=7) == 6 * MS
    assert [line[:2] for line in log.lines] == [(0, "a"), (1, "a"), (5, "/a"), (6, "/a")]


def test_flush_waits_for_the_queueing_it_saw_and_not_for_later_ones(make: Make) -> None:
    machine = make()
    log = Log(machine)
    work = log.work("a", ("sleep", 5))

    async def main() -> int:
        machine.queue_work(machine.system_dfl_wq, work)
        await machine.sleep(MS)
        flusher = machine.spawn(lambda: machine.flush_work(work), comm="flusher")
        await machine.sleep(MS)
        machine.queue_work(machine.system_dfl_wq, work)
        await machine.join(flusher)
        return machine.now()

    assert machine.run(main) == 5 * MS
    assert machine.now() == 10 * MS


def test_nested_work_on_cpu_is_reported_as_recursion_once(make: Make) -> None:
    """A worker that executes work_for_cpu_fn and flushes another of that class, as in the thread's report."""
    machine = make()

    async def inner() -> str:
        assert machine.current.work is not None
        return machine.current.work.name

    async def outer() -> str:
        return await work_on_cpu(machine, 1, inner)

    async def main() -> None:
        for _ in range(2):
            assert await work_on_cpu(machine, 1, outer) == "work_for_cpu_fn"

    machine.run(main, cpu=0)
    (warning,) = machine.warnings
    assert warning.kind == "recursion"
    assert "kworker/1:0 executes work_for_cpu_fn and flushes work_for_cpu_fn" in warning.message
    assert "(work_completion)(work_for_cpu_fn)" in warning.message


@pytest.mark.parametrize("model", [CpuModel(), CpuModel.off], ids=["modelled", "off"])
def test_many_works_everywhere_keep_all_promises(make: Make, model: CpuModel) -> None:
    """A mix of everything, looked at throughout; every queueing runs exactly once."""
    machine = make(symmetric("m", nodes=2, llcs=2, cores=2, smt=2), cpu_model=model)
    strict = machine.alloc_workqueue("strict", unbound=True, scope=AffinityScope.NUMA, strict=True, max_active=9)
    queued = done = 0

    async def body(number: int) -> None:
        nonlocal done
        await machine.compute(number % 5 * 3 * MS)
        machine.validate()
        await machine.sleep(number % 3 * MS)
        done += 1

    async def main() -> None:
        nonlocal queued
        works = [Work(lambda n=n: body(n), f"work_{n}_fn") for n in range(40)]  # type: ignore[misc]
        for turn in range(4):
            for number, work in enumerate(works):
                wq = (machine.system_percpu_wq, machine.system_dfl_wq, strict)[number % 3]
                queued += machine.queue_work_on((number * 7 + turn) % 16, wq, work)
            await machine.sleep(4 * MS)
            machine.validate()
        for work in works:
            await machine.flush_work(work)

    machine.run(main)
    assert done == queued >= 60


def test_a_seat_calls_when_it_is_time(make: Make) -> None:
    machine = make()
    called: list[int] = []
    seat = VirtualSeat(machine.blocker)

    async def main() -> None:
        seat.call_later(5 * MS, lambda: called.append(machine.now()))
        await machine.sleep(4 * MS)
        assert called == []
        await machine.sleep(2 * MS)

    machine.run(main)
    assert called == [5 * MS]
