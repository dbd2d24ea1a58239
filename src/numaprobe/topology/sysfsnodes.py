"""``devices/system/node`` of a sysfs tree: nodes, their CPUs and memory, the distances between them.

A node's CPUs are its ``cpulist``, else its ``cpumap``, else its links ``cpuN``. No ``node`` directory at all is one
node, as in a kernel without NUMA.

Firmware and cut-down trees get nodes wrong. None of this refuses a machine; what is taken instead is an *assumption*,
a line of the machine that every command shows:

* a CPU that several nodes name belongs to the first by number (one CPU has one ``cpu_to_node``);
* a row of distances has a column for each online node, or for each possible one; with any other length, and where a
  value is none that a SLIT may hold (10-255), the kernel's defaults of 10 and 20 stand;
* a CPU that no node names is on no node, and ``Topology.warnings`` says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.reading.files import MAX_ATTRIBUTE, list_directory, read_text
from numaprobe.topology.model import LOCAL_DISTANCE, REMOTE_DISTANCE, UNREACHABLE_DISTANCE, Node
from numaprobe.topology.sysfsfiles import SetFiles, read_cpus

if TYPE_CHECKING:
    from pathlib import Path

#: Possible nodes that are offline are kept if there are no more than these (our choice): some firmwares and
#: hypervisors announce hundreds that will never come.
MAX_OFFLINE_NODES: Final = 64
#: A line for each broken row would drown the rest on a machine of 1024 nodes: this many are told one by one.
MAX_ROWS_TOLD: Final = 4

_NODE_DIRECTORY = re.compile(r"node(\d{1,5})", re.ASCII)
_CPU_LINK = re.compile(r"cpu(\d{1,5})", re.ASCII)
_MEMTOTAL = re.compile(r"MemTotal:\s*(\d{1,15}) kB", re.ASCII)
_CPUS: Final = SetFiles("cpulist", "cpumap")


@dataclass(slots=True)
class NodeTree:
    """What the ``node`` directory shows."""

    nodes: tuple[Node, ...]
    #: ``distances[i][j]`` from ``nodes[i]`` to ``nodes[j]``
    distances: tuple[tuple[int, ...], ...] = ()
    #: what was taken where the tree is wrong, a line each
    assumptions: list[str] = field(default_factory=list)


def read_nodes(root: Path, possible: CpuSet, meminfo: Path) -> NodeTree:
    """Return the nodes of a tree.

    Args:
        root: ``devices/system/node`` of the tree; it may be missing.
        possible: the machine's possible CPUs: the node's, where there is but one.
        meminfo: ``/proc/meminfo``: the memory, where there are no nodes.

    Raises:
        InputError: a file is there and cannot be understood.

    """
    found = [int(match[1]) for name in list_directory(root) if (match := _NODE_DIRECTORY.fullmatch(name))]
    if not found:
        return NodeTree((Node(0, possible, _memory(meminfo)),), ((LOCAL_DISTANCE,),))
    online = read_cpus(root, SetFiles("online"))
    ids = CpuSet.of(found)
    offline = (read_cpus(root, SetFiles("possible")) or CpuSet()) - ids
    kept = offline if len(offline) <= MAX_OFFLINE_NODES else CpuSet()
    tree = NodeTree(tuple(_read_node(root, node_id, online) for node_id in ids | kept))
    _one_node_each(tree)
    _read_distances(root, tree)
    return tree


def _read_node(root: Path, node_id: int, online: CpuSet | None) -> Node:
    directory = root / f"node{node_id}"
    cpus = read_cpus(directory, _CPUS)
    if cpus is None:
        cpus = CpuSet.of(int(match[1]) for name in list_directory(directory) if (match := _CPU_LINK.fullmatch(name)))
    return Node(
        node_id,
        cpus,
        _memory(directory / "meminfo"),
        online=node_id in online if online is not None else directory.is_dir(),
    )


def _memory(path: Path) -> int:
    text = read_text(path, MAX_ATTRIBUTE)
    if text is None:
        return 0
    match = _MEMTOTAL.search(text)
    if match is None:
        raise InputError("has no 'MemTotal: … kB'", str(path))
    return int(match[1]) * 1024


def _one_node_each(tree: NodeTree) -> None:
    """Leave each CPU on the first node that names it."""
    seen, twice, nodes = CpuSet(), CpuSet(), []
    for node in tree.nodes:
        twice |= node.cpus & seen
        nodes.append(replace(node, cpus=node.cpus - seen))
        seen |= node.cpus
    if twice:
        tree.assumptions.append(f"CPUs {twice} are in several nodes; each is taken to be on the first that names it")
    tree.nodes = tuple(nodes)


def _read_distances(root: Path, tree: NodeTree) -> None:
    known: dict[tuple[int, int], int] = {}
    wrong: list[str] = []
    for node in tree.nodes:
        text = read_text(root / f"node{node.id}" / "distance", MAX_ATTRIBUTE)
        if text is not None:
            words = text.split()
            if not all(re.fullmatch(r"\d{1,9}", word, re.ASCII) for word in words):
                raise InputError(f"'{' '.join(words)[:60]}' are not numbers", str(root / f"node{node.id}" / "distance"))
            row = _row(node.id, [int(word) for word in words], tree.nodes)
            known |= row
            if not row:
                wrong.append(f"node{node.id}/distance says '{' '.join(words)[:60]}'")
    told = [
        f"{line}, which fits no machine; the kernel's defaults (10, 20) are taken" for line in wrong[:MAX_ROWS_TOLD]
    ]
    if len(wrong) > MAX_ROWS_TOLD:
        told.append(f"{len(wrong) - MAX_ROWS_TOLD} more rows of distances fit no machine")
    tree.assumptions += told
    tree.distances = tuple(
        tuple(known.get((a.id, b.id), LOCAL_DISTANCE if a is b else REMOTE_DISTANCE) for b in tree.nodes)
        for a in tree.nodes
    )


def _row(source: int, values: list[int], nodes: tuple[Node, ...]) -> dict[tuple[int, int], int]:
    """Return the distances of one row; none if it does not fit the machine."""
    columns = [node.id for node in nodes if node.online]
    if len(values) != len(columns):
        columns = [node.id for node in nodes]
    if len(values) != len(columns) or not all(LOCAL_DISTANCE <= value <= UNREACHABLE_DISTANCE for value in values):
        return {}
    return {(source, column): value for column, value in zip(columns, values, strict=True)}
