"""Our own short text for a machine whose parts are alike: ``2 nodes x 8 llcs x 8 cores x 2 threads, 64GiB``.

Grammar (``docs/machines.md`` has it with examples)::

    machine  = shape *( "," option )
    shape    = count unit *( times count unit )          in any order
    unit     = "package" | "node" | "llc" | "core" | "thread"
               singular or plural; also socket, numa, l3, cache, cpu, pu, smt
    times    = "x" | "*" | the multiplication sign (U+00D7)
    option   = SIZE ["per node"]                         memory of each node; 1GiB if not said
             | "siblings adjacent" | "siblings interleaved"       numbering; interleaved if not said, as on x86
             | "distance" N ["/" N]                      to any other node; with two, inside the package / beyond
             | N "memory nodes of" SIZE                  nodes without CPUs, after the others

Each count is per part of the next larger unit: ``2 packages x 4 nodes`` has eight nodes. What is not said is 1; without
packages each node is one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.topology.model import MAX_NODES, REMOTE_DISTANCE, Node, Topology, symmetric, tiered_distances
from numaprobe.units import format_size_exact, parse_size

#: Longest text that is looked at: a machine needs no more.
MAX_TEXT: Final = 4096

_UNITS: Final = {
    "package": "package",
    "socket": "package",
    "node": "node",
    "numa": "node",
    "numanode": "node",
    "llc": "llc",
    "l3": "llc",
    "cache": "llc",
    "core": "core",
    "thread": "thread",
    "cpu": "thread",
    "pu": "thread",
    "smt": "thread",
}
_TERM = re.compile(r"(\d{1,9})\s*([a-z]\w{0,20})|([a-z]\w{0,20})\s*[=:]?\s*(\d{1,9})", re.IGNORECASE | re.ASCII)
_TIMES = re.compile(
    "\\s*[\u00d7*]\\s*|"
    r"\s+x\s+|(?<=[a-z])\s*x\s*(?=\d)",
    re.IGNORECASE,
)
_DISTANCE = re.compile(r"distances?\s+(\d{1,3})(?:\s*/\s*(\d{1,3}))?", re.ASCII)
_MEMORY_NODES = re.compile(r"(\d{1,4})\s+memory(?:-only)?\s+nodes?\s+(?:of|with|x)\s+(.{1,40})", re.ASCII)
_SIBLINGS = re.compile(r"(?:siblings?\s+)?(adjacent|interleaved)(?:\s+siblings?)?")


@dataclass(slots=True)
class _Options:
    memory: int = 2**30
    interleaved: bool = True
    near: int = REMOTE_DISTANCE
    far: int = REMOTE_DISTANCE
    memory_nodes: int = 0
    memory_node_size: int = 0


def looks_compact(text: str) -> bool:
    """Tell whether ``text`` is meant as a compact string: its first term counts one of our units."""
    match = _TERM.match(text.strip())
    return match is not None and (match[1] is not None or "=" in match[0]) and _unit(match[2] or match[3]) is not None


def parse_compact(text: str) -> Topology:
    """Return the machine that a compact string says.

    Raises:
        InputError: an unknown unit or option, a unit twice, a count out of range; the text names it.

    """
    if len(text) > MAX_TEXT:
        raise InputError(f"a machine string has at most {MAX_TEXT} characters, this one has {len(text)}")
    shape, *rest = text.strip().split(",")
    counts = _parse_shape(shape)
    options = _Options()
    for part in rest:
        _parse_option(" ".join(part.split()), options)
    return _build(" ".join(text.split()), counts, options)


def _unit(word: str) -> str | None:
    lower = word.lower()
    return _UNITS.get(lower) or _UNITS.get(lower.removesuffix("s"))


def _parse_shape(shape: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for term in _TIMES.split(shape.strip()):
        match = _TERM.fullmatch(term.strip())
        unit = _unit(match[2] or match[3]) if match else None
        if match is None or unit is None:
            raise InputError(f"'{term.strip()[:40]}': write a number of packages, nodes, llcs, cores or threads")
        if unit in counts:
            raise InputError(f"'{shape.strip()[:60]}' says the number of {unit}s twice")
        counts[unit] = int(match[1] or match[4])
    return counts


def _parse_option(text: str, options: _Options) -> None:
    lower = text.lower()
    if match := _SIBLINGS.fullmatch(lower):
        options.interleaved = match[1] == "interleaved"
    elif match := _DISTANCE.fullmatch(lower):
        options.near, options.far = int(match[1]), int(match[2] or match[1])
    elif match := _MEMORY_NODES.fullmatch(text):
        options.memory_nodes, options.memory_node_size = int(match[1]), parse_size(match[2])
    elif re.match(r"\d", text):
        options.memory = parse_size(re.sub(r"\s*(?:per|a|each|/)\s*node$", "", text, flags=re.IGNORECASE))
    else:
        raise InputError(
            f"'{text[:40]}': write a size ('64GiB'), 'siblings adjacent', 'distance 12/32' or '2 memory nodes of 64GiB'"
        )


def _build(name: str, counts: dict[str, int], options: _Options) -> Topology:
    packages = counts.get("package", 0)
    nodes = counts.get("node", 1)
    base = symmetric(
        name,
        nodes=nodes * packages if "package" in counts else nodes,
        llcs=counts.get("llc", 1),
        cores=counts.get("core", 1),
        smt=counts.get("thread", 1),
        memory=options.memory,
        interleaved=options.interleaved,
        packages=packages if "package" in counts else None,
    )
    count = len(base.nodes)
    total = count + options.memory_nodes
    if total > MAX_NODES:
        raise InputError(f"a machine has at most {MAX_NODES} nodes", name)
    extra = tuple(Node(n, CpuSet(), options.memory_node_size) for n in range(count, total))
    tiers = [(count // len(base.packages), options.near)]
    result = replace(base, nodes=base.nodes + extra, distances=tiered_distances(total, tiers, options.far))
    result.validate()
    return result


def to_compact(topology: Topology) -> str | None:
    """Return the compact string of a machine, or None if the grammar cannot say it.

    It cannot say: parts that differ, offline CPUs or nodes, isolation, devices, other distance tables.
    """
    text = _candidate(topology)
    if text is None:
        return None
    again = parse_compact(text)
    same = replace(again, name=topology.name, info=topology.info)
    return text if same == topology else None


def _candidate(topology: Topology) -> str | None:
    with_cpus = [node for node in topology.nodes if node.cpus]
    memory_only = topology.nodes[len(with_cpus) :]
    parts = (len(topology.packages), len(with_cpus), len(topology.llcs), len(topology.cores), len(topology.possible))
    if not with_cpus or any(large % small for small, large in pairwise(parts)):
        return None
    counts = [parts[0], *(large // small for small, large in pairwise(parts))]
    words = ("packages", "nodes", "llcs", "cores", "threads")
    options = [f"{format_size_exact(with_cpus[0].memory)} per node"]
    first_core = topology.cores[0]
    if len(first_core) > 1 and first_core.last == len(first_core) - 1 and len(topology.cores) > 1:
        options.append("siblings adjacent")
    if topology.distances and len(topology.distances) > 1:
        options.append(_distance_option(topology, counts[1]))
    if memory_only:
        options.append(f"{len(memory_only)} memory nodes of {format_size_exact(memory_only[0].memory)}")
    shape = " x ".join(
        f"{count} {word if count != 1 else word[:-1]}" for count, word in zip(counts, words, strict=True)
    )
    return ", ".join([shape, *options])


def _distance_option(topology: Topology, nodes_per_package: int) -> str:
    row = topology.distances[0]
    near = row[1] if nodes_per_package > 1 else row[-1]
    return f"distance {near}/{row[-1]}" if near != row[-1] else f"distance {near}"
