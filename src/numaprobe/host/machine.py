"""The host machine: the driver core in real time, on this computer.

One asyncio thread runs the core, so its state has one owner. Each task that runs bodies has an OS thread; workers'
threads are pinned to their pool's CPUs, with their memory policy set to its node. What ran where is read back, never
assumed.

A CPU is *on line* here if this process may use it: a cpuset, a container or ``taskset`` that takes a CPU away looks
like a CPU that went off line, and a node without allowed CPUs like a node without CPUs.
"""

from __future__ import annotations

import os
import time
import weakref
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from numaprobe.cpuset import CpuSet
from numaprobe.errors import BodyError, RefusedError, UsageError
from numaprobe.host import limits, syscalls
from numaprobe.host.attributes import Applier, Attributes
from numaprobe.host.bodies import burn, touch
from numaprobe.host.measure import Stretch
from numaprobe.host.runner import HostTimer, Runner, nothing
from numaprobe.host.shutdown import shut_down
from numaprobe.host.task import CURRENT, HostTask
from numaprobe.host.workers import Workers
from numaprobe.host.workqueue import HostWorkqueue, Workqueues
from numaprobe.records import RunWarning
from numaprobe.runtime.profile import DEFAULT_PROFILE, AffinityScope, KernelProfile, kernel_profile
from numaprobe.runtime.protocol import HkType, Usage
from numaprobe.runtime.sync import FifoLock, Flag

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from numaprobe.host.pool import WorkState
    from numaprobe.runtime.protocol import Task, Work, Workqueue
    from numaprobe.topology import Topology

T = TypeVar("T")

#: A longer sleep is left to the loop but for this last part, which the thread sleeps: epoll counts in milliseconds.
_FINE_SLEEP_NS = 5_000_000
#: Isolation is read again after this long: a cpuset partition may change it while the machine runs.
_HOUSEKEEPING_NS = 1_000_000_000

_machines: weakref.WeakSet[HostMachine] = weakref.WeakSet()


class HostMachine:
    """The ``Machine`` of this computer. Use it in a ``with`` block; a ``run`` outside of one cleans up after itself.

    Args:
        topology: the machine to be; its CPUs must be real. Default: this computer.
        profile: the kernel whose pools and defaults it follows.
        bind_memory: bind a worker's memory to its node (``MPOL_BIND``) instead of preferring it.
        grace_s: how long ``close`` waits for bodies that are still running.
        start_method: how processes for ``call_process`` are made (``spawn``, ``forkserver``, ``fork``).

    Raises:
        RefusedError: the topology names CPUs that are not there, or none that this process may use.

    """

    def __init__(
        self,
        topology: Topology | None = None,
        profile: KernelProfile | None = None,
        *,
        bind_memory: bool = False,
        grace_s: float = 5.0,
        start_method: str = "spawn",
    ) -> None:
        self.topology = _live(topology or limits.this_computer())
        self.profile = profile or kernel_profile(DEFAULT_PROFILE)
        self.grace_s = grace_s
        self.start_method = start_method
        self._memory_mode = syscalls.MPOL_BIND if bind_memory else syscalls.MPOL_PREFERRED
        self._memory_nodes = limits.memory_nodes()
        self._origin = time.monotonic_ns()
        self._warnings: list[RunWarning] = []
        self._allowed: tuple[set[int], CpuSet] = (set(), CpuSet())
        self._isolation: tuple[int, CpuSet, CpuSet] | None = None
        self._entered = False
        self._running = False
        self._forked = False
        self._applier = Applier(self.warn, self._allowed_now)
        self.runner = Runner(self.topology, self._applier, self.warn)
        self._workers = Workers(self.runner, self.warn)
        self._build_workqueues()
        quota = limits.cpu_quota()
        if quota is not None and quota < len(self.online):
            self.warn("cpu-quota", f"the cgroup may use {quota:g} CPUs' time of {len(self.online)}; bodies will wait")
        _machines.add(self)

    def _build_workqueues(self) -> None:
        self._workqueues = Workqueues(
            self.topology,
            self.profile,
            lambda: self.online,
            self._workers,
            self.runner.accounting,
            self._pool_attributes,
        )
        self._workers.workqueues = self._workqueues
        self.system_percpu_wq: HostWorkqueue = self._workqueues.system_percpu_wq
        self.system_dfl_wq: HostWorkqueue = self._workqueues.system_dfl_wq

    # ---- life ------------------------------------------------------------------------------------------------------
    def __enter__(self) -> Self:
        self._refuse_if_forked()
        if self._entered:
            raise UsageError("this host machine runs already; make another one")
        self._entered = True
        self.runner.core.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what still runs, end all threads and processes. A body that does not end in time is reported."""
        if not self._forked and self.runner.core.alive:
            shut_down(self.runner, self.grace_s, self.warn)
        self._entered = False

    def _refuse_if_forked(self) -> None:
        if self._forked:
            raise UsageError("this host machine belongs to the parent process; make another one after fork")

    def run(self, main: Callable[[], Awaitable[T]], *, comm: str = "modprobe", cpu: int | None = None) -> T:
        """Run ``main`` as a new task, then go on until nothing is left to run (timers included).

        Raises:
            UsageError: called from inside a run.
            DeadlockError: tasks wait and nothing can wake them.

        """
        self._refuse_if_forked()
        if self._running or CURRENT.get() is not None:
            raise UsageError("run was called from inside a run; use spawn and join there")
        self._running, own = True, not self._entered
        if own:
            self.__enter__()
        over = False
        try:
            task = self.runner.core.submit(self._run_main(main, comm, cpu)).result()
            over = True
        finally:
            self._running = False
            if own or not over:
                self.close()
            if not own and not over:
                self._build_workqueues()
                self.__enter__()
        if task.failure is not None:
            raise task.failure
        result: T = task.result
        return result

    async def _run_main(self, main: Callable[[], Awaitable[Any]], comm: str, cpu: int | None) -> HostTask:
        task = self._new_task(comm, CpuSet.of([cpu]) if cpu is not None else None, cpu)
        task.joined = True
        self.runner.failures.clear()
        await self.runner.until_over(lambda: self.runner.spawn(task, main))
        if task.failure is None and self.runner.failures:
            task.failure = self.runner.failures[0]
        return task

    def submit(self, function: Callable[[], Awaitable[T]], *, comm: str) -> concurrent.futures.Future[T]:
        """Run ``function`` as a new task from any thread outside the machine; for libraries and signal handlers."""
        self._refuse_if_forked()

        async def whole() -> T:
            task = self._new_task(comm, None, None)
            task.joined = True
            ended = self.runner.core.loop.create_future()
            self.runner.spawn(task, function)
            self.runner.tasks[task].add_done_callback(lambda _: ended.done() or ended.set_result(None))
            await ended
            if not task.done or task.failure is not None:
                raise task.failure or UsageError(f"{comm}: the machine was shut down")
            result: T = task.result
            return result

        return self.runner.core.submit(whole())

    def ask(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run ``function`` in the core from plain code of a body, in the body's own task, and wait for it there.

        Raises:
            UsageError: the caller is no body of this machine.

        """
        return self.runner.ask(function)

    # ---- what it is ------------------------------------------------------------------------------------------------
    def _allowed_now(self) -> CpuSet:
        """Return the CPUs this process may use; the last answer if the caller is itself pinned."""
        if self.runner.core.here or not self.runner.core.alive:
            now = os.sched_getaffinity(0)
            if now != self._allowed[0]:
                self._allowed = (now, CpuSet.of(now))
        return self._allowed[1]

    @property
    def online(self) -> CpuSet:
        """The CPUs of the topology that are on line and that this process may use, now."""
        return self._allowed_now() & self.topology.possible

    @property
    def cpu_quota(self) -> float | None:
        """How many CPUs' time the cgroup may use; None without a limit."""
        return limits.cpu_quota()

    def housekeeping(self, kind: HkType) -> CpuSet:
        """Return the possible CPUs that are not isolated (DOMAIN) or not tickless (WQ), as sysfs says now."""
        now = time.monotonic_ns()
        if self._isolation is None or now - self._isolation[0] > _HOUSEKEEPING_NS:
            self._isolation = (now, limits.isolated_cpus(), limits.nohz_full_cpus())
        keep = self.topology.housekeeping
        domain = kind is HkType.DOMAIN
        taken = (keep.isolated | self._isolation[1]) if domain else (keep.nohz_full | self._isolation[2])
        left = self.topology.possible - taken
        return left or self.topology.possible

    def now(self) -> int:
        """Return ns since the machine was made (CLOCK_MONOTONIC)."""
        return time.monotonic_ns() - self._origin

    # ---- tasks -----------------------------------------------------------------------------------------------------
    @property
    def current(self) -> HostTask:
        """The task whose code is running; in a body's thread the task it belongs to.

        Raises:
            UsageError: called from outside any task.

        """
        return self.runner.current

    def _new_task(self, comm: str, cpus: CpuSet | None, cpu: int | None) -> HostTask:
        allowed = self.online & (cpus if cpus is not None else self.online)
        if not allowed or (cpu is not None and cpu not in allowed):
            raise UsageError(f"CPU {cpu if allowed else cpus} is not on line or not allowed; online: {self.online}")
        hint = CpuSet.of([cpu]) if cpu is not None and cpus is None else None
        return HostTask(comm, cpu if cpu is not None else allowed.first or 0, Attributes(cpus, hint))

    def spawn(
        self, function: Callable[[], Awaitable[Any]], *, comm: str, cpus: CpuSet | None = None, cpu: int | None = None
    ) -> HostTask:
        """Start a task that is no worker."""
        task = self._new_task(comm, cpus, cpu)
        self.runner.spawn(task, function)
        return task

    async def join(self, task: Task) -> Any:  # noqa: ANN401  what the task's function returned
        """Wait until a spawned task is done; return what it returned, or raise what it raised."""
        return await self.runner.join(_mine(task))

    async def park(self, why: str) -> Any:  # noqa: ANN401  what ``wake`` gives
        """Leave the current task until it is woken; for locks and events."""
        return await self.runner.park(why)

    def wake(self, task: Task, *, value: object = None) -> None:
        """Make a parked task ready."""
        self.runner.wake(_mine(task), value=value)

    def timer(self, delay_ns: int, function: Callable[[], object]) -> HostTimer:
        """Call ``function`` after ``delay_ns`` (within a millisecond or so), outside any task."""
        return HostTimer(self.runner, delay_ns, function)

    def lock(self, name: str) -> FifoLock:
        """Return a new mutex."""
        return FifoLock(self, name)

    def event(self, name: str) -> Flag:
        """Return a new flag, not set."""
        return Flag(self, name)

    # ---- what a probe body does ------------------------------------------------------------------------------------
    async def compute(self, ns: int) -> None:
        """Use a CPU for ``ns`` of CPU time, in the task's thread, with the interpreter lock free."""
        _not_negative(ns, "ns of computing")
        await self.runner.hop(self.current, burn, ns)

    async def sleep(self, ns: int) -> None:
        """Leave the CPU for ``ns``: long sleeps in the loop, the last part in the task's thread, which is finer."""
        _not_negative(ns, "ns of sleep")
        task, end = self.current, time.monotonic_ns() + ns
        if task.pool is not None:
            task.pool.sleeping(task)
        if ns > 2 * _FINE_SLEEP_NS:
            await _loop_sleep(self.runner, ns - _FINE_SLEEP_NS)
        await self.runner.hop(task, _sleep_until, end)
        if task.pool is not None:
            task.pool.waking(task)

    async def allocate(self, size: int, node: int | None = None) -> None:
        """Map ``size`` bytes and touch every page, on ``node`` or by the thread's policy; read back where they lie.

        The memory is given back when the outermost measured stretch, or the task, ends.
        """
        _not_negative(size, "bytes")
        task = self.current
        memory = await self.runner.hop(task, touch, size, node, self._applier, task.wish)
        task.held.append(memory)
        if memory.by_node is None:
            task.unknown_memory += size
        else:
            task.memory.update(memory.by_node)
        if not task.measuring and task.work is None:
            task.drop_memory()

    async def call(self, function: Callable[..., T], *args: object, deadline_ns: int | None = None) -> T:
        """Call plain Python code in the task's thread.

        Raises:
            BodyError: ``deadline_ns`` passed. The thread is given up (see ``thread.py``), its stack is in the text
                and in a remark ``deadline``, and the task goes on with a new thread.

        """
        return await self.runner.hop(self.current, function, *args, deadline_ns=deadline_ns)

    async def call_process(self, function: Callable[..., T], *args: object, deadline_ns: int | None = None) -> T:
        """Call CPU-bound Python code in a process that is pinned like the task's thread.

        The function, its arguments and its result travel by pickle. The process serves the later calls of its task.

        Raises:
            BodyError: the process died, or ``deadline_ns`` passed and it was killed.

        """
        from numaprobe.host.process import in_child

        task = self.current
        thread = self.runner.thread_of(task)
        answer = await self.runner.hop(task, in_child, thread, self.start_method, function, args, deadline_ns)
        task.saw(answer.cpu)
        self.runner.count_running(task, answer.running_ns, answer.cpu, answer.cpu)
        if answer.error is not None:
            raise answer.error
        value: T = answer.value
        return value

    async def set_affinity(self, cpus: CpuSet | None, *, memory_node: int | None = None) -> None:
        """Move the current task's thread; None = as it was created.

        Raises:
            RefusedError: this process may use no CPU of ``cpus`` now.

        """
        task = self.current
        if cpus is None:
            wish = replace(task.home, memory_node=memory_node) if memory_node is not None else task.home
        elif cpus & self.online:
            wish = Attributes(cpus, None, memory_node, self._memory_mode)
        else:
            raise RefusedError(f"{task.comm} cannot move to CPU {cpus or 'none'}: it may use {self.online}")
        await self.runner.change(task, wish)

    async def measure(self, body: Callable[[], Awaitable[T]]) -> tuple[T, Usage]:
        """Run ``body`` in the current task and say what it cost.

        Running is the CPU time of the task's thread; runnable is what the kernel's schedstat adds to that; the rest,
        the core's own work between two awaits included, is sleeping.
        """
        task = self.current
        stretch = Stretch(task, self.now())
        try:
            result = await body()
            if not stretch.seen:
                await self.runner.hop(task, nothing)
            return result, stretch.usage(self.now())
        finally:
            stretch.end()

    # ---- workqueues ------------------------------------------------------------------------------------------------
    def _pool_attributes(self, cpus: CpuSet, hint: CpuSet | None, node: int) -> Attributes:
        known = node >= 0 and self._memory_nodes is not None and node in self._memory_nodes
        return Attributes(cpus, hint, node if known else None, self._memory_mode)

    def alloc_workqueue(
        self,
        name: str,
        *,
        unbound: bool,
        max_active: int = 0,
        min_active: int | None = None,
        scope: AffinityScope | None = None,
        strict: bool = False,
    ) -> HostWorkqueue:
        """Make a workqueue."""
        return self._workqueues.alloc(
            name, unbound=unbound, max_active=max_active, min_active=min_active, scope=scope, strict=strict
        )

    def _here(self) -> int:
        task = CURRENT.get()
        return task.cpu if task is not None and task.cpu in self.online else self.online.first or 0

    def queue_work(self, wq: Workqueue, work: Work) -> bool:
        """Queue near the caller; return False if the work is already pending."""
        here = self._here()
        return self.queue_work_on(self._workqueues.unbound_cpu(here) if wq.unbound else here, wq, work)

    def queue_work_on(self, cpu: int, wq: Workqueue, work: Work) -> bool:
        """Queue on ``cpu``'s pool, or on the pool of the pod that holds it."""
        if not isinstance(wq, HostWorkqueue):
            raise UsageError(f"workqueue '{wq.name}' is not of this machine")
        return self._workqueues.queue(wq, work, cpu)

    def queue_work_node(self, node: int, wq: Workqueue, work: Work) -> bool:
        """Queue near ``node``: here if the caller is on it, else on its first CPU on line, else as ``queue_work``.

        Raises:
            UsageError: ``wq`` is per-CPU.

        """
        if not wq.unbound:
            raise UsageError(f"workqueue '{wq.name}' is per-CPU; queue_work_node needs an unbound one")
        near = self._workqueues.cpu_near(node, self._here())
        return self.queue_work(wq, work) if near is None else self.queue_work_on(near, wq, work)

    async def flush_work(self, work: Work) -> bool:
        """Wait until the last queueing of ``work`` has run; return False if it was idle."""
        state: WorkState | None = work.state
        item = (state.pending or state.running) if state is not None else None
        if item is None:
            return False
        task = self.current
        if task.work is not None and task.work.lock_class == work.lock_class:
            self.warn("recursion", f"{task.comm} flushes {work.name} while it executes {task.work.name}")
        item.waiters.append(task)
        await self.park(f"work {work.name}")
        return True

    # ---- remarks ---------------------------------------------------------------------------------------------------
    def warn(self, kind: str, message: str) -> None:
        """Keep a remark for the trace of this run; may be called from any thread."""
        self._warnings.append(RunWarning(kind=kind, message=message, time_ns=self.now()))

    @property
    def warnings(self) -> tuple[RunWarning, ...]:
        """The remarks so far."""
        return tuple(self._warnings)

    @property
    def hung(self) -> tuple[str, ...]:
        """The bodies that passed their deadline and have not come back: name and where they are."""
        return tuple(f"{one.comm}: {one.stack()}" for one in self.runner.hung if not one.join(0))


async def _loop_sleep(runner: Runner, ns: int) -> None:
    future = runner.core.loop.create_future()
    handle = runner.core.loop.call_later(ns / 1e9, lambda: future.done() or future.set_result(None))
    try:
        await future
    finally:
        handle.cancel()


def _sleep_until(end_ns: int) -> None:
    left = end_ns - time.monotonic_ns()
    if left > 0:
        time.sleep(left / 1e9)


def _not_negative(amount: int, what: str) -> None:
    if amount < 0:
        raise BodyError(f"a body asked for {amount} {what}; that is never negative")


def _mine(task: Task) -> HostTask:
    if not isinstance(task, HostTask):
        raise UsageError(f"{task.comm} is not a task of this machine")
    return task


def _live(topology: Topology) -> Topology:
    """Return the topology with this system's isolation added; refuse one that cannot be had here."""
    real = limits.real_cpus()
    if not topology.possible.issubset(real):
        strange = topology.possible - real
        raise RefusedError(f"machine {topology.name}: CPU {strange} is not on this computer; it has {real}")
    if not topology.online & limits.allowed_cpus():
        raise RefusedError(f"machine {topology.name}: this process may use none of its CPUs {topology.online}")
    keep = topology.housekeeping
    isolated = (keep.isolated | limits.isolated_cpus()) & topology.possible
    nohz_full = (keep.nohz_full | limits.nohz_full_cpus()) & topology.possible
    return replace(topology, housekeeping=replace(keep, isolated=isolated, nohz_full=nohz_full))


def _disown_after_fork() -> None:
    for machine in _machines:
        machine._forked = True  # noqa: SLF001  the module's own
        with suppress(AttributeError):
            machine.runner.threads.clear()


os.register_at_fork(after_in_child=_disown_after_fork)
