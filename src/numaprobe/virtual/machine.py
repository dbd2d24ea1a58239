"""The virtual machine: the machine protocol over virtual time and modelled CPUs.

The parts: ``loop`` (virtual time), ``sched`` (run queues; ``freecpus`` if the CPU model is off), ``blocking`` (locks,
events), ``worker`` (its seat for the rules of ``numaprobe.workqueue``), ``tasks`` (all that are no workers),
``hotplug``, ``memory``. This file joins them and holds what a task may await.

Beyond the protocol: ``cpu_down``, ``cpu_up``, ``isolate``, ``set_unbound_cpumask``, ``add_load``, ``validate``.
"""

from __future__ import annotations

from heapq import heappush
from typing import TYPE_CHECKING, Any, Final, TypeVar

from numaprobe.cpuset import CpuSet
from numaprobe.errors import BodyError, DeadlockError, UsageError
from numaprobe.records import NO_NODE, RunWarning
from numaprobe.runtime import DEFAULT_PROFILE, AffinityScope, HkType, KernelProfile, Usage, kernel_profile
from numaprobe.runtime.sync import FifoLock, Flag
from numaprobe.topology import housekeeping_cpus
from numaprobe.virtual.blocking import Blocker, SchedulerLike
from numaprobe.virtual.cpu import CpuModel
from numaprobe.virtual.deadlock import waits
from numaprobe.virtual.freecpus import FreeCpus
from numaprobe.virtual.hotplug import CpuHotplug
from numaprobe.virtual.loop import NOTHING, PAUSE, EventLoop, ShutDown, VirtualTimer, no_collections
from numaprobe.virtual.memory import FreeMemory
from numaprobe.virtual.sched import Scheduler
from numaprobe.virtual.task import Frame, VirtualTask
from numaprobe.virtual.tasks import Tasks
from numaprobe.virtual.validate import validate
from numaprobe.virtual.worker import VirtualSeat
from numaprobe.workqueue import Workqueues, WorkqueueStruct

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from numaprobe.runtime import Task, Work, Workqueue
    from numaprobe.topology import Topology

T = TypeVar("T")

#: Bytes that one page fault brings in.
PAGE_SIZE: Final = 4096


class VirtualMachine:
    """A machine in virtual time. See ``numaprobe.runtime.protocol`` for what its methods promise.

    Args:
        topology: the machine as it boots.
        profile: the kernel it stands for, or its name.
        scope: ``workqueue.default_affinity_scope=``; None = the profile's.
        shard_size: ``workqueue.cache_shard_size=``; None = the profile's.
        timeline: keep the segments of each measured stretch.
        cpu_model: how CPUs are shared; ``CpuModel.off`` = not at all.
        page_ns: CPU time to have a page of 4 KiB in memory (the fault, and zeroing it); 0 = it is part of what a
            scenario says that its bodies compute.

    Raises:
        InputError: the topology breaks a promise of its own.
        UnknownNameError: there is no such profile.

    """

    def __init__(
        self,
        topology: Topology,
        profile: KernelProfile | str = DEFAULT_PROFILE,
        *,
        scope: AffinityScope | None = None,
        shard_size: int | None = None,
        timeline: bool = False,
        cpu_model: CpuModel | None = None,
        page_ns: int = 0,
    ) -> None:
        topology.validate()
        self._topology = topology
        self._profile = kernel_profile(profile) if isinstance(profile, str) else profile
        self._timeline = timeline
        self._page_ns = page_ns
        model = cpu_model or CpuModel()
        self.loop = self._make_loop()
        self.scheduler: SchedulerLike = (Scheduler if model.enabled else FreeCpus)(self.loop, topology, model)
        self._free = not model.enabled
        self.blocker = Blocker(self.loop, self.scheduler)
        self._warnings: list[RunWarning] = []
        seat = self._make_seat()
        self.workqueues = Workqueues(
            topology, self._profile, lambda _pool: seat, self.warn, scope=scope, shard_size=shard_size
        )
        self.memory = FreeMemory(topology)
        self.tasks = Tasks(topology, self.blocker)
        self.hotplug = CpuHotplug(topology, self._profile, self.tasks, self.workqueues, self.warn)
        self._broken = False

    def _running(self) -> AbstractContextManager[None]:
        """Return what a run is made in."""
        return no_collections()

    def _make_loop(self) -> EventLoop:
        """Return what runs it (another one where every step is chosen: ``choosing``)."""
        return EventLoop()

    def _make_seat(self) -> VirtualSeat:
        """Return the seat of its workers."""
        return VirtualSeat(self.blocker)

    # ---- what it is ------------------------------------------------------------------------------------------------
    @property
    def topology(self) -> Topology:
        """The machine as it booted."""
        return self._topology

    @property
    def profile(self) -> KernelProfile:
        """The kernel it stands for."""
        return self._profile

    @property
    def online(self) -> CpuSet:
        """The CPUs online now."""
        return self.hotplug.online

    def housekeeping(self, kind: HkType) -> CpuSet:
        """Return the CPUs that ``housekeeping_cpumask(kind)`` holds now; never empty."""
        if kind is HkType.UNBOUND:
            return CpuSet(self.workqueues.cpus.unbound)
        taken = self.hotplug.isolated if kind is HkType.DOMAIN else self._topology.housekeeping.nohz_full
        return housekeeping_cpus(self._topology, taken)

    def cpu_hotplug_disable(self, holder: str) -> None:
        """Let no CPU go offline or come online until ``cpu_hotplug_enable`` was called as often."""
        self.hotplug.holds.disable(holder)

    def cpu_hotplug_enable(self, holder: str) -> None:
        """Take one ``cpu_hotplug_disable`` back."""
        self.hotplug.holds.enable(holder)

    # ---- time and tasks --------------------------------------------------------------------------------------------
    def now(self) -> int:
        """Return ns since the start of the machine."""
        return self.loop.now

    @property
    def ending(self) -> bool:
        """Whether a run that was cut short unwinds its tasks."""
        return self.loop.closing

    @property
    def current(self) -> Task:
        """The task whose code is running."""
        return self.blocker.running()

    def run(self, main: Callable[[], Awaitable[T]], *, comm: str = "modprobe", cpu: int | None = None) -> T:
        """Run ``main`` as a new task (pinned to ``cpu`` if given), then go on until nothing is left to run.

        Time goes on where the last run ended. A machine on which a run left tasks waiting, or was cut short, cannot be
        used again.

        Raises:
            DeadlockError: tasks wait and nothing can wake them.
            UsageError: the machine runs already, or an earlier run failed.

        """
        if self._broken or self.loop.current is not None:
            raise UsageError("this machine is running, or an earlier run on it was cut short; make a new one")
        task = self.tasks.start(main, comm, None if cpu is None else CpuSet.of([cpu]), cpu)
        self._broken = True
        try:
            with self._running():
                self.loop.run()
        except BaseException:
            self.tasks.close(worker.task for worker in self.workqueues.workers())
            raise
        stuck = waits(self.blocker.blocked)
        if stuck:
            self.tasks.close(worker.task for worker in self.workqueues.workers())
        self._broken = bool(stuck)
        self._raise_failure(task, stuck)
        result: T = task.result
        return result

    def _raise_failure(self, main: VirtualTask, stuck: list[str]) -> None:
        """Raise what went wrong: main's error, else a deadlock, else the first error that nobody joined."""
        failed = list(self.tasks.unjoined)
        self.tasks.unjoined.clear()
        if main.error is not None:
            raise main.error
        if stuck:
            raise DeadlockError(stuck)
        for task in failed:
            if task.error is not None:
                raise task.error

    def spawn(
        self, function: Callable[[], Awaitable[Any]], *, comm: str, cpus: CpuSet | None = None, cpu: int | None = None
    ) -> VirtualTask:
        """Start a task that is no worker, allowed on ``cpus``, first placed on ``cpu`` if that is idle.

        ``cpus`` None = the CPUs that are not isolated, as for a task whose ancestor is init.

        Raises:
            UsageError: none of ``cpus`` is online, or ``cpu`` is not one of them.

        """
        return self.tasks.start(function, comm, cpus, cpu)

    async def join(self, task: Task) -> Any:  # noqa: ANN401  what the task's function returned
        """Wait until a spawned task is done; return what it returned, or raise what it raised."""
        if not isinstance(task, VirtualTask) or task.is_worker:
            raise UsageError(f"{task.comm} cannot be joined: it is no spawned task of this machine")
        return await self.tasks.join(task)

    def timer(self, delay_ns: int, function: Callable[[], object]) -> VirtualTimer:
        """Call ``function`` (which must not sleep) after ``delay_ns``, outside any task."""
        if delay_ns < 0:
            raise UsageError(f"a timer of {delay_ns} ns: time does not run backwards; give 0 or more")
        return self.blocker.timer(delay_ns, function)

    def lock(self, name: str) -> FifoLock:
        """Return a new mutex."""
        return FifoLock(self.blocker, name)

    def event(self, name: str) -> Flag:
        """Return a new flag, not set."""
        return Flag(self.blocker, name)

    # ---- what a probe body does ------------------------------------------------------------------------------------
    def compute(self, ns: int) -> Awaitable[None]:
        """Use a CPU for ``ns`` of CPU time. As ``sleep``, it begins when it is called: await it at once."""
        task = self.loop.current
        if task is None or ns < 0 or self.loop.closing:
            return self._refuse("compute", ns)
        if not ns:
            return NOTHING
        self.scheduler.compute(task, ns)
        return PAUSE

    def sleep(self, ns: int) -> Awaitable[None]:
        """Leave the CPU for ``ns``."""
        loop = self.loop
        task = loop.current
        if task is None or ns < 0 or loop.closing:
            return self._refuse("sleep", ns)
        loop.serial = serial = loop.serial + 1
        if self._free and type(task) is VirtualTask:
            # The CPU model is off and no pool cares: the one hot path of a plain simulation.
            heappush(loop.heap, (loop.now + ns, serial, None, task))
        else:
            heappush(loop.heap, (loop.now + ns, serial, self.scheduler.wake, task))
            self.scheduler.sleep(task)
        return PAUSE

    async def _refuse(self, what: str, ns: int) -> None:
        """Say why the current task may not ``compute`` or ``sleep`` for ``ns``."""
        if self.loop.closing:
            raise ShutDown
        self.blocker.running()
        raise BodyError(f"{what} of {ns} ns: time does not run backwards; give 0 or more")

    async def allocate(self, size: int, node: int | None = None) -> None:
        """Allocate ``size`` bytes: on ``node``, or by the task's memory policy (local node first) if None or -1."""
        task = self.blocker.running()
        if node is None or node == NO_NODE:
            node = self._topology.node_of(task.cpu) if task.memory_node is None else task.memory_node
        for giver, part in self.memory.allocate(size, node):
            for frame in task.frames:
                frame.memory[giver] = frame.memory.get(giver, 0) + part
        if self._page_ns:
            await self.compute(-(-size // PAGE_SIZE) * self._page_ns)

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """Call plain Python code; it takes no virtual time."""
        return function(*args)

    async def set_affinity(self, cpus: CpuSet | None, *, memory_node: int | None = None) -> None:
        """Move the current task to ``cpus`` and prefer ``memory_node``; None = as it was created.

        Raises:
            UsageError: none of ``cpus`` is online (``sched_setaffinity`` says EINVAL).

        """
        task = self.blocker.running()
        mask = task.home_mask if cpus is None else cpus.bits
        if cpus is not None and not mask & self.scheduler.online:
            raise UsageError(f"{task.comm} cannot move to CPUs '{cpus}': none is online")
        task.memory_node = memory_node
        self.scheduler.set_mask(task, mask)
        await self.tasks.settle()

    async def measure(self, body: Callable[[], Awaitable[T]]) -> tuple[T, Usage]:
        """Run ``body`` in the current task and say what it cost. Measured stretches nest."""
        task = self.blocker.running()
        frame = Frame(self.loop.now, task, timeline=self._timeline)
        task.frames.append(frame)
        try:
            result = await body()
        finally:
            task.frames.remove(frame)
        return result, frame.usage(self.loop.now, self._topology)

    # ---- workqueues ------------------------------------------------------------------------------------------------
    @property
    def system_percpu_wq(self) -> Workqueue:
        """``events``: per-CPU."""
        return self.workqueues.system_percpu_wq

    @property
    def system_dfl_wq(self) -> Workqueue:
        """``events_unbound``."""
        return self.workqueues.system_dfl_wq

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
        """Make a workqueue. ``scope`` None = the machine's default."""
        return self.workqueues.alloc(
            name, unbound=unbound, max_active=max_active, min_active=min_active, scope=scope, strict=strict
        )

    def queue_work(self, wq: Workqueue, work: Work) -> bool:
        """Queue on the local CPU if ``wq`` may use it."""
        return self.workqueues.queue(wq, work, self.loop.cpu)

    def queue_work_on(self, cpu: int, wq: Workqueue, work: Work) -> bool:
        """Queue on ``cpu``'s pool, or on the pool of the pod that holds it."""
        return self.workqueues.queue_on(cpu, wq, work)

    def queue_work_node(self, node: int, wq: Workqueue, work: Work) -> bool:
        """Queue on an unbound ``wq`` near ``node``."""
        return self.workqueues.queue_near(node, wq, work, self.loop.cpu)

    async def flush_work(self, work: Work) -> bool:
        """Wait until the last queueing of ``work`` has run; return False if it was idle."""
        task = self.blocker.running()
        item = self.workqueues.flush(work, task)
        if item is None:
            return False
        self.blocker.block(task, item)
        await PAUSE
        return True

    # ---- warnings ---------------------------------------------------------------------------------------------------
    def warn(self, kind: str, message: str) -> None:
        """Keep a warning for the trace of this run."""
        self._warnings.append(RunWarning(kind=kind, message=message, time_ns=self.loop.now))

    @property
    def warnings(self) -> tuple[RunWarning, ...]:
        """The warnings so far."""
        return tuple(self._warnings)

    # ---- beyond the protocol: CPUs come and go, background load ----------------------------------------------------
    async def cpu_down(self, cpu: int) -> int:
        """Take ``cpu`` offline: tasks leave it, its workers run anywhere, pods lose it. Takes no time.

        Returns:
            0; or -EBUSY, with a warning ``cpu-hotplug``, while CPU hotplug is held off.

        Raises:
            RefusedError: it is the last CPU online (the kernel says EBUSY).
            UsageError: it is not online.

        """
        return await self.hotplug.down(cpu)

    async def cpu_up(self, cpu: int) -> int:
        """Bring ``cpu`` online: its workers come back to it, pods have it again. Takes no time.

        Returns:
            0; or -EBUSY, with a warning ``cpu-hotplug``, while CPU hotplug is held off.

        Raises:
            UsageError: it is not present, or online already.

        """
        return await self.hotplug.up(cpu)

    async def isolate(self, cpus: CpuSet) -> None:
        """Make ``cpus`` an isolated cpuset partition, in place of one made before (see ``CpuHotplug.isolate``).

        Raises:
            UsageError: no CPU online would be left.

        """
        await self.hotplug.isolate(cpus)

    async def set_unbound_cpumask(self, cpus: CpuSet) -> int:
        """Write ``/sys/devices/virtual/workqueue/cpumask``: 0, or -EINVAL if none of ``cpus`` is possible."""
        return await self.hotplug.set_unbound_cpumask(cpus)

    def add_load(self, cpus: CpuSet, tasks_per_cpu: int = 1, comm: str = "load", *, pinned: bool = True) -> None:
        """Start endless tasks that compete for CPUs; they neither keep a run from ending nor count as waiting.

        Args:
            cpus: where; those offline are left out.
            tasks_per_cpu: how many for each of them.
            comm: their name.
            pinned: each stays on its CPU; False: they may move within ``cpus``.

        """
        for cpu in cpus & self.online:
            for _ in range(tasks_per_cpu):
                self.tasks.add_load(comm, cpu, 1 << cpu if pinned else cpus.bits)

    def validate(self) -> None:
        """Hold the machine's promises to itself (see ``validate``); not after a run that was cut short.

        Raises:
            InternalError: one is broken.

        """
        if not self._broken or self.loop.current is not None:
            validate(self.workqueues, self.tasks, self.scheduler, self.blocker, self.loop)
