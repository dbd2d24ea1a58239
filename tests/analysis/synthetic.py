"""Traces made by hand, for tests: a round-robin CPU of our own, the measured tables, and a large machine.

The machine here is deliberately not the product's virtual machine: tests of analysis and reports must not lean on it.
"""

from __future__ import annotations

import csv
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numaprobe.records import ProbeRecord, RunState, Segment, Trace
from numaprobe.topology import Topology, symmetric, to_json

MS = 1_000_000
SLICE_NS = 3 * MS
SEEDS = Path(__file__).parents[1] / "data" / "measured-tables.csv"

#: about 9.3 ms of compute in the middle of 25 ms of sleep: an NVMe probe of the measured tables
NVME = (("sleep", 12 * MS), ("compute", 9_300_000), ("sleep", 13 * MS))


@dataclass
class _Probe:
    record: ProbeRecord
    phases: deque[tuple[str, int]]
    start: int
    segments: list[Segment] = field(default_factory=list)
    ready_at: int = 0


def epyc() -> Topology:
    """The machine of the measured tables: 2 nodes of 8 LLCs of 8 cores of 2 threads."""
    return symmetric("epyc-9a64", nodes=2, llcs=8, cores=8, smt=2, memory=2**38)


def small() -> Topology:
    """Two nodes of four CPUs, one LLC each."""
    return symmetric("two-nodes", nodes=2, llcs=1, cores=4)


def probe(device: str = "0000:01:00.0", **fields: Any) -> ProbeRecord:
    """A plain local NVMe probe of 30 ms, changed as asked."""
    values: dict[str, Any] = {
        "device": device, "driver": "nvme", "bus": "pci", "device_node": 0, "cpu": 1, "cpu_node": 0,
        "comm": "kworker/u32:1", "asynchronous": True, "nested": False, "result": "0",
        "start_ns": 0, "cost_ns": 30 * MS,
    }  # fmt: skip
    values |= fields
    if values["start_ns"] is not None and "end_ns" not in fields:
        values["end_ns"] = values["start_ns"] + values["cost_ns"]
    return ProbeRecord(**values)


def trace(*probes: ProbeRecord, machine: Topology | None = None, **fields: Any) -> Trace:
    return Trace(source="virtual", probes=probes, machine=to_json(machine) if machine else {}, **fields)


def run(plan: list[tuple[ProbeRecord, int, tuple[tuple[str, int], ...]]]) -> tuple[ProbeRecord, ...]:
    """Run (record, start, phases) on each record's own CPU, round-robin, and fill in what it cost."""
    by_cpu: dict[int | None, list[_Probe]] = defaultdict(list)
    for record, start, phases in plan:
        by_cpu[record.cpu].append(_Probe(record, deque(phases), start, ready_at=start))
    done = [finished for cpu, probes in by_cpu.items() for finished in _run_cpu(cpu or 0, probes)]
    return tuple(sorted(done, key=lambda r: (r.start_ns or 0, r.device)))


def _run_cpu(cpu: int, probes: list[_Probe]) -> list[ProbeRecord]:
    queue: deque[_Probe] = deque()
    waiting = sorted(probes, key=lambda p: p.start)
    now, done = 0, []
    while queue or waiting:
        now = max(now, waiting[0].ready_at) if not queue else now
        for one in [p for p in waiting if p.ready_at <= now]:
            waiting.remove(one)
            _wake(one, queue, waiting, done, cpu)
        if not queue:
            waiting.sort(key=lambda p: p.ready_at)
            continue
        one = queue.popleft()
        kind, left = one.phases.popleft()
        used = min(left, SLICE_NS)
        _add(one, one.ready_at, now, RunState.RUNNABLE, cpu)
        _add(one, now, now + used, RunState.RUNNING, cpu)
        now += used
        if left > used:
            one.phases.appendleft((kind, left - used))
        one.ready_at = now
        waiting.append(one)
        waiting.sort(key=lambda p: p.ready_at)
    return done


def _wake(one: _Probe, queue: deque[_Probe], waiting: list[_Probe], done: list[ProbeRecord], cpu: int) -> None:
    if not one.phases:
        done.append(_finish(one))
    elif one.phases[0][0] == "sleep":
        _, ns = one.phases.popleft()
        _add(one, one.ready_at, one.ready_at + ns, RunState.SLEEPING, cpu)
        one.ready_at += ns
        waiting.append(one)
        waiting.sort(key=lambda p: p.ready_at)
    else:
        queue.append(one)


def _add(one: _Probe, start: int, end: int, state: RunState, cpu: int) -> None:
    if end > start:
        one.segments.append(Segment(start, end, state, cpu))


def _finish(one: _Probe) -> ProbeRecord:
    sums = dict.fromkeys(RunState, 0)
    for segment in one.segments:
        sums[segment.state] += segment.end_ns - segment.start_ns
    end = one.segments[-1].end_ns if one.segments else one.start
    return replace(
        one.record, start_ns=one.start, end_ns=end, cost_ns=end - one.start, running_ns=sums[RunState.RUNNING],
        runnable_ns=sums[RunState.RUNNABLE], sleeping_ns=sums[RunState.SLEEPING], segments=tuple(one.segments),
        cpus=(one.record.cpu or 0,),
    )  # fmt: skip


def nvme_before() -> Trace:
    """Three async NVMe probes of node 0, all on CPU 0."""
    plan = [
        (probe(f"0000:0{i}:00.0", cpu=0, comm=f"kworker/0:{i}", caller_cpu=i, caller_comm=f"kworker/u1025:{i}",
               memory={0: 2**20}, function="nvme_probe"), i * 100_000, NVME)
        for i in (1, 2, 3)
    ]  # fmt: skip
    return trace(*run(plan), machine=epyc(), policy="work-on-cpu", scenario="nvme-epyc", kernel="6.19")


def nvme_after() -> Trace:
    """The same on three CPUs of LLC 0."""
    plan = [
        (probe(f"0000:0{i}:00.0", cpu=cpu, comm=f"kworker/u1025:{i}", caller_cpu=i,
               caller_comm=f"kworker/u1025:{i + 3}", memory={0: 2**20}, function="nvme_probe"), i * 100_000, NVME)
        for i, cpu in ((1, 2), (2, 134), (3, 1))
    ]  # fmt: skip
    return trace(*run(plan), machine=epyc(), policy="queue-on-node", scenario="nvme-epyc", kernel="6.19")


def nvme_inline() -> Trace:
    """The same, one after the other in modprobe on node 1."""
    plan, start = [], 0
    for i in (1, 2, 3):
        record = probe(f"0000:0{i}:00.0", cpu=70, cpu_node=1, comm="modprobe", asynchronous=False, caller_cpu=70,
                       caller_comm="modprobe", memory={1: 2**20}, function="nvme_probe",
                       remote_ns=9_300_000)  # fmt: skip
        plan.append((record, start, NVME))
        start += sum(ns for _, ns in NVME) + 200_000
    return trace(*run(plan), machine=epyc(), policy="inline", scenario="nvme-epyc", kernel="6.19")


def seed_table(table: str, policy: str) -> Trace:
    """One of the measured tables: durations, CPUs and COMMs; no times."""
    with SEEDS.open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    probes = [
        ProbeRecord(device=row["device"], driver="nvme", cpu=int(row["cpu"]), comm=row["comm"],
                    cost_ns=int(row["cost_ns"]))
        for row in rows if row["table"] == table and row["kernel"] == policy
    ]  # fmt: skip
    return Trace(source="kernel", probes=tuple(probes), policy=policy, scenario="nvme-epyc", kernel="6.19")


def many(count: int, *, cpus: int = 256, per_cpu: bool = False) -> Trace:
    """``count`` probes of several drivers on that machine, over all CPUs or one per node."""
    machine = epyc()
    drivers = ("nvme", "mlx5_core", "ixgbe", "virtio_blk", "amdgpu")
    plan = []
    for i in range(count):
        driver, node = drivers[i % 5], i % 2
        home = node * 64 if per_cpu else (i * 7) % cpus
        comm = f"kworker/{home}:{i % 90}" if per_cpu else f"kworker/u{1025 + machine.llc_of(home)}:{i % 90}"
        record = probe(f"0000:{i // 256:02x}:{i % 32:02x}.{i // 32 % 8}", driver=driver, device_node=node, cpu=home,
                       cpu_node=machine.node_of(home), comm=comm, caller_cpu=(i * 3) % cpus,
                       caller_comm=f"kworker/u1024:{i % 90}", function=f"{driver}_probe")  # fmt: skip
        compute = (2 + i % 7) * MS
        plan.append((record, (i // 64) * MS, (("sleep", (3 + i % 11) * MS), ("compute", compute), ("sleep", 5 * MS))))
    return trace(
        *run(plan), machine=machine, policy="first-cpu" if per_cpu else "spread", scenario="many", kernel="6.19"
    )
