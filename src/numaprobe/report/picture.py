"""The picture of a comparison as SVG or PNG, for documents and mails: lanes, bars, one time scale.

The same shapes as in the HTML page: running is a full bar, runnable a hatched one, sleeping a thin line; running on
another CPU than the lane's is pale; a red frame marks a probe off its device's node. A bar without a recorded
timeline is cut in bands, as tall as the shares.

Size stays bounded: rows get lower as they get more (``_row_height``), and of several bars of one row within a pixel one
is drawn. PNG is rendered from the SVG by vl-convert (resvg), without a network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from numaprobe.extras import need
from numaprobe.records import RunState, write_atomically
from numaprobe.report.alike import alike
from numaprobe.report.grid import printable
from numaprobe.report.lanes import lanes, stretches
from numaprobe.report.titles import subject, surroundings
from numaprobe.units import format_time

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from numaprobe.analysis.compare import ComparedTrace, Comparison
    from numaprobe.records import ProbeRecord
    from numaprobe.report.lanes import Bar, Lane

_WIDTH: Final = 1200
_LEFT: Final = 130
_RIGHT: Final = 20
_NODE_HEIGHT: Final = 20
#: A page of this many rows gets bars that carry a name; more rows, lower bars.
_ROW_STEPS: Final = ((40, 20), (120, 12), (400, 6), (1500, 3))
_LOWEST_ROW: Final = 2
_LABELLED_ROW: Final = 12
#: Up to this height only what ran there is a bar, and all else a thin line: hatched or pale would look like it.
_THIN_ROW: Final = 6
#: px of a bar that no name covers: its name stands at its end.
_START: Final = 30
#: px: about the width of a character of a label, and of a title
_CHAR: Final = 6.2
_TITLE_CHAR: Final = 8.8
_COLOR: Final = {RunState.RUNNING: "#0072b2", RunState.RUNNABLE: "#e69f00", RunState.SLEEPING: "#9fb3c4"}
_PLAIN: Final = "#6f7f90"
_REMOTE: Final = "#c8321e"
_STYLE: Final = (
    "text{font:11px 'DejaVu Sans','Liberation Sans',sans-serif;fill:#1a1f27}.t{font-size:14px;font-weight:bold}"
    ".d{fill:#5b6573}.n{font-weight:bold}"
)


def write_svg(comparison: Comparison, path: str | os.PathLike[str]) -> None:
    """Write the picture as SVG; the file appears whole or not at all."""
    write_atomically(path, svg(comparison))


def write_png(comparison: Comparison, path: str | os.PathLike[str], *, scale: float = 2.0) -> None:
    """Write the picture as PNG, ``scale`` pixels for one of the SVG's.

    Raises:
        MissingInterfaceError: the extra ``pictures`` is not installed.

    """
    need("pictures", "a PNG picture", "vl_convert")
    import vl_convert

    write_atomically(path, bytes(vl_convert.svg_to_png(svg(comparison), scale=scale)))


def svg(comparison: Comparison) -> str:
    """Return the picture as SVG text; the same comparison gives the same text."""
    charts = [(group, lanes(group[0].trace)) for group in alike(comparison.entries)]
    rows = sum(lane.rows for _, made in charts for lane in made)
    end = max(
        (bar.start_ns + bar.record.cost_ns for _, made in charts for lane in made for bar in lane.bars), default=1
    )
    drawing = _Drawing(_row_height(rows), max(1, end))
    drawing.title(subject(comparison), " · ".join(surroundings(comparison)))
    for group, made in charts:
        drawing.chart(group, made, comparison.baseline)
    return drawing.text()


def _row_height(rows: int) -> int:
    return next((height for most, height in _ROW_STEPS if rows <= most), _LOWEST_ROW)


class _Drawing:
    """An SVG being written, top down."""

    def __init__(self, row: int, end_ns: int) -> None:
        self.row = row
        self.end_ns = end_ns
        self.y = 10.0
        self.parts: list[str] = []
        self.name = ""

    def text(self) -> str:
        height = round(self.y + 24)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
            f' viewBox="0 0 {_WIDTH} {height}">'
            f"<title>{escape(self.name)}</title><style>{_STYLE}</style>"
            "<defs><pattern id='h' width='6' height='6' patternUnits='userSpaceOnUse'"
            " patternTransform='rotate(45)'><rect width='6' height='6' fill='#e69f00'/>"
            "<rect width='1.4' height='6' fill='#fff' fill-opacity='.7'/></pattern></defs>"
            f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
        )
        return head + "".join(self.parts) + _legend(height - 12) + "</svg>\n"

    def x(self, ns: int) -> float:
        return _LEFT + ns / self.end_ns * (_WIDTH - _LEFT - _RIGHT)

    def rect(self, x: float, y: float, width: float, height: float, fill: str, more: str = "") -> None:
        self.parts.append(
            f'<rect x="{x:.2f}" y="{y:.2f}" width="{max(width, 0.3):.2f}" height="{height:.2f}" fill="{fill}"{more}/>'
        )

    def say(self, x: float, y: float, text: str, style: str = "") -> None:
        kind = f' class="{style}"' if style else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}"{kind}>{escape(printable(text))}</text>')

    def title(self, what: str, where: str) -> None:
        """Say what the picture is of; it is the document's title, too."""
        self.name = f"{what} · {where}"
        self.say(8, self.y + 14, what, "t")
        self.say(24 + len(what) * _TITLE_CHAR, self.y + 14, where, "d")
        self.y += 28

    def chart(self, group: Sequence[ComparedTrace], made: Sequence[Lane], baseline: str) -> None:
        """Draw runs that look the same, once."""
        entry = next((one for one in group if one.label == baseline), group[0])
        self.say(8, self.y + 14, entry.label, "t")
        figures = _figures(entry, base=entry.label == baseline)
        self.say(max(_LEFT, 24 + len(entry.label) * _TITLE_CHAR), self.y + 14, figures, "d")
        self.y += 24
        others = [one.label for one in group if one is not entry]
        if others:
            self.say(8, self.y + 8, _fitting(f"the same under {', '.join(others)}"), "d")
            self.y += 16
        top = self.y + 16
        self.y = top
        node: object = self
        for lane in made:
            if lane.node != node:
                node = lane.node
                self.node(lane)
            self.lane(lane)
        self.axis(top, self.y)
        self.y += 18

    def node(self, lane: Lane) -> None:
        self.rect(
            0, self.y, _WIDTH, _NODE_HEIGHT - 2, "#eef2f7" if lane.node is None or lane.node % 2 == 0 else "#f7f3ea"
        )
        self.say(8, self.y + 13, "node unknown" if lane.node is None else f"node {lane.node}", "n")
        self.y += _NODE_HEIGHT

    def lane(self, lane: Lane) -> None:
        height = max(lane.rows * self.row, 11)
        name = "CPU unknown" if lane.cpu is None else f"CPU {lane.cpu}"
        self.say(12, self.y + min(height, 20) / 2 + 4, name if lane.llc is None else f"{name}  LLC {lane.llc}", "d")
        drawn: dict[int, int] = {}
        for bar in lane.bars:
            self.bar(bar, drawn)
        self.y += height + 2
        self.rect(_LEFT, self.y - 1, _WIDTH - _LEFT - _RIGHT, 0.5, "#e6e9ee")

    def bar(self, bar: Bar, drawn: dict[int, int]) -> None:
        left, right = self.x(bar.start_ns), self.x(bar.start_ns + bar.record.cost_ns)
        if right - left < 1 and drawn.get(bar.row) == int(left):
            return
        drawn[bar.row] = int(right)
        y, height = self.y + bar.row * self.row, self.row - (3 if self.row >= _LABELLED_ROW else 1)
        self.states(bar, left, right, y, height)
        if bar.record.local is False:
            self.rect(
                left, y, right - left, height, "none", f' stroke="{_REMOTE}" stroke-width="{min(2, height / 3):.1f}"'
            )
        label = ("! " if bar.record.local is False else "") + bar.record.device
        width = len(label) * _CHAR
        if self.row >= _LABELLED_ROW and right - left > width + _START:
            plate = ' fill-opacity=".82"'
            self.rect(right - width - 7, y + height / 2 - 6.5, width + 4, 13, "#fff", plate)
            self.say(right - width - 5, y + height / 2 + 4, label)

    def states(self, bar: Bar, left: float, right: float, y: float, height: float) -> None:
        record = bar.record
        if record.running_ns is None or right - left < 4:  # noqa: PLR2004  px: no room for states
            self.rect(left, y, right - left, height, _PLAIN if record.running_ns is None else _COLOR[RunState.RUNNING])
        elif record.segments:
            for x, width, state, cpu in self.stretches(bar):
                if self.row <= _THIN_ROW and (state is not RunState.RUNNING or cpu != record.cpu):
                    self.thin(x, width, state, y, height)
                    continue
                if state is RunState.RUNNING and cpu != record.cpu:
                    self.rect(x, y, width, height, _COLOR[state], ' fill-opacity=".35"')
                else:
                    self.state(x, width, state, y, height)
        else:
            for share, offset, state in _bands(record):
                if self.row <= _THIN_ROW and state is not RunState.RUNNING:
                    self.thin(left, right - left, state, y + offset * height, share * height)
                else:
                    self.rect(left, y + offset * height, right - left, share * height, _COLOR[state])

    def stretches(self, bar: Bar) -> Iterator[tuple[float, float, RunState, int]]:
        """Yield x, width, state, CPU; a stretch below half a pixel goes to the next one."""
        at, left = bar.start_ns, self.x(bar.start_ns)
        for length, state, cpu in stretches(bar.record):
            at += length
            right = self.x(at)
            if right - left >= 0.5:  # noqa: PLR2004  px
                yield left, right - left, state, cpu
                left = right

    def state(self, x: float, width: float, state: RunState, y: float, height: float) -> None:
        if state is RunState.SLEEPING:
            thin = max(1.0, height * 0.34)
            self.rect(x, y + (height - thin) / 2, width, thin, _COLOR[state])
        elif state is RunState.RUNNABLE and height > 4:  # noqa: PLR2004  px: hatching needs room
            self.rect(x, y, width, height, "url(#h)")
        else:
            self.rect(x, y, width, height, _COLOR[state])

    def thin(self, x: float, width: float, state: RunState, y: float, height: float) -> None:
        """Draw what did not run on this lane's CPU, in a lane where hatched or pale bars cannot be told apart."""
        color = _COLOR[RunState.RUNNABLE if state is RunState.RUNNABLE else RunState.SLEEPING]
        self.rect(x, y + height / 2 - 0.4, width, 0.8, color)

    def axis(self, top: float, bottom: float) -> None:
        step = next(s for s in _steps() if s * 8 >= self.end_ns)
        for tick in range(0, self.end_ns + 1, step):
            x = self.x(tick)
            self.rect(x, top - 4, 0.6, bottom - top + 4, "#5b6573", ' fill-opacity=".35"')
            self.say(x + 3, top - 4, _tick(tick, step), "d")


def _steps() -> Iterator[int]:
    power = 1
    while True:
        yield from (power, 2 * power, 5 * power)
        power *= 10


def _tick(ns: int, step: int) -> str:
    unit, scale = next((u, s) for u, s in (("s", 10**9), ("ms", 10**6), ("µs", 10**3), ("ns", 1)) if step >= s)
    return f"{ns // scale} {unit}"


def _bands(record: ProbeRecord) -> Iterator[tuple[float, float, RunState]]:
    """Yield share of the height, offset, state."""
    parts = (record.running_ns or 0, record.runnable_ns or 0, record.sleeping_ns or 0)
    total, offset = max(1, sum(parts)), 0.0
    for part, state in zip(parts, (RunState.RUNNING, RunState.RUNNABLE, RunState.SLEEPING), strict=True):
        yield part / total, offset, state
        offset += part / total


def _fitting(text: str) -> str:
    """Return as much of a line as fits on the page."""
    most = int((_WIDTH - _RIGHT) / _CHAR)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _figures(entry: ComparedTrace, *, base: bool) -> str:
    summary = entry.summary
    parts = [f"{summary.probes} probes"]
    for name, value, percent in (
        ("worst", summary.worst_ns, entry.difference.worst_percent),
        ("makespan", summary.makespan_ns, entry.difference.makespan_percent),
    ):
        if value is not None:
            change = "" if base or percent is None else f" ({percent:+.1f} % against {entry.difference.base})"
            parts.append(f"{name} {format_time(value)}{change}")
    if summary.local_share is not None:
        parts.append(f"{100 * summary.local_share:.0f} % on node")
    return ", ".join(parts)


def _legend(y: float) -> str:
    swatches = (
        ("running", f'fill="{_COLOR[RunState.RUNNING]}"'),
        ("running on another CPU", f'fill="{_COLOR[RunState.RUNNING]}" fill-opacity=".35"'),
        ("runnable (waits for a CPU)", 'fill="url(#h)"'),
        ("sleeping", f'fill="{_COLOR[RunState.SLEEPING]}"'),
        ("not known", f'fill="{_PLAIN}"'),
        ("off its device's node", f'fill="none" stroke="{_REMOTE}" stroke-width="2"'),
    )
    x, parts = float(_LEFT), []
    for text, paint in swatches:
        parts.append(f'<rect x="{x:.0f}" y="{y - 8:.0f}" width="22" height="9" {paint}/>')
        parts.append(f'<text x="{x + 28:.0f}" y="{y:.0f}" class="d">{escape(text)}</text>')
        x += 44 + len(text) * _CHAR
    return "".join(parts)
