"""The options that several commands share: one name, one meaning, one help text."""

from pathlib import Path
from typing import Annotated

import typer

from numaprobe.cli.completing import kernel_releases, machine_names, policy_names

Json = Annotated[bool, typer.Option("--json", help="Write JSON (stable, versioned), the same as --format json.")]
Format = Annotated[str | None, typer.Option("--format", "-f", metavar="FORMAT", help="How to write it.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to FILE; its suffix chooses the format.")
]
Label = Annotated[
    str | None, typer.Option("--label", metavar="WORD", help="A word of yours that the trace carries: before, after.")
]
Policies = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        "-p",
        metavar="NAME",
        autocompletion=policy_names,
        help="A policy, with options: probe-on-node+pin. Repeatable.",
    ),
]
OnePolicy = Annotated[
    str | None,
    typer.Option(
        "--policy",
        "-p",
        metavar="NAME",
        autocompletion=policy_names,
        help="The policy; by default the kernel profile's own.",
    ),
]
Machine = Annotated[
    str | None,
    typer.Option(
        "--machine",
        "-m",
        metavar="MACHINE",
        autocompletion=machine_names,
        help="Another machine: preset, '2 nodes x 8 cores', file, host.",
    ),
]
Kernel = Annotated[
    str | None,
    typer.Option(
        "--kernel",
        "-k",
        metavar="RELEASE",
        autocompletion=kernel_releases,
        help="Another kernel: 6.12, or what uname -r says.",
    ),
]
Cmdline = Annotated[
    str | None,
    typer.Option("--cmdline", "-c", metavar="PARAMETERS", help="Kernel parameters in place of the scenario's."),
]
RecordedOn = Annotated[
    str | None,
    typer.Option(
        "--machine",
        "-m",
        metavar="MACHINE",
        autocompletion=machine_names,
        help="The machine it was recorded on, for nodes and devices.",
    ),
]
Kprobes = Annotated[
    Path | None,
    typer.Option("--kprobes", metavar="FILE", help="What the trace's kprobes stand for: lines of kprobe_events."),
]
Learn = Annotated[
    list[str] | None,
    typer.Option("--learn", metavar="TRACE", help="Another trace of this machine: what do probes share? Repeatable."),
]
Costs = Annotated[
    list[str] | None,
    typer.Option(
        "--costs", metavar="TRACE", help="A trace that tells what drivers' probes cost by themselves. Repeatable."
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        "-b",
        metavar="NAME",
        autocompletion=policy_names,
        help="The policy that others are compared with.",
    ),
]
Devices = Annotated[
    int | None,
    typer.Option("--devices", "-n", min=1, metavar="N", help="N devices in the scenario's first group."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the scenario: drivers[0].probe_type=sync. Repeatable."),
]
Vary = Annotated[
    list[str] | None,
    typer.Option(
        "--vary",
        metavar="KEY=A,B,…",
        help="Vary a policy, kernel, parameter (driver_async_probe=,nvme), load_from or key. Repeatable.",
    ),
]
Details = Annotated[
    bool | None,
    typer.Option(
        "--details/--no-details",
        help="List the probes under every policy, the slowest if many; by default if there are few.",
    ),
]
Explain = Annotated[bool, typer.Option("--explain", help="Say below the tables what each column is, and is not.")]
Sort = Annotated[
    str | None,
    typer.Option(
        "--sort",
        metavar="KEY",
        help="Order of the probes: start, end, cost, running, runnable, sleeping, waits, device, driver, node, cpu.",
    ),
]
Top = Annotated[
    int | None, typer.Option("--top", min=1, metavar="N", help="List N probes: the first by --sort, else the slowest.")
]
Blame = Annotated[bool, typer.Option("--blame", help="List the probes by cost alone, as systemd-analyze blame does.")]
Chain = Annotated[
    bool,
    typer.Option("--critical-chain", help="Show the probe that ended last, what it had to wait for, and so on."),
]
Real = Annotated[
    bool,
    typer.Option("--real", help="On this computer's CPUs and clock: burn, sleep and touch memory as the costs say."),
]
Measure = Annotated[
    bool, typer.Option("--measure", help="Run it on this computer too, and show predictions beside measurements.")
]
Repeat = Annotated[
    int | None,
    typer.Option("--repeat", min=1, max=1000, metavar="N", help="With --measure: N runs of each policy; 5 by default."),
]
State = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="Where the journal is, if not in /var/lib/numaprobe/journal."),
]
