"""CPUs that go offline, come back, or are isolated while the machine runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.errors import RefusedError, UsageError
from numaprobe.runtime import HkType, Work
from numaprobe.topology import symmetric
from numaprobe.virtual import CpuModel, VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., VirtualMachine]

MS = 1_000_000


def note(machine: VirtualMachine, seen: list[tuple[str, int]], compute_ns: int = 0) -> Work:
    async def body() -> None:
        await machine.compute(compute_ns)
        seen.append((machine.current.comm, machine.current.cpu))

    return Work(body, "note_fn")


@pytest.mark.parametrize("model", [CpuModel(), CpuModel.off], ids=["modelled", "off"])
def test_tasks_leave_a_cpu_that_goes_offline(make: Make, model: CpuModel) -> None:
    """Also one that was pinned there (it may run anywhere then), and the one that takes it offline."""
    machine = make(cpu_model=model)
    seen: list[int] = []

    async def pinned() -> None:
        await machine.compute(10 * MS)
        await machine.sleep(MS)
        await machine.compute(MS)
        seen.append(machine.current.cpu)

    async def main() -> None:
        task = machine.spawn(pinned, comm="pinned", cpus=CpuSet.of([2]))
        await machine.set_affinity(CpuSet.of([2]))
        await machine.sleep(4 * MS)
        await machine.cpu_down(2)
        machine.validate()
        assert machine.current.cpu != 2
        assert machine.online == CpuSet.parse_list("0-1,3-7")
        await machine.join(task)

    machine.run(main)
    assert seen[0] != 2
    assert machine.now() == 12 * MS


def test_workers_of_an_offline_cpu_run_anywhere_and_come_back(make: Make) -> None:
    machine = make()
    seen: list[tuple[str, int]] = []

    async def main() -> None:
        await machine.cpu_down(5)
        works = [note(machine, seen, 20 * MS) for _ in range(3)]
        for work in works:
            machine.queue_work_on(5, machine.system_percpu_wq, work)
        for work in works:
            await machine.flush_work(work)
        assert machine.now() == 20 * MS, "not managed: all three at once"
        assert {comm for comm, _ in seen} == {"kworker/5:0", "kworker/5:1", "kworker/5:2"}
        assert 5 not in {cpu for _, cpu in seen}
        await machine.cpu_up(5)
        machine.validate()
        seen.clear()
        works = [note(machine, seen, MS) for _ in range(3)]
        for work in works:
            machine.queue_work_on(5, machine.system_percpu_wq, work)
        for work in works:
            await machine.flush_work(work)

    machine.run(main, cpu=0)
    assert {cpu for _, cpu in seen} == {5}
    assert machine.now() == 23 * MS, "managed again: one after the other"


def test_work_in_flight_survives_off_and_on(make: Make) -> None:
    machine = make()
    seen: list[tuple[str, int]] = []

    async def main() -> None:
        works = [note(machine, seen, 8 * MS) for _ in range(2)]
        for work in works:
            machine.queue_work_on(5, machine.system_percpu_wq, work)
        await machine.sleep(2 * MS)
        await machine.cpu_down(5)
        machine.validate()
        await machine.sleep(2 * MS)
        await machine.cpu_up(5)
        machine.validate()
        for work in works:
            await machine.flush_work(work)

    machine.run(main, cpu=0)
    assert len(seen) == 2
    assert {cpu for _, cpu in seen} == {5}, "rebound while they computed"


def test_a_pod_without_an_on_line_cpu_falls_back_machine_wide(make: Make) -> None:
    machine = make(profile="6.12")
    seen: list[tuple[str, int]] = []

    async def main() -> None:
        for step in (None, 4, 5, 6, 7):
            if step is not None:
                await machine.cpu_down(step)
            work = note(machine, seen)
            machine.queue_work_on(4, machine.system_dfl_wq, work)
            await machine.flush_work(work)
        await machine.cpu_up(6)
        work = note(machine, seen)
        machine.queue_work_on(4, machine.system_dfl_wq, work)
        await machine.flush_work(work)

    machine.run(main, cpu=0)
    assert [comm.partition(":")[0] for comm, _ in seen] == ["kworker/u34"] * 4 + ["kworker/u32", "kworker/u34"]
    assert [cpu for _, cpu in seen][-1] == 6


def test_queue_work_node_after_its_first_cpu_went(make: Make) -> None:
    machine = make()

    async def main() -> list[int | None]:
        found = [machine.workqueues.cpus.near(1, machine.current.cpu)]
        await machine.cpu_down(4)
        found.append(machine.workqueues.cpus.near(1, machine.current.cpu))
        for cpu in (5, 6, 7):
            await machine.cpu_down(cpu)
        return [*found, machine.workqueues.cpus.near(1, machine.current.cpu)]

    assert machine.run(main, cpu=0) == [4, 5, None]


def test_limits_follow_the_cpus(make: Make) -> None:
    machine = make()
    wq = machine.alloc_workqueue("limited", unbound=True, max_active=40)
    seen: list[tuple[str, int]] = []

    async def main() -> None:
        for _ in range(50):
            machine.queue_work_on(0, wq, note(machine, seen, MS))
        limit = wq.limits[0]
        assert (limit.maximum, limit.active) == (20, 20)
        for cpu in (4, 5, 6, 7):
            await machine.cpu_down(cpu)
        assert (limit.maximum, limit.active) == (40, 40)
        machine.validate()

    machine.run(main)
    assert len(seen) == 50


def test_the_last_cpu_stays(make: Make) -> None:
    machine = make(symmetric("2", cores=2))

    async def main() -> None:
        await machine.cpu_down(0)
        with pytest.raises(RefusedError, match="CPU 1 is the last one"):
            await machine.cpu_down(1)
        with pytest.raises(UsageError, match="not online"):
            await machine.cpu_down(0)
        await machine.cpu_up(0)
        for cpu in (0, 99):
            with pytest.raises(UsageError, match="cannot come online"):
                await machine.cpu_up(cpu)

    machine.run(main)


# ---- isolation at run time -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("profile", "domain", "unbound", "worker"),
    [
        ("6.1", "0-7", "0-7", "kworker/u18"),
        ("6.12", "0-7", "0-3,6-7", "kworker/u37"),
        ("7.2", "0-3,6-7", "0-3,6-7", "kworker/u37"),
    ],
)
def test_isolation_at_run_time(make: Make, profile: str, domain: str, unbound: str, worker: str) -> None:
    """HK_DOMAIN follows from 7.0, the unbound mask from 6.8; the pods stay: node 1 is still served by node 1."""
    machine = make(profile=profile)
    seen: list[tuple[str, int]] = []

    async def main() -> None:
        await machine.isolate(CpuSet.of([4, 5]))
        machine.validate()
        work = note(machine, seen, MS)
        machine.queue_work_node(1, machine.system_dfl_wq, work)
        await machine.flush_work(work)

    machine.run(main, cpu=0)
    assert str(machine.housekeeping(HkType.DOMAIN)) == domain
    assert str(CpuSet(machine.workqueues.cpus.unbound)) == unbound
    assert seen[0][0].partition(":")[0] == worker
    assert seen[0][1] in (4, 5, 6, 7)


def test_shells_leave_isolated_cpus_and_the_mask_is_replaced(make: Make) -> None:
    machine = make(profile="7.2")
    cpus: list[int] = []

    async def shell() -> None:
        for _ in range(20):
            await machine.compute(MS)
            cpus.append(machine.current.cpu)

    async def main() -> None:
        for _ in range(8):
            machine.spawn(shell, comm="sh")
        await machine.isolate(CpuSet.of([4, 5]))
        await machine.sleep(5 * MS)
        cpus.clear()
        await machine.sleep(15 * MS)
        assert not {4, 5} & set(cpus)
        await machine.isolate(CpuSet.of([0, 1]))
        machine.validate()
        await machine.sleep(5 * MS)
        cpus.clear()

    machine.run(main)
    assert set(cpus) <= {2, 3, 4, 5, 6, 7}
    assert {4, 5} & set(cpus)
    assert str(machine.housekeeping(HkType.DOMAIN)) == "2-7"
    assert str(CpuSet(machine.workqueues.cpus.unbound)) == "2-7"

    async def everything() -> None:
        with pytest.raises(UsageError, match="no CPU online would be left"):
            await machine.isolate(machine.online)

    machine.run(everything)


# ---- load ----------------------------------------------------------------------------------------------------------
def probe_on(machine: VirtualMachine, wq: object) -> tuple[int, ...]:
    """Run a probe of node 1 in a worker; return the CPUs it visited."""
    cpus: list[tuple[int, ...]] = []

    async def body() -> None:
        for _ in range(4):
            await machine.compute(4 * MS)
            await machine.sleep(MS)

    async def probe() -> None:
        cpus.append((await machine.measure(body))[1].cpus)

    async def main() -> None:
        work = Work(probe, "probe_fn")
        machine.queue_work_node(1, wq, work)  # type: ignore[arg-type]
        await machine.flush_work(work)

    machine.run(main, cpu=0)
    return cpus[0]


def test_an_idle_machine_keeps_the_worker_in_its_pod(make: Make) -> None:
    machine = make()
    assert set(probe_on(machine, machine.system_dfl_wq)) <= {4, 5, 6, 7}


def test_a_busy_node_loses_a_worker_that_is_not_strict(make: Make) -> None:
    machine = make()
    machine.add_load(CpuSet.parse_list("4-7"), tasks_per_cpu=2)
    assert set(probe_on(machine, machine.system_dfl_wq)) & {0, 1, 2, 3}
    strict = machine.alloc_workqueue("strict", unbound=True, strict=True)
    assert set(probe_on(machine, strict)) <= {4, 5, 6, 7}


def test_a_worker_leaves_its_node_in_the_middle_of_a_computation(make: Make) -> None:
    """It starts on its node; load arrives there; after a while it moves to an idle CPU elsewhere.

    The CPU is shared from 5 ms on; balancing looks at all eight after 8 ms more, and its next turn ends at 18 ms.
    """
    machine = make()
    usages = []

    async def probe() -> None:
        usages.append((await machine.measure(lambda: machine.compute(20 * MS)))[1])

    async def main() -> None:
        work = Work(probe, "probe_fn")
        machine.queue_work_node(1, machine.system_dfl_wq, work)
        await machine.sleep(5 * MS)
        machine.add_load(CpuSet.parse_list("4-7"))
        machine.validate()
        await machine.flush_work(work)

    machine.run(main, cpu=0)
    (usage,) = usages
    assert usage.cpus[0] >= 4
    assert usage.cpus[-1] < 4
    assert usage.running_by_node == {1: 12 * MS, 0: 8 * MS}


def test_load_shares_a_cpu_fairly_and_does_not_keep_the_run_alive(make: Make) -> None:
    machine = make()
    machine.add_load(CpuSet.of([3]), tasks_per_cpu=3)
    machine.run(lambda: machine.compute(9 * MS), cpu=3)
    assert 33 * MS <= machine.now() <= 39 * MS
    for load in machine.tasks.loads:
        assert load.executed >= 8 * MS


def test_loose_load_spreads(make: Make) -> None:
    machine = make()
    machine.add_load(CpuSet.of([0, 1]), tasks_per_cpu=2, pinned=False)
    machine.run(lambda: machine.sleep(60 * MS), cpu=5)
    assert {load.cpu for load in machine.tasks.loads} == {0, 1}
    machine.validate()


def test_a_pool_with_works_that_wait_for_a_slot_outlives_its_cpus(make: Make) -> None:
    """A work held back by max_active belongs to the pool of the CPUs as they were; it must still be run there."""
    machine = make(profile="6.19")
    wq = machine.alloc_workqueue("slow", unbound=True, max_active=1)
    seen: list[int] = []

    def work(number: int) -> Work:
        async def body() -> None:
            await machine.sleep(MS)
            seen.append(number)

        return Work(body, f"work_{number}_fn")

    async def main() -> None:
        await machine.isolate(CpuSet.of([1]))
        machine.queue_work_on(0, wq, work(0))
        await machine.isolate(CpuSet())
        machine.queue_work_on(0, wq, work(1))
        await machine.isolate(CpuSet.of([1]))
        machine.validate()
        await machine.sleep(3 * MS // 2)
        machine.validate()

    machine.run(main, cpu=0)
    assert seen == [0, 1]


def test_tasks_that_wait_on_a_cpu_that_joins_the_domains_spread_again(make: Make) -> None:
    machine = make()
    seen: list[tuple[str, int]] = []

    async def main() -> None:
        await machine.isolate(CpuSet.of([0, 1]))
        for _ in range(3):
            machine.spawn(note(machine, seen, 20 * MS).function, comm="t", cpus=CpuSet.of([0]))
        await machine.sleep(MS)
        for task in machine.tasks.alive:
            if task.comm == "t":
                machine.scheduler.set_mask(task, machine.online.bits)
        await machine.isolate(CpuSet())
        machine.validate()

    machine.run(main, cpu=2)
    machine.validate()
    assert len({cpu for _, cpu in seen}) == 3
    assert machine.now() < 25 * MS
