"""What was done to devices, as a table: what became of each, how long it took, where its probe ran if recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from numaprobe.bringup.happened import PLACED
from numaprobe.bringup.outcome import key_of
from numaprobe.report.bringup import print_skipped
from numaprobe.report.explain import print_warnings
from numaprobe.report.grid import UNKNOWN, Cell, Column, Grid, console_for, draw, printable, stdout_or
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numaprobe.bringup.outcome import ChangeOutcome, Report
    from numaprobe.bringup.plan import Plan
    from numaprobe.records import ProbeRecord, Trace

_COLUMNS: Final = (
    Column(title="device"),
    Column(title="change"),
    Column(
        title="became",
        legend="verified: as asked; undone: as before; refused: not touched; left: neither; late: not back",
    ),
    Column(title="driver", legend="that it has now"),
    Column(title="node", legend="the device's", align="right"),
    Column(title="took", legend="the write that probed, as its writer saw it", align="right"),
    Column(title="written on", legend="the writer's CPU when it began", align="right", spare=2),
    Column(
        title="probe on", legend="recorded: CPU and its node; ! = not the device's node; '-': not recorded", spare=1
    ),
    Column(
        title="in",
        legend="recorded: the task that ran it; the writer's own: its pin decided, else the kernel did",
        spare=1,
    ),
)
#: kinds of warnings that the table or the lines below it say already
_SAID: Final = frozenset({"verified", "undone", "refused", "left", "late", "unbound", "passed-over", PLACED})


def print_changes(plan: Plan, report: Report, trace: Trace, stream: TextIO | None = None) -> None:
    """Print what became of each change, why some are not as asked, and which devices were passed over."""
    console = console_for(stdout_or(stream))
    good = sum(one.is_as_asked for one in report.outcomes)
    time = format_time(report.end_ns - report.start_ns)
    console.print(f"{good} of {len(report.outcomes)} changes as asked, in {time} (run {report.run})", soft_wrap=True)
    if report.outcomes:
        seen = {(record.bus, record.device): record for record in trace.probes}
        console.print()
        draw(Grid(columns=_COLUMNS, rows=[_row(one, seen) for one in report.outcomes]), console)
    lines = [f"{key_of(one.change)}: {one.sentence}" for one in report.outcomes if one.sentence]
    lines += [one.message for one in trace.warnings if one.kind == PLACED]
    if lines:
        console.print()
    for line in lines:
        console.print(printable(line), soft_wrap=True)
    print_skipped(plan.skipped, console)
    print_warnings([one for one in trace.warnings if one.kind not in _SAID], console)


def _row(outcome: ChangeOutcome, recorded: Mapping[tuple[str | None, str], ProbeRecord]) -> list[str | Cell]:
    change, seen = outcome.change, outcome.seen
    record = recorded.get((change.bus, change.name))
    where = UNKNOWN
    if record is not None and record.cpu is not None:
        where = f"{record.cpu} (node {record.cpu_node}){'!' if record.local is False else ''}"
    return [
        change.name,
        change.action,
        Cell(str(outcome.step), "" if outcome.is_as_asked else "yellow"),
        outcome.driver or "none",
        UNKNOWN if change.node is None else str(change.node),
        UNKNOWN if seen is None else format_time(seen.end_ns - seen.start_ns),
        UNKNOWN if seen is None else str(seen.cpu),
        where,
        UNKNOWN if record is None or record.comm is None else record.comm,
    ]
