"""Run queues, turns, placement, balancing, pinning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.cpuset import CpuSet
from numaprobe.runtime import Work
from numaprobe.topology import Housekeeping, symmetric
from numaprobe.virtual import CpuModel, VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.runtime import Usage
    from numaprobe.topology import Topology

    Make = Callable[..., VirtualMachine]

MS = 1_000_000


def together(
    machine: VirtualMachine, bodies: list[Callable[[], Awaitable[object]]], cpus: list[CpuSet | None] | None = None
) -> list[Usage]:
    """Run the bodies as tasks that start at once; return what each cost, in order."""
    usages: dict[int, Usage] = {}

    async def measured(number: int) -> None:
        _, usages[number] = await machine.measure(bodies[number])

    async def main() -> None:
        for number in range(len(bodies)):
            mask = cpus[number] if cpus else None
            machine.spawn(lambda number=number: measured(number), comm=f"t{number}", cpus=mask)

    machine.run(main)
    return [usages[number] for number in range(len(bodies))]


@pytest.mark.parametrize(
    ("cpus", "slice_ns"), [(1, 750_000), (2, 1_500_000), (4, 2_250_000), (8, 3 * MS), (256, 3 * MS)]
)
def test_slice_by_number_of_cpus(cpus: int, slice_ns: int) -> None:
    assert CpuModel().slice_ns(cpus) == slice_ns


def test_two_on_one_cpu_take_turns_of_a_slice(make: Make) -> None:
    machine = make(symmetric("8", cores=8), timeline=True)
    one = CpuSet.of([5])
    first, second = together(machine, [lambda: machine.compute(7 * MS)] * 2, [one, one])
    turns = [(s.start_ns // MS, s.end_ns // MS, str(s.state)) for s in first.segments or ()]
    assert turns == [(0, 3, "running"), (3, 6, "runnable"), (6, 9, "running"), (9, 12, "runnable"), (12, 13, "running")]
    assert (second.start_ns, second.end_ns, second.running_ns) == (3 * MS, 14 * MS, 7 * MS)
    assert second.runnable_ns == 4 * MS


def test_a_lone_computation_is_one_event(make: Make) -> None:
    machine = make(symmetric("8", cores=8))
    together(machine, [lambda: machine.compute(3600 * 10**9)])
    assert machine.loop.serial < 5


def test_a_newcomer_waits_for_the_end_of_the_turn(make: Make) -> None:
    """The running task computes alone for 4 ms (in its second turn by then); it keeps that turn to its end at 6 ms."""
    machine = make(symmetric("8", cores=8))
    one = CpuSet.of([0])

    async def late() -> None:
        await machine.sleep(4 * MS)
        await machine.compute(MS)

    second, first = together(machine, [late, lambda: machine.compute(10 * MS)], [one, one])
    assert second.runnable_ns == 2 * MS
    assert second.end_ns == 7 * MS
    assert first.end_ns == 11 * MS


def test_computing_slice_by_slice_gives_no_advantage(make: Make) -> None:
    """Who cuts its computation at the slice does not get two turns in a row."""
    machine = make(symmetric("8", cores=8))
    one = CpuSet.of([0])

    async def pieces() -> None:
        for _ in range(4):
            await machine.compute(3 * MS)

    first, second = together(machine, [pieces, lambda: machine.compute(12 * MS)], [one, one])
    assert first.end_ns == 21 * MS
    assert second.end_ns == 24 * MS


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40 * MS), min_size=1, max_size=8))
def test_sharing_is_fair_and_keeps_the_cpu_busy(computes: list[int]) -> None:
    """One CPU: the makespan is the sum; nobody ends later than if all others had as much to do as it has."""
    machine = VirtualMachine(symmetric("1", cores=1))
    slice_ns = CpuModel().slice_ns(1)
    usages = together(machine, [lambda ns=ns: machine.compute(ns) for ns in computes])  # type: ignore[misc]
    assert max(usage.end_ns for usage in usages) == sum(computes)
    for ns, usage in zip(computes, usages, strict=True):
        fair = sum(min(ns, other) for other in computes)
        assert usage.running_ns == ns
        assert usage.end_ns <= fair + slice_ns * len(computes)
    machine.validate()


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_parts_make_the_whole_and_promises_hold_throughout(data: st.DataObject) -> None:
    """Random bodies on random masks, with a look at every promise while they run."""
    topology = symmetric("m", nodes=2, llcs=2, cores=2, smt=2)
    machine = VirtualMachine(topology, timeline=True)
    steps = st.lists(st.tuples(st.sampled_from(["compute", "sleep", "move"]), st.integers(0, 9 * MS)), max_size=5)
    plans = data.draw(st.lists(steps, min_size=1, max_size=16))
    masks: list[CpuSet | None] = [
        data.draw(st.none() | st.sets(st.integers(0, 15), min_size=1).map(CpuSet.of)) for _ in plans
    ]

    async def body(plan: list[tuple[str, int]]) -> None:
        for kind, ns in plan:
            if kind == "compute":
                await machine.compute(ns)
            elif kind == "sleep":
                await machine.sleep(ns)
            else:
                await machine.set_affinity(CpuSet.of([ns % 16, ns % 7]))
                assert machine.current.cpu in (ns % 16, ns % 7)
            if ns % 4 == 0:
                machine.validate()

    usages = together(machine, [lambda plan=plan: body(plan) for plan in plans], masks)  # type: ignore[misc]
    for plan, usage in zip(plans, usages, strict=True):
        assert usage.running_ns is not None
        assert usage.running_ns == sum(ns for kind, ns in plan if kind == "compute")
        assert usage.sleeping_ns == sum(ns for kind, ns in plan if kind == "sleep")
        assert usage.running_ns + (usage.runnable_ns or 0) + (usage.sleeping_ns or 0) == usage.end_ns - usage.start_ns
        _check_segments(usage)
    machine.validate()


def _check_segments(usage: Usage) -> None:
    """The second witness of a cost: the timeline has no gap, and its sums are the parts."""
    sums = {"running": 0, "runnable": 0, "sleeping": 0}
    time = usage.start_ns
    for segment in usage.segments or ():
        assert segment.start_ns == time < segment.end_ns
        time = segment.end_ns
        sums[segment.state] += segment.end_ns - segment.start_ns
        assert segment.state != "running" or segment.cpu in usage.cpus
    assert time == usage.end_ns
    assert sums == {"running": usage.running_ns, "runnable": usage.runnable_ns, "sleeping": usage.sleeping_ns}
    assert sum((usage.running_by_node or {}).values()) == usage.running_ns


# ---- placement -----------------------------------------------------------------------------------------------------
SMT: Topology = symmetric("smt", nodes=2, llcs=2, cores=2, smt=2)
"""Cores 0-7 with siblings cpu + 8; LLC 0 = cores 0, 1; node 0 = cores 0-3."""


def test_idle_cores_of_the_llc_first_then_siblings_then_the_node(make: Make) -> None:
    machine = make(SMT)
    cpus = [usage.cpus[0] for usage in together(machine, [lambda: machine.compute(MS)] * 9)]
    assert cpus[0] == 1, "the spawner is on CPU 0 still, so the idle core comes before the sibling"
    assert set(cpus[:3]) == {1, 8, 9}, "the LLC fills up before another is used"
    assert cpus[3] == 0, "the spawner's CPU is of the LLC too, and the spawner sleeps next"
    assert set(cpus[4:8]) == {2, 3, 10, 11}, "then the rest of the node"
    assert machine.now() == MS


@pytest.mark.parametrize("busy", [False, True])
def test_a_wake_up_does_not_leave_the_llc(make: Make, busy: bool) -> None:
    """Nodes of one CPU. A caller queues a work for its own pod, then waits for it, or computes first: it waits too."""
    machine = make(symmetric("singles", nodes=2, cores=1))
    seen = []

    async def body() -> None:
        seen.append(machine.current.cpu)
        await machine.compute(MS)
        seen.append(machine.current.cpu)

    async def main() -> None:
        work = Work(body, "body")
        machine.queue_work_on(0, machine.system_dfl_wq, work)
        if busy:
            await machine.compute(MS)
        await machine.flush_work(work)

    machine.run(main, cpu=0)
    assert seen == [0, 0]
    assert machine.now() == (2 * MS if busy else MS)


@pytest.mark.parametrize(("load", "cpu"), [("0-3", 1), ("0-1,3", 2), ("", 1)])
def test_a_woken_task_takes_an_idle_cpu_of_its_llc_or_waits_at_its_own(make: Make, load: str, cpu: int) -> None:
    """Node 1 and LLC 1 are idle throughout; the task last ran on CPU 1 of LLC 0 (CPUs 0-3)."""
    machine = make(symmetric("m", nodes=2, llcs=2, cores=4))
    cpus: list[int] = []

    async def body() -> None:
        await machine.sleep(MS)
        cpus.append(machine.current.cpu)

    async def main() -> None:
        task = machine.spawn(body, comm="t", cpu=1)
        machine.add_load(CpuSet.parse_list(load))
        await machine.join(task)

    machine.run(main, cpu=9)
    assert cpus == [cpu]


def test_a_woken_task_waits_at_its_wakers_cpu_if_that_has_fewer_tasks(make: Make) -> None:
    """``wake_affine``: all of LLC 0 is taken, its own CPU 1 twice; the waker on CPU 3 is alone there."""
    machine = make(symmetric("m", nodes=2, cores=4))
    seen: list[int] = []
    flag = machine.event("go")

    async def body() -> None:
        await flag.wait()
        seen.append(machine.current.cpu)

    async def main() -> None:
        task = machine.spawn(body, comm="t", cpu=1)
        await machine.sleep(MS)
        machine.add_load(CpuSet.parse_list("0-2"))
        machine.add_load(CpuSet.of([1]))
        flag.set()
        await machine.join(task)

    machine.run(main, cpu=3)
    assert seen == [3]


def test_balancing_reaches_other_nodes_only_after_a_while(make: Make) -> None:
    """Three computations on a node of two CPUs: one leaves, once a CPU was shared for a millisecond per CPU (4)."""
    machine = make(symmetric("m", nodes=2, cores=2), timeline=True)
    usages = []

    async def probe() -> None:
        usages.append((await machine.measure(lambda: machine.compute(30 * MS)))[1])

    async def main() -> None:
        works = [Work(probe, f"probe_{number}_fn") for number in range(3)]
        for work in works:
            machine.queue_work_node(1, machine.system_dfl_wq, work)
        for work in works:
            await machine.flush_work(work)

    machine.run(main, cpu=0)
    assert {usage.cpus[0] for usage in usages} == {2, 3}
    (away,) = [usage for usage in usages if (usage.running_by_node or {}).get(0)]
    assert away.segments is not None
    left = next(segment.start_ns for segment in away.segments if segment.cpu in (0, 1))
    assert 4 * MS <= left <= 4 * MS + machine.scheduler.model.slice_ns(4)


def test_a_task_wakes_where_it_was_if_that_is_idle(make: Make) -> None:
    machine = make(SMT)

    async def body() -> None:
        for _ in range(5):
            await machine.sleep(MS)
            await machine.compute(MS)

    (usage,) = together(machine, [body], [CpuSet.of(range(4, 8))])
    assert usage.cpus == (4,)


def test_a_waiting_task_is_pulled_by_a_cpu_that_goes_idle(make: Make) -> None:
    machine = make(symmetric("8", cores=8))
    two = CpuSet.of([2, 3])
    usages = together(machine, [lambda ns=ns: machine.compute(ns * MS) for ns in (2, 30, 8)], [two, two, two])  # type: ignore[misc]
    assert usages[2].cpus == (2,) or usages[2].cpus == (3,)
    assert usages[2].start_ns == 2 * MS
    assert machine.now() == 30 * MS


def test_set_affinity_moves_at_once_and_back(make: Make) -> None:
    machine = make()

    async def main() -> list[int]:
        seen = []
        for cpus in (CpuSet.of([5]), CpuSet.of([6, 7]), None):
            await machine.set_affinity(cpus)
            seen.append(machine.current.cpu)
        return seen

    assert machine.run(main, cpu=1) == [5, 6, 1]
    assert machine.now() == 0


def test_set_affinity_to_a_busy_cpu_waits_for_it(make: Make) -> None:
    machine = make(symmetric("8", cores=8))

    async def mover() -> None:
        await machine.set_affinity(CpuSet.of([5]))
        await machine.compute(MS)

    _, usage = together(machine, [lambda: machine.compute(10 * MS), mover], [CpuSet.of([5]), None])
    assert usage.runnable_ns == 3 * MS
    assert usage.cpus[-1] == 5
    assert usage.running_ns == MS


def test_isolated_cpus_take_no_part_in_balancing(make: Make) -> None:
    """A shell never lands there by itself; what is placed there stays, and nobody is pulled there."""
    topology = symmetric("iso", cores=8, housekeeping=Housekeeping(isolated=CpuSet.of([4, 5, 6, 7])))
    machine = make(topology)
    usages = together(machine, [lambda: machine.compute(MS)] * 12)
    assert {cpu for usage in usages for cpu in usage.cpus} == {0, 1, 2, 3}
    both = CpuSet.of([5, 6])
    usages = together(machine, [lambda: machine.compute(MS)] * 2, [both, both])
    assert [usage.cpus for usage in usages] == [(5,), (5,)], "no balancing: CPU 6 stays idle"


def test_cpu_model_off_never_waits_for_a_cpu(make: Make) -> None:
    machine = make(symmetric("1", cores=1), cpu_model=CpuModel.off)
    usages = together(machine, [lambda: machine.compute(MS)] * 10)
    assert machine.now() == MS
    assert all((usage.running_ns, usage.runnable_ns, usage.sleeping_ns) == (MS, 0, 0) for usage in usages)


def test_events_grow_linearly(make: Make) -> None:
    """Ten times the tasks on ten times the CPUs: at most twelve times the events, whatever the sharing."""

    def events(count: int) -> int:
        machine = make(symmetric("m", nodes=2, cores=count // 4))
        together(machine, [lambda: machine.compute(10 * MS)] * count)
        return machine.loop.serial

    assert events(400) <= 12 * events(40)
