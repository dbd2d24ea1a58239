"""A schedule as a drawing: a column for each task, a line for each step, bars for what a task holds and waits for.

A filled bar: the task holds this (a lock, a work that it executes, a place inside of what is drained). A hollow one: it
waits for it. One colour for each thing, the same in all columns. A red line leads to a step that was a pre-emption:
from the task that could have gone on. The drawing is SVG without styles of its own, scripts or references: the page
brings the colours, by class.
"""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from numaprobe.report.grid import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.schedules import ChosenRun

#: Colours that the page has.
COLOURS: Final = 6
#: Pixels: of a line of text, a bar, the gap between bars, a letter, between columns; above the first line.
_LINE, _BAR, _GAP, _LETTER, _BETWEEN, _TOP = 17, 6, 3, 6.7, 22, 30
#: Letters of a column's text at most.
_WIDTH: Final = 30
#: Lines that are drawn at most: the last ones matter.
_MOST: Final = 300
_TAKES: Final = frozenset({"takes", "begins", "enters"})
_DROPS: Final = frozenset({"releases", "hands on", "ends", "leaves"})
_WAITS: Final = frozenset({"waits for", "flushes", "drains", "awaits"})
#: what page styles the drawing needs
DRAWING_STYLE: Final = """
svg { display: block; margin: 12px 0; font: 11px/1.4 ui-monospace, "DejaVu Sans Mono", monospace; }
svg text { fill: var(--ink); white-space: pre; } svg .dim { fill: var(--dim); } svg .head { font-weight: 600; }
svg .row { stroke: var(--line); } svg .preempts { stroke: var(--bad); fill: none; stroke-dasharray: 4 3; }
svg .bad { fill: var(--bad); font-weight: 600; } svg rect { stroke-width: 1.5; }
svg .c0 { fill: #3b76c4; stroke: #3b76c4; } svg .c1 { fill: #c77700; stroke: #c77700; }
svg .c2 { fill: #2b9a66; stroke: #2b9a66; } svg .c3 { fill: #9a4fc0; stroke: #9a4fc0; }
svg .c4 { fill: #c2406b; stroke: #c2406b; } svg .c5 { fill: #6b7785; stroke: #6b7785; }
svg .waits { fill: none; stroke-dasharray: 3 2; }
"""


@dataclass(slots=True)
class _Span:
    """What a task holds or waits for, from one line to another."""

    thing: str
    waits: bool
    first: int
    last: int | None = None
    slot: int = 0


@dataclass(slots=True)
class _DrawnStep:
    """A step in which something is to be seen."""

    number: int
    actor: str
    lines: list[str]
    preempts: bool = False
    #: who could have gone on, of a pre-emption
    held_up: str = ""


@dataclass(slots=True)
class _Column:
    """A task."""

    title: str
    spans: list[_Span] = field(default_factory=list)
    letters: int = 0

    def open(self, thing: str, line: int, *, waits: bool) -> None:
        """Begin a bar, in the first slot that is free."""
        taken = {span.slot for span in self.spans if span.last is None or span.last >= line}
        slot = next(number for number in range(len(taken) + 1) if number not in taken)
        self.spans.append(_Span(thing, waits, line, slot=slot))

    def close(self, line: int, *, waits: bool, thing: str | None = None) -> None:
        """End the bars of a thing; None: of whatever it is."""
        for span in self.spans:
            if span.last is None and span.waits is waits and thing in (None, span.thing):
                span.last = line

    @property
    def bars(self) -> int:
        """How wide its bars are, in pixels."""
        return (max((span.slot for span in self.spans), default=-1) + 1) * (_BAR + _GAP) + _GAP

    @property
    def width(self) -> int:
        """How wide it is, in pixels."""
        return self.bars + int(max(self.letters, len(self.title)) * _LETTER) + _BETWEEN


def order_drawing(run: ChosenRun) -> str:
    """Return the drawing of a run."""
    steps = list(_steps(run))
    cut = max(0, len(steps) - _MOST)
    columns = _columns(run, steps)
    steps = steps[cut:]
    lefts, x = {}, 40
    for actor, column in columns.items():
        lefts[actor] = x
        x += column.width
    tops = [_TOP]
    for step in steps:
        tops.append(tops[-1] + _LINE * len(step.lines) + 5)
    things = list(dict.fromkeys(span.thing for column in columns.values() for span in column.spans))
    parts = [_text(lefts[actor], 16, column.title, "head") for actor, column in columns.items()]
    if cut:
        parts.append(_text(0, 28, f"the first {cut} lines are left out", "dim"))
    for index, step in enumerate(steps):
        parts += _drawn_step(step, tops[index], columns, lefts, x)
    for actor, column in columns.items():
        parts += [_drawn_span(span, cut, tops, lefts[actor], things) for span in column.spans if _seen(span, cut)]
    about = html.escape(f"schedule of {len(columns)} tasks in {len(steps)} lines")
    size = f'width="{x}" height="{tops[-1] + 4}" viewBox="0 0 {x} {tops[-1] + 4}"'
    return f'<div><svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{about}">\n' + "\n".join(
        [*parts, "</svg></div>"]
    )


def _steps(run: ChosenRun) -> Iterator[_DrawnStep]:
    for number, step in enumerate(run.steps):
        if step.what:
            if step.index:
                yield _DrawnStep(number, "", [f"({printable(step.what)})"])
        elif step.notes or step.preempts:
            texts = [f"{verb} {what}" for verb, what in step.notes] or ["·"]
            lines = [line for text in texts for line in textwrap.wrap(printable(text), _WIDTH, break_long_words=True)]
            yield _DrawnStep(number, step.actor, lines, step.preempts, step.actors[0] if step.preempts else "")


def _columns(run: ChosenRun, steps: Sequence[_DrawnStep]) -> dict[str, _Column]:
    """Return the tasks that are drawn, each with its bars."""
    actors = dict.fromkeys(one for step in steps for one in (step.held_up, step.actor) if one)
    columns = {actor: _Column(printable(run.labels.get(actor, actor))) for actor in actors}
    queues: dict[str, list[str]] = {}
    for line, step in enumerate(steps):
        if not step.actor:
            continue
        column = columns[step.actor]
        column.letters = max(column.letters, *map(len, step.lines))
        column.close(line, waits=True)
        for verb, what in run.steps[step.number].notes:
            if verb in _TAKES:
                column.open(what, line, waits=False)
            elif verb in _DROPS:
                column.close(line, waits=False, thing=what)
            elif verb in _WAITS:
                column.open(what, line, waits=True)
            if verb == "waits for":
                queues.setdefault(what, []).append(step.actor)
            if verb == "hands on" and queues.get(what):
                following = columns[queues[what].pop(0)]
                following.close(line, waits=True)
                following.open(what, line, waits=False)
    return columns


def _seen(span: _Span, cut: int) -> bool:
    return span.last is None or span.last >= cut


def _drawn_step(
    step: _DrawnStep, top: int, columns: dict[str, _Column], lefts: dict[str, int], right: int
) -> Iterator[str]:
    middle = top + _LINE // 2
    yield f'<line class="row" x1="0" x2="{right}" y1="{top - 2}" y2="{top - 2}"/>'
    yield _text(0, top + 12, str(step.number), "dim")
    if not step.actor:
        yield _text(40, top + 12, step.lines[0], "bad")
        return
    left = lefts[step.actor] + columns[step.actor].bars
    if step.preempts:
        start = lefts[step.held_up] + columns[step.held_up].bars + 8
        yield f'<path class="preempts" d="M{start} {middle} H{left}"><title>{_preempted(step, columns)}</title></path>'
        yield _text(left - 1, top + 12, "▶", "bad")
        left += 12
    for number, line in enumerate(step.lines):
        yield _text(left, top + 12 + number * _LINE, line, "")


def _preempted(step: _DrawnStep, columns: dict[str, _Column]) -> str:
    return html.escape(f"pre-emption: {columns[step.held_up].title} could have gone on")


def _drawn_span(span: _Span, cut: int, tops: Sequence[int], left: int, things: Sequence[str]) -> str:
    first = max(0, span.first - cut)
    last = len(tops) - 1 if span.last is None else max(first, span.last - cut)
    bottom = tops[last] + (0 if span.last is None else _LINE // 2)
    top = tops[first] + (_LINE // 2 if span.first >= cut else 0)
    height = max(bottom - top - 2, 4)
    colour = f"c{things.index(span.thing) % COLOURS}{' waits' if span.waits else ''}"
    x = left + span.slot * (_BAR + _GAP)
    told = html.escape(f"{'waits for' if span.waits else 'holds'} {printable(span.thing)}")
    return f'<rect class="{colour}" x="{x}" y="{top}" width="{_BAR}" height="{height}"><title>{told}</title></rect>'


def _text(x: int, y: int, text: str, kind: str) -> str:
    about = f' class="{kind}"' if kind else ""
    return f'<text{about} x="{x}" y="{y}">{html.escape(text)}</text>'
