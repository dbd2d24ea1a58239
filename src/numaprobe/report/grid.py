"""A table for people: on a terminal, in a pipe, on a narrow screen, with a legend that says what each column is not.

Guarantees: colour only on a terminal and never with ``NO_COLOR``; in a pipe plain text, one row per line, nothing cut,
so that grep and awk see what is there; on a terminal too narrow the least important columns are left out, and named.
Cells are shown literally: a device's name cannot bring in colours, markup or control characters.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TextIO, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType
    from rich.table import Table

#: Running text in a pipe is wrapped here; tables are not.
PIPE_WIDTH: Final = 100
#: Wider than any line.
UNWRAPPED: Final = 100_000
#: Stands for "the source does not tell": never a zero.
UNKNOWN: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table."""

    title: str
    #: what it is, and what it is not; empty = it goes without saying
    legend: str = ""
    align: Literal["left", "right"] = "left"
    #: the larger, the sooner it is left out on a narrow terminal; 0 = never
    spare: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that wants attention."""

    text: str
    #: a rich style: ``bold red``
    style: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table before it is drawn."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str | Cell]]
    title: str = ""

    def natural_width(self) -> int:
        """Return how many terminal cells the table needs with every column."""
        return sum(self.widths()) + 2 * len(self.columns)

    def widths(self) -> list[int]:
        """Return how many terminal cells each column needs."""
        from rich.cells import cell_len

        return [
            max([cell_len(column.title), *(cell_len(printable(_text(row[index]))) for row in self.rows)])
            for index, column in enumerate(self.columns)
        ]

    def fitting(self, width: int) -> list[int]:
        """Return the indexes of the columns that fit in ``width``, the important ones first to stay."""
        widths = self.widths()
        kept = set(range(len(self.columns)))
        for index in sorted(kept, key=lambda i: -self.columns[i].spare):
            if sum(widths[i] + 2 for i in kept) <= width or not self.columns[index].spare:
                break
            kept.remove(index)
        return sorted(kept)


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
    free = is_free(console)
    kept = list(range(len(grid.columns))) if free else grid.fitting(console.width)
    if grid.title:
        console.print(printable(grid.title), style="bold", soft_wrap=True)
    if free:
        console.file.write(_plain(grid))
    else:
        say(_table(grid, kept), console)
    dropped = [column.title for index, column in enumerate(grid.columns) if index not in kept]
    if dropped:
        console.print(f"left out on this width: {', '.join(dropped)} (--json has them)", style="dim")
    if legend:
        _legend([grid.columns[index] for index in kept], console)


def is_free(console: Console) -> bool:
    """Tell whether nothing limits a line's length: a pipe or a file, and no ``COLUMNS``."""
    return not (console.is_terminal or "COLUMNS" in os.environ)


def say(what: RenderableType, console: Console, *, width: int | None = None) -> None:
    """Print, without the blanks at the ends of lines that rich pads with."""
    before = console.width
    with console.capture() as captured:
        console.width = width or before
        console.print(what)
    console.width = before
    lines = captured.get().split("\n")
    console.file.write("\n".join(line.rstrip() for line in lines))


def _plain(grid: Grid) -> str:
    """Return the whole table as text, a line for each row: what rich would write, and fast for thousands of rows."""
    from rich.cells import cell_len

    widths = grid.widths()
    rows = [[column.title for column in grid.columns], *([printable(_text(cell)) for cell in row] for row in grid.rows)]
    lines = []
    for row in rows:
        pads = [" " * (width - cell_len(text)) for width, text in zip(widths, row, strict=True)]
        cells = zip(grid.columns, row, pads, strict=True)
        lines.append("  ".join(pad + text if column.align == "right" else text + pad for column, text, pad in cells))
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _table(grid: Grid, kept: Sequence[int]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index in kept:
        column = grid.columns[index]
        table.add_column(Text(column.title), justify=column.align, no_wrap=column.spare == 0 or column.align == "right")
    for row in grid.rows:
        table.add_row(*(Text(printable(_text(row[i])), style=_style(row[i])) for i in kept))
    return table


def _legend(columns: Sequence[Column], console: Console) -> None:
    told = [column for column in columns if column.legend]
    if not told:
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2), style="dim")
    table.add_column(no_wrap=True)
    table.add_column()
    for column in told:
        table.add_row(Text(column.title), Text(column.legend))
    console.print()
    say(table, console)


def _text(cell: str | Cell) -> str:
    return cell.text if isinstance(cell, Cell) else cell


def _style(cell: str | Cell) -> Any:  # noqa: ANN401  rich takes a style or its text
    return cell.style if isinstance(cell, Cell) else ""


def printable(text: str) -> str:
    """Return ``text`` with every control or unprintable character written as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def stdout_or(stream: TextIO | None) -> TextIO:
    """Return ``stream``, or standard output as it is now."""
    return sys.stdout if stream is None else stream
