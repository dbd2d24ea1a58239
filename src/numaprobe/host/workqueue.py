"""Workqueues on threads: where a work goes (``__queue_work``, ``queue_work_node``), and how many may run.

Pools are the kernel's: one for each CPU, and unbound ones that workqueues with the same CPUs, pod and strictness
share. A strict pool's threads are pinned to the pod. A non-strict one's may run wherever unbound work may, and wake up
in the pod. A pod without an allowed CPU on line falls back to all unbound CPUs, silently as there.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import CpuSet
from numaprobe.errors import UsageError
from numaprobe.host.pool import Item, Pool, WorkState
from numaprobe.topology import unbound_cpumask
from numaprobe.workqueue.pods import pods

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.host.accounting import Accounting
    from numaprobe.host.attributes import Attributes
    from numaprobe.host.pool import PoolHost
    from numaprobe.runtime import Work
    from numaprobe.runtime.profile import AffinityScope, KernelProfile
    from numaprobe.topology import Topology

#: ``WQ_DFL_ACTIVE``, ``WQ_MAX_ACTIVE``, ``WQ_DFL_MIN_ACTIVE`` (include/linux/workqueue.h)
DEFAULT_ACTIVE: Final = 1024
MAXIMUM_ACTIVE: Final = 2048
DEFAULT_MIN_ACTIVE: Final = 8
#: Every CPU has a pool for normal and one for high priority.
STANDARD_POOLS: Final = 2


class ActiveLimit:
    """How many works of a workqueue may be active at once on one node (or CPU); the others wait in order."""

    def __init__(self, maximum: int, accounting: Accounting) -> None:
        self._maximum = maximum
        self._active = 0
        self._held: deque[Item] = deque()
        self._accounting = accounting

    def admit(self, item: Item) -> None:
        """Let ``item`` run now, or when those before it are done."""
        if self._active < self._maximum:
            self._active += 1
            item.pool.insert(item)
        else:
            self._held.append(item)
            self._accounting.waits()

    def release(self) -> None:
        """One is done: the next may run."""
        self._active -= 1
        if self._held:
            self._accounting.waiting -= 1
            self.admit(self._held.popleft())

    @property
    def held(self) -> tuple[Item, ...]:
        """Those who wait."""
        return tuple(self._held)


class HostWorkqueue:
    """A workqueue."""

    def __init__(
        self, name: str, *, unbound: bool, max_active: int, min_active: int, groups: tuple[int, ...], strict: bool
    ) -> None:
        self.name = name
        self.unbound = unbound
        self.max_active = max_active
        self.min_active = min_active
        self.strict = strict
        self.pods = tuple(CpuSet(bits) for bits in groups)
        self.pod_of = {cpu: index for index, pod in enumerate(self.pods) for cpu in pod}
        self.limits: dict[object, ActiveLimit] = {}
        #: pod -> the pool that serves it while these CPUs are on line, and how many works may be active there
        self.pools: dict[int, tuple[CpuSet, Pool, ActiveLimit]] = {}


class Workqueues:
    """All workqueues and pools of a machine.

    Args:
        topology: of the machine.
        profile: the kernel it stands for.
        online: the CPUs on line now.
        host: runs workers.
        accounting: of the machine.
        node_attributes: makes a pool's attributes from (CPUs, hint, node).

    """

    def __init__(
        self,
        topology: Topology,
        profile: KernelProfile,
        online: Callable[[], CpuSet],
        host: PoolHost,
        accounting: Accounting,
        node_attributes: Callable[[CpuSet, CpuSet | None, int], Attributes],
    ) -> None:
        self.topology = topology
        self.profile = profile
        self.mask = unbound_cpumask(topology, with_wq=profile.unbound_mask_has_wq)
        self.pools: dict[object, Pool] = {}
        self._online = online
        self._host = host
        self._accounting = accounting
        self._attributes = node_attributes
        self._next_id = (profile.bh_pools_per_cpu + STANDARD_POOLS) * len(topology.possible)
        self._rotor = -1
        self.workqueues: list[HostWorkqueue] = []
        self.system_percpu_wq = self.alloc(profile.percpu_wq_name, unbound=False)
        self.system_dfl_wq = self.alloc(profile.unbound_wq_name, unbound=True, max_active=MAXIMUM_ACTIVE)

    def alloc(
        self,
        name: str,
        *,
        unbound: bool,
        max_active: int = 0,
        min_active: int | None = None,
        scope: AffinityScope | None = None,
        strict: bool = False,
    ) -> HostWorkqueue:
        """Make a workqueue, and the pools of its pods, so that their ids come in the kernel's order.

        Raises:
            UsageError: a negative ``max_active``.

        """
        active = min(max_active or DEFAULT_ACTIVE, MAXIMUM_ACTIVE)
        if active < 1:
            raise UsageError(f"workqueue {name}: max_active is {max_active}; it must be 0 (default) or more")
        least = min(active, DEFAULT_MIN_ACTIVE if min_active is None else min_active)
        groups = pods(self.topology, self.profile, scope)
        hard = strict or self.profile.hard_unbound_pools
        wq = HostWorkqueue(
            name, unbound=unbound, max_active=active, min_active=least, groups=groups if unbound else (), strict=hard
        )
        self.workqueues.append(wq)
        if unbound:
            self._unbound_pool(self.mask, wq)
            for pod in wq.pods:
                self._pod_pool(pod, wq)
        return wq

    # ---- pools -----------------------------------------------------------------------------------------------------
    def _serving(self, wq: HostWorkqueue, cpu: int) -> tuple[CpuSet, Pool, ActiveLimit]:
        online, pod = self._online(), wq.pod_of[cpu]
        known = wq.pools.get(pod)
        if known is None or known[0] is not online:
            pool = self._pod_pool(wq.pods[pod], wq)
            known = wq.pools[pod] = online, pool, self._limit(wq, pool)
        return known

    def _pod_pool(self, pod: CpuSet, wq: HostWorkqueue) -> Pool:
        cpus = pod & self.mask
        return self._unbound_pool(cpus if cpus & self._online() else self.mask, wq)

    def _unbound_pool(self, pod: CpuSet, wq: HostWorkqueue) -> Pool:
        key = (pod.bits, wq.strict)
        pool = self.pools.get(key)
        if pool is None:
            cpus = pod if wq.strict else self.mask
            wish = self._attributes(cpus, None if wq.strict else pod, self.node_of(pod))
            number, self._next_id = self._next_id, self._next_id + 1
            first = (pod & self._online()).first
            pool = Pool(f"u{number}", wish, pod.first or 0 if first is None else first, managed=False, host=self._host)
            pool.node = self.node_of(pod)
            self.pools[key] = pool
        return pool

    def _cpu_pool(self, cpu: int) -> Pool:
        pool = self.pools.get(cpu)
        if pool is None:
            wish = self._attributes(CpuSet.of([cpu]), None, self.topology.node_of(cpu))
            pool = self.pools[cpu] = Pool(str(cpu), wish, cpu, managed=True, host=self._host)
        return pool

    def node_of(self, cpus: CpuSet) -> int:
        """Return the node that holds all of these CPUs; -1 if none does."""
        node = self.topology.node(self.topology.node_of(cpus.first)) if cpus.first is not None else None
        return node.id if node is not None and cpus.issubset(node.cpus) else -1

    # ---- queueing --------------------------------------------------------------------------------------------------
    def queue(self, wq: HostWorkqueue, work: Work, cpu: int) -> bool:
        """Queue for ``cpu``; False if the work is pending.

        Raises:
            UsageError: ``cpu`` is not possible on this machine.

        """
        if cpu not in self.topology.possible:
            raise UsageError(f"CPU {cpu} is not possible on {self.topology.name}; CPUs: {self.topology.possible}")
        state: WorkState | None = work.state
        if state is None:
            state = work.state = WorkState()
        elif state.pending is not None:
            return False
        if state.running is not None and state.running.wq is wq:
            pool, limit = state.running.pool, state.running.limit
        elif wq.unbound:
            _, pool, limit = self._serving(wq, cpu)
        else:
            pool = self._cpu_pool(cpu)
            limit = self._limit(wq, pool)
        item = state.pending = Item(work, wq, pool, limit)
        self._accounting.busy += 1
        limit.admit(item)
        return True

    def unbound_cpu(self, here: int) -> int:
        """Return the local CPU if unbound work may use it, else the next one that it may, round robin."""
        if here in self.mask:
            return here
        allowed = self.mask & self._online()
        if not allowed:
            return here
        self._rotor = next((cpu for cpu in allowed if cpu > self._rotor), allowed.first or 0)
        return self._rotor

    def cpu_near(self, node_id: int, here: int) -> int | None:
        """Return ``select_numa_node_cpu``: here if on the node, else its first CPU on line, else None."""
        node = self.topology.node(node_id)
        if node is None or not node.online:
            return None
        return here if here in node.cpus else (node.cpus & self._online()).first

    def _limit(self, wq: HostWorkqueue, pool: Pool) -> ActiveLimit:
        per_node = wq.unbound and not self.profile.hard_unbound_pools
        key: object = pool.node if per_node else pool.name
        limit = wq.limits.get(key)
        if limit is None:
            limit = wq.limits[key] = ActiveLimit(self._maximum(wq, key if per_node else None), self._accounting)
        return limit

    def _maximum(self, wq: HostWorkqueue, node_id: object) -> int:
        """Return a node's share of max_active (``wq_update_node_max_active``)."""
        node = self.topology.node(node_id) if isinstance(node_id, int) else None
        cpus = self.mask & self._online()
        if node is None or not cpus:
            return wq.max_active
        share = -(-wq.max_active * len(cpus & node.cpus) // len(cpus))
        return min(max(share, wq.min_active), wq.max_active)
