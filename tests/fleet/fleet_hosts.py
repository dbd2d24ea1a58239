"""Made-up figures of hosts, and traces in files, for the tests of fleets."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from numaprobe.analysis.fleet import DriverFigures, HostFigures
from numaprobe.records import Identity, ProbeRecord, Trace, dump_trace
from numaprobe.topology import load_topology, to_json

if TYPE_CHECKING:
    from pathlib import Path

MS = 1_000_000
MACHINE = to_json(load_topology("2 nodes x 4 cores"))


def driver(name: str = "nvme", ns: float = 10 * MS, **changes: object) -> DriverFigures:
    usual = DriverFigures(driver=name, devices=8, probes=8, median_ns=ns, worst_ns=1.5 * ns, placed=8, node_told=8)
    return replace(usual, **changes)  # type: ignore[arg-type]


def host(
    name: str, *drivers: DriverFigures, peers: str = "X9", makespan: float = 100 * MS, **facts: str
) -> HostFigures:
    return HostFigures(
        host=name, peers=peers, makespan_ns=makespan, facts=facts, drivers={one.driver: one for one in drivers}
    )


def hosts(count: int, seed: int = 1, spread: float = 0.1, **facts: str) -> list[HostFigures]:
    """Hosts whose driver takes 10 ms, with a spread in its logarithm."""
    draw = random.Random(seed)
    return [
        host(f"h{seed}-{number}", driver(ns=10 * MS * draw.lognormvariate(0, spread)), **facts)
        for number in range(count)
    ]


def trace(name: str | None, *, day: str | None = "2026-11-20", cost: int = 5 * MS, number: int = 3) -> Trace:
    probes = tuple(
        ProbeRecord(
            device=f"0000:0{index}:00.0",
            driver="nvme",
            bus="pci",
            device_node=0,
            cpu=1,
            cpu_node=0,
            comm="modprobe",
            result="0",
            start_ns=index * cost,
            end_ns=(index + 1) * cost,
            cost_ns=cost,
        )
        for index in range(number)
    )
    who = Identity(host=name, date=f"{day}T10:00:00Z" if day else None)
    return Trace(source="kernel", kernel="6.12.5-amd64", probes=probes, identity=who, machine=MACHINE)


def put(folder: Path, name: str, what: Trace) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(dump_trace(what))
    return file
