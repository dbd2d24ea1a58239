"""Tables of traces and comparisons, for people.

``print_comparison`` is what ``compare`` shows, ``print_trace`` what ``run`` and ``report`` show. Both answer first: one
sentence, then what must be known before the figures are believed, then the figures, the probes, the findings, and what
was assumed. Rows that are equal are one row. What the columns are is said once, at the end, if it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TextIO

from numaprobe.analysis.summary import summarize
from numaprobe.analysis.verdict import verdict, verdict_of_trace
from numaprobe.records import Severity
from numaprobe.report.cells import change_cell, cpu_text, is_away, is_home, share_text, time_text
from numaprobe.report.explain import print_comparison_findings, print_findings, print_late, print_urgent
from numaprobe.report.grid import (
    Cell,
    Column,
    Grid,
    TakesGrids,
    console_for,
    draw,
    print_legend,
    print_line,
    printable,
    stdout_or,
)
from numaprobe.report.probes import ALL, COLUMNS, ProbeChoice, known_columns, probe_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from numaprobe.analysis.compare import ComparedTrace, Comparison
    from numaprobe.records import RunWarning, Trace

#: Details list at most this many probes of a row, the slowest; JSON has them all.
DETAIL_ROWS: Final = 12

_POLICY: Final = Column(
    title="policy", legend="where a probe runs and which task waits; 'numaprobe policies' explains each"
)
_VARIATION: Final = Column(title="variation", legend="what varies; everything else is the same in every row")
_FIGURES: Final = (
    Column(
        title="makespan", legend="first start to last end; not the sum of costs, not the command's time", align="right"
    ),
    Column(
        title="vs base",
        legend="of the base's figure; 'off node': paid for with remote memory; 'at most': what is shared is not known",
        align="right",
    ),
    Column(
        title="worst",
        legend="cost of the slowest probe, start to return; not when the last one ended",
        align="right",
        spare=4,
    ),
    Column(title="vs base", align="right", spare=6),
    Column(title="mean", legend="mean cost; probes sent away with EPROBE_DEFER are left out", align="right", spare=7),
    Column(title="vs base", align="right", spare=8),
    Column(
        title="on node",
        legend="of the probes whose nodes are known: started on their device's; not where they ended",
        align="right",
        spare=3,
    ),
    Column(
        title="held",
        legend="of them: guaranteed to stay there (they may use no CPU elsewhere); where the others ran is luck",
        align="right",
        spare=5,
    ),
    Column(title="CPUs", legend="every CPU a probe ran on", spare=2),
    Column(title="findings", legend="explained below; in brackets: nothing was lost by it", spare=1, wraps=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How much of a result is shown, and in which order."""

    #: the probes of each row of a comparison
    details: bool = True
    #: which probes, and in which order
    choice: ProbeChoice = ALL
    #: what each column is
    explain: bool = False


def print_comparison(
    comparison: Comparison,
    stream: TextIO | None = None,
    view: View | None = None,
    *,
    warnings: Sequence[RunWarning] = (),
) -> None:
    """Print the policies side by side, their probes, and what was found.

    Args:
        comparison: what is shown.
        stream: None: standard output.
        view: None: everything, at most ``DETAIL_ROWS`` probes of a row.
        warnings: of all its traces, each once.

    """
    view = view or View(choice=ProbeChoice(top=DETAIL_ROWS))
    console = console_for(stdout_or(stream))
    print_line(_sentence(verdict(comparison)), console, style="bold")
    heading = _heading(comparison.entries[0].trace, comparison.scenario)
    print_line(f"{heading}. Percentages are of {printable(comparison.baseline)}.", console)
    print_urgent(warnings, console)
    console.print()
    columns = [_VARIATION if comparison.axes else _POLICY, *_FIGURES]
    groups = _alike(comparison)
    draw(Grid(columns=columns, rows=[[_name(labels), *row] for labels, row in groups]), console, legend=False)
    _say_alike((labels for labels, _ in groups), console)
    if view.details:
        console.print()
        _print_details(comparison, view.choice, console)
    print_comparison_findings(comparison, console)
    print_late(warnings, console)
    _print_legend([*columns, *(COLUMNS if view.details else ())], view, console)


def print_trace(trace: Trace, stream: TextIO | None = None, view: View | None = None) -> None:
    """Print the probes of one trace, a line of figures, and what was found.

    Args:
        trace: with its findings.
        stream: None: standard output.
        view: None: every probe.

    """
    view = view or View()
    console = console_for(stdout_or(stream))
    print_line(_sentence(verdict_of_trace(trace)), console, style="bold")
    print_line(f"{_heading(trace, trace.scenario)}. {_figures(trace)}", console)
    print_urgent(trace.warnings, console)
    console.print()
    draw(known_columns(Grid(columns=COLUMNS, rows=probe_rows(trace, view.choice))), console, legend=False)
    _note(view.choice.note(len(trace.probes)), console)
    print_findings(trace.findings, console)
    print_late(trace.warnings, console)
    _print_legend(COLUMNS, view, console)


#: How a trace came about, in words.
_SOURCES: Final = {"virtual": "virtual", "host": "measured", "kernel": "recorded"}


# ---- head and foot --------------------------------------------------------------------------------------------------
def _sentence(text: str) -> str:
    return f"{printable(text)}."


def _heading(trace: Trace, scenario: str | None) -> str:
    """Say what it is: the scenario or file, the machine, the kernel, and how it came about."""
    machine = trace.machine.get("name")
    kernel = f"kernel {trace.kernel}" if trace.kernel else "kernel unknown"
    named = [str(name) for name in (scenario, machine) if name]
    return printable(", ".join([*named, f"{kernel} ({_SOURCES[trace.source]})"]))


def _figures(trace: Trace) -> str:
    summary = summarize(trace)
    parts = [f"{summary.probes} probes", f"worst {time_text(summary.worst_ns)}", f"mean {time_text(summary.mean_ns)}"]
    if summary.makespan_ns is not None:
        parts.append(f"makespan {time_text(summary.makespan_ns, summary.makespan_range_ns)}")
    if summary.local_share is not None:
        parts.append(f"{share_text(summary.local_share)} on node")
    if summary.held_share is not None:
        parts.append(f"{share_text(summary.held_share)} held there")
    counts = ((summary.deferred, "deferred"), (summary.failed, "failed"))
    return ", ".join([*parts, *(f"{count} {word}" for count, word in counts if count)]) + "."


def _print_legend(columns: Iterable[Column], view: View, console: Console) -> None:
    if isinstance(console.file, TakesGrids):
        return
    console.print()
    if view.explain:
        print_legend(columns, console)
    else:
        console.print("--explain says what each column is", style="dim")


def _note(text: str, console: Console) -> None:
    if text:
        print_line(text, console, style="dim")


# ---- a row for each policy ------------------------------------------------------------------------------------------
def _alike(comparison: Comparison) -> list[tuple[list[str], list[str | Cell]]]:
    """Return the rows, each with the labels of those that it is true of; the base stands first among its equals."""
    base = next(entry for entry in comparison.entries if entry.label == comparison.baseline)
    replays = {entry.trace.source for entry in comparison.entries} > {"virtual"}
    groups: dict[str, tuple[list[str], list[str | Cell]]] = {}
    for entry in comparison.entries:
        cells = _figure_cells(entry, base, bound=replays and entry.trace.source == "virtual")
        key = repr([cell for index, cell in enumerate(cells) if index not in _CHANGES])
        labels, _ = groups.setdefault(key, ([], cells))
        if entry is base:
            labels.insert(0, entry.label)
            groups[key] = (labels, cells)
        else:
            labels.append(entry.label)
    return list(groups.values())


#: places of the changes in a row: they follow from the figures, and the base's say ``base``
_CHANGES: Final = (1, 3, 5)


def _figure_cells(entry: ComparedTrace, base: ComparedTrace, *, bound: bool) -> list[str | Cell]:
    """Return the cells of ``_FIGURES``; ``bound``: a gain is at most what is said, as it repeats a recording."""
    summary, change = entry.summary, entry.difference
    of_base = partial(_change, entry, base, bound=bound)
    return [
        time_text(summary.makespan_ns, summary.makespan_range_ns),
        of_base(change.makespan_percent, change.makespan_range_percent),
        time_text(summary.worst_ns, summary.worst_range_ns),
        of_base(change.worst_percent, change.worst_range_percent),
        time_text(summary.mean_ns),
        of_base(change.mean_percent, None),
        share_text(summary.local_share),
        share_text(summary.held_share),
        cpu_text(summary.cpus),
        _kinds(entry.trace),
    ]


def _change(
    entry: ComparedTrace, base: ComparedTrace, value: float | None, doubt: tuple[float, float] | None, *, bound: bool
) -> Cell:
    if entry is base:
        return Cell("base", "dim")
    away = is_away(entry.summary, base.summary)
    return change_cell(value, doubt, bound=bound, remote=away, home=is_home(entry.summary))


def _kinds(trace: Trace) -> str:
    """Return the findings' kinds; in brackets those that cost nothing this time."""
    weighty: dict[str, bool] = {}
    for finding in trace.findings:
        weighty[finding.kind] = weighty.get(finding.kind, False) or finding.severity is not Severity.LOW
    return ", ".join(kind if counts else f"({kind})" for kind, counts in weighty.items()) or "none"


def _name(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{labels[0]} +{len(labels) - 1}"


def _say_alike(groups: Iterable[Sequence[str]], console: Console) -> None:
    for labels in groups:
        if len(labels) > 1:
            _note(f"{printable(_name(labels))}: also {', '.join(printable(label) for label in labels[1:])}", console)


# ---- the probes of each row -----------------------------------------------------------------------------------------
def _print_details(comparison: Comparison, choice: ProbeChoice, console: Console) -> None:
    groups: dict[str, tuple[list[str], list[list[str | Cell]]]] = {}
    for entry in comparison.entries:
        rows = probe_rows(entry.trace, choice)
        groups.setdefault(repr(rows), ([], rows))[0].append(entry.label)
    lines: list[Sequence[str | Cell] | str] = []
    for labels, rows in groups.values():
        lines += [f"{', '.join(labels)}:", *rows]
    draw(known_columns(Grid(columns=COLUMNS, rows=lines)), console, legend=False)
    _note(choice.note(max(len(entry.trace.probes) for entry in comparison.entries)), console)
