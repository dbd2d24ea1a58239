"""``numaprobe run``: one scenario, or a recorded trace once more, under one policy."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from numaprobe.cli import options
from numaprobe.cli.completing import scenario_names
from numaprobe.cli.formats import TableOptions, trace_shapes
from numaprobe.cli.listing import write_list
from numaprobe.cli.output import choose_format, write
from numaprobe.cli.progress import ProgressLine
from numaprobe.cli.say import exit_code
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.study import Variation


def run(  # noqa: PLR0917  a command's signature is its options
    scenario: Annotated[
        str, typer.Argument(metavar="INPUT", autocompletion=scenario_names, help="A scenario, or a recorded trace.")
    ],
    policy: options.OnePolicy = None,
    machine: options.Machine = None,
    kernel: options.Kernel = None,
    cmdline: options.Cmdline = None,
    devices: options.Devices = None,
    overrides: options.Overrides = None,
    vary: options.Vary = None,
    kprobes: options.Kprobes = None,
    learn: options.Learn = None,
    costs: options.Costs = None,
    save: Annotated[
        Path | None,
        typer.Option("--save-scenario", metavar="FILE", help="Also write the scenario to FILE.toml, to be edited."),
    ] = None,
    real: options.Real = False,
    schedule: Annotated[
        str | None, typer.Option("--schedule", metavar="TEXT", help="Steps in this order, as explore printed it.")
    ] = None,
    label: options.Label = None,
    sort: options.Sort = None,
    top: options.Top = None,
    blame: options.Blame = False,
    critical_chain: options.Chain = False,
    explain: options.Explain = False,
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Run a scenario under one policy and show each probe.

    INPUT is a scenario (a built-in one, a TOML file, or host: this machine's devices), or a recorded trace: then what
    was recorded happens once more.

    FORMAT is table, json, markdown, csv, printk (the lines that the kernel would log), html, svg, png, perfetto or
    parquet. With --real nothing is simulated: the machine is this one (or MACHINE, if its CPUs are there), times are
    measured.

    --vary sets one value of anything: a parameter of the kernel beside the others, or from where modules are loaded.

    Exit code 1: a check of the scenario failed, or the run ended in a deadlock.
    """
    from numaprobe import study
    from numaprobe.scenario import save_scenario

    if schedule is not None and ".py:" in scenario:
        raise UsageError(
            f"'{scenario[:80]}' is a program: numaprobe explore {scenario[:80]} --schedule TEXT repeats it"
        )
    shown = TableOptions(sort=sort, top=top, blame=blame, chain=critical_chain, explain=explain)
    shapes = trace_shapes(shown)
    chosen = choose_format(format, as_json, output, shapes)
    shown.check(chosen)
    setting = study.make_setting(
        scenario,
        machine=machine or ("host" if real and not study.is_trace(scenario) else None),
        kernel=kernel,
        cmdline=cmdline,
        devices=devices,
        overrides=overrides or (),
        kprobes=kprobes,
        learn=learn or (),
        costs=costs or (),
    )
    if policy is not None:
        setting = study.vary(setting, policy=policy)
    if vary:
        setting = _only(study.make_variations(setting, study.parse_axes(vary))).setting
    if save is not None:
        save_scenario(setting.scenario, save)
    with ProgressLine("probe") as line:
        told = line.counter(len(setting.plan.devices), setting.policy.label)
        outcome = study.run(
            setting, timeline=chosen not in {"table", "printk"}, real=real, told=told, schedule=schedule
        )
    trace = outcome.trace
    if not shown.is_list and schedule is None and setting.scenario.schedule is None:
        with ProgressLine("repetition") as line:
            trace = study.diagnose(trace, setting, progress=line.tell)
    write(trace.labelled(label), shapes[chosen], chosen, output)
    if chosen == "table" and output is None and outcome.checks and not shown.is_list:
        sys.stdout.write("\nchecks of the scenario\n")
        rows = [("passed" if c.passed else "FAILED", f"{c.check} ({c.detail})") for c in outcome.checks]
        write_list(rows, sys.stdout)
    return exit_code(outcome.failures, chosen, output)


def _only(variations: "Sequence[Variation]") -> "Variation":
    if len(variations) > 1:
        raise UsageError(f"these are {len(variations)} variations, and run shows one; numaprobe compare shows them all")
    return variations[0]
