"""A pool of accelerators: one shard of a model for each device, read into memory of the device's own node.

The probe runs in a worker thread that is pinned to the device's node and whose memory policy prefers it, so the shard
simply lands there; where it landed is asked back from the kernel. A child process would do for shards that have to be
decoded in Python (``process = True``).

    python examples/accelerators.py
"""

from __future__ import annotations

import mmap
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numaprobe
from numaprobe.hostmachine.bodies import read_back
from numaprobe.hostmachine.syscalls import address_of

SHARD = 4 << 20


@dataclass
class Shard:
    """A part of the model, in memory."""

    memory: mmap.mmap
    bytes_by_node: dict[int, int] | None

    def close(self) -> None:
        """Give the memory back."""
        self.memory.close()


class Accelerator(numaprobe.DeviceDriver):
    """Loads the shard of its device."""

    name = "accelerator"
    compatible = ("accel,*",)
    probe_type = numaprobe.ProbeType.PREFER_ASYNCHRONOUS
    deadline = "30s"

    def probe(self, dev: numaprobe.Device) -> None:
        """Read the shard's file into fresh memory: the pages come from the node this thread is bound to."""
        path: Path = dev.platform_data
        memory = mmap.mmap(-1, SHARD)
        with path.open("rb") as file:
            file.readinto(memory)
        dev.drvdata = Shard(memory, read_back(address_of(memory), SHARD))

    def remove(self, dev: numaprobe.Device) -> None:
        """Give the memory back."""
        dev.drvdata.close()


def main() -> dict[str, dict[int, int] | None]:
    """Bring up four accelerators and return where each shard lies."""
    with tempfile.TemporaryDirectory() as folder, numaprobe.host("strict-node") as core:
        nodes = [node.id for node in core.machine.topology.nodes if node.cpus & core.machine.online]
        for number in range(4):
            shard = Path(folder, f"shard{number}.bin")
            shard.write_bytes(bytes([number]) * SHARD)
            core.add(f"accel{number}", compatible="accel,v1", node=nodes[number % len(nodes)], data=shard)
        core.register(Accelerator())
        core.wait()
        for record in core.records:
            local = "local" if record.local else "remote"
            print(f"{record.device}: CPU {record.cpu}, {record.comm}, {local}, {record.cost_ns / 1e6:.1f} ms")
        return {record.device: core.device(record.device).drvdata.bytes_by_node for record in core.records}


if __name__ == "__main__":
    main()
