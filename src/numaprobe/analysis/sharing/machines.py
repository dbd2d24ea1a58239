"""Whether two traces are of one machine and one kernel, so that one can teach about the other.

A hold is a property of hardware and kernel together. What may differ is what a boot chooses: isolation, scopes, from
where what is loaded. What must not: the kernel's release, the CPUs, nodes and caches, and which computer it is, where
both say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.analysis.machine import topology_of

if TYPE_CHECKING:
    from numaprobe.records import Trace
    from numaprobe.topology import Topology


def why_not_comparable(one: Trace, other: Trace) -> str | None:
    """Return why ``other`` cannot teach about ``one``, in words; None: it can.

    Raises:
        InputError: a machine block is broken.

    """
    if one.source != other.source:
        return f"one is of source '{one.source}', the other of '{other.source}'"
    if one.identity and other.identity and one.identity.machine_id and other.identity.machine_id:
        if one.identity.machine_id != other.identity.machine_id:
            return "they are of two computers (their machine ids differ)"
    elif not (one.machine and other.machine):
        return "it is not known whether they are of one machine; pass --machine with the one that they were recorded on"
    kernels = [trace.kernel or str(trace.machine.get("info", {}).get("kernel") or "") for trace in (one, other)]
    if kernels[0] != kernels[1]:
        return f"their kernels differ: {' and '.join(kernel or 'not told' for kernel in kernels)}"
    first, second = topology_of(one), topology_of(other)
    return None if first is None or second is None else _difference(first, second)


def _difference(one: Topology, other: Topology) -> str | None:
    if one.possible != other.possible:
        return f"their machines differ: CPUs {one.possible} and {other.possible}"
    if _nodes(one) != _nodes(other):
        return "their machines differ: other nodes, or other CPUs in them"
    return (
        None if (one.cores, one.llcs) == (other.cores, other.llcs) else "their machines differ: other cores or caches"
    )


def _nodes(topology: Topology) -> list[tuple[int, str]]:
    return sorted((node.id, str(node.cpus)) for node in topology.nodes)
