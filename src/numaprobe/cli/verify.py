"""``numaprobe verify``: a prediction against what was measured, or before against after."""

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from numaprobe.cli import options
from numaprobe.cli.formats import markdown
from numaprobe.cli.output import Shape, choose_format, text_shape, to_json, write
from numaprobe.cli.say import complain, exit_code
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from typing import TextIO

    from numaprobe.analysis.verify import Verification

#: stands for ``--`` among the arguments; no file can have that name
_BETWEEN = "\0--"


class _Sides(TyperCommand):
    """Keeps the ``--`` between two sides, which otherwise ends the options and is gone."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  click's signature
        """Parse ``BEFORE… -- AFTER…``; options may stand on both sides."""
        return super().parse_args(ctx, [_BETWEEN if one == "--" else one for one in args])


#: see ``cli/group.py``
PARSER = _Sides


def verify(
    what: Annotated[
        list[str],
        typer.Argument(metavar="TRACE", help="PREDICTION MEASURED..., or BEFORE... -- AFTER..."),
    ],
    control: Annotated[
        list[str] | None,
        typer.Option("--control", metavar="TRACE", help="The state before, recorded once more. Repeatable."),
    ] = None,
    gate: Annotated[
        str | None, typer.Option("--gate", metavar="PERCENT", help="Exit 1 if a regression beyond it is shown: 10%.")
    ] = None,
    machine: options.RecordedOn = None,
    kprobes: options.Kprobes = None,
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Tell whether a change did what it should, or a prediction came true, and how sure that is.

    BEFORE and AFTER are recorded boots or runs, each side at least four for a verdict: before*.json -- after*.json,
    or before='a/*.json' after='b/*.json' with any two words. PREDICTION is a trace in virtual time (numaprobe run -o);
    it is held against one or more MEASURED. Two runs in virtual time are compared exactly.

    FORMAT is table, json, markdown or csv.

    The first line is the verdict. Where none can be reached it says why, and what would help.

    Exit code 1: --gate was given, and a regression beyond it, or a wrong prediction, is shown. Exit code 2: also if
    --gate was given and no verdict can be reached.
    """
    from numaprobe.study.verification import BETWEEN, verify_files

    chosen = choose_format(format, as_json, output, SHAPES)
    limit = None if gate is None else _percent(gate)
    words = [BETWEEN if one == _BETWEEN else one for one in what]
    found = verify_files(words, control=control or (), gate=limit, machine=machine, kprobes=kprobes)
    write(found, SHAPES[chosen], chosen, output)
    if limit is None or found.verdict.passed:
        return 0
    if found.verdict.passed is None:
        complain(f"the gate cannot be judged: {found.verdict.code}: {found.verdict.text}")
        return 2
    return exit_code([f"{found.verdict.code}: {found.verdict.text}"], chosen, output)


def _percent(text: str) -> float:
    """Return the number of ``10%`` or ``10``."""
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UsageError(f"--gate '{text[:40]}' is no percentage; write --gate 10%")
    return value


def _table(found: "Verification", stream: "TextIO") -> None:
    from numaprobe.report.verification import print_verification

    print_verification(found, stream)


def _json(found: "Verification") -> str:
    return to_json(found.to_dict())


def _csv(found: "Verification") -> str:
    from numaprobe.report.comma import verification_csv

    return verification_csv(found)


SHAPES: dict[str, Shape] = {
    "table": Shape(stream=_table),
    "json": text_shape(_json),
    "markdown": text_shape(markdown(_table)),
    "csv": text_shape(_csv),
}
