"""On which node a replayed device is: as its record tells, else the machine, else as the source implies.

What implies a node, the surest first:

* PCI probes in ``kworker/N:…``, a worker of one CPU: the PCI core queued it for a CPU of the device's node.
* A probe inside another device's probe: that one registered the device, and ``device_add`` gives a device without a
  node its parent's. So a virtual function has its physical function's node, a port's device the port's.
* A PCI device that the machine does not list (it was added later, and is gone): the host bridge above it decides
  (``pcibus_to_node``). Host bridges have ranges of buses that follow each other, so it is the one with the highest
  first bus that is not beyond the device's; if all that is listed below it is on one node, that is the node.

Each is said (``implied-node``). A node that nothing tells is -1 in the replay, which says so; that is not the
firmware's word.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from numaprobe.analysis.hold import bound_worker_cpu
from numaprobe.records import NO_NODE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numaprobe.scenario.replay.collected import ReplayWarnings
    from numaprobe.scenario.replay.probes import Key, TracedProbe
    from numaprobe.topology import DeviceInfo, Topology

_ADDRESS: Final = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):[0-9a-f]{2}\.[0-7]", re.ASCII)


class ImpliedNodes:
    """Finds the nodes of a trace's devices, a parent's before its children's.

    Args:
        topology: the machine.
        known: its devices, by name.
        warnings: where what is implied or assumed is said.

    """

    def __init__(self, topology: Topology, known: Mapping[str, DeviceInfo], warnings: ReplayWarnings) -> None:
        self._topology = topology
        self._known = known
        self._warnings = warnings
        self._found: dict[Key, int] = {}
        self._below: dict[tuple[str, int], set[int]] | None = None

    def of(self, one: TracedProbe, parent: TracedProbe | None) -> int:
        """Return the device's node; -1 if nothing tells it, or it is not there."""
        self._found[one.key] = node = self._checked(self._of(one, parent))
        return node

    def _of(self, one: TracedProbe, parent: TracedProbe | None) -> int:
        if one.record.device_node is not None:
            return one.record.device_node
        info = self._known.get(one.record.device)
        if info is not None:
            return info.node
        for node, why in (self._queued(one), self._of_parent(parent), self._of_host_bridge(one)):
            if node is not None:
                self._warnings.say("implied-node", f"the node is not told; {why}", one.record.device)
                return node
        text = "the node is not known; replayed without one (-1). --machine with this device tells it"
        self._warnings.say("unknown-node", text, one.record.device)
        return NO_NODE

    def _checked(self, node: int) -> int:
        if node == NO_NODE or self._topology.node(node) is not None:
            return node
        text = f"node {node} is not on machine '{self._topology.name}'; replayed without one (-1)"
        self._warnings.say("unknown-node", text)
        return NO_NODE

    def _queued(self, one: TracedProbe) -> tuple[int | None, str]:
        cpu = bound_worker_cpu(one.record.comm) if one.bus == "pci" else None
        node = None if cpu is None or cpu not in self._topology.possible else self._topology.node_of(cpu)
        return node, f"its PCI probe was queued for a CPU of node {node}, so it is that one"

    def _of_parent(self, parent: TracedProbe | None) -> tuple[int | None, str]:
        node = self._found.get(parent.key, NO_NODE) if parent is not None else NO_NODE
        name = "" if parent is None else parent.record.device
        return None if node == NO_NODE else node, f"the probe of {name} registered it, so it is that one's, node {node}"

    def _of_host_bridge(self, one: TracedProbe) -> tuple[int | None, str]:
        place = _bus_of(one.record.device) if one.bus == "pci" else None
        if place is None:
            return None, ""
        if self._below is None:
            self._below = self._nodes_below()
        first = max((bus for domain, bus in self._below if domain == place[0] and bus <= place[1]), default=None)
        nodes = set() if first is None else self._below[place[0], first]
        node = next(iter(nodes)) if len(nodes) == 1 and nodes != {NO_NODE} else None
        return node, f"what is below the same host bridge is on node {node}, so it is that one"

    def _nodes_below(self) -> dict[tuple[str, int], set[int]]:
        """Return the nodes below each host bridge, by its domain and first bus."""
        places = [(_bus_of(one.name), one) for one in self._known.values() if one.bus == "pci"]
        roots = {place for place, one in places if place is not None and not self._is_pci(one.parent)}
        below: dict[tuple[str, int], set[int]] = defaultdict(set)
        for place, one in places:
            if place is not None:
                firsts = [bus for domain, bus in roots if domain == place[0] and bus <= place[1]]
                below[place[0], max(firsts, default=0)].add(one.node)
        return dict(below)

    def _is_pci(self, name: str | None) -> bool:
        info = self._known.get(name or "")
        return info is not None and info.bus == "pci"


def _bus_of(device: str) -> tuple[str, int] | None:
    """Return domain and bus of a PCI address."""
    match = _ADDRESS.fullmatch(device)
    return None if match is None else (match[1] or "0000", int(match[2], 16))
