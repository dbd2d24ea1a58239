"""The smallest honest machine: for tests of what stands on the protocol, and to read first.

What it is: virtual integer time, tasks driven straight from a heap keyed (time, serial), so that everything is FIFO
and a run is repeatable. Locks, events, timers, flushes, worker names and ids behave as the protocol says.

What it is not: a model of CPUs. Every task has a CPU to itself: ``compute`` passes time and is counted as running,
nobody is ever runnable, and every work gets a worker at once (no concurrency management, no ``max_active``). Whoever
wants to know what a policy *costs* uses the virtual machine.

One owner guards all state: the loop in ``run``, which executes one task or timer at a time.
"""

from __future__ import annotations

import contextlib
import heapq
from typing import TYPE_CHECKING, Any, TypeVar

from numaprobe.cpuset import CpuSet
from numaprobe.errors import BodyError, DeadlockError, UsageError
from numaprobe.records import RunWarning
from numaprobe.runtime.profile import DEFAULT_PROFILE, AffinityScope, KernelProfile, kernel_profile
from numaprobe.runtime.protocol import HkType, Usage, Work
from numaprobe.runtime.sync import FifoLock, Flag
from numaprobe.testing.fake_objects import Entry, FakeTask, FakeWorkqueue, WorkState, as_coroutine, suspend
from numaprobe.topology import Topology, symmetric, unbound_cpumask
from numaprobe.workqueue.pods import pods

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.runtime.protocol import Task, Timer, Workqueue

T = TypeVar("T")


class FakeMachine:
    """A ``Machine`` without CPUs' cost: see the top of the file.

    Args:
        topology: default: two nodes of two CPUs.
        profile: default: the seeds' kernel.

    """

    def __init__(self, topology: Topology | None = None, profile: KernelProfile | None = None) -> None:
        self.topology = topology or symmetric("fake", nodes=2, cores=2)
        self.profile = profile or kernel_profile(DEFAULT_PROFILE)
        self._now = 0
        self._serial = 0
        self._heap: list[tuple[int, int, Entry]] = []
        self._current: FakeTask | None = None
        #: a run that was cut short unwinds its tasks
        self.ending = False
        self._tasks: dict[FakeTask, None] = {}
        self._failed: list[FakeTask] = []
        self._worker_ids: dict[str, set[int]] = {}
        self._warnings: list[RunWarning] = []
        self._running = False
        self.system_percpu_wq = self.alloc_workqueue(self.profile.percpu_wq_name, unbound=False)
        self.system_dfl_wq = self.alloc_workqueue(self.profile.unbound_wq_name, unbound=True)

    # ---- what it is ------------------------------------------------------------------------------------------------
    @property
    def online(self) -> CpuSet:
        """The CPUs on line: as booted, for ever."""
        return self.topology.online

    def housekeeping(self, kind: HkType) -> CpuSet:
        """Return possible CPUs without the isolated (DOMAIN) or tickless (WQ) ones."""
        if kind is HkType.UNBOUND:
            return self._unbound_mask()
        keep = self.topology.housekeeping
        return self.topology.possible - (keep.isolated if kind is HkType.DOMAIN else keep.nohz_full)

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
                self._current.coroutine.close()
            self._tasks.pop(self._current)
        self._current = None
        self.ending = False
        self._heap.clear()
        self._failed.clear()
        self._worker_ids.clear()

    def _place(self, cpu: int | None, cpus: CpuSet | None) -> int:
        """Return the CPU to start on: ``cpu``, else where the caller is, else the first allowed one."""
        allowed = self.online & (cpus if cpus is not None else self.online)
        if not allowed or (cpu is not None and cpu not in allowed):
            raise UsageError(f"CPU {cpu if allowed else cpus} is not on line or not allowed; online: {self.online}")
        here = self._current.cpu if self._current else None
        return next(one for one in (cpu, here, allowed.first) if one is not None and one in allowed)

    def _start(self, comm: str, cpu: int, function: Callable[[], Awaitable[Any]], *, worker: bool = False) -> FakeTask:
        task = FakeTask(comm, cpu, as_coroutine(function), cpu, is_worker=worker, trail=[cpu])
        self._tasks[task] = None
        self.wake(task)
        return task

    async def park(self, why: object) -> Any:  # noqa: ANN401  what ``wake`` gives
        """Leave the CPU until somebody wakes the task; ``why`` is what a deadlock report says."""
        return await suspend(why)

    def wake(self, task: Task, *, value: object = None) -> None:
        """Make ``task`` ready; its await returns ``value``."""
        self.timer(0, lambda: self._step(self._mine(task), value))

    def _step(self, task: FakeTask, value: object) -> None:
        self._current = task
        try:
            task.waits = task.coroutine.send(value)
        except StopIteration as stop:
            self._finish(task, stop.value, None)
        except Exception as error:  # noqa: BLE001  kept for the one who joins
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
        entry = Entry(function)
        self._serial += 1
        heapq.heappush(self._heap, (self._now + max(0, delay_ns), self._serial, entry))
        return entry

    def lock(self, name: str) -> FifoLock:
        """Return a new mutex."""
        return FifoLock(self, name)

    def event(self, name: str) -> Flag:
        """Return a new flag, not set."""
        return Flag(self, name)

    # ---- what a probe body does ------------------------------------------------------------------------------------
    async def compute(self, ns: int) -> None:
        """Pass ``ns``, counted as running on the task's CPU."""
        task = self.current
        await self.sleep(ns)
        task.running[self.topology.node_of(task.cpu)] += ns

    async def sleep(self, ns: int) -> None:
        """Pass ``ns``.

        Raises:
            BodyError: ``ns`` is negative.

        """
        if ns < 0:
            raise BodyError(f"{self.current.comm} asked to pass {ns} ns; a time is not negative")
        task = self.current
        self.timer(ns, lambda: self._step(task, None))
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
            UsageError: no CPU of ``cpus`` is on line.

        """
        task = self.current
        task.cpu = task.home if cpus is None else self._place(None, cpus)
        task.memory_node = memory_node
        task.trail.append(task.cpu)

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
        max_active: int = 0,  # noqa: ARG002  no work waits for a slot here
        min_active: int | None = None,  # noqa: ARG002
        scope: AffinityScope | None = None,
        strict: bool = False,  # noqa: ARG002  workers never leave their CPU here
    ) -> FakeWorkqueue:
        """Make a workqueue."""
        return FakeWorkqueue(name, unbound, scope or self.profile.default_scope)

    def queue_work(self, wq: Workqueue, work: Work) -> bool:
        """Queue on the local CPU; return False if the work is already pending."""
        return self.queue_work_on(self._place(None, None), wq, work)

    def queue_work_node(self, node: int, wq: Workqueue, work: Work) -> bool:
        """Queue near ``node``: here if the caller is on it, else on its first CPU on line; here if it has none.

        Raises:
            UsageError: ``wq`` is per-CPU.

        """
        if not wq.unbound:
            raise UsageError(f"workqueue '{wq.name}' is per-CPU; queue_work_node needs an unbound one")
        found = self.topology.node(node) if self.topology.node_online(node) else None
        allowed = found.cpus & self.online if found else CpuSet()
        return self.queue_work_on(self._place(None, allowed or None), wq, work)

    def queue_work_on(self, cpu: int, wq: Workqueue, work: Work) -> bool:
        """Queue on ``cpu``'s pool, or on the pool of the pod that holds it.

        Raises:
            UsageError: ``cpu`` is not possible, or ``wq`` belongs to another machine.

        """
        if cpu not in self.topology.possible or not isinstance(wq, FakeWorkqueue):
            raise UsageError(f"CPU {cpu} or workqueue '{wq.name}' is not of this machine")
        if work.state is None:
            work.state = WorkState((wq, cpu))
        state: WorkState = work.state
        if state.pending:
            return False
        state.pending, state.target = True, (wq, cpu)
        if not state.running:
            self._start_worker(work, state)
        return True

    def _start_worker(self, work: Work, state: WorkState) -> None:
        """Give the pending work a worker of its own: the smallest free id of the pool."""
        pool, cpu = self._pool(*state.target)
        used = self._worker_ids.setdefault(pool, set())
        number = next(one for one in range(len(used) + 1) if one not in used)
        used.add(number)

        async def process_one_work() -> None:
            task = self.current
            task.work, state.pending, state.running = work, False, True
            state.waiters, state.next_waiters = state.next_waiters, []
            try:
                await work.function()
            finally:
                task.work, state.running = None, False
                used.discard(number)
                for waiter in state.waiters:
                    self.wake(waiter, value=True)
                if state.pending:
                    self._start_worker(work, state)

        self._start(f"kworker/{pool}:{number}", cpu, process_one_work, worker=True)

    def _pool(self, wq: FakeWorkqueue, cpu: int) -> tuple[str, int]:
        """Return the pool's part of the worker's name, and the CPU that the worker gets."""
        if not wq.unbound:
            return str(cpu), cpu if cpu in self.online else self._place(None, None)
        groups = pods(self.topology, self.profile, wq.scope)
        index = next(i for i, pod in enumerate(groups) if pod >> cpu & 1)
        mask = self._unbound_mask() & self.online
        allowed = CpuSet(groups[index]) & mask or mask or self.online
        first_pool = (2 + self.profile.bh_pools_per_cpu) * len(self.topology.possible) + 1
        return f"u{first_pool + index}", self._place(cpu if cpu in allowed else None, allowed)

    def _unbound_mask(self) -> CpuSet:
        return unbound_cpumask(self.topology, with_wq=self.profile.unbound_mask_has_wq)

    async def flush_work(self, work: Work) -> bool:
        """Wait until the last queueing of ``work`` has run; return False if it was idle."""
        state: WorkState | None = work.state
        if state is None or not (state.pending or state.running):
            return False
        task = self.current
        if task.work is not None and task.work.lock_class == work.lock_class:
            self.warn("recursion", f"{task.comm} flushes {work.name} while it executes {task.work.name}")
        (state.next_waiters if state.pending else state.waiters).append(task)
        await self.park(f"work {work.name}")
        return True

    # ---- remarks ---------------------------------------------------------------------------------------------------
    def warn(self, kind: str, message: str) -> None:
        """Keep a remark for the trace of this run."""
        self._warnings.append(RunWarning(kind=kind, message=message, time_ns=self._now))

    @property
    def warnings(self) -> tuple[RunWarning, ...]:
        """The remarks so far."""
        return tuple(self._warnings)
