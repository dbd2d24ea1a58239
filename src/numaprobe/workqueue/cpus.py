"""Which CPUs workqueues may use now, and how one of them is chosen (``kernel/workqueue.c``).

Two sets change while a machine runs: the CPUs online, and the *unbound* ones (``wq_unbound_cpumask``), where unbound
work may run at all. Each choice below has its fall-back here and nowhere else. CPU sets are bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.cpuset import next_bit

if TYPE_CHECKING:
    from numaprobe.runtime import KernelProfile
    from numaprobe.topology import Topology


class Cpus:
    """The CPUs of a machine, as its workqueues see them.

    Args:
        topology: the machine as it booted.
        profile: its kernel.
        online: the CPUs online.

    Attributes:
        online, unbound: see the module's text.

    """

    __slots__ = ("_requested", "_rotors", "_round_robin", "_topology", "online", "unbound")

    def __init__(self, topology: Topology, profile: KernelProfile, online: int) -> None:
        self._topology = topology
        self.online = online
        self.unbound = self._requested = profile.unbound_cpus(topology).bits
        self._rotors: dict[int, int] = {}
        self._round_robin = -1

    def isolate(self, cpus: int) -> None:
        """Take ``cpus`` out of the unbound CPUs that were asked for, at boot or last, unless none would be left."""
        self.unbound = self._requested & ~cpus or self._requested

    def request(self, cpus: int) -> bool:
        """Make ``cpus`` the unbound CPUs, isolated ones too; False, and no change, if none of them is possible."""
        cpus &= self._topology.possible.bits
        if cpus:
            self.unbound = self._requested = cpus
        return bool(cpus)

    # ---- sets ------------------------------------------------------------------------------------------------------
    def of_pod(self, pod: int) -> int:
        """Return where the works of a pod start (``wq_calc_pod_cpumask``): without an online CPU, all unbound CPUs."""
        cpus = pod & self.unbound
        return cpus if cpus & self.online else self.unbound

    def homeless(self) -> int:
        """Return where the workers of an offline CPU may run (``unbind_worker``)."""
        return self.unbound if self.unbound & self.online else self._topology.possible.bits

    def node_of(self, cpus: int) -> int:
        """Return the node that holds all of these CPUs; -1 if none does."""
        first = (cpus & -cpus).bit_length() - 1
        node = self._topology.node(self._topology.node_of(first)) if cpus else None
        return node.id if node is not None and not cpus & ~node.cpus.bits else -1

    def share(self, node_id: int, max_active: int, min_active: int) -> int:
        """Return how many of ``max_active`` works may be active on a node (``wq_update_node_max_active``).

        The node's part of the unbound CPUs online, rounded up, and ``min_active`` at least; -1, for pods that are on no
        single node, has all.
        """
        node = self._topology.node(node_id)
        if node is None:
            return max_active
        cpus = self.unbound & self.online
        if not cpus:
            return min_active
        share = -(-max_active * (cpus & node.cpus.bits).bit_count() // cpus.bit_count())
        return min(max(share, min_active), max_active)

    # ---- one of them -----------------------------------------------------------------------------------------------
    def distribute(self, cpus: int) -> int:
        """Return an online CPU of ``cpus``, another each time (``cpumask_any_and_distribute``); of all if none is.

        The kernel counts on by calling CPU; here by set: either way the workers of a pool are spread over all of it.
        """
        allowed = cpus & self.online or self.online
        if not allowed & (allowed - 1):
            return allowed.bit_length() - 1
        self._rotors[cpus] = chosen = next_bit(allowed, self._rotors.get(cpus, -1))
        return chosen

    def local(self, here: int) -> int:
        """Return ``here`` if unbound work may run there, else the next CPU where it may (``wq_select_unbound_cpu``)."""
        if self.unbound >> here & 1:
            return here
        allowed = self.unbound & self.online
        if not allowed:
            return here
        self._round_robin = next_bit(allowed, self._round_robin)
        return self._round_robin

    def near(self, node_id: int, here: int) -> int | None:
        """Return ``select_numa_node_cpu``: ``here`` if on the node, else its first CPU online, else None.

        The unbound CPUs do not count here, as in the kernel.
        """
        if node_id >= 0 and self._topology.node_of(here) == node_id:  # a caller is on a CPU that is online
            return here
        node = self._topology.node(node_id)
        cpus = node.cpus.bits & self.online if node is not None and node.online else 0
        return (cpus & -cpus).bit_length() - 1 if cpus else None
