"""All workqueues of a machine: making them, queueing, flushing, and what CPUs that come and go change.

``__queue_work``, ``queue_work_node``, ``__flush_work``, ``alloc_workqueue``, ``workqueue_offline_cpu`` and their like
in ``kernel/workqueue.c``. A machine says on which CPU the caller is (``here``) and does the sleeping; every choice is
made here.
"""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from numaprobe.errors import UsageError
from numaprobe.workqueue.cpus import Cpus
from numaprobe.workqueue.item import Item, WorkState
from numaprobe.workqueue.limit import ActiveLimit
from numaprobe.workqueue.pools import Pools
from numaprobe.workqueue.queue import Pods, PoolWorkqueue, WorkqueueStruct

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.runtime import AffinityScope, KernelProfile, Task, Work, Workqueue
    from numaprobe.topology import Topology
    from numaprobe.workqueue.pool import Pool, Worker
    from numaprobe.workqueue.seat import Seat

#: ``WQ_DFL_MIN_ACTIVE`` (include/linux/workqueue.h)
DEFAULT_MIN_ACTIVE: Final = 8


class Workqueues:
    """The workqueue subsystem.

    Args:
        topology: the machine as it booted.
        profile: its kernel.
        make_seat: makes a pool's seat.
        warn: takes warnings (kind, message).
        online: the CPUs online, as bits; None = as it booted.
        scope: ``workqueue.default_affinity_scope=``; None = the profile's.
        shard_size: ``workqueue.cache_shard_size=``; None = the profile's.
        detects_hogs: works that compute for long stop to count; None = as the profile says (6.5 and newer).

    Attributes:
        cpus: which CPUs may be used now.
        pools: all pools.
        workqueues: all of them, oldest first.
        held: works that ``max_active`` holds back, in their order.

    """

    def __init__(
        self,
        topology: Topology,
        profile: KernelProfile,
        make_seat: Callable[[Pool], Seat[Worker]],
        warn: Callable[[str, str], None],
        *,
        online: int | None = None,
        scope: AffinityScope | None = None,
        shard_size: int | None = None,
        detects_hogs: bool | None = None,
    ) -> None:
        self._topology = topology
        if shard_size is not None:
            profile = replace(profile, cache_shard_size=shard_size)
        if profile.cache_shard_size < 1:
            raise UsageError(f"the cache shard size is {profile.cache_shard_size}; it must be 1 or more cores")
        self._profile = profile
        self._warn = warn
        self._scope = scope or profile.default_scope
        #: limits of an unbound workqueue are a node's (6.9 and newer), or each pool has its own
        self._per_node = profile.limit_is_shared
        self._hard = profile.hard_unbound_pools
        self.cpus = Cpus(topology, profile, topology.online.bits if online is None else online)
        hogs = profile.detects_hogs if detects_hogs is None else detects_hogs
        self.pools = Pools(topology, profile, self.cpus, make_seat, detects_hogs=hogs)
        self._pods: dict[AffinityScope, Pods] = {}
        self._reported: set[str] = set()
        self.workqueues: list[WorkqueueStruct] = []
        self.held: dict[Item, None] = {}
        self.system_percpu_wq = self.alloc(profile.percpu_wq_name, unbound=False)
        self.system_dfl_wq = self.alloc(profile.unbound_wq_name, unbound=True, max_active=profile.max_active)

    # ---- making ----------------------------------------------------------------------------------------------------
    def alloc(
        self,
        name: str,
        *,
        unbound: bool,
        max_active: int = 0,
        min_active: int | None = None,
        scope: AffinityScope | None = None,
        strict: bool = False,
    ) -> WorkqueueStruct:
        """Make a workqueue (``alloc_workqueue``), and the pools of its pods, so that ids come in the kernel's order.

        Raises:
            UsageError: a negative ``max_active``.

        """
        active = min(max_active or self._profile.max_active // 2, self._profile.max_active)
        if active < 1:
            raise UsageError(f"workqueue {name}: max_active is {max_active}; it must be 0 (default) or more")
        wq = WorkqueueStruct(
            self,
            name,
            max_active=active,
            min_active=min(active, DEFAULT_MIN_ACTIVE if min_active is None else min_active),
            pods=self._pods_of(scope or self._scope) if unbound else None,
            strict=strict or self._hard,
        )
        self.workqueues.append(wq)
        self._assign_pools(wq)
        return wq

    def _pods_of(self, scope: AffinityScope) -> Pods:
        known = self._pods.get(scope)
        if known is None:
            known = self._pods[scope] = Pods(self._profile.pods(self._topology, scope))
        return known

    def _assign_pools(self, wq: WorkqueueStruct) -> None:
        """Give every pod its pool, the machine-wide one first, and each limit its maximum."""
        if wq.pods is None:
            return
        self.pools.of_pod(self.cpus.unbound, strict=wq.strict)
        old, wq.pwqs = wq.pools, {}
        for index, pod in enumerate(wq.pods.pods):
            pool = self.pools.of_pod(self.cpus.of_pod(pod), strict=wq.strict)
            pool.users += 1
            wq.pwqs[index] = PoolWorkqueue(pool, self._limit(wq, pool))
        for pool in old:
            pool.users -= 1
        for key, limit in wq.limits.items():
            limit.change(self._maximum(wq, key))

    def _limit(self, wq: WorkqueueStruct, pool: Pool) -> ActiveLimit:
        key = pool.node if wq.unbound and self._per_node else pool.id
        limit = wq.limits.get(key)
        if limit is None:
            limit = wq.limits[key] = ActiveLimit(wq.name, self._maximum(wq, key), self.held)
        return limit

    def _maximum(self, wq: WorkqueueStruct, key: int) -> int:
        if wq.unbound and self._per_node:
            return self.cpus.share(key, wq.max_active, wq.min_active)
        return wq.max_active

    def fill_but_one(self, wq: WorkqueueStruct) -> None:
        """Let others, who are not modelled, have all places of its limits but one."""
        wq.max_active = wq.min_active = 1
        for key, limit in wq.limits.items():
            limit.change(self._maximum(wq, key))

    # ---- queueing --------------------------------------------------------------------------------------------------
    def queue(self, wq: Workqueue, work: Work, here: int) -> bool:
        """Queue on the local CPU if ``wq`` may use it; False if the work is pending.

        Raises:
            UsageError: ``wq`` is not one of this machine.

        """
        return self.queue_on(self.cpus.local(here) if wq.unbound else here, wq, work)

    def queue_near(self, node: int, wq: Workqueue, work: Work, here: int) -> bool:
        """Queue near ``node``: here if the caller is on it, else on its first CPU online, else as ``queue``.

        On a per-CPU workqueue that makes little sense; the kernel warns once, and does it.
        """
        if not wq.unbound:
            self._report_once("queue-work-node", "", f"queue_work_node on workqueue {wq.name}, which is not unbound")
        cpu = self.cpus.near(node, here)
        return self.queue(wq, work, here) if cpu is None else self.queue_on(cpu, wq, work)

    def queue_on(self, cpu: int, wq: Workqueue, work: Work) -> bool:
        """Queue on ``cpu``'s pool, or on the pool of the pod that holds it; a running work on the pool that runs it.

        Raises:
            UsageError: ``cpu`` is not possible, or ``wq`` is not one of this machine.

        """
        pool, limit = self._pwq(wq, cpu)
        state: WorkState | None = work.state
        if state is None:
            state = work.state = WorkState()
        elif state.pending is not None:
            return False
        running = state.running
        if running is not None and running.wq is wq:
            item = Item(work, state, wq, running.pool, running.limit)
        else:
            item = Item(work, state, wq, pool, limit)
        state.pending = item
        item.limit.admit(item)
        return True

    def _pwq(self, wq: Workqueue, cpu: int) -> PoolWorkqueue:
        if not isinstance(wq, WorkqueueStruct) or wq.owner is not self:
            raise UsageError(f"workqueue {wq.name} is not one of this machine")
        if wq.pods is not None:
            pod = wq.pods.of_cpu.get(cpu)
            if pod is None:
                raise self.pools.not_possible(cpu)
            return wq.pwqs[pod]
        pwq = wq.pwqs.get(cpu)
        if pwq is None:
            pool = self.pools.of_cpu(cpu)
            pwq = wq.pwqs[cpu] = PoolWorkqueue(pool, self._limit(wq, pool))
        return pwq

    def flush(self, work: Work, task: Task) -> Item | None:
        """Return the queueing of ``work`` that ``task`` is to wait for, which will wake it; None if there is none.

        A worker that flushes the class it executes is reported, once per class, as lockdep would. (Lockdep then
        switches itself off; here the next class is reported too.)
        """
        state: WorkState | None = work.state
        item = None if state is None else state.pending or state.running
        if item is None:
            return None
        held = task.work
        if held is not None and held.lock_class == work.lock_class:
            self._report_once(
                "recursion",
                held.lock_class,
                f"possible recursive locking detected: {task.comm} executes {held.name} and flushes {work.name}, "
                f"both of lock class (work_completion)({held.lock_class})",
            )
        if item.waiters is None:
            item.waiters = [task]
        else:
            item.waiters.append(task)
        return item

    def _report_once(self, kind: str, which: str, message: str) -> None:
        if f"{kind} {which}" not in self._reported:
            self._reported.add(f"{kind} {which}")
            self._warn(kind, message)

    # ---- CPUs come and go ------------------------------------------------------------------------------------------
    def going(self, cpu: int) -> None:
        """Let the workers of a CPU that goes offline run anywhere, unmanaged; it is still online."""
        pool = self.pools.per_cpu.get(cpu)
        if pool is not None:
            pool.unbind(self.cpus.homeless())

    def gone(self, cpu: int) -> None:
        """A CPU has gone offline: pods lose it, limits are worked out again."""
        self.cpus.online &= ~(1 << cpu)
        self.refresh()

    def came(self, cpu: int) -> None:
        """A CPU is online: its workers are bound to it, pods have it, limits are worked out again."""
        self.cpus.online |= 1 << cpu
        pool = self.pools.per_cpu.get(cpu)
        if pool is not None:
            pool.rebind(1 << cpu)
        self.refresh()

    def set_online(self, online: int) -> None:
        """Several CPUs may have come and gone, all at once: what ``going``, ``gone`` and ``came`` do."""
        before = self.cpus.online
        self.cpus.online = online
        for cpu, pool in self.pools.per_cpu.items():
            if before >> cpu & 1 and not online >> cpu & 1:
                pool.unbind(self.cpus.homeless())
            elif online >> cpu & 1 and not before >> cpu & 1:
                pool.rebind(1 << cpu)
        self.refresh()

    def isolate(self, cpus: int) -> None:
        """Take ``cpus`` out of the unbound CPUs that were asked for, unless none would be left."""
        self.cpus.isolate(cpus)
        self.refresh()

    def set_unbound_cpumask(self, cpus: int) -> int:
        """Write ``/sys/devices/virtual/workqueue/cpumask`` (``workqueue_set_unbound_cpumask``): 0 or -EINVAL.

        CPUs that are not possible are left out; isolated ones are not, on purpose. Every unbound workqueue gets its
        pools again; works that are queued or run stay where they are.
        """
        if not self.cpus.request(cpus):
            return -errno.EINVAL
        self.refresh()
        return 0

    def refresh(self) -> None:
        """Work out the pods' pools and limits again, after a change of the CPUs."""
        for wq in self.workqueues:
            self._assign_pools(wq)
        self.pools.forget_unused({item.pool for item in self.held})

    # ---- all of them -----------------------------------------------------------------------------------------------
    def workers(self) -> list[Worker]:
        """Return every worker."""
        return [worker for pool in self.pools.all() for worker in pool.workers]

    def reset(self) -> None:
        """Forget all works and workers: the run that they belonged to was cut short. Workqueues and pools stay."""
        for item in self.held:
            item.state.pending = None
        self.held.clear()
        for pool in self.pools.all():
            pool.clear()
        for wq in self.workqueues:
            for limit in wq.limits.values():
                limit.inactive.clear()
                limit.active = 0
