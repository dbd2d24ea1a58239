"""A machine for people: plain rows of text, for whatever draws them.

A label and a value in each row, about the machine as a whole; the table of its nodes is the report's. Sets are the
kernel's lists, sizes have binary units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.topology.isolation import hk_domain
from numaprobe.topology.model import NO_NODE
from numaprobe.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.cpuset import CpuSet
    from numaprobe.topology.model import Topology


def describe(topology: Topology) -> list[tuple[str, str]]:
    """Return the summary of a machine: (label, value) rows."""
    rows = [("machine", topology.name)]
    rows += [(key, topology.info[key]) for key in ("model", "kernel", "source") if topology.info.get(key)]
    rows.append(("CPUs", f"{len(topology.online)} online ({topology.online})"))
    if topology.possible != topology.online:
        rows.append(("possible", f"{len(topology.possible)} ({topology.possible})"))
    rows += [
        ("packages", _groups(topology.packages)),
        ("LLCs", _groups(topology.llcs)),
        ("cores", _groups(topology.cores)),
        ("memory", format_size(_memory(topology)) if _memory(topology) else "unknown"),
    ]
    rows += _isolation(topology)
    if topology.devices:
        rows.append(("devices", _devices(topology)))
    return [*rows, *(("warning", line) for line in topology.warnings)]


def _memory(topology: Topology) -> int:
    return sum(node.memory for node in topology.nodes)


def _groups(groups: Sequence[CpuSet]) -> str:
    """Return how many parts there are and how large: ``16 of 16 CPUs, the first 0-7,128-135``."""
    sizes = sorted({len(group) for group in groups})
    size = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    unit = "CPU" if sizes == [1] else "CPUs"
    return f"{len(groups)} of {size} {unit}, the first {groups[0]}"


def _isolation(topology: Topology) -> list[tuple[str, str]]:
    housekeeping = topology.housekeeping
    sets = {
        "isolated": housekeeping.isolated,
        "managed_irq isolated": housekeeping.managed_irq,
        "nohz_full": housekeeping.nohz_full,
        "workqueue.unbound_cpus": housekeeping.unbound_cpus,
    }
    rows = [(label, str(cpus)) for label, cpus in sets.items() if cpus]
    return [*rows, ("housekeeping", str(hk_domain(topology)))] if rows else []


def _devices(topology: Topology) -> str:
    placed = sum(device.node != NO_NODE for device in topology.devices)
    buses = sorted({device.bus for device in topology.devices if device.bus})
    return f"{len(topology.devices)} on {', '.join(buses) or 'no bus'}; {placed} with a node"
