"""A table for people: on a terminal, in a pipe, on a narrow screen, with a legend that says what each column is not.

Guarantees: colour only on a terminal and never with ``NO_COLOR``; in a pipe plain text, one row per line, nothing cut,
so that grep and awk see what is there; on a terminal too narrow the least important columns are left out, and named.
Cells are shown literally: a device's name cannot bring in colours, markup or control characters.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, Protocol, TextIO, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console

#: Running text in a pipe is wrapped here; tables are not.
PIPE_WIDTH: Final = 100
#: Wider than any line.
UNWRAPPED: Final = 100_000
#: Blanks between two columns.
GAP: Final = 2
#: What a broken text is broken between: blanks, and behind commas.
_PIECE: Final = re.compile(r"[^ ,]*,|[^ ,]+")
_PIECE_WITH_BLANKS: Final = re.compile(r"(?:[^ ,]*,|[^ ,]+) *| +")
#: A number and its unit, with the blank between them.
_QUANTITY: Final = re.compile(r"(?<=\d) (?=(?:ns|µs|ms|s|B|[KMGT]iB|[kMGT]B)\b|%)")
#: rich's name of a colour system -> the member that ``Style.render`` takes
_SYSTEMS: Final = {"standard": "STANDARD", "256": "EIGHT_BIT", "truecolor": "TRUECOLOR", "windows": "WINDOWS"}
#: Stands for "the source does not tell": never a zero.
UNKNOWN: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table."""

    title: str
    #: what it is, and what it is not; empty = it goes without saying
    legend: str = ""
    align: Literal["left", "right"] = "left"
    #: the larger, the sooner it is left out on a narrow terminal, with those of the same number; 0 = never
    spare: int = 0
    #: rather broken at its commas and blanks than the reason to leave another column out
    wraps: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that wants attention."""

    text: str
    #: a rich style: ``bold red``
    style: str = ""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table before it is drawn."""

    columns: Sequence[Column]
    #: a text in place of a row is a line of its own, above those that it is about
    rows: Sequence[Sequence[str | Cell] | str]
    title: str = ""

    @cached_property
    def _widths(self) -> list[int]:
        rows = self.cells()
        return [
            max([cell_width(column.title), *(cell_width(_text(row[index])) for row in rows)])
            for index, column in enumerate(self.columns)
        ]

    def cells(self) -> list[Sequence[str | Cell]]:
        """Return the rows, without the lines above them."""
        return [row for row in self.rows if not isinstance(row, str)]

    def fitting(self, width: int) -> list[int]:
        """Return the indexes of the columns that fit in ``width``, the important ones first to stay."""
        kept = list(range(len(self.columns)))
        needed = [self._least(i) if column.wraps else self._widths[i] for i, column in enumerate(self.columns)]
        for spare in sorted({column.spare for column in self.columns if column.spare}, reverse=True):
            if sum(needed[i] + GAP for i in kept) <= width + GAP:
                break
            kept = [index for index in kept if self.columns[index].spare != spare]
        return kept

    def widths(self, kept: Sequence[int], width: int | None) -> list[int]:
        """Return how wide these columns are drawn: texts give way where they can be broken, numbers never.

        Args:
            kept: indexes of columns.
            width: of the terminal; None: nothing limits it.

        """
        found = [self._widths[index] for index in kept]
        if width is None:
            return found
        for place in sorted(range(len(kept)), key=lambda p: -found[p]):
            over = sum(found) + GAP * (len(found) - 1) - width
            if over > 0 and self.columns[kept[place]].align == "left":
                found[place] = max(found[place] - over, self._least(kept[place]))
        return found

    def _least(self, index: int) -> int:
        texts = [self.columns[index].title, *(_text(row[index]) for row in self.cells())]
        return max(cell_width(_unglued(piece)) for text in texts for piece in _pieces(text))


@runtime_checkable
class TakesGrids(Protocol):
    """A stream that makes something else of a grid than lines, and of lines something of any width."""

    def add_grid(self, grid: Grid) -> None:
        """Take a grid."""


def console_for(stream: TextIO) -> Console:
    """Return a console on ``stream`` that honours ``NO_COLOR``, ``COLUMNS`` and pipes."""
    from rich.console import Console

    if isinstance(stream, TakesGrids):
        return Console(file=stream, width=UNWRAPPED, highlight=False, markup=False, emoji=False)
    narrow = stream.isatty() or "COLUMNS" in os.environ
    return Console(file=stream, width=None if narrow else PIPE_WIDTH, highlight=False, markup=False, emoji=False)


def draw(grid: Grid, console: Console, *, legend: bool = True) -> None:
    """Print a table, and below it what its columns are."""
    if isinstance(console.file, TakesGrids):
        console.file.add_grid(grid)
        return
    width = None if is_free(console) else console.width
    kept = list(range(len(grid.columns))) if width is None else grid.fitting(width)
    if grid.title:
        console.print(printable(grid.title), style="bold", soft_wrap=True)
    _write(grid, kept, grid.widths(kept, width), console)
    dropped = [column.title for index, column in enumerate(grid.columns) if index not in kept]
    if dropped:
        print_line(f"left out on this width: {', '.join(dropped)} (--json has them)", console, style="dim")
    if legend:
        console.print()
        print_legend([grid.columns[index] for index in kept], console)


def is_free(console: Console) -> bool:
    """Tell whether nothing limits a line's length: a pipe or a file, and no ``COLUMNS``."""
    return not (console.is_terminal or "COLUMNS" in os.environ)


def _write(grid: Grid, kept: Sequence[int], widths: Sequence[int], console: Console) -> None:
    """Write the lines at once: through a layout engine a large table takes minutes."""
    style = _styler(console)
    columns = [grid.columns[index] for index in kept]
    lines = _lines([Cell(column.title, "bold") for column in columns], columns, widths, style)
    for row in grid.rows:
        if isinstance(row, str):
            text = printable(row)
            lines += [style(line, "bold") for line in ([text] if is_free(console) else wrapped(text, console.width))]
        else:
            lines += _lines([row[index] for index in kept], columns, widths, style)
    console.file.write("".join(f"{line}\n" for line in lines))


def _lines(
    row: Sequence[str | Cell], columns: Sequence[Column], widths: Sequence[int], style: Callable[[str, str], str]
) -> list[str]:
    """Return a row as lines: one, unless a text is broken."""
    texts = [printable(_text(cell)) for cell in row]
    parts = [
        [text] if cell_width(text) <= width else _broken(text, width) for text, width in zip(texts, widths, strict=True)
    ]
    lines = []
    for number in range(max(map(len, parts), default=0)):
        cells = [
            _padded(part[number] if number < len(part) else "", _style(cell), column, width, style)
            for part, column, width, cell in zip(parts, columns, widths, row, strict=True)
        ]
        lines.append((" " * GAP).join(cells).rstrip())
    return lines


def _padded(text: str, colour: str, column: Column, width: int, style: Callable[[str, str], str]) -> str:
    blanks = " " * (width - cell_width(text))
    return blanks + style(text, colour) if column.align == "right" else style(text, colour) + blanks


def _pieces(text: str) -> list[str]:
    """Return what is never broken: words, and what commas part, with the comma."""
    return _PIECE.findall(_glued(printable(text))) or [""]


def _broken(text: str, width: int) -> list[str]:
    """Return a text in lines that are not wider, as far as its pieces allow."""
    lines: list[str] = []
    line = ""
    for piece in _PIECE_WITH_BLANKS.findall(_glued(text)):
        if line and cell_width(_unglued((line + piece).rstrip())) > width:
            lines.append(line)
            line = ""
        line += piece
    return [_unglued(one.rstrip()) for one in (*lines, line)]


def _glued(text: str) -> str:
    """Return a text in which a number and its unit are one word."""
    return _QUANTITY.sub("\u00a0", text)


def _unglued(text: str) -> str:
    return text.replace("\u00a0", " ")


def _styler(console: Console) -> Callable[[str, str], str]:
    """Return what colours a text, on a terminal that has colours."""
    system = console.color_system
    if system is None or console.no_color:
        return lambda text, _: text
    from rich.color import ColorSystem
    from rich.style import Style

    colours = _SYSTEMS[system]

    def styled(text: str, style: str) -> str:
        return Style.parse(style).render(text, color_system=ColorSystem[colours]) if style and text else text

    return styled


def print_legend(columns: Iterable[Column], console: Console) -> None:
    """Print what each column is, and what it is not; one of a title once."""
    told = {column.title: column.legend for column in columns if column.legend}
    width = max(map(len, told), default=0)
    for title, legend in told.items():
        for number, line in enumerate(wrapped(legend, console.width - width - 2 * GAP)):
            head = title if number == 0 else ""
            console.print(f"{head:<{width}}{' ' * 2 * GAP}{line}", style="dim", soft_wrap=True)


def print_text(text: str, console: Console, *, indent: int = 0, style: str = "") -> None:
    """Print a running text: wrapped, in a pipe too, and never between a number and its unit."""
    styled = _styler(console)
    lines = wrapped(printable(text), console.width - indent)
    console.file.write("".join(f"{' ' * indent}{styled(line, style)}\n" for line in lines))


def print_line(text: str, console: Console, *, style: str = "") -> None:
    """Print what is a line in a pipe, whatever its length; on a terminal it is wrapped."""
    if is_free(console):
        console.file.write(f"{printable(text)}\n")
    else:
        print_text(text, console, style=style)


def wrapped(text: str, width: int) -> list[str]:
    """Return a running text in lines, broken at blanks alone, and never between a number and its unit."""
    lines = textwrap.wrap(_glued(text), max(width, 20), break_long_words=False, break_on_hyphens=False)
    return [_unglued(line) for line in lines] or [""]


def _text(cell: str | Cell) -> str:
    return cell.text if isinstance(cell, Cell) else cell


def _style(cell: str | Cell) -> str:
    return cell.style if isinstance(cell, Cell) else ""


def cell_width(text: str) -> int:
    """Return how many cells of a terminal a text takes, once it is printable."""
    if text.isascii() and text.isprintable():
        return len(text)
    from rich.cells import cell_len

    return cell_len(printable(text))


def printable(text: str) -> str:
    """Return ``text`` with every control or unprintable character written as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def stdout_or(stream: TextIO | None) -> TextIO:
    """Return ``stream``, or standard output as it is now."""
    return sys.stdout if stream is None else stream
