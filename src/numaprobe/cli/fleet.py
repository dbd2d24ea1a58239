"""``numaprobe fleet``: questions about the traces of many hosts."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from numaprobe.cli import options
from numaprobe.cli.formats import markdown
from numaprobe.cli.output import Shape, choose_format, text_shape, to_json, write
from numaprobe.cli.progress import ProgressLine
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from typing import TextIO

    from numaprobe.study.fleet import FleetAnswer


class _WithCollect(TyperCommand):
    """Takes ``fleet collect …`` for what it says."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  click's signature
        """Parse the arguments, unless they are another command's."""
        if args[:1] == ["collect"]:
            text = f"collecting is a command of its own: {' '.join(['numaprobe collect', *args[1:3]])}"
            raise UsageError(f"{text} …" if len(args) > 1 else text)
        return super().parse_args(ctx, args)


#: see ``cli/group.py``
PARSER = _WithCollect

Conditions = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="KEY=VALUE", help="Look at these runs alone: kernel=6.12, host='db-*'. Repeatable."),
]


def fleet(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="slow, outliers, changes, findings or settings.")],
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="What numaprobe collect has made.")],
    only: Conditions = None,
    before: Annotated[
        list[str] | None, typer.Option("--before", metavar="KEY=VALUE", help="Of changes: the one side. Repeatable.")
    ] = None,
    after: Annotated[
        list[str] | None, typer.Option("--after", metavar="KEY=VALUE", help="Of changes: the other. Repeatable.")
    ] = None,
    patience: Annotated[
        str, typer.Option("--for", metavar="TIME", help="Of settings: search so long at most; what is found is kept.")
    ] = "1s",
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
    output: options.Output = None,
) -> None:
    """Ask the collected traces of many hosts.

    QUESTION is one of: slow (which drivers are slow, and on which kernel, firmware, node or product), outliers (hosts
    that are unlike their peers, and in what), changes (between two days, kernels or labels), findings (and how many
    hosts have each), settings (which setting of a stock kernel would help most hosts).

    KEY is date, kernel, firmware, product, peers, host, label or machine. VALUE may hold * and ?, or be A..B; of a
    kernel its beginning is enough. Without --only each host counts as it was last seen; changes without sides are
    those between the last two days.

    FORMAT is table, json, markdown, csv or html.
    """
    from numaprobe.study.fleet import ask_fleet
    from numaprobe.units import parse_time

    chosen = choose_format(format, as_json, output, SHAPES)
    with ProgressLine("class") as line:
        answer = ask_fleet(
            question,
            dataset,
            only=only or (),
            before=before or (),
            after=after or (),
            seconds=parse_time(patience) / 1e9,
            told=_teller(line),
        )
    write(answer, SHAPES[chosen], chosen, output)


def _teller(line: ProgressLine) -> Any:  # noqa: ANN401  a function of one text
    seen: list[str] = []

    def tell(what: str) -> None:
        seen.append(what)
        line.show(len(seen), len(seen), what)

    return tell


def _table(answer: "FleetAnswer", stream: "TextIO") -> None:
    from numaprobe.report.fleet import print_fleet

    print_fleet(answer, stream)


def _json(answer: "FleetAnswer") -> str:
    return to_json(answer.to_dict())


def _csv(answer: "FleetAnswer") -> str:
    from numaprobe.report.comma import rows_csv

    return rows_csv([row.to_dict() for row in answer.rows])


def _html(answer: "FleetAnswer") -> str:
    from numaprobe.report.document import HtmlDocument

    page = HtmlDocument()
    _table(answer, page)
    return page.text()


SHAPES: dict[str, Shape] = {
    "table": Shape(stream=_table),
    "json": text_shape(_json),
    "markdown": text_shape(markdown(_table)),
    "csv": text_shape(_csv),
    "html": text_shape(_html),
}
