"""The table of ``verify``: the verdict first, then each figure on both sides, then where probes ran."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from numaprobe.analysis.verify.figures import VerifiedFigure
from numaprobe.analysis.verify.prediction import PredictedFigure
from numaprobe.analysis.verify.verdict import VerdictCode, chance_text, percent_text
from numaprobe.report.grid import UNKNOWN, Cell, Column, Grid, console_for, draw, printable, stdout_or
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from numaprobe.analysis.statistics import Sample
    from numaprobe.analysis.verify import Verification, VerifiedSide
    from numaprobe.analysis.verify.places import PlaceCount, Places

#: Probes listed, those that changed most; ``--json`` has all.
PROBE_ROWS: Final = 20
#: Probes that a sentence names.
NAMED: Final = 3

_FIGURE: Final = Column(title="figure", legend="of a whole run; or a probe's cost, by driver and device")
_INTERVAL: Final = "median of the runs ± the further end of its 95 % interval; ∞: fewer than six runs have none"
_JUDGED: Final = "of the median; ~: none is shown among so many figures (Mann-Whitney, Holm, 5 % in all)"
_FEW: Final = "of the median, in brackets: too few runs to tell it from chance"
_EXACT: Final = "both are exact: no chance is involved"


def print_verification(found: Verification, stream: TextIO | None = None, *, legend: bool = True) -> None:
    """Print what two sides say about each other."""
    console = console_for(stdout_or(stream))
    style = {True: "bold green", False: "bold red", None: "bold"}[found.verdict.passed]
    console.print(f"{found.verdict.code}: {printable(found.verdict.text)}", style=style, soft_wrap=True)
    console.print()
    folder = _common_folder([*found.first.names, *found.second.names])
    for side in (found.first, found.second):
        console.print(_side_text(side, folder), soft_wrap=True)
    console.print()
    draw(_grid(found), console, legend=legend)
    _say_left_out(found, console)
    console.print()
    console.print(_places_text(found.places, predicted=found.mode == "prediction"), soft_wrap=True)
    if found.control:
        headline = found.control[0]
        console.print(f"control: {headline.key} {_change(headline)} ({chance_text(headline)})", soft_wrap=True)
    for line in found.limits:
        console.print(f"warning: {printable(line)}", style="yellow", soft_wrap=True)


def _common_folder(names: Sequence[str]) -> str:
    """Return the folder in which all files are, with a slash; empty if that is all there is of a name."""
    shared = set.intersection(*(set(Path(name).parents) for name in names))
    deepest = str(max(shared, key=lambda folder: len(folder.parts), default="."))
    return "" if deepest == "." else f"{deepest.removesuffix('/')}/"


def _side_text(side: VerifiedSide, folder: str) -> str:
    """Return ``before: 5 runs (a.json … e.json), kernel 6.1, db-7, 2026-11-20``."""
    names = [name.removeprefix(folder) for name in side.names]
    runs = "1 run" if len(side.traces) == 1 else f"{len(side.traces)} runs"
    files = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"
    trace = side.traces[0]
    identity = trace.identity
    parts = [
        f"{runs} ({files})",
        f"kernel {trace.kernel}" if trace.kernel else "kernel unknown",
        *([f"policy {trace.policy}"] if trace.policy else []),
        *([identity.host] if identity is not None and identity.host else []),
        *([identity.date[:10]] if identity is not None and identity.date else []),
    ]
    return printable(f"{side.label}: {', '.join(parts)}")


# ---- figures ---------------------------------------------------------------------------------------------------------
def _grid(found: Verification) -> Grid:
    shown = _shown(found)
    if found.mode == "prediction":
        return Grid(
            columns=_predicted_columns(found),
            rows=[_predicted_row(figure) for figure in shown if isinstance(figure, PredictedFigure)],
        )
    changed = [figure for figure in shown if isinstance(figure, VerifiedFigure)]
    if found.mode == "exact":
        return Grid(columns=_changed_columns(found, _EXACT)[:4], rows=[_exact_row(figure) for figure in changed])
    few = found.verdict.code is VerdictCode.TOO_FEW
    columns = _changed_columns(found, _FEW if few else _JUDGED)
    return Grid(columns=columns, rows=[_changed_row(figure, few=few) for figure in changed])


def _changed_columns(found: Verification, change: str) -> tuple[Column, ...]:
    return (
        _FIGURE,
        Column(title=printable(found.first.label), legend="" if found.mode == "exact" else _INTERVAL, align="right"),
        Column(title=printable(found.second.label), align="right"),
        Column(title="change", legend=change, align="right"),
        Column(title="chance", legend="of ranks so far apart if nothing had changed; and the runs", spare=1),
        Column(title="95 %", legend="where the shift lies (Hodges-Lehmann)", align="right", spare=2),
    )


def _predicted_columns(found: Verification) -> tuple[Column, ...]:
    return (
        _FIGURE,
        Column(title=printable(found.first.label), legend="what was predicted, and its range", align="right"),
        Column(title=printable(found.second.label), legend=_INTERVAL, align="right"),
        Column(title="error", legend="(predicted - measured) / measured", align="right"),
        Column(title="inside", legend="the range; without one, the interval of what was measured", spare=1),
    )


def _shown(found: Verification) -> Sequence[VerifiedFigure | PredictedFigure]:
    """Return the figures of whole runs, and the probes that changed most, in their order."""
    probes = [figure for figure in found.figures if figure.key.device is not None]
    kept = sorted(probes, key=_weight)[:PROBE_ROWS]
    return [figure for figure in found.figures if figure.key.device is None or figure in kept]


def _weight(figure: VerifiedFigure | PredictedFigure) -> tuple[bool, float]:
    """Return what sorts the figures that are shown to differ first, the larger difference first."""
    if isinstance(figure, PredictedFigure):
        return not figure.off, -abs(figure.error or 0)
    return not figure.shown, -abs(figure.change.percent or 0)


def _say_left_out(found: Verification, console: Console) -> None:
    probes = sum(figure.key.device is not None for figure in found.figures)
    if probes > PROBE_ROWS:
        console.print(f"the {PROBE_ROWS} of {probes} probes that changed most (--json has all)", style="dim")


def _exact_row(figure: VerifiedFigure) -> list[str | Cell]:
    before, after = (format_time(round(side.median)) for side in (figure.change.base, figure.change.runs))
    percent = figure.change.percent
    change = "same" if not figure.shown else UNKNOWN if percent is None else percent_text(percent)
    return [str(figure.key), before, after, Cell(change, _style(figure))]


def _changed_row(figure: VerifiedFigure, *, few: bool) -> list[str | Cell]:
    interval = figure.change.percent_interval
    return [
        str(figure.key),
        _sample(figure.change.base),
        _sample(figure.change.runs),
        Cell(_change(figure, few=few), _style(figure)),
        chance_text(figure),
        UNKNOWN if interval is None else f"{percent_text(interval[0])} to {percent_text(interval[1])}",
    ]


def _change(figure: VerifiedFigure, *, few: bool = False) -> str:
    percent = figure.change.percent
    text = UNKNOWN if percent is None else percent_text(percent)
    return f"({text})" if few else text if figure.shown else "~"


def _style(figure: VerifiedFigure) -> str:
    return "red" if figure.slower else "green" if figure.faster else ""


def _sample(sample: Sample) -> str:
    spread = "∞" if sample.spread is None else f"{100 * sample.spread:.0f}%"
    return f"{format_time(round(sample.median))} ± {spread}"


def _predicted_row(figure: PredictedFigure) -> list[str | Cell]:
    low, high = figure.range or (None, None)
    span = "" if low is None or high is None else f" ({format_time(low)} to {format_time(high)})"
    inside = figure.inside if figure.range is not None else None if figure.off is None else not figure.off
    return [
        str(figure.key),
        f"{format_time(round(figure.predicted))}{span}",
        _sample(figure.measured),
        UNKNOWN if figure.error is None else percent_text(figure.error),
        Cell({True: "yes", False: "NO", None: UNKNOWN}[inside], "" if inside is not False else "yellow"),
    ]


# ---- places ----------------------------------------------------------------------------------------------------------
def _places_text(places: Places, *, predicted: bool) -> str:
    """Return ``places as before: node 3 of 3, LLC 3 of 3, worker 0 of 3 (nvme 0000:81:00.0, …)``."""
    parts = [f"{count.question} {count.same} of {count.judged}{_exceptions(count)}" for count in places.counts]
    parts += [f"{len(places.missing)} missing in some run"] if places.missing else []
    parts += [f"{len(places.unexpected)} new"] if places.unexpected else []
    word = "predicted" if predicted else "before"
    return f"places as {word}: {', '.join(parts) or 'not told'}"


def _exceptions(count: PlaceCount) -> str:
    """Return which probes differ, and how many do in some runs only."""
    notes = [f"{count.varies} vary"] if count.varies else []
    if count.differs:
        more = " …" if len(count.differs) > NAMED else ""
        notes.append(f"not {printable(', '.join(count.differs[:NAMED]))}{more}")
    return f" ({'; '.join(notes)})" if notes else ""
