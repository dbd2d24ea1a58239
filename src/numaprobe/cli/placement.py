"""``numaprobe placement``: every policy on real CPUs, here or in a guest, beside the prediction."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numaprobe.cli import options
from numaprobe.cli.output import Shape, choose_format, to_json, write
from numaprobe.cli.progress import Progress
from numaprobe.cli.say import exit_code
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from numaprobe.placement.check import Report


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
    and from the last CPU. Who ran each body, on which CPUs it might run, where it was and where its memory is are read
    back from the kernel and held against the prediction for the same machine. Changes nothing on the system.

    Without --guest on this computer. A guest needs QEMU, virtme-ng and a kernel image, as numaprobe lab does.

    Examples: numaprobe placement
    | numaprobe placement --guest '2 nodes x 2 cores' --guest '4 nodes x 1 core' --policy strict-node

    Exit code 1: something is not as predicted.
    """
    from numaprobe.policies import POLICIES, make_policy
    from numaprobe.runtime import DEFAULT_PROFILE, kernel_profile

    table = Shape(stream=lambda reports, stream: _table(reports, stream, details=details))
    shapes = {"table": table, "json": Shape(stream=_json)}
    chosen = choose_format(None, as_json, output, shapes)
    specs = [make_policy(spec).spec for spec in policy or POLICIES]
    profile = kernel_profile(kernel or DEFAULT_PROFILE).name
    if guest:
        reports = list(_Guests(image, timeout, keep, kvm=kvm).reports(guest, specs, profile))
    elif image or keep or kvm:
        raise UsageError("--image, --keep and --kvm are for guests: give --guest MACHINE with them")
    else:
        reports = [_report_here(specs, profile)]
    write(reports, shapes[chosen], chosen, output)
    differing = [report for report in reports if not report.passed]
    return exit_code([_differs(report) for report in differing], chosen, output)


def _differs(report: "Report") -> str:
    """Return the line that says what is not as predicted on one machine."""
    count = f"{len(report.disagreements)} of {len(report.rows)} probes are not as predicted"
    return f"{report.topology.name}: {count}" if report.rows else f"{report.topology.name}: nothing was probed"


def _report_here(policies: list[str], profile: str) -> "Report":
    from numaprobe.placement.case import make_cases
    from numaprobe.placement.observe import observe, this_computer
    from numaprobe.placement.report import make_report

    topology = this_computer()
    with Progress("case", len(make_cases(topology, policies))) as progress:
        return make_report(observe(policies, profile, topology, progress.step))


class _Guests:
    """What all guests of one call have in common."""

    def __init__(self, image: str | None, timeout: str, keep: Path | None, *, kvm: bool) -> None:
        from numaprobe.kernel.lab.tools import find_kernel, find_tools
        from numaprobe.units import parse_time

        self._tools = find_tools()
        self._image = find_kernel(image)
        self._timeout = parse_time(timeout) / 1e9
        self._keep = keep
        self._kvm = kvm

    def reports(self, machines: list[str], policies: list[str], profile: str) -> "Iterator[Report]":
        """Boot one guest after the other."""
        from numaprobe.topology import load_topology

        topologies = [load_topology(machine) for machine in machines]
        for index, topology in enumerate(topologies):
            keep = self._keep / str(index) if self._keep is not None and len(machines) > 1 else self._keep
            yield self._report(topology, policies, profile, keep)

    def _report(self, topology: Any, policies: list[str], profile: str, keep: Path | None) -> "Report":  # noqa: ANN401
        from numaprobe.cli.guestfolder import guest_folder
        from numaprobe.placement.guest import observe_in_guest
        from numaprobe.placement.report import make_report

        with guest_folder(keep) as folder:
            if sys.stderr.isatty():
                typer.echo(f"booting {self._image.release}; its console: {folder / 'console.log'}", err=True)
            seen = observe_in_guest(
                topology,
                policies,
                profile,
                kernel=self._image,
                tools=self._tools,
                folder=folder,
                timeout=self._timeout,
                kvm=self._kvm,
            )
        typer.echo(f"guest ended after {seen.seconds:.0f} s, {seen.seconds_inside:.0f} s of them its probes", err=True)
        return make_report(seen.observation)


def _table(reports: list["Report"], stream: "TextIO", *, details: bool) -> None:
    from numaprobe.placement.report import all_lines

    all_lines(reports, details=details, echo=lambda line: stream.write(f"{line}\n"))


def _json(reports: list["Report"], stream: "TextIO") -> None:
    from numaprobe.placement.report import PLACEMENT_SCHEMA, report_to_json

    passed = all(report.passed for report in reports)
    block = {"schema": PLACEMENT_SCHEMA, "passed": passed, "machines": [report_to_json(report) for report in reports]}
    stream.write(to_json(block) + "\n")
