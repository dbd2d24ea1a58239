"""From which node a probe's pages came.

``kmem:mm_page_alloc`` tells the page frame number of each allocation; ``/proc/zoneinfo`` tells which frames each node's
zones span. What is counted: pages that the task which ran the body took from the page allocator between the body's
start and end. What is not: memory from slabs that were already there, and what other tasks (a reset worker) took.
Zones of two nodes may interleave; the first that spans a frame is taken, the narrowest first.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.records import ProbeRecord

#: bytes of a page frame: x86-64, and what Debian's kernels use elsewhere
PAGE_SIZE: Final = 4096
#: MAX_PAGE_ORDER is 10; a torn line must not make up terabytes
_MAX_ORDER: Final = 20

_LINE: Final = re.compile(
    r"""\s*(?P<comm>.{1,16}?)-\d+\s+(?:\([-\d\s]+\)\s+)?\[\d+\]\s+(?:\S+\s+)?   # task, tgid, CPU, flags
        (?P<seconds>\d{1,10})\.(?P<fraction>\d{1,9}):\ mm_page_alloc:\ .*?
        pfn=(?:0x(?P<hex>[0-9a-f]{1,16})|(?P<decimal>\d{1,20}))\ order=(?P<order>\d{1,2})\b""",
    re.ASCII | re.VERBOSE,
)

_LOST: Final = re.compile(r"CPU:\s?\d{1,5} \[LOST ", re.ASCII)


class Zone(NamedTuple):
    """A zone's frames: ``start`` to ``end`` (exclusive)."""

    start: int
    end: int
    node: int


class Allocation(NamedTuple):
    """One call of the page allocator."""

    time_ns: int
    comm: str
    frame: int
    size: int


def parse_zoneinfo(text: str) -> tuple[Zone, ...]:
    """Return the zones of ``/proc/zoneinfo`` that span frames, the narrowest first."""
    zones, node, spanned = [], -1, 0
    for line in text.splitlines():
        words = line.replace(",", " ").split()
        if words[:1] == ["Node"] and len(words) > 1 and words[1].isdigit():
            node, spanned = int(words[1]), 0
        elif words[:1] == ["spanned"] and len(words) > 1 and words[1].isdigit():
            spanned = int(words[1])
        elif words[:1] == ["start_pfn:"] and len(words) > 1 and words[1].isdigit() and spanned:
            zones.append(Zone(int(words[1]), int(words[1]) + spanned, node))
    return tuple(sorted(zones, key=lambda zone: zone.end - zone.start))


def parse_allocation(line: str) -> Allocation | None:
    """Return the allocation that an ftrace line tells of; None if it is another line, or torn."""
    if "mm_page_alloc: " not in line:
        return None
    match = _LINE.match(line)
    if match is None or int(match["order"]) > _MAX_ORDER:
        return None
    frame = int(match["hex"], 16) if match["hex"] else int(match["decimal"])
    time_ns = int(match["seconds"]) * 10**9 + int(match["fraction"].ljust(9, "0"))
    return Allocation(time_ns, match["comm"], frame, PAGE_SIZE << int(match["order"]))


def node_of_frame(zones: Sequence[Zone], frame: int) -> int | None:
    """Return the node whose zone spans ``frame``; None if none does."""
    return next((zone.node for zone in zones if zone.start <= frame < zone.end), None)


def with_memory(probes: Sequence[ProbeRecord], lines: Iterable[str], zones: Sequence[Zone]) -> tuple[ProbeRecord, ...]:
    """Return ``probes`` with the bytes that each took from each node.

    A record without a start or a task's name cannot be joined with allocations and stays as it is; so does one that
    began before events were lost: nobody knows what it took.
    """
    whole_from, lost = 0, False
    taken: list[dict[int, int]] = [defaultdict(int) for _ in probes]
    by_comm = defaultdict(list)
    for index, probe in enumerate(probes):
        if probe.comm is not None and probe.start_ns is not None and probe.end_ns is not None:
            by_comm[probe.comm].append((probe.start_ns, probe.end_ns, index))
    for line in lines:
        lost = lost or _LOST.match(line) is not None
        allocation = parse_allocation(line)
        if lost and allocation is not None:
            whole_from, lost = allocation.time_ns, False
        node = node_of_frame(zones, allocation.frame) if allocation else None
        if allocation is None or node is None:
            continue
        for start, end, index in by_comm.get(allocation.comm, ()):
            if start <= allocation.time_ns <= end:
                taken[index][node] += allocation.size
    joined = {index for spans in by_comm.values() for start, _, index in spans if start >= whole_from and not lost}
    return tuple(
        replace(probe, memory=dict(sorted(taken[index].items()))) if index in joined else probe
        for index, probe in enumerate(probes)
    )
