"""The smallest honest machine: for tests of what stands on the protocol, and to read first.

What it is: virtual integer time, tasks driven straight from a heap keyed (time, serial), so that everything is FIFO
and a run is repeatable. Locks, events, timers, workqueues, flushes, worker names and ids behave as the protocol says.
CPUs go offline and come back.

What it is not: a model of CPUs. Every task has a CPU to itself: ``compute`` passes time and is counted as running,
and nobody is ever runnable; only the workqueues' own rules (``numaprobe.workqueue``) make a work wait for another.
Whoever wants to know what a policy *costs* uses the virtual machine.

One owner guards all state: the loop in ``run``, which executes one task or timer at a time.
"""

from __future__ import annotations

import contextlib
import heapq
from typing import TYPE_CHECKING, Any, TypeVar

from numaprobe.cpuset import CpuSet
from numaprobe.errors import BodyError, DeadlockError, InternalError, UsageError
from numaprobe.records import RunWarning
from numaprobe.runtime.holds import HotplugHolds
from numaprobe.runtime.profile import DEFAULT_PROFILE, AffinityScope, KernelProfile, kernel_profile
from numaprobe.runtime.protocol import HkType, Usage
from numaprobe.runtime.sync import FifoLock, Flag
from numaprobe.testing.fake_objects import FakeTask, TimerCall, as_coroutine, suspend
from numaprobe.testing.fake_worker import FakeSeat
from numaprobe.topology import Topology, housekeeping_cpus, symmetric
from numaprobe.workqueue import Workqueues, WorkqueueStruct
from numaprobe.workqueue.validate import validate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from numaprobe.runtime.protocol import Task, Timer, Work, Workqueue

T = TypeVar("T")


class FakeMachine:
    """A ``Machine`` without CPUs' cost: see the top of the file.

    Args:
        topology: default: two nodes of two CPUs.
        profile: default: the kernel of the measured tables.

    """

    def __init__(self, topology: Topology | None = None, profile: KernelProfile | None = None) -> None:
        self.topology = topology or symmetric("fake", nodes=2, cores=2)
        self.profile = profile or kernel_profile(DEFAULT_PROFILE)
        self._now = 0
        self._serial = 0
        self._heap: list[tuple[int, int, TimerCall]] = []
        self._current: FakeTask | None = None
        #: a run that was cut short unwinds its tasks
        self.ending = False
        self._tasks: dict[FakeTask, None] = {}
        self._failed: list[FakeTask] = []
        self._warnings: list[RunWarning] = []
        self._holds = HotplugHolds(self.warn)
        self._running = False
        seat = FakeSeat(self)
        self.workqueues = Workqueues(self.topology, self.profile, lambda _pool: seat, self.warn)
        self.system_percpu_wq = self.workqueues.system_percpu_wq
        self.system_dfl_wq = self.workqueues.system_dfl_wq

    # ---- what it is ------------------------------------------------------------------------------------------------
    @property
    def online(self) -> CpuSet:
        """The CPUs online."""
        return CpuSet(self.workqueues.cpus.online)

    def housekeeping(self, kind: HkType) -> CpuSet:
        """Return possible CPUs without the isolated (DOMAIN) or tickless (WQ) ones; never none."""
        if kind is HkType.UNBOUND:
            return CpuSet(self.workqueues.cpus.unbound)
        keep = self.topology.housekeeping
        return housekeeping_cpus(self.topology, keep.isolated if kind is HkType.DOMAIN else keep.nohz_full)

    def cpu_hotplug_disable(self, holder: str) -> None:
        """Let no CPU go offline or come online until ``cpu_hotplug_enable`` was called as often."""
        self._holds.disable(holder)

    def cpu_hotplug_enable(self, holder: str) -> None:
        """Take one ``cpu_hotplug_disable`` back."""
        self._holds.enable(holder)

    # ---- time and tasks --------------------------------------------------------------------------------------------
    def now(self) -> int:
        """Return virtual ns since the start of the run."""
        return self._now

    @property
    def current(self) -> FakeTask:
        """The task whose code is running.

        Raises:
            UsageError: called from outside any task.

        """
        if self._current is None:
            raise UsageError("no task is running here; call this from a task of FakeMachine.run")
        return self._current

    def run(self, main: Callable[[], Awaitable[T]], *, comm: str = "modprobe", cpu: int | None = None) -> T:
        """Run ``main`` as a new task, then go on until nothing is left to run.

        Raises:
            UsageError: called from inside a run.
            DeadlockError: tasks wait and nothing can wake them.

        """
        if self._running:
            raise UsageError("run was called from inside a run; use spawn and join there")
        self._running = True
        try:
            task = self._start(comm, self._place(cpu, None), main)
            self._drain()
            task.joined = True
            for failed in (task, *self._failed):
                if failed.failure is not None and (failed is task or not failed.joined):
                    raise failed.failure
            result: T = task.result
            return result
        finally:
            self._abandon()
            self._running = False

    def _drain(self) -> None:
        while self._heap:
            time, _, entry = heapq.heappop(self._heap)
            if entry.pending:
                self._now, entry.pending = time, False
                entry.function()
        if self._tasks:
            raise DeadlockError([f"{task.comm} waits for {task.waits}" for task in self._tasks])

    def _abandon(self) -> None:
        """Close what a failed run left behind, so that its ``finally`` clauses run in their own task."""
        self.ending = True
        while self._tasks:
            self._current = next(iter(self._tasks))
            # A clause may release what it had only asked for (UsageError), or await (RuntimeError).
            with contextlib.suppress(UsageError, RuntimeError):
                if self._current.coroutine is not None:
                    self._current.coroutine.close()
            self._tasks.pop(self._current)
        self._current = None
        self.ending = False
        self._heap.clear()
        self._failed.clear()
        self.workqueues.reset()

    def _place(self, cpu: int | None, cpus: CpuSet | None) -> int:
        """Return the CPU to start on: ``cpu``, else where the caller is, else the first allowed one."""
        allowed = self.online & (cpus if cpus is not None else self.online)
        if not allowed or (cpu is not None and cpu not in allowed):
            raise UsageError(f"CPU {cpu if allowed else cpus} is not online or not allowed; online: {self.online}")
        here = self._current.cpu if self._current else None
        return next(one for one in (cpu, here, allowed.first) if one is not None and one in allowed)

    def _start(self, comm: str, cpu: int, function: Callable[[], Awaitable[Any]]) -> FakeTask:
        task = FakeTask(comm, cpu, cpu, trail=[cpu])
        self.begin(task, as_coroutine(function))
        return task

    def begin(self, task: FakeTask, life: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine as ``task``."""
        task.coroutine = life
        self._tasks[task] = None
        self.wake(task)

    async def park(self, why: object) -> Any:  # noqa: ANN401  what ``wake`` gives
        """Leave the CPU until somebody wakes the task; ``why`` is what a deadlock report says."""
        if self.current.worker is not None:
            self.current.worker.sleeps()
        return await suspend(why)

    def wake(self, task: Task, *, value: object = None) -> None:
        """Make ``task`` ready; its await returns ``value``."""
        self._later(0, self._mine(task), value)

    def _later(self, delay_ns: int, task: FakeTask, value: object = None) -> None:
        """Step ``task`` after ``delay_ns``."""
        self.timer(delay_ns, lambda: self._step(task, value))

    def _step(self, task: FakeTask, value: object) -> None:
        self._current = task
        if task.coroutine is None:
            raise InternalError(f"{task.comm} has no code to run")
        if task.worker is not None:
            task.worker.runs(task.executed)
        try:
            task.waits = task.coroutine.send(value)
        except StopIteration as stop:
            self._finish(task, stop.value, None)
        except Exception as error:  # noqa: BLE001  kept for the task that joins
            self._finish(task, None, error)
        finally:
            self._current = None

    def _finish(self, task: FakeTask, result: object, failure: Exception | None) -> None:
        task.done, task.result, task.failure = True, result, failure
        self._tasks.pop(task)
        if failure is not None:
            self._failed.append(task)
        for joiner in task.joiners:
            self.wake(joiner)

    def spawn(
        self, function: Callable[[], Awaitable[Any]], *, comm: str, cpus: CpuSet | None = None, cpu: int | None = None
    ) -> FakeTask:
        """Start a task that is no worker."""
        return self._start(comm, self._place(cpu, cpus), function)

    async def join(self, task: Task) -> Any:  # noqa: ANN401  what the task's function returned
        """Wait until a spawned task is done; return what it returned, or raise what it raised."""
        task = self._mine(task)
        if not task.done:
            task.joiners.append(self.current)
            await self.park(f"the end of {task.comm}")
        task.joined = True
        if task.failure is not None:
            raise task.failure
        return task.result

    def _mine(self, task: Task) -> FakeTask:
        if not isinstance(task, FakeTask):
            raise UsageError(f"{task.comm} is not a task of this machine")
        return task

    def timer(self, delay_ns: int, function: Callable[[], object]) -> Timer:
        """Call ``function`` after ``delay_ns``, outside any task."""
        entry = TimerCall(function)
        self._push(delay_ns, entry)
        return entry

    def _push(self, delay_ns: int, entry: TimerCall) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (self._now + max(0, delay_ns), self._serial, entry))

    def lock(self, name: str) -> FifoLock:
        """Return a new mutex."""
        return FifoLock(self, name)

    def event(self, name: str) -> Flag:
        """Return a new flag, not set."""
        return Flag(self, name)

    # ---- what a probe body does ------------------------------------------------------------------------------------
    async def compute(self, ns: int) -> None:
        """Pass ``ns``, counted as running on the task's CPU.

        Raises:
            BodyError: ``ns`` is negative.

        """
        task, left = self._not_negative(ns), ns
        while True:
            allowance = task.worker.allowance(task.executed) if task.worker is not None else None
            part = left if allowance is None else min(left, allowance)
            self._later(part, task)
            await suspend("time")
            task.executed += part
            task.running[self.topology.node_of(task.cpu)] += part
            left -= part
            if task.worker is not None:
                task.worker.tick(task.executed)
            if not left:
                return

    def _not_negative(self, ns: int) -> FakeTask:
        if ns < 0:
            raise BodyError(f"{self.current.comm} asked to pass {ns} ns; a time is not negative")
        return self.current

    async def sleep(self, ns: int) -> None:
        """Pass ``ns``.

        Raises:
            BodyError: ``ns`` is negative.

        """
        task = self._not_negative(ns)
        self._later(ns, task)
        await self.park("time")

    async def allocate(self, size: int, node: int | None = None) -> None:
        """Count ``size`` bytes on ``node``, else on the policy's, else on the local one; the nearest with memory.

        Raises:
            BodyError: ``size`` is negative.

        """
        if size < 0:
            raise BodyError(f"{self.current.comm} asked for {size} bytes; a size is not negative")
        task = self.current
        local = self.topology.node_of(task.cpu)
        wish = next(one for one in (node, task.memory_node, local) if one is not None)
        able = [one.id for one in self.topology.nodes if one.memory and one.online]
        task.memory[min(able, key=lambda one: self.topology.distance(wish, one), default=wish)] += size

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """Call ``function`` here."""
        return function(*args)

    async def set_affinity(self, cpus: CpuSet | None, *, memory_node: int | None = None) -> None:
        """Move the current task.

        Raises:
            UsageError: no CPU of ``cpus`` is online.

        """
        task = self.current
        home = CpuSet.of([task.home]) & self.online
        task.move(self._place(None, home or None if cpus is None else cpus))
        task.memory_node = memory_node

    async def measure(self, body: Callable[[], Awaitable[T]]) -> tuple[T, Usage]:
        """Run ``body`` in the current task and say what it cost."""
        task, start, first = self.current, self._now, len(self.current.trail) - 1
        running, memory = task.running.copy(), task.memory.copy()
        result = await body()
        by_node = {node: ns - running[node] for node, ns in task.running.items() if ns != running[node]}
        total = sum(by_node.values())
        return result, Usage(
            start_ns=start,
            end_ns=self._now,
            running_ns=total,
            runnable_ns=0,
            sleeping_ns=self._now - start - total,
            cpus=tuple(dict.fromkeys(task.trail[first:])),
            running_by_node=by_node,
            memory={node: size - memory[node] for node, size in task.memory.items() if size != memory[node]},
        )

    # ---- workqueues ------------------------------------------------------------------------------------------------
    def alloc_workqueue(
        self,
        name: str,
        *,
        unbound: bool,
        max_active: int = 0,
        min_active: int | None = None,
        scope: AffinityScope | None = None,
        strict: bool = False,
    ) -> WorkqueueStruct:
        """Make a workqueue."""
        return self.workqueues.alloc(
            name, unbound=unbound, max_active=max_active, min_active=min_active, scope=scope, strict=strict
        )

    def queue_work(self, wq: Workqueue, work: Work) -> bool:
        """Queue on the local CPU; return False if the work is already pending."""
        return self.workqueues.queue(wq, work, self._here)

    def queue_work_node(self, node: int, wq: Workqueue, work: Work) -> bool:
        """Queue near ``node``: here if the caller is on it, else on its first CPU online; here if it has none."""
        return self.workqueues.queue_near(node, wq, work, self._here)

    def queue_work_on(self, cpu: int, wq: Workqueue, work: Work) -> bool:
        """Queue on ``cpu``'s pool, or on the pool of the pod that holds it.

        Raises:
            UsageError: ``cpu`` is not possible, or ``wq`` belongs to another machine.

        """
        return self.workqueues.queue_on(cpu, wq, work)

    @property
    def _here(self) -> int:
        return self._place(None, None)

    async def flush_work(self, work: Work) -> bool:
        """Wait until the last queueing of ``work`` has run; return False if it was idle."""
        item = self.workqueues.flush(work, self.current)
        if item is not None:
            await self.park(item)
        return item is not None

    # ---- beyond the protocol: CPUs come and go ---------------------------------------------------------------------
    async def cpu_down(self, cpu: int) -> int:
        """Take ``cpu`` offline: 0, or -EBUSY while CPU hotplug is held off. It must be online, and not the last.

        Raises:
            UsageError: it is not.

        """
        if not self.online & CpuSet.of([cpu]) or len(self.online) == 1:
            raise UsageError(f"CPU {cpu} cannot go offline: it is not online, or the last one; online: {self.online}")
        refusal = self._holds.refusal(cpu, "online")
        if refusal:
            return refusal
        self.workqueues.going(cpu)
        self.workqueues.gone(cpu)
        for task in self._tasks:
            if task.cpu == cpu:
                task.move(self.online.first or 0)
        return 0

    async def cpu_up(self, cpu: int) -> int:
        """Bring ``cpu``, which is present, online: 0, or -EBUSY while CPU hotplug is held off."""
        refusal = self._holds.refusal(cpu, "offline")
        if not refusal:
            self.workqueues.came(cpu)
        return refusal

    def validate(self) -> None:
        """Hold what the workqueues promise."""
        validate(self.workqueues)

    # ---- warnings ---------------------------------------------------------------------------------------------------
    def warn(self, kind: str, message: str) -> None:
        """Keep a warning for the trace of this run."""
        self._warnings.append(RunWarning(kind=kind, message=message, time_ns=self._now))

    @property
    def warnings(self) -> tuple[RunWarning, ...]:
        """The warnings so far."""
        return tuple(self._warnings)
