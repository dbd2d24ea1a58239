"""Where bars go in a picture: a lane per used CPU, grouped by node and LLC; in a lane as many rows as probes overlap.

(The HTML page lays out in the browser, because its filters change what is shown; the rules are the same.)
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from numaprobe.analysis.findings.case import group_by
from numaprobe.analysis.machine import topology_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numaprobe.records import ProbeRecord, RunState, Trace


@dataclass(frozen=True, slots=True)
class Bar:
    """A probe in its lane."""

    record: ProbeRecord
    #: ns since the first start of the trace; 0 where the source tells no times
    start_ns: int
    row: int


@dataclass(slots=True)
class Lane:
    """A CPU; None for probes whose CPU is unknown."""

    cpu: int | None
    node: int | None
    llc: int | None
    bars: list[Bar] = field(default_factory=list)
    rows: int = 1


def lanes(trace: Trace) -> list[Lane]:
    """Return the lanes of a trace, by node, LLC and CPU; what is unknown comes last."""
    topology = topology_of(trace)
    first = min((record.start_ns for record in trace.probes if record.start_ns is not None), default=0)
    made = []
    for cpu, records in group_by(trace.probes, lambda record: record.cpu).items():
        node, llc = records[0].cpu_node, None
        if topology is not None and cpu is not None and cpu in topology.possible:
            node, llc = topology.node_of(cpu), topology.llc_of(cpu)
        lane = Lane(cpu, node, llc)
        _pack(lane, records, first)
        made.append(lane)
    return sorted(made, key=lambda lane: tuple((part is None, part or 0) for part in (lane.node, lane.llc, lane.cpu)))


def stretches(record: ProbeRecord) -> Iterator[tuple[int, RunState, int]]:
    """Yield length in ns, state and CPU; what continues in the same state on the same CPU is one stretch."""
    length, last = 0, None
    for segment in record.segments or ():
        this = (segment.state, segment.cpu)
        if last is not None and this != last:
            yield length, *last
            length = 0
        last = this
        length += segment.end_ns - segment.start_ns
    if last is not None:
        yield length, *last


def _pack(lane: Lane, records: Iterable[ProbeRecord], first: int) -> None:
    """Give each probe the lowest row that is free at its start: two heaps, so that many rows cost little."""
    busy: list[tuple[int, int]] = []
    free: list[int] = []
    starts = sorted(((r.start_ns or first) - first, r.cost_ns, index, r) for index, r in enumerate(records))
    for start, _, _, record in starts:
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        row = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (start + max(1, record.cost_ns), row))
        lane.bars.append(Bar(record, start, row))
        lane.rows = max(lane.rows, row + 1)
