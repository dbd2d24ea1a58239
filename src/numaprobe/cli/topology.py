"""``numaprobe topology``: a machine, as a table, as JSON, or in a format that others read."""

from typing import Annotated

import typer

from numaprobe.cli import options
from numaprobe.cli.completing import machine_names
from numaprobe.cli.output import choose_format, write
from numaprobe.cli.topologyshapes import TOPOLOGY_SHAPES, tell_losses


def topology(
    machine: Annotated[
        str,
        typer.Argument(
            metavar="MACHINE", autocompletion=machine_names, help="Preset, '2 nodes x 8 cores', file, or host."
        ),
    ] = ("host"),
    cmdline: Annotated[
        str | None,
        typer.Option(
            "--cmdline", "-c", metavar="PARAMETERS", help="Isolation as these kernel parameters would have it."
        ),
    ] = None,
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Show a machine's nodes, caches, CPUs, distances and what is isolated; by default this machine's.

    MACHINE is host, a preset (epyc-9a64), a compact text ('2 nodes x 8 llcs x 8 cores x 2 smt'), hwloc's synthetic
    text, an hwloc XML file, or a sysfs tree. FORMAT is table, json, compact, synthetic, xml, or sysfs (a new
    folder).
    """
    from numaprobe.topology import apply_cmdline, load_topology

    chosen = choose_format(format, as_json, output, TOPOLOGY_SHAPES)
    loaded = load_topology(machine)
    if cmdline is not None:
        loaded = apply_cmdline(loaded, cmdline)
    write(loaded, TOPOLOGY_SHAPES[chosen], chosen, output)
    tell_losses(loaded, chosen)
    return 0
