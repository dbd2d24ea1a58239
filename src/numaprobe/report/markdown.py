"""What a table's report says, as Markdown: for a mail, an issue, a merge request.

The reports themselves do not know: they print lines and draw grids on a stream, and this stream keeps both apart. A
grid becomes a table, a line a paragraph, an indented line an item of a list. Nothing in a device's name is markup.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Final

from numaprobe.report.grid import Cell, printable

if TYPE_CHECKING:
    from numaprobe.report.grid import Column, Grid

#: What Markdown, or the HTML in it, would take for its own.
_MARKUP: Final = re.compile(r"([\\`*_<>\[\]|~])")
#: At the beginning of a line these are headings, lists and rules.
_LEADING: Final = re.compile(r"^(\s*)([#+=-]|\d+[.)])(?=\s)")


class MarkdownPage(io.StringIO):
    """A stream that turns what is printed on it into Markdown.

    ``report.grid`` gives it grids in place of drawing them (``TakesGrids``), and does not wrap its lines.
    """

    def __init__(self) -> None:
        super().__init__()
        self._blocks: list[str] = []

    def add_grid(self, grid: Grid) -> None:
        """Add a table, and the title above it."""
        self._end_text()
        blank = [" "] * (len(grid.columns) - 1)
        rows = [
            [f"**{_escaped(row)}**", *blank] if isinstance(row, str) else [_cell(cell) for cell in row]
            for row in grid.rows
        ]
        lines = [[_escaped(column.title) for column in grid.columns], [_rule(column) for column in grid.columns], *rows]
        title = [f"**{_escaped(grid.title)}**", ""] if grid.title else []
        self._blocks.append("\n".join([*title, *(f"| {' | '.join(line)} |" for line in lines)]))

    def text(self) -> str:
        """Return the page."""
        self._end_text()
        return "\n\n".join(self._blocks) + "\n"

    def _end_text(self) -> None:
        lines = [line.rstrip() for line in self.getvalue().split("\n")]
        self.seek(0)
        self.truncate()
        items: list[str] = []
        for line in lines:
            if line.startswith("  ") and line.strip():
                items.append(f"- {_escaped(line.strip())}")
                continue
            self._blocks += ["\n".join(items)] if items else []
            items = []
            if line:
                self._blocks.append(_LEADING.sub(r"\1\\\2", _escaped(line)))
        self._blocks += ["\n".join(items)] if items else []


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", printable(text))


def _cell(cell: str | Cell) -> str:
    return _escaped(cell.text if isinstance(cell, Cell) else cell) or " "


def _rule(column: Column) -> str:
    return "---:" if column.align == "right" else "---"
