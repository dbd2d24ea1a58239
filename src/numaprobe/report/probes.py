"""The table of probes: one row each, in the order that was asked for, the first ones or all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.analysis.hold import Holds
from numaprobe.analysis.machine import topology_of
from numaprobe.errors import UnknownNameError
from numaprobe.report.cells import caller_text, cpu_cell, device_text, memory_text, time_text
from numaprobe.report.grid import UNKNOWN, Cell, Column, Grid
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numaprobe.records import ProbeRecord, Trace
    from numaprobe.topology import Topology

COLUMNS: Final = (
    Column(title="start", legend="since the first probe's start", align="right", spare=3),
    Column(title="device"),
    Column(title="driver", spare=8),
    Column(title="node", legend="the device's node; -1: the firmware gave none", align="right", spare=1),
    Column(
        title="CPU",
        legend="where it started, and that CPU's node; ! = not the device's node, * = it moved",
        align="right",
    ),
    Column(
        title="COMM", legend="the task that ran it: kworker/CPU:ID is bound to a CPU, kworker/uPOOL:ID is not", spare=2
    ),
    Column(
        title="held",
        legend="guaranteed: held on its node; soft: woken there, free to leave; anywhere: luck; away: kept off it",
        spare=9,
    ),
    Column(title="cost", legend="start to return = running + runnable + sleeping", align="right"),
    Column(title="running", legend="on a CPU", align="right", spare=5),
    Column(title="runnable", legend="ready, and waiting for a CPU that others used", align="right", spare=5),
    Column(title="sleeping", legend="waiting for anything else: a device, a timer, a lock", align="right", spare=5),
    Column(
        title="for others", legend="waiting for other probes or for locks, asleep or spinning", align="right", spare=6
    ),
    Column(title="memory", legend="what it allocated, by node; not what it freed", spare=7),
    Column(title="caller", legend="the task that waited for it, and its CPU", spare=6),
    Column(title="result", legend="0, or the errno's name", spare=4),
)

#: What ``--sort`` takes -> the key of a record; times and costs largest first.
SORTS: Final[dict[str, Callable[[ProbeRecord], tuple[bool, int | str]]]] = {
    "start": lambda r: (r.start_ns is None, r.start_ns or 0),
    "end": lambda r: (r.end_ns is None, r.end_ns or 0),
    "cost": lambda r: (False, -r.cost_ns),
    "running": lambda r: (r.running_ns is None, -(r.running_ns or 0)),
    "runnable": lambda r: (r.runnable_ns is None, -(r.runnable_ns or 0)),
    "sleeping": lambda r: (r.sleeping_ns is None, -(r.sleeping_ns or 0)),
    "waits": lambda r: (r.waits is None, -sum(wait.wait_ns for wait in r.waits or ())),
    "device": lambda r: (False, r.device),
    "driver": lambda r: (False, r.driver),
    "node": lambda r: (r.device_node is None, r.device_node or 0),
    "cpu": lambda r: (r.cpu is None, r.cpu or 0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeChoice:
    """Which probes a table lists, and in which order."""

    #: one of ``SORTS``; None: as the trace has them, or by cost if only the first ones are shown
    sort: str | None = None
    #: so many; None: all
    top: int | None = None

    def __post_init__(self) -> None:
        if self.sort is not None and self.sort not in SORTS:
            raise UnknownNameError("sort key", self.sort[:40], SORTS)

    def of(self, probes: Sequence[ProbeRecord]) -> Sequence[ProbeRecord]:
        """Return the probes that are listed."""
        cut = self.top is not None and len(probes) > self.top
        key = self.sort or ("cost" if cut else None)
        ordered = probes if key is None else sorted(probes, key=SORTS[key])
        return ordered[: self.top] if cut else ordered

    def note(self, total: int) -> str:
        """Return what to say of probes that are not listed; empty if all are."""
        if self.top is None or total <= self.top:
            return ""
        by = {None: "slowest", "cost": "slowest"}.get(self.sort, f"first by {self.sort}")
        return f"the {self.top} {by} of {total} probes (--top N shows more, --json has all)"


#: Every probe, as the trace has them.
ALL: Final = ProbeChoice()


def probe_rows(trace: Trace, choice: ProbeChoice) -> list[list[str | Cell]]:
    """Return a row for each probe that is listed, a cell for each of ``COLUMNS``."""
    topology = topology_of(trace)
    holds = Holds(trace, topology)
    first = min((record.start_ns for record in trace.probes if record.start_ns is not None), default=0)
    return [_row(record, topology, holds, first) for record in choice.of(trace.probes)]


def _row(record: ProbeRecord, topology: Topology | None, holds: Holds, first: int) -> list[str | Cell]:
    result = record.result or UNKNOWN
    return [
        UNKNOWN if record.start_ns is None else format_time(record.start_ns - first),
        device_text(record),
        record.driver,
        UNKNOWN if record.device_node is None else str(record.device_node),
        cpu_cell(record, topology),
        record.comm or UNKNOWN,
        holds.of(record) or UNKNOWN,
        time_text(record.cost_ns),
        time_text(record.running_ns),
        time_text(record.runnable_ns),
        time_text(record.sleeping_ns),
        UNKNOWN if record.waits is None else time_text(sum(wait.wait_ns for wait in record.waits)),
        memory_text(record.memory),
        caller_text(record),
        Cell(result, "" if result in ("0", UNKNOWN) else "yellow"),
    ]


def known_columns(grid: Grid) -> Grid:
    """Leave out the columns about which the source told nothing."""
    cells = grid.cells()
    kept = [index for index in range(len(grid.columns)) if any(_is_told(row[index]) for row in cells)]
    rows = [row if isinstance(row, str) else [row[index] for index in kept] for row in grid.rows]
    return Grid(columns=[grid.columns[index] for index in kept], rows=rows)


def _is_told(cell: str | Cell) -> bool:
    return (cell.text if isinstance(cell, Cell) else cell) != UNKNOWN
