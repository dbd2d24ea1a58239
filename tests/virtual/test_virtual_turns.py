"""Turns, pulls and queues to the nanosecond: which task runs when, on which CPU, and which waits.

By hand from the rules in ``sched``. A turn of a machine of 8 CPUs lasts 3 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.records import RunState
from numaprobe.runtime import Work
from numaprobe.topology import Housekeeping, symmetric
from numaprobe.virtual import CpuModel, VirtualMachine
from numaprobe.virtual.cpu import RunQueue
from numaprobe.virtual.task import SameCpus, VirtualTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.topology import Topology

    Make = Callable[..., VirtualMachine]

MS = 1_000_000
Ran = list[tuple[float, float, int]]


class Stage:
    """Tasks that are started by hand; what each ran, as (from, to, CPU) in ms."""

    def __init__(self, machine: VirtualMachine) -> None:
        self.machine = machine
        self.ran: dict[str, Ran] = {}

    def task(self, name: str, cpus: str, ms: float, *, cpu: int | None = None) -> None:
        """Start a task that computes for ``ms``."""

        async def body() -> None:
            _, usage = await self.machine.measure(lambda: self.machine.compute(int(ms * MS)))
            self.ran[name] = [
                (one.start_ns / MS, one.end_ns / MS, one.cpu)
                for one in usage.segments or ()
                if one.state is RunState.RUNNING
            ]

        self.machine.spawn(body, comm=name, cpus=CpuSet.parse_list(cpus), cpu=cpu)

    def work(self, name: str, cpu: int, *steps: tuple[str, float]) -> None:
        """Queue a work on ``cpu``'s own pool."""

        async def act() -> None:
            for kind, ms in steps:
                await (self.machine.compute if kind == "compute" else self.machine.sleep)(int(ms * MS))

        async def body() -> None:
            _, usage = await self.machine.measure(act)
            self.ran[name] = [
                (one.start_ns / MS, one.end_ns / MS, one.cpu)
                for one in usage.segments or ()
                if one.state is RunState.RUNNING
            ]

        self.machine.queue_work_on(cpu, self.machine.system_percpu_wq, Work(body, f"{name}_fn"))

    async def until(self, ms: float) -> None:
        await self.machine.sleep(int(ms * MS) - self.machine.now())
        self.machine.validate()


@pytest.fixture
def stage(make: Make) -> Callable[..., Stage]:
    def build(topology: Topology | None = None, **how: object) -> Stage:
        return Stage(make(topology or symmetric("8", nodes=2, llcs=2, cores=2), timeline=True, **how))

    return build


def test_turns_go_round_and_the_rest_runs_alone(stage: Callable[..., Stage]) -> None:
    one = stage()

    async def main() -> None:
        for name, ms in (("a", 4), ("b", 7), ("c", 1)):
            one.task(name, "0", ms)

    one.machine.run(main, cpu=7)
    assert one.ran == {
        "a": [(0, 3, 0), (7, 8, 0)],
        "b": [(3, 6, 0), (8, 12, 0)],
        "c": [(6, 7, 0)],
    }


def test_a_turn_that_began_long_ago_ends_at_a_whole_number_of_turns(stage: Callable[..., Stage]) -> None:
    """The first runs alone; somebody comes at 4 ms, in the middle of its second turn, which ends at 6."""
    one = stage()

    async def main() -> None:
        one.task("a", "0", 10)
        await one.until(4)
        one.task("b", "0", 1)
        await one.until(4.5)
        one.task("c", "0", 1)

    one.machine.run(main, cpu=7)
    assert one.ran == {"a": [(0, 6, 0), (8, 12, 0)], "b": [(6, 7, 0)], "c": [(7, 8, 0)]}


def test_one_that_came_late_has_neither_credit_nor_debt(stage: Callable[..., Stage]) -> None:
    """After 6 ms of the first the second does not get 6 ms in a row: they take turns from there on."""
    one = stage()

    async def main() -> None:
        one.task("a", "0", 12)
        await one.until(6)
        one.task("b", "0", 9)

    one.machine.run(main, cpu=7)
    assert one.ran["a"] == [(0, 9, 0), (12, 15, 0)]
    assert one.ran["b"] == [(9, 12, 0), (15, 21, 0)]


def test_an_idle_cpu_takes_a_waiting_task_of_its_llc_first_then_of_its_node(stage: Callable[..., Stage]) -> None:
    """CPU 0 and 1 are one LLC, 2 and 3 the other of node 0. Those that wait may run anywhere on the node."""
    one = stage()

    async def main() -> None:
        for cpu in (0, 1, 2, 3):
            one.task(f"held{cpu}", str(cpu), {0: 2, 1: 20, 2: 20, 3: 20}[cpu])
        one.task("far", "0,2", 1, cpu=2)
        one.task("near", "0,1", 0.5, cpu=1)

    one.machine.run(main, cpu=7)
    assert one.ran["near"] == [(2, 2.5, 0)]
    assert one.ran["far"] == [(2.5, 3.5, 0)]


def test_a_task_that_may_not_run_there_is_not_taken(stage: Callable[..., Stage]) -> None:
    one = stage()

    async def main() -> None:
        one.task("held0", "0", 2)
        one.task("held1", "1", 9)
        one.task("pinned", "1", 1)
        one.task("other", "1,3", 1, cpu=1)

    one.machine.run(main, cpu=7)
    assert one.ran["pinned"][0][2] == 1
    assert {cpu for *_, cpu in one.ran["other"]} <= {1, 3}


def test_tasks_do_not_leave_isolated_cpus_at_the_end_of_a_turn(stage: Callable[..., Stage]) -> None:
    keep = Housekeeping(isolated=CpuSet.parse_list("2-3"))
    one = stage(symmetric("4", cores=4, housekeeping=keep))

    async def main() -> None:
        for name in ("a", "b"):
            one.task(name, "0,2", 6, cpu=2)

    one.machine.run(main, cpu=1)
    assert {cpu for ran in one.ran.values() for *_, cpu in ran} == {2}
    assert max(end for ran in one.ran.values() for _, end, _ in ran) == 12


def test_a_partition_that_ends_has_tasks_taken_near_it_and_nowhere_else(stage: Callable[..., Stage]) -> None:
    """CPU 4 is idle and far from what waits on CPU 0: it takes it when CPUs of its own LLC join, not when others do."""
    for joins, moves in (("6", False), ("5", True)):
        one = stage()

        async def main(one: Stage = one, joins: str = joins) -> None:
            one.task("held4", "4", 1)
            one.task("b", "0", 30)
            one.task("a", "0,4", 30, cpu=0)
            await one.machine.isolate(CpuSet.parse_list(joins))
            await one.until(8.5)
            await one.machine.isolate(CpuSet())

        one.machine.run(main, cpu=7)
        first = min(start for start, _, cpu in one.ran["a"] if cpu == 4)
        assert (first == 8.5) == moves, one.ran


def test_a_cpu_that_comes_online_takes_what_waits_near_it(stage: Callable[..., Stage]) -> None:
    one = stage()

    async def main() -> None:
        await one.machine.cpu_down(1)
        one.task("held", "0", 30)
        one.task("waits", "0-1", 2, cpu=0)
        await one.until(1)
        await one.machine.cpu_up(1)

    one.machine.run(main, cpu=7)
    assert one.ran["waits"] == [(1, 3, 1)]


def test_a_cpu_that_goes_offline_gives_all_its_tasks_away_the_running_one_first(stage: Callable[..., Stage]) -> None:
    one = stage()

    async def main() -> None:
        one.task("held1", "1", 3)
        for name in ("runs", "waits", "last"):
            one.task(name, "0-1", 2, cpu=0)
        await one.until(1)
        await one.machine.cpu_down(0)

    one.machine.run(main, cpu=7)
    assert one.ran["runs"][0] == (0, 1, 0)
    assert all(cpu == 1 for name in ("waits", "last") for *_, cpu in one.ran[name])
    assert sum(end - start for ran in one.ran.values() for start, end, _ in ran) == 9


def test_a_worker_wakes_the_next_when_it_sleeps_and_when_it_hogs(stage: Callable[..., Stage]) -> None:
    """After 10 ms of CPU time, to the nanosecond, also where it had to wait for some of them."""
    one = stage()

    async def main() -> None:
        one.work("hog", 0, ("compute", 25))
        one.work("next", 0, ("compute", 1))

    one.machine.run(main, cpu=7)
    assert one.ran["next"] == [(12, 13, 0)]  # ready at 10, it waits for the end of the turn
    assert one.ran["hog"] == [(0, 12, 0), (13, 26, 0)]
    two = stage()

    async def shared() -> None:
        two.task("other", "0", 30)
        two.work("hog", 0, ("compute", 4), ("sleep", 1), ("compute", 25))
        two.work("next", 0, ("compute", 1))

    two.machine.run(shared, cpu=7)
    (first, *_), hog = two.ran["next"], two.ran["hog"]
    assert sum(min(end, first[0]) - start for start, end, _ in hog if start < first[0]) >= 4
    assert two.ran["next"][0][0] > hog[0][1]


@pytest.mark.parametrize("threshold", [1, 5])
def test_when_a_worker_hogs_is_a_parameter(stage: Callable[..., Stage], threshold: int) -> None:
    one = stage(cpu_model=CpuModel(cpu_intensive_ns=threshold * MS, base_slice_ns=1000, slice_scale_cpus=1))

    async def main() -> None:
        one.work("hog", 0, ("compute", 8))
        one.work("next", 0, ("compute", 1))

    one.machine.run(main, cpu=7)
    assert one.ran["next"][0][0] == pytest.approx(threshold, abs=0.002)


def test_affinity_of_a_waiting_and_of_a_running_task(stage: Callable[..., Stage]) -> None:
    """A task that waits goes where it may now; one that runs goes only if it must."""
    one = stage()
    steps: list[tuple[float, int]] = []

    async def wanderer() -> None:
        for cpus in ("0-3", "2-3", "3", "0-7"):
            await one.machine.set_affinity(CpuSet.parse_list(cpus))
            await one.machine.compute(MS)
            steps.append((one.machine.now() / MS, one.machine.current.cpu))

    async def main() -> None:
        one.machine.spawn(wanderer, comm="w", cpus=CpuSet.of([0]))

    one.machine.run(main, cpu=7)
    assert steps == [(1, 0), (2, 2), (3, 3), (4, 3)]


# ---- one queue -------------------------------------------------------------------------------------------------------
_SAME: dict[int, SameCpus] = {}


def cpus_of(task: VirtualTask) -> SameCpus:
    """One object for each mask."""
    return _SAME.setdefault(task.mask, SameCpus(task.mask))


def waiting(queue: RunQueue) -> list[str]:
    """Empty a queue, the next first."""
    names = []
    while (head := queue.head) is not None:
        task = queue.pop(cpus_of(head[2]))
        assert task is head[2]
        names.append(task.comm)
    return names


def test_the_next_has_run_least_and_of_those_waited_longest() -> None:
    queue = RunQueue(3, 8, 15, 255)
    for serial, (name, mask, vruntime) in enumerate(
        [("late", 8, 5), ("first", 15, 3), ("second", 8, 3), ("third", 15, 4), ("gone", 8, 1)]
    ):
        task = VirtualTask(name, mask, 3)
        task.vruntime = vruntime
        queue.push(task, cpus_of(task), serial)
    gone = queue.head
    assert gone is not None
    queue.remove(gone[2], cpus_of(gone[2]))
    assert waiting(queue) == ["first", "second", "third", "late"]
    assert queue.waiting == {}


def test_the_last_of_a_mask_that_is_removed_leaves_no_trace() -> None:
    queue = RunQueue(0, 1, 1, 1)
    one, other = VirtualTask("one", 1, 0), VirtualTask("other", 1, 0)
    for serial, task in enumerate((one, other)):
        queue.push(task, cpus_of(task), serial)
    queue.remove(one, cpus_of(one))
    assert waiting(queue) == ["other"]
    queue.push(one, cpus_of(one), 9)
    queue.remove(one, cpus_of(one))
    assert queue.waiting == {}
    assert queue.head is None


def test_min_vruntime_follows_the_least_of_all_and_never_goes_back() -> None:
    queue = RunQueue(0, 1, 1, 1)
    assert queue.update_min(100) == 0
    running, waits = VirtualTask("running", 1, 0), VirtualTask("waits", 1, 0)
    running.vruntime, running.since = 10, 100
    queue.current = running
    assert queue.update_min(105) == 15
    waits.vruntime = 12
    queue.push(waits, cpus_of(waits), 1)
    assert queue.update_min(105) == 15
    assert queue.update_min(200) == 15
    queue.remove(waits, cpus_of(waits))
    waits.vruntime = 40
    queue.push(waits, cpus_of(waits), 2)
    assert queue.update_min(200) == 40
    queue.current = None
    assert queue.update_min(300) == 40
    queue.remove(waits, cpus_of(waits))
    assert queue.update_min(400) == 40


def test_turns_are_counted_from_the_start_of_the_task_that_runs(stage: Callable[..., Stage]) -> None:
    """It starts at 1 ms; whoever comes at 10 ms waits for the end of its fourth turn of 3 ms."""
    one = stage()

    async def main() -> None:
        await one.until(1)
        one.task("first", "0", 30)
        await one.until(10.5)
        one.task("second", "0", 1)

    one.machine.run(main, cpu=7)
    assert one.ran == {"first": [(1, 13, 0), (14, 32, 0)], "second": [(13, 14, 0)]}


def test_what_is_left_of_a_turn_is_run_to_the_last_nanosecond(stage: Callable[..., Stage]) -> None:
    one = stage()
    turn = 3 + 1 / MS

    async def main() -> None:
        one.task("a", "0", turn)
        one.task("b", "0", turn)

    one.machine.run(main, cpu=7)
    ran = {name: sum(round((end - start) * MS) for start, end, _ in parts) for name, parts in one.ran.items()}
    assert ran == {"a": 3 * MS + 1, "b": 3 * MS + 1}


def test_load_whose_turn_ended_with_nobody_waiting_still_shares_with_the_next(stage: Callable[..., Stage]) -> None:
    """Who waited moved away; the load's turn then ends unseen, and the next one to come has its turn all the same."""
    one = stage()
    one.machine.add_load(CpuSet.of([0]))

    async def moves() -> None:
        await one.machine.sleep(MS)
        one.machine.scheduler.set_mask(waiting, CpuSet.of([1]).bits)

    async def main() -> None:
        nonlocal waiting
        waiting = one.machine.spawn(lambda: one.machine.compute(MS), comm="waits", cpus=CpuSet.of([0]), cpu=0)
        await moves()
        await one.until(20)
        one.task("later", "0", 2)

    waiting: Any = None
    one.machine.run(main, cpu=7)
    (first, *_) = one.ran["later"]
    assert first[0] <= 23
