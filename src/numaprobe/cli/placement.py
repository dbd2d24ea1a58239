"""``numaprobe placement``: every policy on real CPUs, here or in a guest, beside the prediction."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from numaprobe.cli import options
from numaprobe.cli.output import Shape, choose_format, to_json, write
from numaprobe.cli.progress import ProgressLine, tell_boot
from numaprobe.cli.say import exit_code
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from typing import TextIO

    from numaprobe.placement.check import PlacementReport
    from numaprobe.study.placement import Question


def placement(
    policy: options.Policies = None,
    kernel: options.Kernel = None,
    guest: Annotated[
        list[str] | None,
        typer.Option("--guest", "-g", metavar="MACHINE", help="In a QEMU guest: '2 nodes x 2 cores'. Repeatable."),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="IMAGE|RELEASE", help="With --guest: what to boot, as --kernel of lab."),
    ] = None,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="With --guest: end one that takes longer.")
    ] = "420s",
    kvm: Annotated[bool, typer.Option("--kvm", help="With --guest: use the processor's virtualisation.")] = False,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="FOLDER", help="With --guest: keep console and scripts here.")
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="List every probe.")] = False,
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Run every policy on the host machine and check that its bodies are where the virtual machine says.

    A small world of devices on every node is probed in Python: sync and async, platform and PCI, called from the first
    and from the last CPU. Which task ran each body, on which CPUs it might run, where it was and where its memory is
    are read back from the kernel and held against the prediction for the same machine. Changes nothing on the system.

    Without --guest on this computer. A guest needs QEMU, virtme-ng and a kernel image, as numaprobe lab does.

    Examples: numaprobe placement
    | numaprobe placement --guest '2 nodes x 2 cores' --guest '4 nodes x 1 core' --policy strict-node

    Exit code 1: something is not as predicted.
    """
    from numaprobe.study.placement import question

    table = Shape(stream=lambda reports, stream: _table(reports, stream, details=details))
    shapes = {"table": table, "json": Shape(stream=_json)}
    chosen = choose_format(None, as_json, output, shapes)
    asked = question(policy, kernel)
    if guest:
        reports = _in_guests(asked, guest, (image, timeout, keep), kvm=kvm)
    elif image or keep or kvm:
        raise UsageError("--image, --keep and --kvm are for guests: give --guest MACHINE with them")
    else:
        reports = [_here(asked)]
    write(reports, shapes[chosen], chosen, output)
    differing = [report for report in reports if not report.passed]
    return exit_code([_differs(report) for report in differing], chosen, output)


def _differs(report: "PlacementReport") -> str:
    """Return the line that says what is not as predicted on one machine."""
    count = f"{len(report.disagreements)} of {len(report.rows)} probes are not as predicted"
    return f"{report.topology.name}: {count}" if report.rows else f"{report.topology.name}: nothing was probed"


def _here(asked: "Question") -> "PlacementReport":
    from numaprobe.study.placement import placement_here

    with ProgressLine("case") as line:
        return placement_here(asked, progress=line.show)


def _in_guests(
    asked: "Question", machines: list[str], how: tuple[str | None, str, Path | None], *, kvm: bool
) -> "list[PlacementReport]":
    from numaprobe.study.guests import guest_options
    from numaprobe.study.placement import placement_in_guests
    from numaprobe.units import parse_time

    image, timeout, keep = how
    options = guest_options(image, timeout=parse_time(timeout) / 1e9, keep=keep, kvm=kvm)
    reports = []
    for one in placement_in_guests(asked, machines, options, told=tell_boot):
        typer.echo(f"guest ended after {one.seconds:.0f} s, {one.seconds_inside:.0f} s of them its probes", err=True)
        reports.append(one.report)
    return reports


def _table(reports: list["PlacementReport"], stream: "TextIO", *, details: bool) -> None:
    from numaprobe.placement.report import all_lines

    all_lines(reports, details=details, echo=lambda line: stream.write(f"{line}\n"))


def _json(reports: list["PlacementReport"], stream: "TextIO") -> None:
    from numaprobe.placement.report import PLACEMENT_SCHEMA, report_to_json

    passed = all(report.passed for report in reports)
    block = {"schema": PLACEMENT_SCHEMA, "passed": passed, "machines": [report_to_json(report) for report in reports]}
    stream.write(to_json(block) + "\n")
