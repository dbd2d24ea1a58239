"""What a table's report says, as one HTML file: for a browser without a network, and for people without a terminal.

As with Markdown (``markdown.MarkdownPage``) the reports do not know: they print lines and draw grids on a stream. The
first line is the heading. No text can become markup, there is no script, and a content security policy allows the one
style by its hash and nothing from anywhere. The same report gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
from typing import TYPE_CHECKING, Final

from numaprobe.report.grid import Cell, printable
from numaprobe.report.order_drawing import DRAWING_STYLE

if TYPE_CHECKING:
    from numaprobe.report.grid import Column, Grid

_STYLE: Final = """
:root { --bg: #fff; --ink: #1a1f27; --dim: #5b6573; --line: #d5dae1; --bad: #b3261e; --good: #1a7f4b; --warn: #8a5a00; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #14181d; --ink: #e6eaf0; --dim: #9aa6b4; --line: #36404c; --bad: #ff7a66; --good: #5fd093;
          --warn: #f0b429; }
}
body { margin: 0; padding: 16px 20px; background: var(--bg); color: var(--ink);
       font: 14px/1.5 system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 19px; margin: 0 0 12px; max-width: 75em; }
p { margin: 8px 0; max-width: 75em; overflow-wrap: anywhere; }
div { overflow-x: auto; }
table { border-collapse: collapse; margin: 12px 0; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 16px 3px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-size: 12px; }
.right { text-align: right; white-space: nowrap; }
.red { color: var(--bad); } .green { color: var(--good); } .yellow { color: var(--warn); } .bold { font-weight: 600; }
dl { color: var(--dim); font-size: 13px; max-width: 75em; }
dt { float: left; clear: left; margin-right: 8px; font-weight: 600; }
dd { margin: 0 0 2px; }
pre { font: 12px/1.4 ui-monospace, "DejaVu Sans Mono", monospace; overflow-x: auto; }
"""


class HtmlDocument(io.StringIO):
    """A stream that turns what is printed on it into a page; ``report.grid`` gives it grids (``TakesGrids``)."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: list[str] = []
        self._heading = ""
        self._drawn = False
        self._told: dict[str, str] = {}

    def add_grid(self, grid: Grid) -> None:
        """Add a table; what its columns are comes at the end."""
        self._end_text()
        self._told |= {column.title: column.legend for column in grid.columns if column.legend}
        head = "".join(_cell(column.title, column, "th") for column in grid.columns)
        rows = []
        for row in grid.rows:
            if isinstance(row, str):
                rows.append(f'<td colspan="{len(grid.columns)}" class="bold">{_escaped(row)}</td>')
            else:
                rows.append("".join(_cell(cell, column) for cell, column in zip(row, grid.columns, strict=True)))
        body = "\n".join(f"<tr>{row}</tr>" for row in rows)
        title = f'<p class="bold">{_escaped(grid.title)}</p>\n' if grid.title else ""
        self._blocks.append(f"{title}<div><table>\n<tr>{head}</tr>\n{body}\n</table></div>")

    def add_drawing(self, svg: str) -> None:
        """Add a drawing of our own: markup."""
        self._end_text()
        self._blocks.append(svg)
        self._drawn = True

    def add_verbatim(self, text: str) -> None:
        """Add lines whose blanks matter."""
        self._end_text()
        self._blocks.append(f"<pre>{_escaped_lines(text)}</pre>")

    def text(self) -> str:
        """Return the page."""
        self._end_text()
        style = _STYLE + (DRAWING_STYLE if self._drawn else "")
        told = "".join(f"<dt>{_escaped(title)}</dt><dd>{_escaped(text)}</dd>" for title, text in self._told.items())
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        heading = _escaped(self._heading)
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{digest}'; "
            'img-src data:">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
            f"<title>{heading}</title>\n<style>{style}</style>\n</head>\n<body>\n<h1>{heading}</h1>\n"
            + "\n".join(self._blocks)
            + (f"\n<dl>{told}</dl>" if told else "")
            + "\n</body>\n</html>\n"
        )

    def _end_text(self) -> None:
        lines = [line.strip() for line in self.getvalue().split("\n")]
        self.seek(0)
        self.truncate()
        for line in filter(None, lines):
            if not self._heading:
                self._heading = line
            else:
                self._blocks.append(f"<p>{_escaped(line)}</p>")


def _escaped_lines(text: str) -> str:
    return "\n".join(_escaped(line) for line in text.splitlines())


def _escaped(text: str) -> str:
    return html.escape(printable(text))


def _cell(cell: str | Cell, column: Column, tag: str = "td") -> str:
    text, style = (cell.text, cell.style) if isinstance(cell, Cell) else (cell, "")
    classes = " ".join([*(["right"] if column.align == "right" else []), *style.split()])
    return f'<{tag} class="{classes}">{_escaped(text)}</{tag}>' if classes else f"<{tag}>{_escaped(text)}</{tag}>"
