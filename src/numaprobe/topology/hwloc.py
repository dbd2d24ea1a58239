"""From hwloc's objects to a machine: what its XML and its synthetic syntax have in common.

hwloc draws a tree of objects with CPU sets; memory is attached to objects. A Linux machine is partitions of CPUs. The
rules of the translation:

* A CPU's node is the NUMANode with the smallest set that holds it. Of several with the same set (DRAM beside HBM
  or CXL memory) it is the first by number: on Linux the others have no CPUs of their own. Neither has a node that
  would get none but CPUs that are offline.
* The LLC is the highest level of data or unified cache; without any, the package. It ends at the border of a node.
* A machine without Package objects has one package for each node with CPUs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import MAX_CPUS, CpuSet
from numaprobe.errors import InputError
from numaprobe.topology.model import MAX_NODES, Node, Topology, default_distances, partition

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Names of hwloc's object types, in lower case, and what they are here; a cache's level is taken from its name.
_TYPES: Final = {"numa": "numanode", "node": "numanode", "socket": "package", "processor": "pu"}
_KNOWN: Final = ("package", "numanode", "core", "pu", "group", "die")
_CACHE = re.compile(r"l([1-5])(?:(d|i|u)?(?:cache)?)", re.ASCII)
_WORD = re.compile(r"(?:0x[0-9a-fA-F]{1,8})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """The type of an hwloc object: ``package``, ``numanode``, ``core``, ``pu``, ``group``, ``die`` or ``cache``."""

    name: str
    #: 1-5 for a cache, else 0
    level: int = 0
    #: a cache that holds instructions alone
    instruction: bool = False


@dataclass(frozen=True, slots=True)
class HwlocObject:
    """An object of hwloc's tree, as far as it says something about a machine."""

    kind: ObjectKind
    cpus: CpuSet
    #: the number that the operating system gave it; None if it has none
    os_index: int | None = None
    #: bytes, of a NUMA node
    memory: int = 0


def object_kind(name: str) -> ObjectKind | None:
    """Return the kind of an hwloc type name in any case, also cut short as hwloc takes it; None if unknown."""
    lower = name.lower()
    if match := _CACHE.fullmatch(lower):
        return ObjectKind("cache", int(match[1]), match[2] == "i")
    if lower in _TYPES:
        return ObjectKind(_TYPES[lower])
    short = [known for known in (*_KNOWN, "socket") if len(lower) >= 2 and known.startswith(lower)]  # noqa: PLR2004  hwloc's minimum
    return ObjectKind(_TYPES.get(short[0], short[0])) if len(short) == 1 else None


def parse_bitmap(text: str, where: str) -> CpuSet:
    """Return the set in hwloc's bitmap text: ``0x000000ff,,0xffff0000``, most significant first, an empty word is 0.

    Raises:
        InputError: not such a text, an infinite set (``0xf...f``), or a number that is not below MAX_CPUS.

    """
    words = [word.strip() for word in text.split(",", MAX_CPUS)]
    if not all(map(_WORD.fullmatch, words)):
        raise InputError(f"'{text[:40]}' is not a finite hwloc bitmap", where)
    bits = int("".join(word[2:].zfill(8) for word in words), 16)
    if bits.bit_length() > MAX_CPUS:
        raise InputError(f"the bitmap names more than {MAX_CPUS} CPUs", where)
    return CpuSet(bits)


def assemble(name: str, objects: Iterable[HwlocObject], possible: CpuSet, online: CpuSet, where: str) -> Topology:
    """Return the machine that a tree's objects make of the possible CPUs, with the kernel's default distances.

    Raises:
        InputError: no NUMA node, one without a number, two with the same, or too many.

    """
    found = list(objects)
    nodes = _nodes([thing for thing in found if thing.kind.name == "numanode"], possible, online, where)
    node_sets = [node.cpus for node in nodes]
    told = [thing.cpus for thing in found if thing.kind.name == "package"] or node_sets
    packages = partition((cpus for cpus in told if cpus), possible)
    caches = [thing for thing in found if thing.kind.name == "cache" and not thing.kind.instruction]
    highest = max((cache.kind.level for cache in caches), default=0)
    llcs = [cache.cpus for cache in caches if cache.kind.level == highest] or packages
    return Topology(
        name=name,
        possible=possible,
        present=possible,
        online=online,
        nodes=nodes,
        cores=partition((thing.cpus for thing in found if thing.kind.name == "core"), possible),
        llcs=partition(llcs, possible, node_sets),
        packages=packages,
        distances=default_distances(len(nodes)),
    )


def _nodes(memory: list[HwlocObject], possible: CpuSet, online: CpuSet, where: str) -> tuple[Node, ...]:
    if not 0 < len(memory) <= MAX_NODES:
        raise InputError(f"a machine has 1 to {MAX_NODES} NUMA nodes, this one {len(memory)}", where)
    numbered: dict[int, HwlocObject] = {}
    for thing in memory:
        if thing.os_index is None or not 0 <= thing.os_index < MAX_NODES or thing.os_index in numbered:
            raise InputError(f"NUMA node number {thing.os_index} is missing, twice there or out of range", where)
        numbered[thing.os_index] = thing
    rest = possible
    own: dict[int, CpuSet] = {}
    for index, thing in sorted(numbered.items(), key=lambda item: (len(item[1].cpus), item[0])):
        own[index] = thing.cpus & rest if thing.cpus & rest & online else CpuSet()
        rest -= own[index]
    return tuple(Node(index, own[index], thing.memory) for index, thing in sorted(numbered.items()))
