"""``numaprobe compare``: every policy side by side on one scenario, or recorded traces beside each other."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from numaprobe.cli import options
from numaprobe.cli.formats import comparison_shapes
from numaprobe.cli.inputs import is_trace, read_trace, set_up
from numaprobe.cli.output import choose_format, write
from numaprobe.cli.progress import Progress
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.records import Trace
    from numaprobe.scenario import Setting

#: formats that show when a probe ran, waited and slept
DRAWN: Final = {"html", "svg", "png", "perfetto"}


def compare(  # noqa: PLR0917  a command's signature is its options
    what: Annotated[list[str], typer.Argument(metavar="INPUT", help="A scenario, or recorded traces.")],
    policy: options.Policies = None,
    machine: options.Machine = None,
    kernel: options.Kernel = None,
    cmdline: options.Cmdline = None,
    baseline: options.Baseline = None,
    devices: options.Devices = None,
    overrides: options.Overrides = None,
    details: options.Details = None,
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Show every policy side by side: where each probe ran, what it cost, what went wrong.

    INPUT is a scenario: a built-in one (numaprobe scenarios), a TOML file, or host: this machine's devices. Or it is
    recorded traces, which are compared with each other. All policies are compared unless --policy chooses; the base is
    the policy that the kernel profile itself follows. FORMAT is table, json, html, svg, png or perfetto.

    Exit code 1: a check of the scenario failed under some policy, or a policy deadlocked.
    """
    shapes = comparison_shapes(details)
    chosen = choose_format(format, as_json, output, shapes)
    code = 0
    if is_trace(what[0]):
        _refuse_scenario_options(
            {"--policy": policy, "--kernel": kernel, "--cmdline": cmdline, "--devices": devices, "--set": overrides}
        )
        traces: Sequence[Trace] = [read_trace(one, machine=machine) for one in what]
    elif len(what) > 1:
        raise UsageError(f"one scenario at a time: '{what[1]}' is no recorded trace")
    else:
        setting = set_up(what[0], overrides=overrides, devices=devices, machine=machine, kernel=kernel, cmdline=cmdline)
        baseline = baseline or setting.profile.pci_policy
        traces, code = _run_all(setting, policy_specs(policy, baseline), timeline=chosen in DRAWN)
    from numaprobe.analysis import compare as put_together

    write(put_together(traces, baseline), shapes[chosen], chosen, output)
    return code


def policy_specs(wanted: "Iterable[str] | None", baseline: str) -> list[str]:
    """Return the policies to run: those wanted, and the base; by default the whole catalogue."""
    from numaprobe.policies import all_policies

    specs = list(dict.fromkeys(wanted or all_policies()))
    return specs if baseline in specs else [baseline, *specs]


def _run_all(setting: "Setting", specs: "Sequence[str]", *, timeline: bool) -> "tuple[list[Trace], int]":
    from numaprobe.policies import make_policy
    from numaprobe.scenario import run_setting

    policies = [make_policy(spec) for spec in specs]
    traces, code = [], 0
    with Progress("policy", len(policies)) as progress:
        for policy in policies:
            progress.step(policy.label)
            outcome = run_setting(setting, policy, timeline=timeline)
            traces.append(outcome.trace)
            code = code or int(not outcome.passed)
    return traces, code


def _refuse_scenario_options(given: dict[str, object]) -> None:
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"{name} is for scenarios; a recorded trace already happened")
