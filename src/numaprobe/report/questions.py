"""What was asked of many runs, for people: a table, Markdown, CSV, or a page with pictures.

The page is one file without a script and without anything from elsewhere: its pictures are drawn by Altair and
vl-convert (extra ``pictures``) as SVG, and stand in it. The same answer gives the same bytes.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any, Final, TextIO

from numaprobe.extras import need
from numaprobe.report.cells import share_text, time_text
from numaprobe.report.grid import Column, Grid, console_for, draw, print_line, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numaprobe.datasets import Answer
    from numaprobe.study.questions import AskedTable

_STYLE: Final = (
    "body{font:14px/1.45 system-ui,sans-serif;margin:1.5em auto;max-width:70em;padding:0 1em;color:#1a1f27}"
    "table{border-collapse:collapse;font-size:13px}.w{overflow-x:auto}svg{max-width:100%;height:auto}p.s{color:#5b6573}"
    "td,th{padding:.2em .7em;border-bottom:1px solid #d9dee4;text-align:left}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}"
    "h1{font-size:19px}dl{color:#5b6573;font-size:13px}dt{float:left;clear:left;margin-right:8px;font-weight:600}"
    "dd{margin:0 0 2px}"
)
_NUMBERS: Final = {"BIGINT", "INTEGER", "DOUBLE", "HUGEINT", "FLOAT", "DECIMAL", "UBIGINT", "SMALLINT"}
_WIDTH: Final = 640
#: A name that vl-convert gives to a part of a picture, where it is given and where it is used.
_DRAWN_NAME: Final = re.compile(r"(?<=[\"#])(gradient_|clip)\d+(?=[\")])")
#: Settings of a front that get their names: more would hide each other.
_NAMED: Final = 40


def print_asked(asked: AskedTable, stream: TextIO) -> None:
    """Print the answer to a prepared question as a table."""
    columns = [
        Column(
            title=_title(one.name),
            legend=one.legend,
            align="left" if one.kind == "text" else "right",
            wraps=one.kind == "text",
        )
        for one in asked.columns
    ]
    kinds = [one.kind for one in asked.columns]
    rows = [[_cell(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in asked.rows]
    console = console_for(stream)
    draw(Grid(columns=columns, rows=rows, title=asked.title), console, legend=False)
    for note in asked.notes:
        print_line(note, console)


def print_answer(answer: Answer, stream: TextIO) -> None:
    """Print what a query gave as a table."""
    columns = [
        Column(title=printable(name), align="right" if _is_number(kind) else "left", wraps=not _is_number(kind))
        for name, kind in zip(answer.columns, answer.types, strict=True)
    ]
    rows = [["-" if value is None else printable(str(value)) for value in row] for row in answer.rows]
    draw(Grid(columns=columns, rows=rows), console_for(stream), legend=False)


def _is_number(kind: str) -> bool:
    return kind.split("(", maxsplit=1)[0] in {
        "BIGINT",
        "INTEGER",
        "DOUBLE",
        "HUGEINT",
        "FLOAT",
        "DECIMAL",
        "UBIGINT",
        "SMALLINT",
    }


def _title(name: str) -> str:
    return printable(name.removesuffix("_ns").removesuffix("_percent").replace("_", " ") if "." not in name else name)


def _cell(value: Any, kind: str) -> str:  # noqa: ANN401  any value of a row
    if value is None:
        return "-"
    match kind:
        case "time":
            return time_text(int(value))
        case "share":
            return share_text(float(value))
        case "percent":
            return f"{value:+.1f} %"
        case "text":
            return printable(str(value)) or "none"
    return f"{value:,}"


# ---- the page -------------------------------------------------------------------------------------------------------
def asked_page(pages: Sequence[AskedTable]) -> str:
    """Return a page of answers, with their pictures.

    Raises:
        MissingInterfaceError: the extra ``pictures`` is not installed.

    """
    need("pictures", "a page with pictures")
    body = _numbered_again("".join(_section(asked) for asked in pages))
    title = html.escape(f"numaprobe: {pages[0].title}")
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{_STYLE}</style></head>\n'
        f"<body>{body}</body></html>\n"
    )


def _section(asked: AskedTable) -> str:
    heads = "".join(
        f'<th class="{_class(one.kind)}" title="{html.escape(one.legend)}">{html.escape(_title(one.name))}</th>'
        for one in asked.columns
    )
    kinds = [one.kind for one in asked.columns]
    rows = "\n".join(
        "<tr>"
        + "".join(
            f'<td class="{_class(kind)}">{html.escape(_cell(value, kind))}</td>'
            for value, kind in zip(row, kinds, strict=True)
        )
        + "</tr>"
        for row in asked.rows
    )
    pictures = "".join(f"<div>{_drawn(picture)}</div>" for picture in asked.pictures)
    notes = "".join(f'<p class="s">{html.escape(note)}</p>' for note in asked.notes)
    told = "".join(
        f"<dt>{html.escape(_title(one.name))}</dt><dd>{html.escape(one.legend)}</dd>"
        for one in asked.columns
        if one.legend
    )
    head = f"<h1>{html.escape(asked.title)}</h1>"
    return f'{head}{pictures}<div class="w"><table><tr>{heads}</tr>\n{rows}</table></div>{notes}<dl>{told}</dl>\n'


def _class(kind: str) -> str:
    return "t" if kind == "text" else "n"


def _drawn(picture: Mapping[str, Any]) -> str:
    """Return a picture as SVG."""
    import vl_convert

    chart = _CHARTS[picture["kind"]](picture)
    text: str = vl_convert.vegalite_to_svg(chart.to_json(indent=None))
    return text[text.index("<svg") :]


def _numbered_again(page: str) -> str:
    """Return a page whose pictures' parts have names of their own: the drawer counts on from picture to picture."""
    names: dict[str, str] = {}
    return _DRAWN_NAME.sub(lambda match: names.setdefault(match[0], f"{match[1]}n{len(names)}"), page)


def _values(rows: Sequence[Mapping[str, Any]]) -> Any:  # noqa: ANN401  Altair's data
    import altair as alt

    data: Any = alt.Data
    cleaned = [{name: printable(one) if isinstance(one, str) else one for name, one in row.items()} for row in rows]
    return data(values=cleaned)


def _heat(picture: Mapping[str, Any]) -> Any:  # noqa: ANN401  Altair's chart
    import altair as alt

    first, second = (printable(one) for one in picture["axes"])
    base = alt.Chart(_values(picture["cells"])).encode(
        x=alt.X("b:N", title=second, sort=_in_order(picture["cells"], "b")),
        y=alt.Y("a:N", title=first, sort=_in_order(picture["cells"], "a")),
    )
    colour = alt.Color("figure:Q", title=f"{_figure(picture)}, ms", scale=alt.Scale(scheme="viridis", reverse=True))
    return base.mark_rect().encode(color=colour).properties(width=_WIDTH)


def _in_order(cells: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """Return the values of an axis: numbers by size, all else as it came."""
    values = list(dict.fromkeys(printable(cell[name]) for cell in cells))
    try:
        return sorted(values, key=float)
    except ValueError:
        return values


def _front(picture: Mapping[str, Any]) -> Any:  # noqa: ANN401  Altair's chart
    import altair as alt

    points = picture["points"]
    several = len({point["place"] for point in points}) > 1
    share = alt.X("share:Q", title="share of the probes on their node", axis=alt.Axis(format="%"))
    figure = alt.Y("figure:Q", title=f"{_figure(picture)}, ms", scale=alt.Scale(zero=False))
    base = alt.Chart(_values(points)).encode(x=share, y=figure)
    where = alt.Color("place:N", title="where") if several else alt.value("#0072b2")
    dots = base.mark_point(filled=True, size=60).encode(
        color=where, opacity=alt.condition("datum.free", alt.value(1.0), alt.value(0.25))
    )
    free = [point for point in points if point["free"]][:_NAMED]
    names = (
        alt.Chart(_values(free)).mark_text(align="left", dx=6, fontSize=9).encode(x=share, y=figure, text="setting:N")
    )
    return (dots + names).properties(width=_WIDTH, height=360)


def _effects(picture: Mapping[str, Any]) -> Any:  # noqa: ANN401  Altair's chart
    import altair as alt

    share = alt.X("share:Q", title=f"share of the variance of {_figure(picture)}", axis=alt.Axis(format="%"))
    kind = alt.Color("kind:N", title=None, scale=alt.Scale(domain=["alone", "together"], range=["#0072b2", "#e69f00"]))
    bars = alt.Chart(_values(picture["effects"])).mark_bar()
    return bars.encode(x=share, y=alt.Y("name:N", title=None, sort="-x"), color=kind).properties(width=_WIDTH)


def _figure(picture: Mapping[str, Any]) -> str:
    return str(picture["figure"]).removesuffix("_ns")


_CHARTS: Final = {"heat": _heat, "front": _front, "effects": _effects}
