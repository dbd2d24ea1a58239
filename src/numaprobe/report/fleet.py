"""The table of an answer about a fleet: the sentence, what was looked at, the rows, and what limits them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from numaprobe.analysis.fleet import FindingShare, FleetChange, SlowPlace, UnlikeHost, share_interval
from numaprobe.analysis.verify.verdict import percent_text
from numaprobe.report.cells import share_text
from numaprobe.report.grid import (
    UNKNOWN,
    Cell,
    Column,
    Grid,
    console_for,
    draw,
    print_line,
    print_text,
    printable,
    stdout_or,
)
from numaprobe.study.fleet.advised import ClassAdvice
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from numaprobe.analysis.fleet import Sign
    from numaprobe.study.fleet import FleetAnswer
    from numaprobe.study.fleet.answer import DriverTotal, FleetRow

#: Rows of a table; JSON and CSV have them all.
SHOWN: Final = 40
#: Drivers that are listed beside the places.
_DRIVERS: Final = 12
#: Letters of a setting of strangers that a cell shows.
_LONGEST: Final = 60

_PEERS: Final = Column(
    title="peers", legend="compared with hosts of as many nodes and CPUs, and of that product", spare=2, wraps=True
)
_CHANCE: Final = Column(
    title="chance", legend="of ranks so far apart if it made no difference, among all that was compared (Holm)", spare=1
)
_SIGNS: Final = {
    "slow-driver": "all its probes are slow: their median",
    "fast-driver": "its probes are quick: their median",
    "slow-device": "one probe is slow: the slowest",
    "off-node": "probes that started on another node than their device's",
    "slow-run": "first start to last end",
    "fails": "devices whose probe ended with an error",
    "no-node": "devices for which the firmware gave no node",
    "devices": "devices that were probed",
}


def print_fleet(answer: FleetAnswer, stream: TextIO | None = None, *, legend: bool = True) -> None:
    """Print an answer."""
    console = console_for(stdout_or(stream))
    console.print(printable(answer.verdict), style="bold", soft_wrap=True)
    console.print()
    print_line(_about(answer), console)
    if answer.drivers:
        console.print()
        draw(_drivers(answer.drivers), console, legend=False)
    if answer.rows:
        console.print()
        columns, row = _TABLES[answer.question]
        shown = answer.rows[:SHOWN] if answer.question != "changes" else _most_changed(answer.rows)
        draw(Grid(columns=columns, rows=[cells for one in shown for cells in row(one)]), console, legend=legend)
        if len(shown) < len(answer.rows):
            print_line(
                f"{len(shown)} of {len(answer.rows)} rows (--json and --format csv have all)", console, style="dim"
            )
    _print_lines(answer, console)
    for line in answer.limits:
        console.print()
        print_text(line, console, style="yellow")


def _about(answer: FleetAnswer) -> str:
    first, last = answer.days
    days = "day not told" if first is None else first if first == last else f"{first} to {last}"
    text = f"{answer.hosts:,} hosts, {answer.runs:,} runs, {days}"
    return text if answer.sides is None else f"{text}. Before: {answer.sides[0]}; after: {answer.sides[1]}"


# ---- slow ------------------------------------------------------------------------------------------------------------
def _drivers(drivers: Sequence[DriverTotal]) -> Grid:
    columns = (
        Column(title="driver"),
        Column(title="hosts", align="right"),
        Column(title="probes", align="right", spare=2),
        Column(title="median", align="right"),
        Column(title="worst", align="right"),
        Column(title="on host", spare=1),
        Column(title="of all time", align="right"),
    )
    rows = [
        [
            one.driver,
            f"{one.hosts:,}",
            f"{one.probes:,}",
            _time(one.median_ns),
            _time(one.worst_ns),
            one.worst_host,
            share_text(one.share),
        ]
        for one in drivers[:_DRIVERS]
    ]
    return Grid(columns=columns, rows=rows)


_SLOW: Final = (
    Column(title="driver"),
    Column(title="where", legend="what its hosts have; several: the same hosts have all of it", wraps=True),
    Column(title="hosts", legend="there, and elsewhere", align="right"),
    Column(title="median", legend="over hosts, each with the median of its probes", align="right"),
    Column(title="elsewhere", legend="the same of the other hosts, or the other nodes", align="right"),
    Column(title="times", align="right"),
    _CHANCE,
    Column(
        title="among", legend="the hosts of one kind are compared with each other; all: kinds are", spare=2, wraps=True
    ),
)


def _slow_row(one: SlowPlace) -> list[list[str | Cell]]:
    where = "; ".join(f"{'machine' if what == 'peers' else what} {value}" for what, value in one.place)
    return [
        [
            one.driver,
            where,
            f"{one.hosts}+{one.rest}",
            _time(one.here_ns),
            _time(one.elsewhere_ns),
            Cell(f"{one.ratio:.2f}", "red"),
            _chance(one.adjusted_p),
            one.peers or "all",
        ]
    ]


# ---- outliers --------------------------------------------------------------------------------------------------------
_OUTLIERS: Final = (
    Column(title="host"),
    Column(title="sign", legend="; ".join(f"{kind}: {text}" for kind, text in _SIGNS.items())),
    Column(title="driver"),
    Column(title="here", align="right"),
    Column(title="peers'", legend="the median over its peers; of a number, what nearly all have", align="right"),
    Column(
        title="widths",
        legend="between the two: modified z-score (Iglewicz, Hoaglin), each side for itself; a number has none",
        align="right",
    ),
    Column(title="as far", legend="peers that are as far off, of all", align="right"),
    Column(
        title="differs in",
        legend="what nine in ten peers have otherwise: no proof, a place to look",
        spare=2,
        wraps=True,
    ),
    Column(title="peers", spare=1, wraps=True),
)


def _outlier_rows(one: UnlikeHost) -> list[list[str | Cell]]:
    differs = "; ".join(f"{name} {_cut(own)} (peers {_cut(theirs)})" for name, (own, theirs) in one.differs.items())
    rows: list[list[str | Cell]] = []
    for number, sign in enumerate(one.signs):
        first = number == 0
        rows.append(
            [
                Cell(one.host, "bold") if first else "",
                Cell(sign.kind, "" if sign.kind == "fast-driver" else "red"),
                sign.driver or "",
                _figure(sign, sign.value),
                _figure(sign, sign.typical),
                UNKNOWN if sign.score is None else f"{sign.score:+.1f}",
                f"{sign.as_far} of {sign.peers}",
                differs if first else "",
                one.peers if first else "",
            ]
        )
    return rows


def _figure(sign: Sign, value: float) -> str:
    if sign.unit == "ns":
        return _time(value)
    return share_text(value) if sign.unit == "share" else f"{value:.0f}"


# ---- changes ---------------------------------------------------------------------------------------------------------
_CHANGES: Final = (
    Column(title="figure", legend="makespan; on node: share of probes; driver: the median cost of its probes"),
    _PEERS,
    Column(title="hosts", legend="before, and after", align="right", spare=1),
    Column(title="before", legend="median over hosts", align="right"),
    Column(title="after", align="right"),
    Column(title="change", legend="of the median; ~: none is shown among all figures (Mann-Whitney, Holm, 5 % in all)"),
    Column(title="95 %", legend="where the shift lies (Hodges-Lehmann), of the median before", spare=1),
    _CHANCE,
)


def _most_changed(rows: Sequence[FleetRow]) -> list[FleetChange]:
    changes = [one for one in rows if isinstance(one, FleetChange)]
    kept = sorted(changes, key=lambda one: (not one.shown, -abs(one.change.percent or 0)))[:SHOWN]
    return [one for one in changes if one in kept]


def _change_row(one: FleetChange) -> list[list[str | Cell]]:
    change, percent = one.change, one.change.percent
    interval = change.percent_interval
    text = UNKNOWN if percent is None else percent_text(percent)
    style = "red" if one.worse else "green" if one.shown else ""
    share = one.figure == "on node"
    before, after = (share_text(side.median) if share else _time(side.median) for side in (change.base, change.runs))
    return [
        [
            one.figure,
            one.peers,
            f"{change.base.size}+{change.runs.size}",
            before,
            after,
            Cell(text, style) if one.shown else "~",
            UNKNOWN if interval is None else f"{percent_text(interval[0])} to {percent_text(interval[1])}",
            _chance(one.adjusted_p),
        ]
    ]


# ---- findings --------------------------------------------------------------------------------------------------------
_FINDINGS: Final = (
    Column(title="finding", legend="'numaprobe report' of a trace explains it; see docs/findings.md"),
    Column(title="hosts", align="right"),
    Column(title="share", legend="of all hosts, and where the true share lies (Wilson, 95 %)"),
    Column(title="severity", legend="and hosts with a finding of it", spare=1, wraps=True),
    Column(title="drivers", legend="whose devices it is about, and hosts", spare=1, wraps=True),
    Column(title="machines", legend="where most of these hosts are", spare=3, wraps=True),
    Column(title="for instance", spare=2, wraps=True),
)


def _finding_row(one: FindingShare) -> list[list[str | Cell]]:
    low, high = share_interval(one.hosts, one.of)
    return [
        [
            one.kind,
            f"{one.hosts:,}",
            f"{100 * one.share:.1f} % ({100 * low:.1f} to {100 * high:.1f})",
            _counted(one.severities),
            _counted(one.drivers),
            _counted(one.peers, separator="; "),
            ", ".join(one.examples),
        ]
    ]


def _counted(counts: dict[str, int], *, separator: str = ", ") -> str:
    return separator.join(f"{name} {count:,}" for name, count in counts.items())


# ---- settings --------------------------------------------------------------------------------------------------------
_SETTINGS: Final = (
    Column(title="machines", wraps=True),
    Column(title="kernel", spare=1),
    Column(title="hosts", align="right"),
    Column(title="setting", legend="of a stock kernel; -: nothing that can be set helps", wraps=True),
    Column(
        title="gain", legend="of the makespan on the host that stands for the class: at least, at most", align="right"
    ),
    Column(title="sure", legend="under every reading of what its trace leaves open"),
    Column(title="helped", legend="of further hosts of the class on whose replays it was run", align="right"),
    Column(title="example", legend="the host that stands for the class", spare=2),
)


def _setting_row(one: ClassAdvice) -> list[list[str | Cell]]:
    if not one.names:
        what = UNKNOWN if one.repeatable else "cannot be repeated"
        return [[one.peers, one.kernel or UNKNOWN, f"{one.hosts:,}", what, UNKNOWN, "", UNKNOWN, one.example]]
    least, most = (f"{end:.1f} %" for end in one.gain_percent)
    return [
        [
            one.peers,
            one.kernel or UNKNOWN,
            f"{one.hosts:,}",
            Cell(", ".join(one.names), "bold"),
            least if least == most else f"{least} … {most}",
            "yes" if one.sure else "no",
            f"{one.helped} of {one.looked_at}",
            one.example,
        ]
    ]


def _print_lines(answer: FleetAnswer, console: Console) -> None:
    """Print what to write for each setting, once; not of one that helped no other host."""
    advised = [one for one in answer.rows if isinstance(one, ClassAdvice) and (one.sure or one.helped)]
    lines = dict.fromkeys(line for one in advised for line in one.lines)
    if lines:
        console.print()
        console.print("To write:", style="bold")
    for where, line in lines:
        print_text(f"{where}: {line}", console, indent=2)


# ---- texts -----------------------------------------------------------------------------------------------------------
def _time(ns: float) -> str:
    return format_time(round(ns))


def _chance(p: float) -> str:
    return "p<0.0001" if p < 0.0001 else f"p={p:.4f}"  # noqa: PLR2004


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


_TABLES: Final[dict[str, tuple[tuple[Column, ...], Callable[..., list[list[str | Cell]]]]]] = {
    "slow": (_SLOW, _slow_row),
    "outliers": (_OUTLIERS, _outlier_rows),
    "changes": (_CHANGES, _change_row),
    "findings": (_FINDINGS, _finding_row),
    "settings": (_SETTINGS, _setting_row),
}
