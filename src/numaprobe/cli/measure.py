"""What ``compare --measure`` adds: every policy predicted in virtual time, then run on this computer, several times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from numaprobe.cli.formats import markdown
from numaprobe.cli.output import Shape, choose_format, text_shape, to_json, write
from numaprobe.cli.progress import ProgressLine
from numaprobe.cli.say import exit_code
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import TextIO

    from numaprobe.analysis import Validation


def compare_measured(
    what: Sequence[str],
    policy: Sequence[str] | None,
    baseline: str | None,
    form: tuple[str | None, bool, Path | None],
    measure: bool,
    repeat: int | None,
    *,
    machine: str | None,
    **changes: Any,  # noqa: ANN401  those of ``make_setting``
) -> int:
    """Predict and measure a scenario on this machine (or on ``machine``, if its CPUs are here); return the exit code.

    Args:
        what: the command's arguments.
        policy: ``--policy``.
        baseline: ``--baseline``.
        form: ``--format``, ``--json``, ``--output``.
        measure: ``--measure``.
        repeat: ``--repeat``.
        machine: ``--machine``.
        changes: see ``make_setting``.

    Raises:
        UsageError: a recorded trace, several scenarios, ``--repeat`` alone.

    """
    from numaprobe import study

    if not measure:
        raise UsageError("--repeat is the number of measured runs: give --measure with it")
    if study.is_trace(what[0]):
        raise UsageError("--measure is for scenarios; a recorded trace already happened")
    if len(what) > 1:
        raise UsageError(f"one scenario at a time: '{what[1]}' is one too many")
    chosen = choose_format(*form, VALIDATION_SHAPES)
    setting = study.make_setting(what[0], machine=machine or "host", **changes)
    with ProgressLine("run") as line:
        repeats = {} if repeat is None else {"repeat": repeat}
        found = study.measure(setting, policy or None, baseline=baseline, progress=line.tell, **repeats)
    write(found.validation, VALIDATION_SHAPES[chosen], chosen, form[2])
    return exit_code(found.failures, chosen, form[2])


def _table(validation: Validation, stream: TextIO) -> None:
    from numaprobe.cli.formats import shared_warnings
    from numaprobe.report.explain import print_warnings
    from numaprobe.report.grid import console_for
    from numaprobe.report.validation import print_validation

    print_validation(validation, stream)
    print_warnings(shared_warnings(validation.comparison), console_for(stream))


def _json(validation: Validation) -> str:
    return to_json(validation.to_dict())


#: The formats of a validation.
VALIDATION_SHAPES: Final = {
    "table": Shape(stream=_table),
    "json": text_shape(_json),
    "markdown": text_shape(markdown(_table)),
}
