"""Block devices opened and read-warmed, each on its node; on files, where there are no spare disks.

A device that is broken fails alone: its probe raises ``OSError``, and the record has the errno's name.

    python examples/block_files.py [DISK...]
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numaprobe

WARM = 1 << 20


@numaprobe.driver(
    "disk",
    probe_type=numaprobe.ProbeType.PREFER_ASYNCHRONOUS,
    deadline="10s",
    remove=lambda dev: os.close(dev.drvdata),
)
def warm_disk(dev: numaprobe.Device) -> None:
    """Open the disk and read its first MiB."""
    descriptor = os.open(dev.platform_data, os.O_RDONLY | os.O_CLOEXEC)
    try:
        left = WARM
        while left > 0 and (data := os.read(descriptor, min(left, 1 << 16))):
            left -= len(data)
    except OSError:
        os.close(descriptor)
        raise
    dev.drvdata = descriptor


def bring_up(paths: list[Path]) -> dict[str, str | None]:
    """Open and warm all of these; return each one's result."""
    with numaprobe.host() as core:
        core.register(warm_disk)
        node = core.machine.topology.node_of(core.machine.online.first or 0)
        for path in paths:
            core.add(path.name, compatible="disk", node=node, data=path)
        core.wait()
        for record in core.records:
            print(f"{record.device}: {record.result}, {record.cost_ns / 1e6:.2f} ms on CPU {record.cpu}")
        return {record.device: record.result for record in core.records}


def main() -> dict[str, str | None]:
    """Bring up the disks of the command line, or two files and one that is missing."""
    if len(sys.argv) > 1:
        return bring_up([Path(argument) for argument in sys.argv[1:]])
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("sda", "sdb", "missing")]
        for path in paths[:2]:
            path.write_bytes(os.urandom(WARM))
        return bring_up(paths)


if __name__ == "__main__":
    main()
