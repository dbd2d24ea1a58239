"""``numaprobe compare``: every policy side by side on one scenario or recorded trace, or traces beside each other."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from numaprobe.cli import options
from numaprobe.cli.choice import choose_policies
from numaprobe.cli.formats import comparison_shapes
from numaprobe.cli.inputs import is_trace, set_up
from numaprobe.cli.measure import compare_measured
from numaprobe.cli.output import choose_format, write
from numaprobe.cli.progress import Progress
from numaprobe.cli.replays import RECORDED, own_policy, read_named_trace, set_up_replay
from numaprobe.cli.say import exit_code
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.policies import Policy
    from numaprobe.records import Trace
    from numaprobe.scenario import Setting

#: formats that show when a probe ran, waited and slept
DRAWN: Final = {"html", "svg", "png", "perfetto"}


def compare(  # noqa: PLR0917  a command's signature is its options
    what: Annotated[list[str], typer.Argument(metavar="INPUT", help="A scenario, or recorded traces.")],
    replay: Annotated[
        bool | None,
        typer.Option(
            "--replay/--no-replay", help="Run the trace again under every policy; by default if it is one trace."
        ),
    ] = None,
    policy: options.Policies = None,
    machine: options.Machine = None,
    kernel: options.Kernel = None,
    cmdline: options.Cmdline = None,
    baseline: options.Baseline = None,
    devices: options.Devices = None,
    overrides: options.Overrides = None,
    kprobes: options.Kprobes = None,
    details: options.Details = None,
    measure: options.Measure = False,
    repeat: options.Repeat = None,
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Show every policy side by side: where each probe ran, what it cost, what went wrong.

    INPUT is a scenario: a built-in one (numaprobe scenarios), a TOML file, or host: this machine's devices. Or it is
    a recorded trace: it is replayed under the policies, and stands beside them as 'recorded'. Several traces are
    compared with each other. All policies are compared unless --policy chooses; the base is the policy that the kernel
    profile itself follows. FORMAT is table, json, html, svg, png or perfetto.

    With --measure a scenario is predicted for this machine and run on it under each policy: table or json.

    Exit code 1: a check of the scenario failed under some policy, or a policy deadlocked.
    """
    scenario_options: Any = {"kernel": kernel, "cmdline": cmdline, "devices": devices, "overrides": overrides}
    if measure or repeat is not None:
        return compare_measured(
            what, policy, baseline, (format, as_json, output), measure, repeat, machine=machine, **scenario_options
        )
    shapes = comparison_shapes(details)
    chosen = choose_format(format, as_json, output, shapes)
    traces: list[Trace] = []
    failures: list[str] = []
    setting = None
    if is_trace(what[0]):
        again = _is_replay(replay, len(what))
        if not again:
            _refuse_scenario_options({"policy": policy, **scenario_options})
        traces = [read_named_trace(one, machine=machine, kprobes=kprobes) for one in what]
        if again:
            setting = set_up_replay(traces[0], **scenario_options)
            baseline = baseline or own_policy(traces[0], setting)
            traces[0] = replace(traces[0], policy=RECORDED)
    else:
        _refuse_trace_options(what, {"--replay": replay, "--kprobes": kprobes})
        setting = set_up(what[0], machine=machine, **scenario_options)
        baseline = baseline or setting.profile.pci_policy
    if setting is not None and baseline is not None:
        policies, baseline = choose_policies(policy, baseline)
        more, failures = _run_all(setting, policies, timeline=chosen in DRAWN)
        traces += more
    from numaprobe.analysis import compare as put_together

    write(put_together(traces, baseline), shapes[chosen], chosen, output)
    return exit_code(failures, chosen, output)


def _run_all(setting: "Setting", policies: "Sequence[Policy]", *, timeline: bool) -> "tuple[list[Trace], list[str]]":
    from numaprobe.scenario import run_setting

    traces, failures = [], []
    with Progress("policy", len(policies)) as progress:
        for policy in policies:
            progress.step(policy.label)
            outcome = run_setting(setting, policy, timeline=timeline)
            traces.append(outcome.trace)
            failures += [f"{policy.label}: {failure}" for failure in outcome.failures]
    return traces, failures


def _is_replay(wanted: bool | None, count: int) -> bool:
    if wanted and count > 1:
        raise UsageError("one trace at a time is replayed; give --replay one TRACE")
    return count == 1 if wanted is None else wanted


def _refuse_scenario_options(given: "dict[str, object]") -> None:
    for name, value in given.items():
        if value is not None:
            option = {"overrides": "set"}.get(name, name)
            raise UsageError(f"--{option} is for scenarios and replays; a recorded trace already happened")


def _refuse_trace_options(what: "Sequence[str]", given: "dict[str, object]") -> None:
    if len(what) > 1:
        raise UsageError(f"one scenario at a time: '{what[1]}' is no recorded trace")
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"{name} is for recorded traces, and '{what[0][:80]}' is none")
