"""Tables of traces and comparisons, for people.

``print_comparison`` is what ``compare`` shows, ``print_trace`` what ``run`` and ``report`` show. Where a source does
not tell a figure the cell is ``-``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from numaprobe.analysis.hold import Holds
from numaprobe.analysis.machine import cpu_list, cpu_node_of, topology_of
from numaprobe.analysis.summary import summarize
from numaprobe.records import NO_NODE
from numaprobe.report.explain import print_comparison_findings, print_findings, print_warnings
from numaprobe.report.grid import UNKNOWN, Cell, Column, Grid, console_for, draw, printable, stdout_or
from numaprobe.units import format_size, format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from numaprobe.analysis.compare import Comparison, Entry
    from numaprobe.records import ProbeRecord, Trace
    from numaprobe.topology import Topology

#: Details list at most this many probes of a policy, the slowest; JSON has them all.
DETAIL_ROWS: Final = 12
#: CPU lists longer than this are cut; the number of CPUs follows.
_CPU_TEXT: Final = 22

_POLICIES: Final = (
    Column(title="policy", legend="where a probe runs and which task waits; 'numaprobe policies' explains each"),
    Column(
        title="worst", legend="cost of the slowest probe, start to return; not when the last one ended", align="right"
    ),
    Column(title="vs base", align="right"),
    Column(title="mean", legend="mean cost; probes sent away with EPROBE_DEFER are left out", align="right"),
    Column(title="vs base", align="right"),
    Column(
        title="makespan", legend="first start to last end; not the sum of costs, not the command's time", align="right"
    ),
    Column(title="vs base", align="right", spare=2),
    Column(
        title="on node",
        legend="of the probes whose nodes are known: started on their device's; not where they ended",
        align="right",
    ),
    Column(
        title="held",
        legend="of them: guaranteed to stay there (they may use no CPU elsewhere); where the others ran is luck",
        align="right",
        spare=1,
    ),
    Column(title="CPUs", legend="every CPU a probe ran on", spare=3),
    Column(title="findings", legend="explained below", spare=4),
)
_DETAILS: Final = (
    Column(title="policy"),
    Column(title="device"),
    Column(title="driver", spare=5),
    Column(title="node", legend="the device's node; -1: the firmware gave none", align="right"),
    Column(
        title="CPU",
        legend="where it started, and that CPU's node; ! = not the device's node, * = it moved",
        align="right",
    ),
    Column(title="COMM", legend="the task that ran it: kworker/CPU:ID is bound to a CPU, kworker/uPOOL:ID is not"),
    Column(
        title="held",
        legend="guaranteed: held on its node; soft: woken there, free to leave; anywhere: luck; away: kept off it",
        spare=6,
    ),
    Column(title="cost", legend="start to return = running + runnable + sleeping", align="right"),
    Column(title="running", legend="on a CPU", align="right", spare=1),
    Column(title="runnable", legend="ready, and waiting for a CPU that others used", align="right", spare=1),
    Column(title="sleeping", legend="waiting for anything else: a device, a timer, a lock", align="right", spare=1),
    Column(title="memory", legend="what it allocated, by node; not what it freed", spare=4),
    Column(title="caller", legend="the task that waited for it, and its CPU", spare=3),
    Column(title="result", legend="0, or the errno's name", spare=2),
)


def print_comparison(
    comparison: Comparison, stream: TextIO | None = None, *, details: bool = True, legend: bool = True
) -> None:
    """Print the policies side by side, their probes, and what was found."""
    console = console_for(stdout_or(stream))
    first = comparison.entries[0].trace
    console.print(
        f"{_heading(first, comparison.scenario)}. Percentages are of {printable(comparison.baseline)}.", soft_wrap=True
    )
    console.print()
    rows = [_policy_row(entry, comparison.baseline) for entry in comparison.entries]
    draw(Grid(columns=_summary_columns(comparison), rows=rows), console, legend=legend)
    if details:
        console.print()
        groups = _alike(comparison.entries)
        draw(_known_columns(Grid(columns=_DETAILS, rows=_grouped_rows(groups))), console, legend=legend)
        _say_alike(groups, console)
        _say_cut([entry.trace for entry in comparison.entries], console)
    print_comparison_findings(comparison, console)


def print_trace(trace: Trace, stream: TextIO | None = None, *, limit: int | None = None, legend: bool = True) -> None:
    """Print the probes of one trace (all, or the ``limit`` slowest), a line of figures, and what was found."""
    console = console_for(stdout_or(stream))
    console.print(f"{_heading(trace, trace.scenario)}. {_figures(trace)}", soft_wrap=True)
    console.print()
    rows = [row[1:] for row in _detail_rows(trace, "", limit or len(trace.probes))]
    draw(_known_columns(Grid(columns=_DETAILS[1:], rows=rows)), console, legend=legend)
    print_warnings(trace.warnings, console)
    print_findings(trace.findings, console)


def _summary_columns(comparison: Comparison) -> Sequence[Column]:
    if not comparison.axes:
        return _POLICIES
    return [Column(title="variation", legend="what varies; everything else is the same in every row"), *_POLICIES[1:]]


def _heading(trace: Trace, scenario: str | None) -> str:
    machine = trace.machine.get("name")
    kernel = f"kernel {trace.kernel}" if trace.kernel else "kernel unknown"
    parts = [scenario or trace.source, *([str(machine)] if machine else []), f"{kernel} ({trace.source})"]
    return printable(", ".join(parts))


def _figures(trace: Trace) -> str:
    summary = summarize(trace)
    parts = [f"{summary.probes} probes", f"worst {_time(summary.worst_ns)}", f"mean {_time(summary.mean_ns)}"]
    if summary.makespan_ns is not None:
        parts.append(f"makespan {_time(summary.makespan_ns)}")
    if summary.local_share is not None:
        parts.append(f"{_share(summary.local_share)} on node")
    if summary.held_share is not None:
        parts.append(f"{_share(summary.held_share)} held there")
    counts = ((summary.deferred, "deferred"), (summary.failed, "failed"))
    return ", ".join([*parts, *(f"{count} {word}" for count, word in counts if count)]) + "."


def _policy_row(entry: Entry, baseline: str) -> list[str | Cell]:
    summary, difference = entry.summary, entry.difference
    base = entry.label == baseline
    return [
        Cell(entry.label, "bold") if base else entry.label,
        _time(summary.worst_ns),
        _percent(difference.worst_percent, base=base),
        _time(summary.mean_ns),
        _percent(difference.mean_percent, base=base),
        _time(summary.makespan_ns),
        _percent(difference.makespan_percent, base=base),
        _share(summary.local_share),
        _share(summary.held_share),
        cpu_text(summary.cpus),
        ", ".join(dict.fromkeys(finding.kind for finding in entry.trace.findings)) or "none",
    ]


def _detail_rows(trace: Trace, label: str, limit: int = DETAIL_ROWS) -> list[list[str | Cell]]:
    topology = topology_of(trace)
    holds = Holds(trace, topology)
    slowest = sorted(trace.probes, key=lambda record: -record.cost_ns)[:limit]
    chosen = trace.probes if len(trace.probes) <= limit else slowest
    return [_detail_row(record, label if index == 0 else "", topology, holds) for index, record in enumerate(chosen)]


def _detail_row(record: ProbeRecord, label: str, topology: Topology | None, holds: Holds) -> list[str | Cell]:
    result = record.result or UNKNOWN
    return [
        label,
        record.device if record.attempt == 1 else f"{record.device} (try {record.attempt})",
        record.driver,
        UNKNOWN if record.device_node is None else str(record.device_node),
        _cpu_cell(record, topology),
        record.comm or UNKNOWN,
        holds.of(record) or UNKNOWN,
        _time(record.cost_ns),
        _time(record.running_ns),
        _time(record.runnable_ns),
        _time(record.sleeping_ns),
        _memory(record.memory),
        _caller(record),
        Cell(result, "" if result in ("0", UNKNOWN) else "yellow"),
    ]


def _cpu_cell(record: ProbeRecord, topology: Topology | None) -> Cell:
    if record.cpu is None:
        return Cell(UNKNOWN)
    node = cpu_node_of(record, topology)
    remote = node is not None and record.device_node not in (None, NO_NODE, node)
    moved = len(record.cpus or ()) > 1
    place = str(record.cpu) if node is None else f"{record.cpu} (n{node})"
    return Cell(f"{place}{'!' if remote else ''}{'*' if moved else ''}", "bold red" if remote else "")


def _caller(record: ProbeRecord) -> str:
    if record.caller_comm is None:
        return UNKNOWN
    return record.caller_comm if record.caller_cpu is None else f"{record.caller_comm} on {record.caller_cpu}"


def _memory(memory: Mapping[int, int] | None) -> str:
    if memory is None:
        return UNKNOWN
    return ", ".join(f"n{node}: {format_size(size)}" for node, size in sorted(memory.items())) or "0"


def _alike(entries: Iterable[Entry]) -> list[tuple[list[str], list[list[str | Cell]]]]:
    """Return the policies by what they did, probe by probe: labels, and the rows that they share."""
    groups: dict[str, tuple[list[str], list[list[str | Cell]]]] = {}
    for entry in entries:
        rows = _detail_rows(entry.trace, "")
        groups.setdefault(repr(rows), ([], rows))[0].append(entry.label)
    return list(groups.values())


def _grouped_rows(groups: Iterable[tuple[list[str], list[list[str | Cell]]]]) -> list[list[str | Cell]]:
    rows: list[list[str | Cell]] = []
    for labels, shared in groups:
        more = f" (+{len(labels) - 1})" if len(labels) > 1 else ""
        rows += [[labels[0] + more if index == 0 else "", *row[1:]] for index, row in enumerate(shared)]
    return rows


def _say_alike(groups: Iterable[tuple[list[str], object]], console: Console) -> None:
    for labels, _ in groups:
        if len(labels) > 1:
            names = ", ".join(printable(label) for label in labels[1:])
            console.print(f"{printable(labels[0])} (+{len(labels) - 1}): the same under {names}", style="dim")


def _known_columns(grid: Grid) -> Grid:
    """Leave out the columns about which the source told nothing, and the policy if there is no such column's text."""

    def told(index: int) -> bool:
        return any((cell.text if isinstance(cell := row[index], Cell) else cell) != UNKNOWN for row in grid.rows)

    kept = [index for index in range(len(grid.columns)) if told(index)]
    return Grid(
        columns=[grid.columns[index] for index in kept], rows=[[row[index] for index in kept] for row in grid.rows]
    )


def _say_cut(traces: Iterable[Trace], console: Console) -> None:
    most = max((len(trace.probes) for trace in traces), default=0)
    if most > DETAIL_ROWS:
        console.print(f"the {DETAIL_ROWS} slowest probes of {most} for each policy (--json has all)", style="dim")


def cpu_text(cpus: Sequence[int]) -> str:
    """Return a CPU list, cut if long: ``0-7,128-135``, ``0,2,4,6,8,… (64 CPUs)``."""
    text = cpu_list(cpus)
    if not text:
        return UNKNOWN
    if len(text) <= _CPU_TEXT:
        return text
    return f"{text[:_CPU_TEXT].rsplit(',', 1)[0]},… ({len(cpus)} CPUs)"


def _time(ns: int | None) -> str:
    return UNKNOWN if ns is None else format_time(ns)


def _share(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.0f} %"


def _percent(value: float | None, *, base: bool) -> str | Cell:
    if base:
        return Cell("base", "dim")
    if value is None:
        return UNKNOWN
    return Cell(f"{value:+.1f} %", "green" if value <= -1 else "red" if value >= 1 else "")
