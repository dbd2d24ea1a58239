"""All workqueues and pools of a machine: ids, the choice of a pool, flushing, and what hotplug does to them."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from numaprobe.errors import UsageError
from numaprobe.runtime.pods import pods
from numaprobe.virtual.loop import PAUSE
from numaprobe.virtual.masks import boot_unbound_mask, node_of_mask
from numaprobe.virtual.pool import Pool, Worker, WorkState
from numaprobe.virtual.sched import next_bit
from numaprobe.virtual.workqueue import (
    DEFAULT_ACTIVE,
    DEFAULT_MIN_ACTIVE,
    MAXIMUM_ACTIVE,
    ActiveLimit,
    VirtualWorkqueue,
    new_item,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.cpuset import CpuSet
    from numaprobe.runtime import AffinityScope, KernelProfile, Work
    from numaprobe.topology import Topology
    from numaprobe.virtual.blocking import Blocker

#: Every CPU has a pool for normal and one for high priority.
STANDARD_POOLS = 2


class Workqueues:
    """The workqueue subsystem.

    Attributes:
        unbound_mask: ``wq_unbound_cpumask`` now, as bits.
        per_cpu: CPU -> its pool, made when first used.
        pools: (CPUs of the workqueue, pod, strict) -> unbound pool.

    """

    def __init__(
        self,
        topology: Topology,
        profile: KernelProfile,
        blocker: Blocker,
        warn: Callable[[str, str], None],
        scope: AffinityScope,
        shard_size: int,
    ) -> None:
        self.topology = topology
        self.profile = profile
        self.blocker = blocker
        self.loop = blocker.loop
        self.scheduler = blocker.scheduler
        self.warn = warn
        self.scope = scope
        self.shard_size = shard_size
        self.unbound_mask = boot_unbound_mask(topology, profile)
        self.per_cpu: dict[int, Pool] = {}
        self.pools: dict[tuple[int, int, bool], Pool] = {}
        self.cpu_index = {cpu: index for index, cpu in enumerate(topology.possible)}
        self.next_id = (profile.bh_pools_per_cpu + STANDARD_POOLS) * len(topology.possible)
        self.free_ids: list[int] = []
        self.rotor = -1
        self.round_robin = -1
        self.reported_classes: set[str] = set()
        self.workqueues: list[VirtualWorkqueue] = []
        self.system_percpu_wq = self.alloc(profile.percpu_wq_name, unbound=False)
        self.system_dfl_wq = self.alloc(profile.unbound_wq_name, unbound=True, max_active=MAXIMUM_ACTIVE)

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
    ) -> VirtualWorkqueue:
        """Make a workqueue (``alloc_workqueue``)."""
        active = min(max_active or DEFAULT_ACTIVE, MAXIMUM_ACTIVE)
        if active < 1:
            raise UsageError(f"workqueue {name}: max_active is {max_active}; it must be 0 (default) or more")
        least = min(active, DEFAULT_MIN_ACTIVE if min_active is None else min_active)
        groups = pods(self.topology, self.profile, scope or self.scope, self.shard_size) if unbound else ()
        wq = VirtualWorkqueue(
            name,
            unbound=unbound,
            max_active=active,
            min_active=least,
            pods=groups,
            strict=strict or self.profile.hard_unbound_pools,
        )
        self.workqueues.append(wq)
        if unbound:
            self._assign_pools(wq)
        return wq

    def _assign_pools(self, wq: VirtualWorkqueue) -> None:
        """Give every pod its pool (``wq_calc_pod_cpumask``): without an on-line CPU, the machine-wide one."""
        mask, online = self.unbound_mask, self.scheduler.online
        self._use_pool(mask, mask, wq)
        old, wq.pools = wq.pools, []
        for pod in wq.pods:
            cpus = pod & mask
            pool = self._use_pool(mask, cpus if cpus & online else mask, wq)
            pool.users += 1
            wq.pools.append(pool)
        for pool in old:
            pool.users -= 1
        self._set_limits(wq)

    def _use_pool(self, mask: int, pod: int, wq: VirtualWorkqueue) -> Pool:
        hard = self.profile.hard_unbound_pools
        key = (pod if hard else mask, pod, wq.strict)
        pool = self.pools.get(key)
        if pool is None:
            pool = self.pools[key] = self._unbound_pool(pod if wq.strict else mask, pod)
        return pool

    def _unbound_pool(self, mask: int, pod: int) -> Pool:
        if self.free_ids:
            number = heappop(self.free_ids)
        else:
            number, self.next_id = self.next_id, self.next_id + 1
        return Pool(
            number,
            f"u{number}",
            mask,
            pod,
            node=node_of_mask(self.topology, pod),
            managed=False,
            detects_hogs=False,
            blocker=self.blocker,
            distribute=self.distribute,
        )

    def cpu_pool(self, cpu: int) -> Pool:
        """Return the pool of a possible CPU."""
        pool = self.per_cpu.get(cpu)
        if pool is None:
            index = self.cpu_index.get(cpu)
            if index is None:
                raise UsageError(f"CPU {cpu} is not possible on {self.topology.name}; CPUs: {self.topology.possible}")
            online = bool(self.scheduler.online >> cpu & 1)
            mask = 1 << cpu if online else self._homeless_mask()
            pool = self.per_cpu[cpu] = Pool(
                self.profile.bh_pools_per_cpu * len(self.cpu_index) + STANDARD_POOLS * index,
                str(cpu),
                mask,
                mask,
                node=self.topology.node_of(cpu),
                managed=online,
                detects_hogs=not self.profile.hard_unbound_pools,
                blocker=self.blocker,
                distribute=self.distribute,
            )
        return pool

    def distribute(self, mask: int) -> int:
        """Return an on-line CPU of ``mask``, another each time (``cpumask_any_and_distribute``)."""
        allowed = mask & self.scheduler.online or self.scheduler.online
        if not allowed & (allowed - 1):
            return allowed.bit_length() - 1
        self.rotor = next_bit(allowed, self.rotor)
        return self.rotor

    # ---- limits ----------------------------------------------------------------------------------------------------
    def _set_limits(self, wq: VirtualWorkqueue) -> None:
        for key, limit in wq.limits.items():
            limit.maximum = self._maximum(wq, key)
            limit.refill()

    def _maximum(self, wq: VirtualWorkqueue, key: int) -> int:
        """Return a node's share of max_active (``wq_update_node_max_active``)."""
        node = self.topology.node(key) if wq.unbound and not self.profile.hard_unbound_pools else None
        cpus = self.unbound_mask & self.scheduler.online
        if node is None or not cpus:
            return wq.max_active
        share = -(-wq.max_active * (cpus & node.cpus.bits).bit_count() // cpus.bit_count())
        return min(max(share, wq.min_active), wq.max_active)

    def _limit(self, wq: VirtualWorkqueue, pool: Pool) -> ActiveLimit:
        per_node = wq.unbound and not self.profile.hard_unbound_pools
        key = pool.node if per_node else pool.id
        limit = wq.limits.get(key)
        if limit is None:
            limit = wq.limits[key] = ActiveLimit(self._maximum(wq, key))
        return limit

    # ---- queueing --------------------------------------------------------------------------------------------------
    def queue(self, wq: VirtualWorkqueue, work: Work, cpu: int | None) -> bool:
        """Queue for ``cpu``; None = ``WORK_CPU_UNBOUND``."""
        if cpu is None:
            cpu = self._select_unbound_cpu() if wq.unbound else self.loop.cpu
        pool = self._pool_for(wq, cpu)
        if work.state is None:
            work.state = WorkState()
        item = new_item(work, wq, pool, self._limit(wq, pool))
        if item is None:
            return False
        item.limit.admit(item)
        return True

    def _pool_for(self, wq: VirtualWorkqueue, cpu: int) -> Pool:
        if not wq.unbound:
            return self.cpu_pool(cpu)
        pod = wq.pod_of.get(cpu)
        if pod is None:
            raise UsageError(f"CPU {cpu} is not possible on {self.topology.name}; CPUs: {self.topology.possible}")
        return wq.pools[pod]

    def _select_unbound_cpu(self) -> int:
        """Return the local CPU if unbound work may use it, else the next one that it may (round robin)."""
        local = self.loop.cpu
        allowed = self.unbound_mask & self.scheduler.online
        if self.unbound_mask >> local & 1 or not allowed:
            return local
        self.round_robin = next_bit(allowed, self.round_robin)
        return self.round_robin

    def cpu_near(self, node_id: int) -> int | None:
        """Return ``select_numa_node_cpu(node)``: local if on the node, else its first on-line CPU, else None."""
        node = self.topology.node(node_id)
        if node is None or not node.online:
            return None
        local = self.loop.cpu
        if self.topology.node_of(local) == node_id:
            return local
        cpus = node.cpus.bits & self.scheduler.online
        return (cpus & -cpus).bit_length() - 1 if cpus else None

    async def flush(self, work: Work) -> bool:
        """Wait until the last queueing of ``work`` has run."""
        state: WorkState | None = work.state
        if state is None:
            return False
        item = state.pending or (state.worker.item if state.worker is not None else None)
        if item is None:
            return False
        task = self.blocker.running()
        if isinstance(task, Worker) and task.work is not None:
            self._check_recursion(task, task.work, work)
        item.waiters.append(task)
        self.blocker.block(task, item)
        await PAUSE
        return True

    def _check_recursion(self, worker: Worker, held: Work, flushed: Work) -> None:
        """Report, once per class as lockdep does, a worker that flushes the class it executes."""
        if held.lock_class == flushed.lock_class and held.lock_class not in self.reported_classes:
            self.reported_classes.add(held.lock_class)
            self.warn(
                "recursion",
                f"possible recursive locking detected: {worker.comm} executes {held.name} and flushes {flushed.name}, "
                f"both of lock class (work_completion)({held.lock_class})",
            )

    # ---- CPUs come and go ------------------------------------------------------------------------------------------
    def _homeless_mask(self) -> int:
        return self.unbound_mask if self.unbound_mask & self.scheduler.online else self.topology.possible.bits

    def cpu_going(self, cpu: int) -> None:
        """Let the workers of a CPU that goes off line run anywhere, unmanaged (``unbind_workers``)."""
        pool = self.per_cpu.get(cpu)
        if pool is not None:
            pool.managed = False
            pool.nr_running = 0
            self._move_workers(pool, self._homeless_mask())
            pool.kick()

    def cpu_came(self, cpu: int) -> None:
        """Bind the workers of a CPU that is on line again (``rebind_workers``)."""
        pool = self.per_cpu.get(cpu)
        if pool is not None:
            for worker in pool.workers:
                worker.rebound = worker.item is not None
            pool.managed = True
            self._move_workers(pool, 1 << cpu)
            pool.kick()

    def _move_workers(self, pool: Pool, mask: int) -> None:
        pool.mask = pool.pod = mask
        for worker in pool.workers:
            worker.home_mask = mask
            self.scheduler.set_mask(worker, mask)

    def set_unbound_cpus(self, isolated: CpuSet) -> None:
        """Take ``isolated`` out of the unbound cpumask as it was after boot, unless nothing would be left."""
        boot = boot_unbound_mask(self.topology, self.profile)
        self.unbound_mask = boot & ~isolated.bits or boot
        self.refresh()

    def all_pools(self) -> list[Pool]:
        """Return every pool that was made."""
        return [*self.per_cpu.values(), *self.pools.values()]

    def workers(self) -> list[Worker]:
        """Return every worker."""
        return [worker for pool in self.all_pools() for worker in pool.workers]

    def refresh(self) -> None:
        """Compute the pods' pools anew, after a change of the on-line or the unbound CPUs."""
        for wq in self.workqueues:
            if wq.unbound:
                self._assign_pools(wq)
        wanted = {item.pool for wq in self.workqueues for limit in wq.limits.values() for item in limit.inactive}
        for key, pool in list(self.pools.items()):
            unused = not pool.users and not pool.worklist and len(pool.idle) == len(pool.workers)
            if unused and pool not in wanted and not self._default(key):
                del self.pools[key]
                heappush(self.free_ids, pool.id)

    def _default(self, key: tuple[int, int, bool]) -> bool:
        return key[0] == key[1] == self.unbound_mask
