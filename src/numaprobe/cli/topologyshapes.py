"""The formats of a machine: for people, as JSON, and in the formats that we and hwloc read."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from numaprobe.cli.output import Shape, text_shape, to_json
from numaprobe.cli.say import complain
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.topology import Topology

#: What the table of nodes says as well.
IN_TABLE: Final = ("machine", "packages", "cores")


def _table(topology: Topology, stream: TextIO) -> None:
    from numaprobe.cli.listing import write_list
    from numaprobe.report.machine import print_topology
    from numaprobe.topology.table import describe

    print_topology(topology, stream)
    stream.write("\n")
    write_list((row for row in describe(topology) if row[0] not in IN_TABLE), stream)


def _json(topology: Topology) -> str:
    from numaprobe.topology import to_json as machine_block

    return to_json(machine_block(topology))


def _xml(topology: Topology) -> str:
    from numaprobe.topology.hwlocwrite import to_hwloc_xml

    return to_hwloc_xml(topology)


def tell_losses(topology: Topology, format_name: str) -> None:
    """Say on standard error what a format left out of a machine; to be called when it is written."""
    if format_name == "xml":
        from numaprobe.topology.hwlocwrite import hwloc_losses

        sys.stdout.flush()  # a disk that is full is an error, and then there is one line: that of the error
        for loss in hwloc_losses(topology):
            complain(f"left out: {loss}")


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
        try:
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".numaprobe-") as place:
                tree = Path(place) / "tree"
                tree.mkdir()
                write_sysfs(topology, tree)
                tree.rename(path)  # over the empty folder: the tree is there whole or not at all
        except BaseException:
            with contextlib.suppress(OSError):
                path.rmdir()
            raise
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
