"""The host machine: the driver core in real time, on this computer.

One asyncio loop runs the core, so its state has one owner at a time: the thread that runs the loop (``loop.py``). Each
task that runs bodies has an OS thread; workers' threads are pinned to their pool's CPUs, with their memory policy set
to its node. What ran where is read back, never
assumed.

A CPU is *online* here if this process may use it: a cpuset, a container or ``taskset`` that takes a CPU away looks
like a CPU that went offline, and a node without allowed CPUs like a node without CPUs.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from numaprobe.cpuset import CpuSet
from numaprobe.errors import RefusedError, UsageError
from numaprobe.hostmachine import limits, syscalls
from numaprobe.hostmachine.attributes import Applier, Attributes
from numaprobe.hostmachine.body_calls import BodyCalls
from numaprobe.hostmachine.life import Life, own_here
from numaprobe.hostmachine.runner import HostTimer, Runner
from numaprobe.hostmachine.task import CURRENT, HostTask
from numaprobe.hostmachine.workers import Workers
from numaprobe.records import RunWarning
from numaprobe.runtime.holds import HotplugHolds
from numaprobe.runtime.profile import DEFAULT_PROFILE, AffinityScope, KernelProfile, kernel_profile
from numaprobe.runtime.protocol import HkType
from numaprobe.runtime.sync import FifoLock, Flag
from numaprobe.topology import housekeeping_cpus
from numaprobe.workqueue import Workqueues, WorkqueueStruct

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from numaprobe.runtime.protocol import Task, Work, Workqueue
    from numaprobe.topology import Topology
    from numaprobe.workqueue import Pool

T = TypeVar("T")

#: A machine may run for months, and a driver may complain each time.
WARNINGS_KEPT: Final = 10_000
#: The CPUs that the process may use are read again after this long: the call costs a tenth of an empty probe.
_ALLOWED_NS: Final = 1_000_000
#: Isolation is read again after this long: a cpuset partition may change it while the machine runs.
_HOUSEKEEPING_NS: Final = 1_000_000_000


class HostMachine(Life, BodyCalls):
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
        self._warnings: deque[RunWarning] = deque(maxlen=WARNINGS_KEPT)
        self._allowed: tuple[set[int], CpuSet, CpuSet] = (set(), CpuSet(), CpuSet())
        self._allowed_until = 0
        self._isolation: tuple[int, CpuSet, CpuSet] | None = None
        self._unbound = CpuSet()
        self._holds = HotplugHolds(self.warn)
        self._applier = Applier(self.warn, self._allowed_now)
        self.runner = Runner(self._applier, self.warn)
        self._build_workqueues()
        quota = limits.cpu_quota()
        if quota is not None and quota < len(self.online):
            self.warn("cpu-quota", f"the cgroup may use {quota:g} CPUs' time of {len(self.online)}; bodies will wait")
        own_here(self)

    def _build_workqueues(self) -> None:
        self._followed = self.online
        workers = Workers(self.runner, self.warn, self._pool_attributes, self._follow_online)
        # A body that sleeps in plain Python looks like one that computes: hogs are noticed whatever the release.
        self._workqueues = Workqueues(
            self.topology, self.profile, workers.seat, self.warn, online=self._followed.bits, detects_hogs=True
        )
        self.runner.accounting.held = self._workqueues.held
        self.runner.held = lambda: map(str, self._workqueues.held)
        self.system_percpu_wq: WorkqueueStruct = self._workqueues.system_percpu_wq
        self.system_dfl_wq: WorkqueueStruct = self._workqueues.system_dfl_wq

    # ---- what it is ------------------------------------------------------------------------------------------------
    def _allowed_now(self) -> CpuSet:
        """Return the CPUs this process may use."""
        self._read_allowed()
        return self._allowed[1]

    def _read_allowed(self) -> None:
        now = self.runner.core.allowed_cpus()
        if now != self._allowed[0]:
            allowed = CpuSet.of(now)
            self._allowed = (now, allowed, allowed & self.topology.possible)
        self._allowed_until = time.monotonic_ns() + _ALLOWED_NS

    @property
    def online(self) -> CpuSet:
        """The CPUs of the topology that are online and that this process may use, now."""
        self._allowed_now()
        return self._allowed[2]

    def _online_lately(self, now: int) -> CpuSet:
        """Return ``online`` as it was a millisecond ago at most (``now``: CLOCK_MONOTONIC); asking costs 2 us."""
        if now >= self._allowed_until:
            self._read_allowed()
        return self._allowed[2]

    def _follow_online(self, now: int) -> CpuSet:
        """Return ``online`` as it was a millisecond ago at most, and tell the workqueues if it has changed.

        For what happens with every work; in the core's loop only. ``now``: CLOCK_MONOTONIC.
        """
        if now >= self._allowed_until:
            self._read_allowed()
        online = self._allowed[2]
        if online is not self._followed and online:
            self._followed = online
            self._workqueues.set_online(online.bits)
        return online

    @property
    def cpu_quota(self) -> float | None:
        """How many CPUs' time the cgroup may use; None without a limit."""
        return limits.cpu_quota()

    def housekeeping(self, kind: HkType) -> CpuSet:
        """Return the possible CPUs that are not isolated (DOMAIN) or not tickless (WQ), as sysfs says now."""
        if kind is HkType.UNBOUND:
            if self._unbound.bits != self._workqueues.cpus.unbound:
                self._unbound = CpuSet(self._workqueues.cpus.unbound)
            return self._unbound
        now = time.monotonic_ns()
        if self._isolation is None or now - self._isolation[0] > _HOUSEKEEPING_NS:
            self._isolation = (now, limits.isolated_cpus(), limits.nohz_full_cpus())
        keep = self.topology.housekeeping
        domain = kind is HkType.DOMAIN
        taken = (keep.isolated | self._isolation[1]) if domain else (keep.nohz_full | self._isolation[2])
        return housekeeping_cpus(self.topology, taken)

    def cpu_hotplug_disable(self, holder: str) -> None:
        """Keep count; the computer's CPUs go and come as its administrator likes, whoever holds it off here."""
        self._holds.disable(holder)

    def cpu_hotplug_enable(self, holder: str) -> None:
        """Take one ``cpu_hotplug_disable`` back."""
        self._holds.enable(holder)

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
        task = CURRENT.get()
        return task if task is not None else self.runner.current

    @property
    def ending(self) -> bool:
        """Whether the machine is being closed, and cancels its tasks."""
        return self.runner.closing or not self.runner.core.here

    async def join(self, task: Task) -> Any:  # noqa: ANN401  what the task's function returned
        """Wait until a spawned task is done; return what it returned, or raise what it raised."""
        return await self.runner.join(_mine(task))

    def park(self, why: object) -> Coroutine[Any, Any, Any]:  # a plain function: one coroutine less per wait
        """Leave the current task until it is woken; for locks and events."""
        return self.runner.park(why)

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

    # ---- workqueues ------------------------------------------------------------------------------------------------
    def _pool_attributes(self, pool: Pool) -> tuple[Attributes, int]:
        """Return what a pool's threads are given, and the CPU on which its workers are expected."""
        pod, known = CpuSet(pool.pod), self._memory_nodes
        node = pool.node if known is not None and pool.node >= 0 and pool.node in known else None
        hint = pod if pool.pod != pool.mask else None
        first = (pod & self._followed).first
        wish = Attributes(CpuSet(pool.mask), hint, node, self._memory_mode, pod if pool.label.startswith("u") else None)
        return wish, pod.first or 0 if first is None else first

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
        self._follow_online(time.monotonic_ns())
        return self._workqueues.alloc(
            name, unbound=unbound, max_active=max_active, min_active=min_active, scope=scope, strict=strict
        )

    def _here(self) -> int:
        task, online = CURRENT.get(), self._follow_online(time.monotonic_ns())
        return task.cpu if task is not None and online.bits >> task.cpu & 1 else online.first or 0

    def queue_work(self, wq: Workqueue, work: Work) -> bool:
        """Queue near the caller; return False if the work is already pending."""
        queued = self._workqueues.queue(wq, work, self._here())
        self.runner.accounting.busy += queued
        return queued

    def queue_work_on(self, cpu: int, wq: Workqueue, work: Work) -> bool:
        """Queue on ``cpu``'s pool, or on the pool of the pod that holds it."""
        self._follow_online(time.monotonic_ns())
        queued = self._workqueues.queue_on(cpu, wq, work)
        self.runner.accounting.busy += queued
        return queued

    def queue_work_node(self, node: int, wq: Workqueue, work: Work) -> bool:
        """Queue near ``node``: here if the caller is on it, else on its first CPU online, else as ``queue_work``."""
        queued = self._workqueues.queue_near(node, wq, work, self._here())
        self.runner.accounting.busy += queued
        return queued

    def set_unbound_cpumask(self, cpus: CpuSet) -> int:
        """Write where this machine's unbound works may run: 0, or -EINVAL if none of ``cpus`` is possible.

        The computer's own ``/sys/devices/virtual/workqueue/cpumask`` is left alone.
        """
        self._follow_online(time.monotonic_ns())
        return self._workqueues.set_unbound_cpumask(cpus.bits)

    async def flush_work(self, work: Work) -> bool:
        """Wait until the last queueing of ``work`` has run; return False if it was idle."""
        task = self.current
        item = self._workqueues.flush(work, task)
        if item is None:
            return False
        try:
            await self.park(item)
        except BaseException:
            item.forsaken_by(task)  # cut short: it must not be woken out of its next wait
            raise
        return True

    # ---- warnings ---------------------------------------------------------------------------------------------------
    def warn(self, kind: str, message: str) -> None:
        """Keep a warning for the trace of this run; may be called from any thread."""
        self._warnings.append(RunWarning(kind=kind, message=message, time_ns=self.now()))

    @property
    def warnings(self) -> tuple[RunWarning, ...]:
        """The warnings so far, the last ``WARNINGS_KEPT`` of them."""
        return tuple(self._warnings)

    @property
    def hung(self) -> tuple[str, ...]:
        """The bodies that passed their deadline and have not come back: name and where they are."""
        return tuple(f"{one.comm}: {one.stack()}" for one in self.runner.threads.hung if not one.join(0))


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
