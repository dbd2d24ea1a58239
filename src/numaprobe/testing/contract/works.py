"""Checks of works and workqueues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.cpuset import CpuSet
from numaprobe.errors import UsageError
from numaprobe.runtime.profile import AffinityScope
from numaprobe.runtime.protocol import HkType, Work
from numaprobe.testing.contract.expect import (
    PATIENCE_NS,
    TICK_NS,
    Arrivals,
    comes,
    expect,
    expect_fails,
    expect_raises,
    in_a_task,
)
from numaprobe.testing.fake import FakeMachine
from numaprobe.workqueue import CPU_INTENSIVE_NS, work_on_cpu

if TYPE_CHECKING:
    from numaprobe.runtime.protocol import Machine, Task, Usage


@in_a_task
async def queue_once_while_pending(machine: Machine) -> None:
    """A pending work is not queued again; flush waits for it, and says False when it is idle."""
    runs: list[int] = []

    async def function() -> None:
        runs.append(1)

    work = Work(function, "work_fn")
    expect(not await machine.flush_work(work), "flush of a work never queued is False")
    expect(machine.queue_work(machine.system_dfl_wq, work), "queueing an idle work is True")
    expect(not machine.queue_work(machine.system_dfl_wq, work), "queueing a pending work is False")
    expect(not runs, "queueing does not run")
    expect(await machine.flush_work(work), "flush of a pending work is True")
    expect(runs == [1], "it ran once")
    expect(not await machine.flush_work(work), "flush of an idle work is False")
    expect(machine.queue_work(machine.system_percpu_wq, work), "it can be queued again, elsewhere")
    await machine.flush_work(work)
    expect(runs == [1, 1], "and runs again")


@in_a_task
async def work_is_not_reentrant(machine: Machine) -> None:
    """A work queued while it runs runs again, afterwards; flush waits for the last queueing."""
    inside = 0
    runs = 0
    began, go = machine.event("it runs"), machine.event("it may end")

    async def function() -> None:
        nonlocal inside, runs
        inside += 1
        expect(inside == 1, "a work never runs beside itself")
        began.set()
        await go.wait()
        inside -= 1
        runs += 1

    work = Work(function, "work_fn")
    machine.queue_work(machine.system_dfl_wq, work)
    await comes(began, "a queued work runs")
    expect(machine.queue_work(machine.system_dfl_wq, work), "a running work can be queued")
    expect(not machine.queue_work(machine.system_dfl_wq, work), "once")
    await machine.sleep(2 * TICK_NS)
    expect(not runs, "a run that has not ended has not ended")
    go.set()
    await machine.flush_work(work)
    expect(runs == 2, f"flush waits for the last queueing: {runs} of 2 runs are done")  # noqa: PLR2004


@in_a_task
async def flush_of_a_running_work(machine: Machine) -> None:
    """Every task that flushes a running work waits for its end."""
    began, event = machine.event("it runs"), machine.event("go")
    flushing = Arrivals(machine, "tasks that flush")

    async def function() -> None:
        began.set()
        await event.wait()

    async def flush() -> bool:
        flushing.arrive()  # it flushes before any other code runs
        return await machine.flush_work(work)

    work = Work(function, "work_fn")
    machine.queue_work(machine.system_dfl_wq, work)
    await comes(began, "a queued work runs")
    tasks = [machine.spawn(flush, comm="t") for _ in range(3)]
    await flushing.wait(3)
    event.set()
    expect([await machine.join(task) for task in tasks] == [True] * 3, "all tasks that flush are woken")


@in_a_task
async def flush_waits_for_what_it_saw(machine: Machine) -> None:
    """A task that flushes a work waits for the queueing that it saw, not for later ones."""
    first, second = machine.event("first"), machine.event("second")
    began, flushes = machine.event("it runs"), machine.event("the other task flushes")
    runs = 0

    async def function() -> None:
        nonlocal runs
        runs += 1
        began.set()
        await (first if runs == 1 else second).wait()

    async def flush() -> bool:
        flushes.set()  # it flushes before any other code runs
        return await machine.flush_work(work)

    work = Work(function, "work_fn")
    machine.queue_work(machine.system_dfl_wq, work)
    await comes(began, "a queued work runs")
    flusher = machine.spawn(flush, comm="flusher")
    await comes(flushes, "a spawned task runs")
    expect(machine.queue_work(machine.system_dfl_wq, work), "a running work can be queued")
    first.set()
    expect(await machine.join(flusher), "flush returns when the first run is over")
    second.set()
    await machine.flush_work(work)
    expect(runs == 2, "and the second run comes too")  # noqa: PLR2004


@in_a_task
async def another_queue_is_another_matter(machine: Machine) -> None:
    """A work never runs beside itself within a workqueue; queued on another one meanwhile it may, as in the kernel."""
    wq = machine.alloc_workqueue("other", unbound=True, scope=AffinityScope.CPU, strict=True)
    cpu = machine.online.first or 0
    runs, over = Arrivals(machine, "runs have begun"), machine.event("both may end")
    ends = Arrivals(machine, "runs have ended")

    async def function() -> None:
        runs.arrive()
        await over.wait()
        ends.arrive()

    work = Work(function, "work_fn")
    machine.queue_work_on(cpu, machine.system_percpu_wq, work)
    await runs.wait(1)
    expect(machine.queue_work_on(cpu, wq, work), "a running work can be queued elsewhere")
    await runs.wait(2)
    expect(not ends.count, "the two runs are there at the same time")
    over.set()
    await machine.flush_work(work)
    await ends.wait(2)


@in_a_task
async def flush_of_the_own_class_is_reported_once(machine: Machine) -> None:
    """A worker that flushes another work of the class it executes is reported as lockdep would: once per class."""

    async def leaf() -> None:
        await machine.sleep(1)

    for name in ("nested", "nested", "other"):
        inner = Work(leaf, "inner_fn", lock_class=name)

        async def function(inner: Work = inner) -> None:
            machine.queue_work(machine.system_dfl_wq, inner)
            await machine.flush_work(inner)

        outer = Work(function, "outer_fn", lock_class=name)
        machine.queue_work(machine.system_dfl_wq, outer)
        await machine.flush_work(outer)
    reports = [one.message for one in machine.warnings if one.kind == "recursion"]
    expect(len(reports) == 2, f"one report for each of two classes: {reports}")  # noqa: PLR2004
    expect("outer_fn" in reports[0] and "inner_fn" in reports[0], f"a report names both works: {reports[0]}")


@in_a_task
async def queue_work_node_on_a_percpu_queue_warns_once(machine: Machine) -> None:
    """It makes little sense; the kernel warns once (``WARN_ON_ONCE``), and queues near the node."""
    wq = machine.system_percpu_wq
    for _ in range(2):
        seen: list[Task] = []
        work = Work(lambda seen=seen: _look(machine, seen), "work_fn")  # type: ignore[misc]
        expect(machine.queue_work_node(machine.topology.nodes[0].id, wq, work), "it is queued")
        await machine.flush_work(work)
        expect(seen[0].cpu in machine.topology.nodes[0].cpus, "it ran on a CPU of the node")
    expect([one.kind for one in machine.warnings].count("queue-work-node") == 1, "one warning")


@in_a_task
async def what_cannot_be_queued_is_refused(machine: Machine) -> None:
    """A CPU that is not possible, another machine's workqueue, a limit below 0: the caller's fault, and said so."""

    async def function() -> None:
        """Is never run."""

    work = Work(function, "work_fn")
    nowhere = (machine.topology.possible.last or 0) + 1
    strange = FakeMachine().system_dfl_wq
    for wq in (machine.system_percpu_wq, machine.system_dfl_wq):
        expect_raises(UsageError, lambda wq=wq: machine.queue_work_on(nowhere, wq, work), "no such CPU")  # type: ignore[misc]
    expect_raises(UsageError, lambda: machine.queue_work(strange, work), "a workqueue of another machine")
    expect_raises(UsageError, lambda: machine.alloc_workqueue("w", unbound=True, max_active=-1), "a max_active below 0")
    expect(not await machine.flush_work(work), "what was refused is not pending")


@in_a_task
async def percpu_worker(machine: Machine) -> None:
    """``queue_work_on`` a per-CPU queue runs on that CPU, in a worker whose name says so, and that knows its work."""
    for cpu in machine.online:
        seen: list[Task] = []
        work = Work(lambda seen=seen: _look(machine, seen), "work_fn")  # type: ignore[misc]
        machine.queue_work_on(cpu, machine.system_percpu_wq, work)
        await machine.flush_work(work)
        expect(seen[0].comm.startswith(f"kworker/{cpu}:"), f"a worker of CPU {cpu} is named so: {seen[0].comm}")
        expect(seen[0].cpu == cpu, "a per-CPU worker is on its CPU")
        expect(seen[0].work is None, "an idle worker executes nothing")


async def _look(machine: Machine, seen: list[Task]) -> None:
    task = machine.current
    expect(task.is_worker and task.work is not None, "a work runs in a worker that knows its work")
    await machine.compute(1)
    expect(machine.current is task, "one worker runs the whole work")
    seen.append(task)


@in_a_task
async def sleeping_works_share_a_cpu(machine: Machine) -> None:
    """A second work of a CPU runs while the first sleeps, in a worker of its own; the first name is used again."""
    names: list[str] = []
    together: list[bool] = []
    both = machine.event("both have started")

    async def function() -> None:
        names.append(machine.current.comm)
        if len(names) > 1:
            both.set()
        together.append(await both.wait(PATIENCE_NS))

    cpu = machine.online.first or 0
    works = [Work(function, f"work_{i}_fn") for i in range(2)]
    for work in works:
        machine.queue_work_on(cpu, machine.system_percpu_wq, work)
    for work in works:
        await machine.flush_work(work)
    expect(len(set(names)) == 2, f"two works at once have two workers: {names}")  # noqa: PLR2004
    expect(together == [True, True], "they slept at the same time")
    machine.queue_work_on(cpu, machine.system_percpu_wq, works[0])
    await machine.flush_work(works[0])
    expect(names[2] in names[:2], f"an idle worker is used again: {names}")


@in_a_task
async def strict_numa_queue_stays_on_the_node(machine: Machine) -> None:
    """``queue_work_node`` on a strict queue of scope numa runs on the node, if the node has a CPU online."""
    wq = machine.alloc_workqueue("strict", unbound=True, scope=AffinityScope.NUMA, strict=True)
    expect(wq.name == "strict" and wq.unbound, "a workqueue is what it was asked to be")
    for node in machine.topology.nodes:
        if not node.cpus & machine.online:
            continue
        seen: list[Task] = []
        work = Work(lambda seen=seen: _look(machine, seen), "work_fn")  # type: ignore[misc]
        machine.queue_work_node(node.id, wq, work)
        await machine.flush_work(work)
        expect(seen[0].cpu in node.cpus, f"the worker is on node {node.id}, not on CPU {seen[0].cpu}")
        expect(seen[0].comm.startswith("kworker/u"), f"an unbound worker is named so: {seen[0].comm}")


@in_a_task
async def bad_nodes_still_run(machine: Machine) -> None:
    """``queue_work_node`` to no node, or to one that does not exist, runs somewhere."""
    for node in (-1, 4000):
        seen: list[Task] = []
        work = Work(lambda seen=seen: _look(machine, seen), "work_fn")  # type: ignore[misc]
        expect(machine.queue_work_node(node, machine.system_dfl_wq, work), "it is queued")
        await machine.flush_work(work)
        expect(seen and seen[0].cpu in machine.online, "it ran on a CPU online")


@in_a_task
async def work_on_cpu_hands_back(machine: Machine) -> None:
    """``work_on_cpu`` returns what its function returns and raises what it raises."""
    cpu = machine.online.last or 0

    async def good() -> int:
        await machine.compute(1)
        return machine.current.cpu

    async def bad() -> None:
        raise LookupError("as asked")

    expect(await work_on_cpu(machine, cpu, good) == cpu, "work_on_cpu runs on the CPU and returns")
    await expect_fails(LookupError, work_on_cpu(machine, cpu, bad), "work_on_cpu raises what its function raised")


@in_a_task
async def max_active_bounds(machine: Machine) -> None:
    """With ``max_active`` 1 the works of a queue run one after the other, in order."""
    wq = machine.alloc_workqueue("ordered", unbound=True, max_active=1, min_active=1, scope=AffinityScope.SYSTEM)
    order: list[str] = []

    async def function(number: int) -> None:
        order.append(f"+{number}")
        await machine.sleep(TICK_NS)
        order.append(f"-{number}")

    works = [Work(lambda i=i: function(i), f"work_{i}_fn") for i in range(3)]  # type: ignore[misc]
    cpu = machine.online.first or 0
    for work in works:
        machine.queue_work_on(cpu, wq, work)
    for work in works:
        await machine.flush_work(work)
    expect(order == ["+0", "-0", "+1", "-1", "+2", "-2"], f"max_active 1 runs one at a time: {order}")


@in_a_task
async def percpu_pool_is_concurrency_managed(machine: Machine) -> None:
    """On one CPU a second work starts when the first sleeps, not while it computes."""
    order: list[str] = []
    took: list[int] = []

    async def function(name: str) -> None:
        order.append(f"{name} starts")
        await machine.compute(TICK_NS // 50)
        order.append(f"{name} sleeps")
        took.append(machine.now() - asked)
        await machine.sleep(4 * TICK_NS)

    works = [Work(lambda name=name: function(name), f"{name}_fn") for name in "ab"]  # type: ignore[misc]
    asked = machine.now()
    for work in works:
        machine.queue_work_on(machine.online.first or 0, machine.system_percpu_wq, work)
    for work in works:
        await machine.flush_work(work)
    one_by_one = ["a starts", "a sleeps", "b starts", "b sleeps"]
    hogged = took[0] >= CPU_INTENSIVE_NS  # for want of a CPU: then the second may start
    expect(order == one_by_one or hogged, f"one runs at a time: {order}")


@in_a_task
async def a_worker_that_moves_keeps_its_pod(machine: Machine) -> None:
    """The pod of a worker is its pool's, wherever a work takes it; where it may run is what the work asked for."""
    usages: list[Usage] = []

    async def function() -> None:
        for cpus in (None, CpuSet.of([machine.current.cpu])):
            await machine.set_affinity(cpus)
            _, usage = await machine.measure(lambda: machine.compute(1))
            usages.append(usage)
        await machine.set_affinity(None)

    work = Work(function, "move_fn")
    machine.queue_work(machine.alloc_workqueue("everywhere", unbound=True, scope=AffinityScope.SYSTEM), work)
    await machine.flush_work(work)
    free, moved = usages
    expect(free.pod is None or free.pod == machine.housekeeping(HkType.UNBOUND), f"its pod is all: {free.pod}")
    expect(moved.pod == free.pod, f"it keeps its pod: {moved.pod}, not {free.pod}")
    expect(moved.allowed is None or len(moved.allowed) == 1, f"it may use the one CPU: {moved.allowed}")


CHECKS = (
    a_worker_that_moves_keeps_its_pod,
    queue_once_while_pending,
    work_is_not_reentrant,
    flush_of_a_running_work,
    flush_waits_for_what_it_saw,
    another_queue_is_another_matter,
    flush_of_the_own_class_is_reported_once,
    queue_work_node_on_a_percpu_queue_warns_once,
    what_cannot_be_queued_is_refused,
    percpu_worker,
    sleeping_works_share_a_cpu,
    strict_numa_queue_stays_on_the_node,
    bad_nodes_still_run,
    work_on_cpu_hands_back,
    max_active_bounds,
    percpu_pool_is_concurrency_managed,
)
