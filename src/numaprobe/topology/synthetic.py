"""hwloc's synthetic syntax: ``pack:2 [numa(memory=64GiB)] l3:2 core:8 pu:2(indexes=2*32:1*2)``.

Each item is a type and how many of it each object of the item before has; the last is the PUs. NUMA nodes are either
an item (``numa:2``) or attached to the objects of the item before them (``[numa]``); without any there is one. In
brackets after an item: ``memory=`` of a node (a bare number is bytes, ``GB`` is 10^9, ``GiB`` is 2^30), ``size=`` of a
cache (not used here), ``indexes=`` of nodes and PUs: a list, ``STEP*COUNT:STEP*COUNT``, or types (``core:pack``).
Numbers alone (``2 4 2``) get types as hwloc gives them. What lstopo 2.9 says of each form stands in the tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import MAX_CPUS, CpuSet
from numaprobe.errors import InputError
from numaprobe.topology.hwloc import HwlocObject, ObjectKind, assemble, object_kind
from numaprobe.topology.model import MAX_NODES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.topology.model import Topology

#: Longest text that is looked at: a list of 8192 indexes takes 40,000 characters.
MAX_TEXT: Final = 65536
#: hwloc's own limit of items.
MAX_LEVELS: Final = 128
#: Memory of a node that is an item and says none; an attached one that says none has none (lstopo 2.9).
_DEFAULT_MEMORY: Final = 2**30

#: What hwloc makes of numbers alone, by how many there are (seen with lstopo 2.9).
_UNTYPED: Final = {
    1: ("pu",),
    2: ("numa", "pu"),
    3: ("package", "numa", "pu"),
    4: ("package", "numa", "core", "pu"),
    5: ("package", "numa", "l2", "core", "pu"),
    6: ("package", "numa", "l2", "l1d", "core", "pu"),
    7: ("package", "numa", "l3", "l2", "l1d", "core", "pu"),
}

_ITEM = re.compile(r"\s*(\[)?([A-Za-z]\w{0,20})?(?::?(\d{1,9}))?(?:\(([^()]*)\))?(\])?(?=\s|$)", re.ASCII)
_LOOKS = re.compile(r"\s*(?:\[numa|\([^()]*\)\s*[\[\w]|[A-Za-z]\w*:\d|\d+(?:\s+\d+)*\s*$)", re.ASCII | re.IGNORECASE)
_MEMORY = re.compile(r"(0x[0-9a-fA-F]{1,14}|\d{1,16})([kKmMgGtT]i?[bB])?", re.ASCII)
_LOOP = re.compile(r"(\d{1,6})\*(\d{1,6})", re.ASCII)
_POWERS: Final = {"k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True, slots=True)
class _Level:
    """An item: so many objects of a kind in each object of the level above."""

    kind: ObjectKind
    width: int
    attached: bool = False
    attributes: dict[str, str] = field(default_factory=dict)


def looks_synthetic(text: str) -> bool:
    """Tell whether ``text`` is meant as hwloc's synthetic syntax."""
    return _LOOKS.match(text) is not None


def parse_synthetic(text: str) -> Topology:
    """Return the machine that a synthetic string says; validated.

    Raises:
        InputError: not hwloc's syntax, or beyond the limits of a machine; the text names the item.

    """
    if len(text) > MAX_TEXT:
        raise InputError(f"a synthetic string has at most {MAX_TEXT} characters, this one has {len(text)}")
    levels = _check(_levels(text))
    total = levels[-1].width
    pus = _indexes(levels, len(levels) - 1)
    if len(set(pus)) != total or max(pus) >= MAX_CPUS:
        raise InputError(f"'{text[:60]}': indexes= of the PUs must be distinct numbers below {MAX_CPUS}")
    objects = [thing for place in range(len(levels)) for thing in _objects(levels, place, pus)]
    possible = CpuSet.of(pus)
    topology = assemble(" ".join(text.split())[:200], objects, possible, possible, text[:60])
    topology.validate()
    return topology


def _levels(text: str) -> list[_Level]:
    body = re.sub(r"^\s*\([^()]*\)", "", text).strip()
    items: list[re.Match[str]] = []
    position = 0
    while position < len(body):
        match = _ITEM.match(body, position)
        if match is None or match.end() == position or len(items) >= MAX_LEVELS:
            raise InputError(f"'{body[position : position + 40].strip()}' is not an item such as core:8 or [numa]")
        items.append(match)
        position = match.end()
    names = _names(items)
    levels: list[_Level] = []
    width = 1
    for match, name in zip(items, names, strict=True):
        level = _level(match, name, width)
        width = level.width
        levels.append(level)
    return levels


def _names(items: Sequence[re.Match[str]]) -> list[str]:
    names = [match[2] for match in items]
    if not any(names):
        if len(names) not in _UNTYPED:
            raise InputError(f"{len(names)} numbers without types: name the levels (core:8 pu:2)")
        return list(_UNTYPED[len(names)])
    if names[-1] is None:
        names[-1] = "pu"
    if None in names:
        raise InputError("a synthetic string names all of its levels or none")
    return names


def _level(match: re.Match[str], name: str, width: int) -> _Level:
    item = match[0].strip()[:40]
    kind = object_kind(name)
    attached = match[1] is not None
    if kind is None:
        raise InputError(f"'{item}': no such type of object; one of pack, die, numa, l1 to l5, group, core, pu")
    if attached != (match[5] is not None) or attached != (match[3] is None):
        raise InputError(f"'{item}': write TYPE:COUNT, or [numa] for attached memory")
    if attached and kind.name != "numanode":
        raise InputError(f"'{item}': only numa can be attached")
    count = int(match[3] or 1)
    if not 0 < count * width <= MAX_CPUS:
        raise InputError(f"'{item}': a machine has 1 to {MAX_CPUS} CPUs")
    return _Level(kind, width * count, attached, _attributes(match[4] or "", item))


def _attributes(text: str, item: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split():
        name, equals, value = part.partition("=")
        if not equals or name not in ("memory", "size", "indexes", "memorysidecachesize"):
            raise InputError(f"'{item}': '{part[:40]}' is not memory=, size= or indexes=")
        found[name] = value
    return found


def _check(levels: list[_Level]) -> list[_Level]:
    """Hold hwloc's rules for the string as a whole; add the one NUMA node that it adds if there is none."""
    if not levels or levels[-1].kind.name != "pu":
        raise InputError("a synthetic string must end in the number of PUs (pu:2)")
    counts = [level.kind.name for level in levels if not level.attached]
    for name in ("pu", "core", "package", "die", "numanode"):
        if counts.count(name) > 1:
            raise InputError(f"a synthetic string has one {name} level, this one has {counts.count(name)}")
    attached = [level for level in levels if level.attached]
    if attached and "numanode" in counts:
        raise InputError("a synthetic string has NUMA nodes as a level or attached, not both")
    if not attached and "numanode" not in counts:
        return [_Level(ObjectKind("numanode"), 1), *levels]
    return levels


def _objects(levels: list[_Level], place: int, pus: Sequence[int]) -> list[HwlocObject]:
    level = levels[place]
    if level.kind.name == "pu":
        return []
    size = len(pus) // level.width
    sets = [CpuSet.of(pus[first : first + size]) for first in range(0, len(pus), size)]
    if level.kind.name != "numanode":
        return [HwlocObject(level.kind, cpus) for cpus in sets]
    numbers = _node_numbers(levels, place)
    memory = _memory(level.attributes.get("memory", "0")) or (0 if level.attached else _DEFAULT_MEMORY)
    return [HwlocObject(level.kind, cpus, number, memory) for cpus, number in zip(sets, numbers, strict=True)]


def _node_numbers(levels: list[_Level], place: int) -> list[int]:
    """Return the nodes' numbers. Without ``indexes=`` hwloc counts the nodes below an object before its own."""
    if "indexes" in levels[place].attributes:
        return _indexes(levels, place)
    memory = [(index, level) for index, level in enumerate(levels) if level.kind.name == "numanode"]
    if sum(level.width for _, level in memory) > MAX_NODES:
        raise InputError(f"a machine has at most {MAX_NODES} NUMA nodes")
    total = levels[-1].width

    def key(first: int, index: int) -> tuple[int, int, int]:
        attached_to = max((above for above in range(index) if not levels[above].attached), default=-1)
        return first + total // levels[index].width, -attached_to, index

    every = [key(first, index) for index, level in memory for first in range(0, total, total // level.width)]
    numbers = {place_in_tree: number for number, place_in_tree in enumerate(sorted(every))}
    return [numbers[key(first, place)] for first in range(0, total, total // levels[place].width)]


def _indexes(levels: list[_Level], place: int) -> list[int]:
    """Return the OS numbers of a level's objects, in hwloc's logical order."""
    width = levels[place].width
    text = levels[place].attributes.get("indexes")
    if text is None:
        return list(range(width))
    if re.fullmatch(r"\d{1,6}(,\d{1,6})*", text, re.ASCII):
        numbers = [int(part) for part in text.split(",")]
    else:
        numbers = _interleaved(text, levels, place)
    if len(numbers) != width:
        raise InputError(f"indexes={text[:40]}: {len(numbers)} numbers for {width} objects")
    return numbers


def _interleaved(text: str, levels: list[_Level], place: int) -> list[int]:
    """Return the numbers of nested loops: the first loop counts fastest."""
    width = levels[place].width
    loops = [_loop(part, text, levels, place) for part in text.split(":")]
    covered = prod(count for _, count in loops)
    if covered != width and covered and width % covered == 0 and min(step for step, _ in loops) == width // covered:
        loops.append((1, width // covered))
    numbers = [0] * width
    weight = 1
    for step, count in loops:
        numbers = [number + index // step % count * weight for index, number in enumerate(numbers)]
        weight *= count
    if sorted(numbers) != list(range(width)):
        raise InputError(f"indexes={text[:40]}: the loops do not give each of {width} numbers once")
    return numbers


def _loop(part: str, text: str, levels: list[_Level], place: int) -> tuple[int, int]:
    if match := _LOOP.fullmatch(part):
        step, count = int(match[1]), int(match[2])
        if step and count and count <= MAX_CPUS:
            return step, count
        raise InputError(f"indexes={text[:40]}: '{part[:20]}' needs a step and a count above 0")
    kinds = [object_kind(name) for name in text.split(":")]
    by_kind = {levels[index].kind: levels[index].width for index in range(place)}
    kind = object_kind(part)
    if kind is None or kind not in by_kind or len(set(kinds)) != len(kinds):
        raise InputError(f"indexes={text[:40]}: '{part[:20]}' is not a type of object above")
    above = [by_kind[other] for other in kinds if other in by_kind and by_kind[other] < by_kind[kind]]
    return levels[place].width // by_kind[kind], by_kind[kind] // max(above, default=1)


def _memory(text: str) -> int:
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise InputError(f"memory={text[:40]}: write bytes, or a number with kB, MB, GB, TB, KiB, MiB, GiB or TiB")
    unit = (match[2] or "").lower()
    scale = (1024 if "i" in unit else 1000) ** _POWERS[unit[0]] if unit else 1
    return int(match[1], 0 if match[1].startswith("0x") else 10) * scale


def to_synthetic(topology: Topology) -> str | None:
    """Return hwloc's synthetic string of a machine, or None if it cannot say it.

    It cannot say: parts that differ, distances other than the default, offline CPUs or nodes, isolation, devices.
    """
    counts = (len(topology.packages), len(topology.nodes), len(topology.llcs), len(topology.cores))
    widths = (*counts, len(topology.possible))
    if not all(widths) or any(large % small for small, large in pairwise(widths)):
        return None
    packages, nodes, llcs, cores = counts
    memory = topology.nodes[0].memory
    shape = [
        f"pack:{packages}",
        *([f"group:{nodes // packages}"] if nodes != packages else []),
        f"[numa(memory={memory})]" if memory else "[numa]",
        f"l3:{llcs // nodes}",
        f"core:{cores // llcs}",
        f"pu:{widths[-1] // cores}",
    ]
    smt = widths[-1] // cores
    for indexes in ("", f"(indexes={smt}*{cores}:1*{smt})"):
        text = " ".join(shape) + indexes
        again = parse_synthetic(text)
        if replace(again, name=topology.name, info=topology.info) == topology:
            return text
    return None
