"""The table of predictions beside measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from numaprobe.report.grid import UNKNOWN, Cell, Column, Grid, console_for, draw, printable, stdout_or
from numaprobe.units import format_time

if TYPE_CHECKING:
    from numaprobe.analysis.measured import Figure, Measured, Validation

#: A prediction further off than this many percent is marked.
FAR_OFF: Final = 10.0

_COLUMNS: Final = (
    Column(title="policy"),
    Column(title="makespan", legend="predicted: first start to last end, in virtual time", align="right"),
    Column(title="measured", legend="on this computer: the median of the runs", align="right"),
    Column(
        title="error",
        legend="(predicted - measured) / measured; negative: the prediction was too short",
        align="right",
    ),
    Column(title="worst", legend="predicted cost of the slowest probe", align="right", spare=2),
    Column(title="measured", align="right", spare=2),
    Column(title="error", align="right", spare=2),
    Column(title="mean", legend="predicted mean cost", align="right", spare=3),
    Column(title="measured", align="right", spare=3),
    Column(title="error", align="right", spare=3),
    Column(title="runs", legend="shortest and longest makespan measured", spare=1),
    Column(title="on node", legend="predicted and measured share of probes that started on their node", spare=4),
)


def print_validation(validation: Validation, stream: TextIO | None = None, *, legend: bool = True) -> None:
    """Print the policies, each with its prediction and what was measured."""
    console = console_for(stdout_or(stream))
    comparison = validation.comparison
    trace = comparison.entries[0].trace
    machine = trace.machine.get("name") or "this computer"
    times = "once" if validation.repeat == 1 else f"{validation.repeat} times"
    head = f"{comparison.scenario or 'scenario'} on {machine}, kernel {trace.kernel} predicted, measured {times} each."
    console.print(f"{printable(head)} {_others(validation)}", soft_wrap=True)
    console.print()
    rows = [_row(measured, comparison.baseline) for measured in validation.measured]
    draw(Grid(columns=_COLUMNS, rows=rows), console, legend=legend)


def _others(validation: Validation) -> str:
    load = f"load average {validation.load_average:.1f}"
    if validation.others_share is None:
        return f"Other programs make measured times longer: {load}."
    return f"Other programs used {100 * validation.others_share:.0f} % of its CPUs meanwhile ({load})."


def _row(measured: Measured, baseline: str) -> list[str | Cell]:
    entry = measured.entry
    figures = (measured.makespan, measured.worst, measured.mean)
    return [
        Cell(entry.label, "bold") if entry.label == baseline else entry.label,
        *(cell for figure in figures for cell in _cells(figure)),
        _range(measured.makespan),
        f"{_share(entry.summary.local_share)}, {_share(measured.summary.local_share)}",
    ]


def _cells(figure: Figure) -> list[str | Cell]:
    error = figure.error_percent
    style = "" if error is None or abs(error) <= FAR_OFF else "yellow"
    return [
        _time(figure.predicted_ns),
        _time(figure.measured_ns),
        Cell(UNKNOWN if error is None else f"{error:+.1f} %", style),
    ]


def _range(figure: Figure) -> str:
    if not figure.runs_ns:
        return UNKNOWN
    return f"{format_time(min(figure.runs_ns))} to {format_time(max(figure.runs_ns))}"


def _time(ns: int | None) -> str:
    return UNKNOWN if ns is None else format_time(ns)


def _share(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.0f} %"
