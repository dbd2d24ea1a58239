"""``numaprobe run``: one scenario under one policy."""

import sys
from dataclasses import replace
from typing import Annotated

import typer

from numaprobe.cli import options
from numaprobe.cli.formats import TRACE_SHAPES
from numaprobe.cli.inputs import set_up
from numaprobe.cli.listing import write_list
from numaprobe.cli.output import choose_format, write


def run(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="A built-in scenario, a TOML file, or host.")],
    policy: options.OnePolicy = None,
    machine: options.Machine = None,
    kernel: options.Kernel = None,
    cmdline: options.Cmdline = None,
    devices: options.Devices = None,
    overrides: options.Overrides = None,
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Run a scenario under one policy and show each probe.

    FORMAT is table, json, printk (the lines that the kernel would log), html, svg, png, perfetto or parquet.

    Exit code 1: a check of the scenario failed, or the run ended in a deadlock.
    """
    from numaprobe.analysis import find
    from numaprobe.scenario import run_setting

    chosen = choose_format(format, as_json, output, TRACE_SHAPES)
    setting = set_up(scenario, overrides=overrides, devices=devices, machine=machine, kernel=kernel, cmdline=cmdline)
    outcome = run_setting(setting, policy or setting.profile.pci_policy, timeline=chosen not in {"table", "printk"})
    trace = replace(outcome.trace, findings=find(outcome.trace))
    write(trace, TRACE_SHAPES[chosen], chosen, output)
    if chosen == "table" and output is None and outcome.checks:
        sys.stdout.write("\nchecks of the scenario\n")
        rows = [("passed" if c.passed else "FAILED", f"{c.check} ({c.detail})") for c in outcome.checks]
        write_list(rows, sys.stdout)
    return int(not outcome.passed)
