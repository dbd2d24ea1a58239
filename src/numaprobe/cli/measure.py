"""What ``compare --measure`` adds: every policy predicted in virtual time, then run on this computer, several times."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from numaprobe.cli.choice import choose_policies
from numaprobe.cli.inputs import is_trace, set_up
from numaprobe.cli.output import Shape, choose_format, text_shape, to_json, write
from numaprobe.cli.progress import Progress
from numaprobe.cli.say import exit_code
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import TextIO

    from numaprobe.analysis import Validation
    from numaprobe.policies import Policy
    from numaprobe.records import Trace
    from numaprobe.scenario import Setting

#: Runs of each policy, unless ``--repeat`` says otherwise: enough for a median that one slow run cannot move.
REPEAT: Final = 5


def compare_measured(
    what: Sequence[str],
    policy: Sequence[str] | None,
    baseline: str | None,
    form: tuple[str | None, bool, Path | None],
    measure: bool,
    repeat: int | None,
    *,
    machine: str | None,
    **scenario_options: Any,  # noqa: ANN401  those of ``set_up``
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
        scenario_options: see ``set_up``.

    Raises:
        UsageError: a recorded trace, several scenarios, ``--repeat`` alone.

    """
    if not measure:
        raise UsageError("--repeat is the number of measured runs: give --measure with it")
    if is_trace(what[0]):
        raise UsageError("--measure is for scenarios; a recorded trace already happened")
    if len(what) > 1:
        raise UsageError(f"one scenario at a time: '{what[1]}' is one too many")
    chosen = choose_format(*form, VALIDATION_SHAPES)
    setting = set_up(what[0], machine=machine or "host", **scenario_options)
    policies, base = choose_policies(policy, baseline or setting.profile.pci_policy)
    validation, failures = predict_and_measure(setting, policies, base, repeat or REPEAT)
    write(validation, VALIDATION_SHAPES[chosen], chosen, form[2])
    return exit_code(failures, chosen, form[2])


def predict_and_measure(
    setting: Setting, policies: Sequence[Policy], baseline: str, repeat: int
) -> tuple[Validation, list[str]]:
    """Return predictions and measurements of these policies, and what did not pass, one line each.

    The policies take turns, so that whatever else the computer does meanwhile meets them all alike.

    Raises:
        RefusedError: the scenario cannot be run on this computer.

    """
    from numaprobe.analysis import validate
    from numaprobe.host.others import Others
    from numaprobe.scenario import run_setting
    from numaprobe.scenario.real import here, run_real

    setting = here(setting)
    outcomes = [run_setting(setting, policy) for policy in policies]
    predicted = [outcome.trace for outcome in outcomes]
    measured: list[list[Trace]] = [[] for _ in policies]
    others, load = Others(setting.plan.topology.online), os.getloadavg()[0]
    with Progress("run", repeat * len(policies)) as progress:
        for turn in range(repeat):
            for policy, traces in zip(policies, measured, strict=True):
                progress.step(f"{policy.label}, {turn + 1} of {repeat}")
                outcomes.append(run_real(setting, policy))
                traces.append(outcomes[-1].trace)
    validation = validate(predicted, measured, baseline, others_share=others.share(), load_average=load)
    failures = [f"{outcome.trace.policy}: {failure}" for outcome in outcomes for failure in outcome.failures]
    return validation, list(dict.fromkeys(failures))


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
VALIDATION_SHAPES: Final = {"table": Shape(stream=_table), "json": text_shape(_json)}
