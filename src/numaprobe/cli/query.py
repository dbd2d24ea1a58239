"""``numaprobe query``: SQL, or a prepared question, over datasets, traces and folders of traces."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from numaprobe.cli import options
from numaprobe.cli.formats import markdown
from numaprobe.cli.output import Shape, choose_format, text_shape, to_json, write
from numaprobe.cli.say import tell
from numaprobe.errors import UsageError
from numaprobe.units import parse_time

if TYPE_CHECKING:
    from typing import TextIO

    from numaprobe.datasets import Answer, Views
    from numaprobe.study.questions import AskedTable

#: Rows that are shown or written; a dataset is Parquet for whoever wants more.
_MOST_ROWS: Final = 1_000_000


def query(
    question: Annotated[
        str, typer.Argument(metavar="QUESTION", help="SELECT …, or: best, cost, sensitivity, front, heat.")
    ],
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Datasets, traces, folders of traces.")],
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="COLUMNS", help="For what it is asked: machine,kernel. Of heat: the two axes."),
    ] = None,
    metric: Annotated[
        str, typer.Option("--metric", metavar="FIGURE", help="What counts: makespan, worst, mean, remote, runnable, …")
    ] = "makespan",
    top: Annotated[int | None, typer.Option("--top", min=1, metavar="N", help="N rows; of best: for each.")] = None,
    patience: Annotated[str, typer.Option("--for", metavar="TIME", help="Give a query so long at most.")] = "10min",
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Ask runs, probes, findings and machines by SQL, or by a prepared question.

    Each is a view: SELECT policy, median(makespan_ns) FROM runs GROUP BY 1. Times are ns; (input, run) is one run.
    Prepared are: best (setting for each machine), cost (of a policy, and where), sensitivity (which knob matters: main
    effects and interactions), front (settings that none beats in makespan and share on node at once), heat (a figure
    over two axes).

    A query reads: it is one SELECT, and reaches no other file and no network. Columns: SELECT * FROM (DESCRIBE runs).

    FORMAT is table, json, markdown or csv; of a prepared question also html, with pictures.
    """
    from numaprobe.datasets import Views

    prepared = question.isidentifier()
    shapes = _ASKED if prepared else _ANSWERS
    chosen = choose_format(format, as_json, output, shapes)
    if not prepared and (by is not None or top is not None or metric != "makespan"):
        raise UsageError("--by, --metric and --top are for prepared questions; SQL says it by itself")
    with Views(inputs, seconds=parse_time(patience) / 1e9) as views:
        result: Any = _ask(question, views, by, metric, top) if prepared else views.ask(question, most=_MOST_ROWS)
        _tell_about(views)
    write(result, shapes[chosen], chosen, output)
    return 0


def _ask(question: str, views: "Views", by: str | None, metric: str, top: int | None) -> "AskedTable":
    from numaprobe.errors import UnknownNameError
    from numaprobe.study.questions import QUESTIONS, ask, frame_of

    if question not in QUESTIONS:
        raise UnknownNameError("question", question[:60], QUESTIONS)
    columns = [name.strip() for name in (by or "").split(",") if name.strip()]
    return ask(question, frame_of(views, metric), by=columns, top=top)


def _tell_about(views: "Views") -> None:
    """Say what of the inputs is not in the answer."""
    for name, manifest in views.manifests.items():
        if not manifest.complete:
            tell(f"{name} is not finished: {manifest.runs} runs so far; the rest: numaprobe sweep --resume {name}")
    if views.skipped:
        file, why = views.skipped[0]
        more = f", and {len(views.skipped) - 1} more" if len(views.skipped) > 1 else ""
        tell(f"no trace, and left out: {file} ({why}){more}")


def _answer_table(answer: "Answer", stream: "TextIO") -> None:
    from numaprobe.report.questions import print_answer

    print_answer(answer, stream)


def _answer_json(answer: "Answer") -> str:
    columns = [{"name": name, "type": kind} for name, kind in zip(answer.columns, answer.types, strict=True)]
    rows = [[_json_value(value) for value in row] for row in answer.rows]
    return to_json({"schema": "numaprobe.query/1", "question": None, "columns": columns, "rows": rows})


def _json_value(value: Any) -> Any:  # noqa: ANN401  any value of DuckDB's
    """Return a value as JSON has it; what JSON has not is its text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None  # noqa: PLR0124  NaN
    if isinstance(value, list | tuple):
        return [_json_value(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _json_value(one) for key, one in value.items()}
    return str(value)


def _answer_csv(answer: "Answer") -> str:
    from numaprobe.report.comma import table_csv

    return table_csv(answer.columns, answer.rows)


def _asked_table(asked: "AskedTable", stream: "TextIO") -> None:
    from numaprobe.report.questions import print_asked

    print_asked(asked, stream)


def _asked_json(asked: "AskedTable") -> str:
    return to_json(asked.to_dict())


def _asked_csv(asked: "AskedTable") -> str:
    from numaprobe.report.comma import table_csv

    return table_csv([column.name for column in asked.columns], asked.rows)


def _asked_html(asked: "AskedTable") -> str:
    from numaprobe.report.questions import asked_page

    return asked_page([asked])


_ANSWERS: dict[str, Shape] = {
    "table": Shape(stream=_answer_table),
    "json": text_shape(_answer_json),
    "markdown": text_shape(markdown(_answer_table)),
    "csv": text_shape(_answer_csv),
}
_ASKED: dict[str, Shape] = {
    "table": Shape(stream=_asked_table),
    "json": text_shape(_asked_json),
    "markdown": text_shape(markdown(_asked_table)),
    "csv": text_shape(_asked_csv),
    "html": text_shape(_asked_html),
}
