"""The formats of a machine: for people, as JSON, and in the formats that we and hwloc read."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, TextIO

from numaprobe.cli.output import Shape, text_shape, to_json
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numaprobe.topology import Topology

#: More devices are listed in JSON alone.
MAX_DEVICE_ROWS: Final = 64


def _table(topology: Topology, stream: TextIO) -> None:
    from numaprobe.report.grid import Column, Grid, console_for, draw
    from numaprobe.topology.table import describe, device_rows, distance_rows

    console = console_for(stream)

    def show(rows: Sequence[Sequence[str]], title: str = "") -> None:
        columns = [Column(title=name) for name in rows[0]]
        draw(Grid(columns=columns, rows=rows[1:], title=title), console, legend=False)

    show([("what", "value"), *describe(topology)])
    if len(topology.nodes) > 1:
        console.print()
        show(distance_rows(topology), "distances")
    if 0 < len(topology.devices) <= MAX_DEVICE_ROWS:
        console.print()
        show(device_rows(topology), "devices")


def _json(topology: Topology) -> str:
    from numaprobe.topology import to_json as machine_block

    return to_json(machine_block(topology))


def _xml(topology: Topology) -> str:
    from numaprobe.topology.hwlocwrite import hwloc_losses, to_hwloc_xml

    for loss in hwloc_losses(topology):
        sys.stderr.write(f"numaprobe: left out: {loss}\n")
    return to_hwloc_xml(topology)


def _one_line(make: Callable[[Topology], str | None], name: str) -> Callable[[Topology], str]:
    def text(topology: Topology) -> str:
        line = make(topology)
        if line is None:
            raise UsageError(
                f"machine '{topology.name}' is too irregular for a {name} string; use --format json or xml"
            )
        return line

    return text


def _compact(topology: Topology) -> str | None:
    from numaprobe.topology import to_compact

    return to_compact(topology)


def _synthetic(topology: Topology) -> str | None:
    from numaprobe.topology.synthetic import to_synthetic

    return to_synthetic(topology)


def _sysfs(topology: Topology, path: Path) -> None:
    from numaprobe.topology.sysfswrite import write_sysfs

    try:
        path.mkdir()
        write_sysfs(topology, path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; a sysfs tree needs a new folder") from None


TOPOLOGY_SHAPES: Final = {
    "table": Shape(stream=_table),
    "json": text_shape(_json),
    "compact": text_shape(_one_line(_compact, "compact")),
    "synthetic": text_shape(_one_line(_synthetic, "synthetic")),
    "xml": text_shape(_xml),
    "sysfs": Shape(file=_sysfs),
}
