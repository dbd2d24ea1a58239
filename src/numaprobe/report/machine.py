"""A machine as tables: its nodes with what they have and keep free, their distances, its devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from numaprobe.cpuset import CpuSet
from numaprobe.report.grid import UNKNOWN, Cell, Column, Grid, console_for, draw, printable, stdout_or
from numaprobe.units import format_size

if TYPE_CHECKING:
    from numaprobe.topology import DeviceInfo, Node, Topology

#: Devices listed; ``--json`` has all.
DEVICE_ROWS: Final = 40

_NODES: Final = (
    Column(title="node", align="right"),
    Column(title="CPUs", legend="online CPUs of the node, as the kernel writes a list"),
    Column(title="kept free", legend="of these: isolcpus=, nohz_full= or outside workqueue.unbound_cpus="),
    Column(title="LLCs", legend="groups that share a last-level cache; not sockets", align="right", spare=2),
    Column(title="cores", legend="physical ones; a CPU here is a hardware thread", align="right", spare=2),
    Column(title="memory", legend="0: probing there must take memory elsewhere", align="right", spare=1),
    Column(title="distances", legend="to each node, as the firmware's SLIT gives them; 10 is itself", spare=3),
    Column(title="devices", align="right", spare=4),
)
_DEVICES: Final = (
    Column(title="device"),
    Column(title="bus"),
    Column(title="node", legend="-1: the firmware gave none", align="right"),
    Column(title="driver", legend="the one it is bound to", spare=1),
    Column(title="parent", spare=2),
)


def print_topology(topology: Topology, stream: TextIO | None = None, *, legend: bool = True) -> None:
    """Print a machine's nodes and devices."""
    console = console_for(stdout_or(stream))
    counts = f"{len(topology.nodes)} nodes, {len(topology.packages)} packages, {len(topology.cores)} cores"
    console.print(
        f"{printable(topology.name)}: {counts}, {len(topology.online)} CPUs online", soft_wrap=True, markup=False
    )
    console.print()
    rows = [_node_row(topology, index, node) for index, node in enumerate(topology.nodes)]
    draw(Grid(columns=_NODES, rows=rows), console, legend=legend)
    if topology.devices:
        console.print()
        devices = [_device_row(device) for device in topology.devices[:DEVICE_ROWS]]
        draw(Grid(columns=_DEVICES, rows=devices), console, legend=legend)
    if len(topology.devices) > DEVICE_ROWS:
        console.print(f"… and {len(topology.devices) - DEVICE_ROWS} more devices (--json has all)", style="dim")


def _node_row(topology: Topology, index: int, node: Node) -> list[str | Cell]:
    cpus = node.cpus & topology.online
    return [
        str(node.id) if node.online else Cell(f"{node.id} offline", "yellow"),
        str(cpus) or UNKNOWN,
        str(cpus & kept_free(topology)) or UNKNOWN,
        str(sum(bool(llc & node.cpus) for llc in topology.llcs)),
        str(sum(bool(core & node.cpus) for core in topology.cores)),
        format_size(node.memory) if node.memory else "0",
        " ".join(str(distance) for distance in topology.distances[index]),
        str(sum(device.node == node.id for device in topology.devices)),
    ]


def kept_free(topology: Topology) -> CpuSet:
    """Return the CPUs that kernel parameters keep free of unbound kernel work."""
    kept = topology.housekeeping
    outside = CpuSet() if kept.unbound_cpus is None else topology.possible - kept.unbound_cpus
    return kept.isolated | kept.nohz_full | outside


def _device_row(device: DeviceInfo) -> list[str | Cell]:
    node = Cell(str(device.node), "yellow" if device.node < 0 else "")
    return [device.name, device.bus or UNKNOWN, node, device.driver or UNKNOWN, device.parent or UNKNOWN]
