"""``numaprobe status``: the devices of this machine, what uses them, and whether they may be touched."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from numaprobe.cli import options
from numaprobe.cli.bringup import DEVICES_HELP, Root
from numaprobe.cli.output import Shape, choose_format, text_shape, write

if TYPE_CHECKING:
    from typing import TextIO


def status(
    devices: Annotated[list[str] | None, typer.Argument(metavar="DEVICE...", help=DEVICES_HELP)] = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Devices on every bus; by default PCI, virtio and the like.")
    ] = False,
    root: Root = None,
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Show devices with their node, driver and override, what uses them, and whether they may be touched.

    DEVICE is a name (0000:81:00.0, 81:00.0, virtio3), a pattern ('0000:8?:*'), or driver=NAME, class=KIND,
    id=VENDOR:DEVICE, node=N, group=N, bus=NAME; terms of one key add up, different keys must all fit.

    Exit code 2: nothing fits.
    """
    from numaprobe.bringup.guard import Guard
    from numaprobe.bringup.select import select
    from numaprobe.bringup.status import SHOWN_BUSES, rows
    from numaprobe.cli.bringup import open_machine

    shapes = {"table": Shape(stream=_table), "json": text_shape(_json)}
    chosen = choose_format(format, as_json, output, shapes)
    machine = open_machine(root)
    found = select(machine.sysfs, devices or ())
    if not devices and not everything:
        found = [device for device in found if device.bus in SHOWN_BUSES]
    survey = Guard(machine.sysfs, machine.senses).survey(read_disks=False)
    warnings = []
    if survey.denied:
        warnings.append(f"processes that may not be looked into: {survey.denied}; root may look into more")
    write((list(rows(found, survey)), warnings), shapes[chosen], chosen, output)
    return 0


def _table(found: Any, stream: "TextIO") -> None:  # noqa: ANN401  rows and warnings
    from numaprobe.report.bringup import print_status

    print_status(found[0], stream, warnings=found[1])


def _json(found: Any) -> str:  # noqa: ANN401  rows and warnings
    import json

    from numaprobe.bringup.status import status_to_dict

    document = status_to_dict(*found)
    lines = [json.dumps(row, ensure_ascii=False) for row in document.pop("devices")]
    head = json.dumps(document, ensure_ascii=False).removesuffix("}")
    body = ",\n".join(lines)
    return f'{head}, "devices": [\n{body}\n]}}'
