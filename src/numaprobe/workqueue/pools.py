"""All pools of a machine: their ids, which workqueues share one, and what becomes of them when CPUs come and go.

Pools are shared: two unbound workqueues with the same CPUs, pod and strictness use the same pool, and only what differs
gets a pool, and an id, of its own. Every possible CPU has two pools (normal and high priority, of which only the first
is made), and two of BH workqueues since 6.9; their ids come first, whether they are made or not.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from numaprobe.errors import UsageError
from numaprobe.runtime.profile import STANDARD_POOLS
from numaprobe.workqueue.pool import Pool, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from numaprobe.runtime import KernelProfile
    from numaprobe.topology import Topology
    from numaprobe.workqueue.cpus import Cpus
    from numaprobe.workqueue.seat import Seat


class Pools:
    """The pools.

    Args:
        topology: the machine as it booted.
        profile: its kernel.
        cpus: which CPUs there are now.
        make_seat: makes a pool's seat.
        detects_hogs: works that compute for long stop to count.

    Attributes:
        per_cpu: CPU -> its pool, made when first used.
        unbound: (CPUs of the workqueue, pod, strict) -> pool.

    """

    def __init__(
        self,
        topology: Topology,
        profile: KernelProfile,
        cpus: Cpus,
        make_seat: Callable[[Pool], Seat[Worker]],
        *,
        detects_hogs: bool,
    ) -> None:
        self._topology = topology
        self._profile = profile
        self._cpus = cpus
        self._make_seat = make_seat
        self._detects_hogs = detects_hogs
        self.per_cpu: dict[int, Pool] = {}
        self.unbound: dict[tuple[int, int, bool], Pool] = {}
        self._index = {cpu: index for index, cpu in enumerate(topology.possible)}
        self._first_id = profile.bh_pools_per_cpu * len(self._index)
        self._next_id = profile.first_pool_id(topology)
        self._free_ids: list[int] = []

    def all(self) -> list[Pool]:
        """Return every pool that was made."""
        return [*self.per_cpu.values(), *self.unbound.values()]

    def of_cpu(self, cpu: int) -> Pool:
        """Return the pool of a possible CPU.

        Raises:
            UsageError: it is not possible.

        """
        pool = self.per_cpu.get(cpu)
        if pool is None:
            index = self._index.get(cpu)
            if index is None:
                raise self.not_possible(cpu)
            online = bool(self._cpus.online >> cpu & 1)
            mask = 1 << cpu if online else self._cpus.homeless()
            number = self._first_id + STANDARD_POOLS * index
            pool = self.per_cpu[cpu] = self._make(
                number, str(cpu), mask, mask, self._topology.node_of(cpu), managed=online
            )
        return pool

    def not_possible(self, cpu: int) -> UsageError:
        """Return the error that says that there is no such CPU."""
        return UsageError(f"CPU {cpu} is not possible on {self._topology.name}; CPUs: {self._topology.possible}")

    def of_pod(self, pod: int, *, strict: bool) -> Pool:
        """Return the pool for a pod of the unbound CPUs, to be shared by all workqueues with these attributes."""
        mask = self._cpus.unbound
        key = (pod if self._profile.hard_unbound_pools else mask, pod, strict)
        pool = self.unbound.get(key)
        if pool is None:
            if self._free_ids:
                number = heappop(self._free_ids)
            else:
                number, self._next_id = self._next_id, self._next_id + 1
            pool = self.unbound[key] = self._make(
                number, f"u{number}", pod if strict else mask, pod, self._cpus.node_of(pod), managed=False
            )
        return pool

    def _make(self, number: int, label: str, mask: int, pod: int, node: int, *, managed: bool) -> Pool:
        return Pool(
            number,
            label,
            mask,
            pod,
            node=node,
            managed=managed,
            detects_hogs=self._detects_hogs,
            distribute=self._cpus.distribute,
            make_seat=self._make_seat,
        )

    def forget_unused(self, wanted: Collection[object]) -> None:
        """Drop the unbound pools that no workqueue uses and that have nothing to do; their ids are used again.

        Args:
            wanted: pools that are to do something yet.

        """
        default = self._cpus.unbound
        for key, pool in list(self.unbound.items()):
            unused = not pool.users and not pool.worklist and len(pool.idle) == len(pool.workers)
            if unused and pool not in wanted and not key[0] == key[1] == default:
                del self.unbound[key]
                heappush(self._free_ids, pool.id)
