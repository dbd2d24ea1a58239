"""Writes a machine as hwloc XML, version 2 of the format: to look at it with ``lstopo``, or to hand it to other tools.

hwloc wants a tree, so sets that overlap without one holding the other cannot be written, and every CPU must be near
some memory node. What has no place in its format is left out; ``hwloc_losses`` names it. The memory nodes without CPUs
hang from the machine. Written for hwloc 2.9 and read back by it; by ``read_hwloc_xml``, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.topology.model import DeviceInfo, Node, Topology

_BUS_ID = re.compile(r"([0-9a-f]{4}):([0-9a-f]{2}):[0-9a-f]{2}\.[0-7]", re.ASCII)


@dataclass(slots=True)
class _Object:
    """A normal object of the tree."""

    type: str
    cpus: CpuSet
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[_Object] = field(default_factory=list)
    memory: list[Node] = field(default_factory=list)


def hwloc_losses(topology: Topology) -> list[str]:
    """Return one line for each thing of this machine that hwloc's XML cannot say."""
    losses = []
    if topology.housekeeping != type(topology.housekeeping)():
        losses.append("isolation (isolcpus=, nohz_full=, workqueue.unbound_cpus=) is not part of hwloc's format")
    if any(not node.online for node in topology.nodes):
        losses.append("that a node is offline cannot be said: it is written as one without memory")
    if topology.present != topology.possible:
        losses.append("CPUs that are possible but not present are written like present ones that are offline")
    if any(not core & topology.online for core in topology.cores):
        losses.append("cores without a CPU online have no object: their siblings and caches are not said")
    if any(node.cpus and not node.cpus & topology.online for node in topology.nodes):
        losses.append("nodes whose CPUs are all offline are written as memory-only, and those CPUs are on no node")
    others = [device for device in topology.devices if not _BUS_ID.fullmatch(device.name)]
    if others:
        losses.append(f"{len(others)} devices are not on PCI: only PCI devices have a place")
    if len(others) < len(topology.devices):
        losses.append("of a PCI device: driver, physical function, parent and programming interface are not said")
    return losses


def to_hwloc_xml(topology: Topology) -> str:
    """Return the machine as hwloc XML; what ``hwloc_losses`` names is left out.

    Raises:
        InputError: parts overlap without one holding the other, or a CPU online is on no node.

    """
    nowhere = topology.online - _near_memory(topology)
    if nowhere:
        raise InputError(f"CPU {nowhere.first} is on no node: hwloc cannot say that", topology.name)
    root = _tree(topology)
    writer = _XmlWriter(topology)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<!DOCTYPE topology SYSTEM "hwloc2.dtd">',
        '<topology version="2.0">',
        *writer.object(root, 1, CpuSet()),
        *_distances(topology),
        "</topology>",
    ]
    return "\n".join(lines) + "\n"


def _near_memory(topology: Topology) -> CpuSet:
    if any(not node.cpus for node in topology.nodes):
        return topology.possible  # a memory-only node hangs from the machine and is near to all
    return CpuSet(sum(node.cpus.bits for node in topology.nodes))


def _tree(topology: Topology) -> _Object:
    root = _Object("Machine", topology.possible, {"os_index": "0"})
    parts = [_Object("Package", cpus, {"os_index": str(n)}) for n, cpus in enumerate(topology.packages)]
    parts += [_Object("Group", node.cpus, {"kind": "1001", "subkind": "0"}) for node in topology.nodes if node.cpus]
    cache = {"cache_size": "0", "depth": "3", "cache_linesize": "64", "cache_associativity": "0", "cache_type": "0"}
    parts += [_Object("L3Cache", cpus, {"os_index": str(n), **cache}) for n, cpus in enumerate(topology.llcs)]
    parts += [_Object("Core", cpus, {"os_index": str(n)}) for n, cpus in enumerate(topology.cores)]
    parts += [_Object("PU", CpuSet(1 << cpu), {"os_index": str(cpu)}) for cpu in topology.online]
    # Larger sets first; of equal ones the order above is that of hwloc (sorting keeps it).
    holder: dict[int, _Object] = dict.fromkeys(topology.possible, root)
    for part in sorted(parts, key=lambda part: -len(part.cpus)):
        if part.cpus & topology.online:
            _insert(part, holder, topology.name)
    groups = {part.cpus: part for part in parts if part.type == "Group" and part.cpus & topology.online}
    for node in topology.nodes:
        groups.get(node.cpus, root).memory.append(node)
    return root


def _insert(part: _Object, holder: dict[int, _Object], where: str) -> None:
    above = {id(holder[cpu]) for cpu in part.cpus}
    if len(above) > 1:
        raise InputError(f"the {part.type} {part.cpus} overlaps another part: hwloc's tree cannot say that", where)
    parent = holder[part.cpus.first or 0]
    parent.children.append(part)
    for cpu in part.cpus:
        holder[cpu] = part


class _XmlWriter:
    """Writes objects as lines, each with a number of its own."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._numbers = count(1)
        self._every_node = CpuSet.of(node.id for node in topology.nodes)
        self._by_place = _devices_by_place(topology)

    def object(self, thing: _Object, depth: int, above: CpuSet) -> Iterator[str]:
        """Yield the lines of an object and all below it. ``above`` are the nodes of the objects that hold it."""
        nodes = above | CpuSet.of(node.id for node in thing.memory)
        near = nodes | CpuSet.of(self._topology.node_of(cpu) for cpu in thing.cpus if self._topology.node_of(cpu) >= 0)
        indent = "  " * depth
        attributes = {"type": thing.type, **thing.attributes, **self._sets(thing.cpus, near)}
        if thing.type == "Machine":
            allowed = {"allowed_cpuset": _bitmap(self._topology.online), "allowed_nodeset": _bitmap(near)}
            attributes |= allowed
        yield f"{indent}<object{self._written(attributes)}>"
        for node in thing.memory:
            yield f"{indent}  <object{self._written(self._memory(node, thing.cpus))}/>"
        for child in sorted(thing.children, key=lambda child: child.cpus.first or 0):
            yield from self.object(child, depth + 1, nodes)
        yield from self._devices(thing, depth + 1)
        yield f"{indent}</object>"

    def _memory(self, node: Node, cpus: CpuSet) -> dict[str, str]:
        sets = self._sets(cpus, CpuSet(1 << node.id))
        return {"type": "NUMANode", "os_index": str(node.id), **sets, "local_memory": str(node.memory)}

    def _sets(self, cpus: CpuSet, nodes: CpuSet) -> dict[str, str]:
        return {
            "cpuset": _bitmap(cpus & self._topology.online),
            "complete_cpuset": _bitmap(cpus),
            "nodeset": _bitmap(nodes),
            "complete_nodeset": _bitmap(nodes),
        }

    def _written(self, attributes: dict[str, str]) -> str:
        numbered = {**attributes, "gp_index": str(next(self._numbers))}
        return "".join(f' {name}="{value}"' for name, value in numbered.items())

    def _devices(self, thing: _Object, depth: int) -> Iterator[str]:
        if thing.type not in ("Machine", "Group"):
            return
        place = -1 if thing.type == "Machine" else self._topology.node_of(thing.cpus.first or 0)
        indent = "  " * depth
        for bus, devices in self._by_place.pop(place, {}).items():
            bridge = {"type": "Bridge", "bridge_type": "0-1", "depth": "0", "bridge_pci": bus}
            yield f"{indent}<object{self._written(bridge)}>"
            for device in devices:
                kind = f"{(device.pci_class or 0) >> 8:04x} [0000:0000] [0000:0000] 00"
                attributes = {"type": "PCIDev", "pci_busid": device.name, "pci_type": kind, "pci_link_speed": "0.0"}
                yield f"{indent}  <object{self._written(attributes)}/>"
            yield f"{indent}</object>"


def _devices_by_place(topology: Topology) -> dict[int, dict[str, list[DeviceInfo]]]:
    """Return the PCI devices by node (-1: the machine), then by host bridge: hwloc's name of its range of buses."""
    places: dict[int, dict[str, list[DeviceInfo]]] = {}
    for device in sorted(topology.devices, key=lambda device: device.name):
        match = _BUS_ID.fullmatch(device.name)
        if match is None:
            continue
        node = topology.node(device.node)
        place = device.node if node is not None and node.cpus & topology.online else -1
        bus = f"{match[1]}:[{match[2]}-{match[2]}]"
        places.setdefault(place, {}).setdefault(bus, []).append(device)
    return places


def _bitmap(cpus: CpuSet) -> str:
    """Return hwloc's text of a set: words of 32 bits, those without a bit left empty, as hwloc writes it."""
    *high, low = cpus.to_mask().split(",")
    return ",".join([*(f"0x{word}" if word.strip("0") else "" for word in high), f"0x{low}"])


def _distances(topology: Topology) -> Iterator[str]:
    total = len(topology.nodes)
    if total < 2:  # noqa: PLR2004  a single node has no distance to another
        return
    yield f'  <distances2 type="NUMANode" nbobjs="{total}" kind="5" name="NUMALatency" indexing="os">'
    indexes = "".join(f"{node.id} " for node in topology.nodes)
    yield f'    <indexes length="{len(indexes)}">{indexes}</indexes>'
    for row in topology.distances:
        values = "".join(f"{value} " for value in row)
        yield f'    <u64values length="{len(values)}">{values}</u64values>'
    yield "  </distances2>"
