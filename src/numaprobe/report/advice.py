"""The table of an advice: the verdict first, then what was run, what to write, what was kept out, and the limits."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final, TextIO

from numaprobe.report.grid import Cell, Column, Grid, console_for, draw, print_text, printable, stdout_or
from numaprobe.study.advise.search import STEP
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from numaprobe.study.advise import Advice, Line, Recommendation, Selection, Trial

#: Rows beside the recommended ones: single choices and the next best.
SHOWN: Final = 8

_SETTINGS: Final = Column(title="settings")
_MAKESPAN: Final = "first start to last end; a range where the source leaves one"
_COLUMNS: Final = (
    Column(
        title="vs base", legend="of the row 'as it is'; two figures: the least and the most it can be", align="right"
    ),
    Column(title="worst", legend="cost of the slowest probe", align="right", spare=1),
    Column(
        title="on node", legend="probes that started on their device's node, of those of which it is known", spare=2
    ),
    Column(title="", spare=3),
)


def print_advice(advice: Advice, stream: TextIO | None = None, *, source: str = "", legend: bool = True) -> None:
    """Print an advice.

    Args:
        advice: it.
        stream: where; None: on standard output.
        source: the words of a command line that name what it is about; empty: not known.
        legend: say what the columns are.

    """
    console = console_for(stdout_or(stream))
    console.print(printable(advice.verdict), style="bold", soft_wrap=True)
    console.print()
    console.print(printable(_heading(advice)), soft_wrap=True)
    console.print()
    goal = advice.goal
    legend_of_goal = "when it came, of the kernel's own clock" if goal.is_moment else _MAKESPAN
    reached = Column(title=goal.name.removeprefix("the "), legend=legend_of_goal, align="right")
    draw(Grid(columns=(_SETTINGS, reached, *_COLUMNS), rows=list(_rows(advice))), console, legend=legend)
    _print_milestones(advice, console)
    for title, one in (("To write", advice.recommended), ("To try", advice.hopeful)):
        _print_lines(title, one, source, console)
    _print_list("Kept out", [f"{one.driver} ({one.reason}): {one.text}." for one in advice.kept_out], console)
    _print_list("Broken", [f"{name}: {reason}" for name, reason in advice.broken[:SHOWN]], console)
    _print_list("Limits", [*advice.limits], console)


def _print_milestones(advice: Advice, console: Console) -> None:
    """Print when each milestone comes, before and with what is recommended, in the order of the boot."""
    one = advice.recommended or advice.hopeful
    if one is None or not advice.base.milestones:
        return
    after = {each.name: each for each in one.trial.milestones}
    rows: list[list[str | Cell]] = []
    for each in advice.base.milestones:
        earlier = one.trial.earlier(advice.base, each.name)
        if earlier is not None:
            now, then = advice.base.milestone_range(each), one.trial.milestone_range(after[each.name])
            rows.append([each.name, _span(*now), _span(*then), _earlier(earlier)])
    columns = (Column(title="milestone"), *(Column(title=title, align="right") for title in ("now", "then", "earlier")))
    console.print()
    draw(Grid(columns=columns, rows=rows), console, legend=False)


def _earlier(ends: tuple[int, int]) -> str:
    if ends == (0, 0):
        return "-"
    low, high = (f"{'-' if ns < 0 else ''}{format_time(abs(ns))}" for ns in ends)
    return low if low == high else f"{low} … {high}"


def _heading(advice: Advice) -> str:
    base, bound = advice.base, advice.bound
    parts = [advice.setting.scenario.name, advice.setting.machine.name, f"kernel {advice.setting.profile.name}"]
    text = f"{', '.join(parts)}. {_searched(advice)}"
    if bound.moment is not None:
        return f"{text} With every driver asynchronous {bound.moment} would not come before {format_time(bound.ns)}."
    if bound.ns:
        text += f" No setting and no policy goes below {format_time(bound.ns)}: {bound.reason}."
    pauses = base.makespan_ns - base.probing_ns
    if pauses > base.worth(STEP):
        text += f" Probes are under way in {format_time(base.probing_ns)} of it; the pauses between them stay."
    return text


def _searched(advice: Advice) -> str:
    if not advice.tried and not advice.searched.timed_out:
        return "Nothing that could be set was left to run."
    how = "every combination" if advice.searched.exhaustive else "step by step"
    text = "1 setting was run" if len(advice.tried) == 1 else f"{len(advice.tried)} settings were run, {how}"
    return f"{text}, until the time was over: the best so far." if advice.searched.timed_out else f"{text}."


def _rows(advice: Advice) -> Iterator[list[str | Cell]]:
    yield _row(advice, advice.base, "", "")
    marked = [
        (advice.recommended, "recommended"),
        (advice.hopeful, "not sure"),
        (advice.daring, "with what is kept out"),
    ]
    shown: set[Selection] = {()}
    for one, mark in marked:
        if one is not None:
            shown.add(one.trial.selection)
            yield _row(advice, one.trial, mark, "bold" if mark == "recommended" else "")
    single = [one for one in advice.tried if len(one.trial.selection) == 1]
    for one in [*single, *advice.tried]:
        if one.trial.selection not in shown and len(shown) <= SHOWN:
            shown.add(one.trial.selection)
            yield _row(advice, one.trial, "", "")


def _row(advice: Advice, trial: Trial, mark: str, style: str) -> list[str | Cell]:
    return [
        Cell(trial.name, style) if style else trial.name,
        _span(*trial.makespan_range()),
        "base" if trial is advice.base else _gain(trial.gain(advice.base), advice.base.makespan_ns),
        _span(*trial.worst_range()),
        f"{trial.local} of {trial.placed}",
        mark,
    ]


def _span(low: int, high: int) -> str:
    return format_time(low) if low == high else f"{format_time(low)} … {format_time(high)}"


def _gain(gain: tuple[int, int], base: int) -> str | Cell:
    if not base:
        return "-"
    high, low = (-100 * value / base for value in gain)
    text = f"{low:+.1f} %" if gain[0] == gain[1] else f"{low:+.1f} … {high:+.1f} %"
    return Cell(text, "green" if high <= -1 else "red" if low >= 1 else "")


def _print_lines(title: str, one: Recommendation | None, source: str, console: Console) -> None:
    if one is None:
        return
    console.print(f"\n{title}", style="bold")
    for line in one.lines:
        _print_line(line, console)
    if source and one.vary:
        _print_check(source, one, console)


def _print_check(source: str, one: Recommendation, console: Console) -> None:
    """Print how to see afterwards whether what was said came."""
    options = " ".join(f"--vary {shlex.quote(key)}" for key in one.vary)
    print_text(f"to see what came of it: numaprobe run {source} {options} -o prediction.json", console, indent=2)
    print_text("set it, record some boots, and: numaprobe verify prediction.json RECORDED…", console, indent=4)


def _print_line(line: Line, console: Console) -> None:
    print_text(f"{line.where}: {line.text}", console, indent=2, style="bold")
    told = [("try it once", line.try_once), ("undo", line.undo)]
    told += [("assumes", text) for text in line.assumes] + [("may break", text) for text in line.risks]
    for name, text in told:
        print_text(f"{name}: {text}", console, indent=4)


def _print_list(title: str, lines: list[str], console: Console) -> None:
    if not lines:
        return
    console.print(f"\n{title}", style="bold")
    for line in lines:
        print_text(line, console, indent=2)
