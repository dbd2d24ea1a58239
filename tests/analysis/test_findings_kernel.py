"""The rules on what real Debian kernels did, as ``tests/data/kernel/placements.csv`` tells it."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from numaprobe.analysis import find
from numaprobe.records import ProbeRecord, Trace
from numaprobe.topology import symmetric, to_json

PLACEMENTS = Path(__file__).parents[1] / "data" / "kernel" / "placements.csv"
MACHINE = to_json(symmetric("two-nodes", nodes=2, cores=4))


def record(row: dict[str, str]) -> ProbeRecord:
    known: dict[str, Any] = {key: int(row[key]) if row[key] else None for key in ("cpu", "cpu_node", "caller_cpu")}
    start, end = int(row["start_ns"]), int(row["end_ns"])
    return ProbeRecord(
        device=row["device"], driver=row["driver"], device_node=int(row["device_node"]), comm=row["comm"],
        caller_comm=row["caller_comm"] or None, start_ns=start, end_ns=end, cost_ns=end - start,
        running_ns=int(row["running_ns"]) if row["running_ns"] else None,
        asynchronous="async" in row["path"], result="0", **known,
    )  # fmt: skip


def traces() -> dict[tuple[str, str, str], list[Trace]]:
    groups: dict[tuple[str, str, str, str], list[ProbeRecord]] = defaultdict(list)
    with PLACEMENTS.open() as file:
        for row in csv.DictReader(file):
            groups[row["kernel"], row["machine"], row["scenario"], row["repetition"]].append(record(row))
    made: dict[tuple[str, str, str], list[Trace]] = defaultdict(list)
    for (kernel, machine, scenario, _), probes in groups.items():
        made[kernel, machine, scenario].append(
            Trace(source="kernel", probes=tuple(probes), machine=MACHINE if machine == "two-nodes" else {})
        )
    return made


TRACES = traces()


def kinds(kernel: str, scenario: str, machine: str = "two-nodes") -> list[set[str]]:
    found = [{finding.kind for finding in find(trace)} for trace in TRACES[kernel, machine, scenario]]
    assert found
    return found


@pytest.mark.parametrize("kernel", ["debian-6.1", "debian-7.2"])
def test_same_cpu_fires_on_every_async_run_and_on_no_serial_one(kernel: str) -> None:
    assert all("same-cpu" in one for one in kinds(kernel, "async"))
    for scenario in ("sync", "bind", "vblk"):
        assert not any("same-cpu" in one for one in kinds(kernel, scenario)), scenario


def test_parallel_binds_collapse_onto_the_same_cpu() -> None:
    assert all("same-cpu" in one for one in kinds("debian-7.2", "pbind"))


@pytest.mark.parametrize("kernel", ["debian-6.1", "debian-7.2"])
def test_virtio_loaded_from_node_0_is_remote_and_nvme_never_is(kernel: str) -> None:
    assert all("remote" in one for one in kinds(kernel, "vblk"))
    for scenario in ("sync", "async", "bind"):
        assert not any("remote" in one for one in kinds(kernel, scenario)), scenario
