"""``numaprobe run``: one scenario, or a recorded trace once more, under one policy."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numaprobe.cli import options
from numaprobe.cli.formats import TRACE_SHAPES
from numaprobe.cli.inputs import is_trace, set_up
from numaprobe.cli.listing import write_list
from numaprobe.cli.output import choose_format, write
from numaprobe.cli.replays import replay_of
from numaprobe.cli.say import exit_code
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from numaprobe.scenario import Outcome, Setting


def run(  # noqa: PLR0917  a command's signature is its options
    scenario: Annotated[str, typer.Argument(metavar="INPUT", help="A scenario, or a recorded trace.")],
    policy: options.OnePolicy = None,
    machine: options.Machine = None,
    kernel: options.Kernel = None,
    cmdline: options.Cmdline = None,
    devices: options.Devices = None,
    overrides: options.Overrides = None,
    kprobes: options.Kprobes = None,
    save: Annotated[
        Path | None,
        typer.Option("--save-scenario", metavar="FILE", help="Also write the scenario to FILE.toml, to be edited."),
    ] = None,
    real: options.Real = False,
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Run a scenario under one policy and show each probe.

    INPUT is a scenario (a built-in one, a TOML file, or host: this machine's devices), or a recorded trace: then what
    was recorded happens once more.

    FORMAT is table, json, printk (the lines that the kernel would log), html, svg, png, perfetto or parquet. With
    --real nothing is simulated: the machine is this one (or MACHINE, if its CPUs are there), times are measured.

    Exit code 1: a check of the scenario failed, or the run ended in a deadlock.
    """
    from numaprobe.analysis import find
    from numaprobe.scenario import save_scenario

    chosen = choose_format(format, as_json, output, TRACE_SHAPES)
    if real and not is_trace(scenario):
        machine = machine or "host"
    changes: Any = {"overrides": overrides, "devices": devices, "kernel": kernel, "cmdline": cmdline}
    if is_trace(scenario):
        setting, own = replay_of(scenario, machine=machine, kprobes=kprobes, **changes)
    elif kprobes is not None:
        raise UsageError(f"--kprobes is for recorded traces, and '{scenario[:80]}' is none")
    else:
        setting = set_up(scenario, machine=machine, **changes)
        own = setting.profile.pci_policy
    if save is not None:
        save_scenario(setting.plan.scenario, save)
    outcome = _run(setting, policy or own, chosen, real=real)
    trace = replace(outcome.trace, findings=find(outcome.trace))
    write(trace, TRACE_SHAPES[chosen], chosen, output)
    if chosen == "table" and output is None and outcome.checks:
        sys.stdout.write("\nchecks of the scenario\n")
        rows = [("passed" if c.passed else "FAILED", f"{c.check} ({c.detail})") for c in outcome.checks]
        write_list(rows, sys.stdout)
    return exit_code(outcome.failures, chosen, output)


def _run(setting: "Setting", policy: str, chosen: str, *, real: bool) -> "Outcome":
    if real:
        from numaprobe.scenario.real import run_real

        return run_real(setting, policy)
    from numaprobe.scenario import run_setting

    return run_setting(setting, policy, timeline=chosen not in {"table", "printk"})
