"""Probes as they might have been seen, for tests of what compares them."""

from __future__ import annotations

from typing import Any

from numaprobe.cpuset import CpuSet
from numaprobe.placement.case import BYTES, PlacementCase
from numaprobe.placement.seen import Glimpse, Seen
from numaprobe.records import ProbeRecord
from numaprobe.topology import symmetric

#: node 0 = CPU 0-1, node 1 = CPU 2-3
TWO_NODES = symmetric("two nodes", nodes=2, cores=2)
CASE = PlacementCase(policy="strict-node", bus="pci", asynchronous=False, caller=0)


def seen(
    device: str = "node1.0",
    *,
    comm: str = "kworker/u19:0",
    cpu: int = 2,
    allowed: str = "2-3",
    cpus: tuple[int, ...] | None = None,
    memory: dict[int, int] | None = None,
    glimpse: dict[str, Any] | None = None,
    **record: Any,
) -> Seen:
    """A probe of a device of node 1, by a worker that is held there."""
    fields: dict[str, Any] = {
        "device": device,
        "driver": "plain",
        "bus": "pci",
        "device_node": 1,
        "cpu": cpu,
        "cpu_node": TWO_NODES.node_of(cpu),
        "cpus": cpus or (cpu,),
        "comm": comm,
        "asynchronous": False,
        "nested": False,
        "result": "0",
        "cost_ns": 1,
        "memory": {1: BYTES} if memory is None else memory,
    }
    own = {"cpu": cpu, "comm": comm, "allowed": CpuSet.parse_list(allowed), "memory": {1: 4096}}
    return Seen(record=ProbeRecord(**(fields | record)), glimpse=Glimpse(**(own | (glimpse or {}))))
