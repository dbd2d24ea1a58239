"""The unbound cpumask (``wq_unbound_cpumask``): where unbound work may run at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.topology import unbound_cpumask

if TYPE_CHECKING:
    from numaprobe.runtime import KernelProfile
    from numaprobe.topology import Topology


def boot_unbound_mask(topology: Topology, profile: KernelProfile) -> int:
    """Return ``wq_unbound_cpumask`` as it is after boot, as bits."""
    return unbound_cpumask(topology, with_wq=profile.unbound_mask_has_wq).bits


def node_of_mask(topology: Topology, mask: int) -> int:
    """Return the node that holds all of these CPUs; -1 if none does."""
    first = (mask & -mask).bit_length() - 1
    node = topology.node(topology.node_of(first)) if mask else None
    return node.id if node is not None and not mask & ~node.cpus.bits else -1
