"""Probes in flight together that share one CPU.

This is what the project exists for: the kernel sends every PCI probe of a node to that node's first CPU, also from
async workers, so that probes meant to run in parallel queue for one CPU (the measured "before" table).

Three grades of evidence, the best one that the source gives:

1. the cost split: how long each probe was runnable and did not run, and (with segments) which others ran meanwhile;
2. times: probes of *different* tasks overlap on the CPU, or async probes with different waiting callers follow each
   other there, because a per-CPU pool starts the next work only when the running one sleeps;
3. names alone: async probes in *different* workers of one per-CPU pool. A pool hands a work to the worker that idled
   last, and takes another only while that one is busy; serial probes show one worker.

A serial run (one caller, one worker, one after the other) gives none of these. Neither does a probe nested in
another: it is the same task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from numaprobe.analysis.findings.blockers import waits
from numaprobe.analysis.findings.case import SHOWN, Timed, graded, group_by, names, plural
from numaprobe.analysis.findings.remedies import node_scope, policies
from numaprobe.analysis.hold import bound_worker_cpu, unbound_pool
from numaprobe.analysis.machine import cpu_list
from numaprobe.analysis.sweep import clusters, coverage
from numaprobe.records import Aim, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numaprobe.analysis.findings.case import Case
    from numaprobe.records import ProbeRecord, Remedy, Severity

KIND: Final = "same-cpu"
SUMMARY: Final = "probes that were in flight together shared one CPU"

#: What is lost must be at least this share of the probes' summed cost. Arbitrary: below it nobody would act.
MIN_SHARE: Final = 0.01
#: Probes of one CPU that start within this of the last one's end belong to one burst. Arbitrary: longer than any pause
#: between works of a pool (20 ms seen on an emulated machine), shorter than one between two commands.
BURST_GAP_NS: Final = 100_000_000
#: More shared CPUs of a node than this are told as one finding: nobody reads 64 alike.
MOST_PER_NODE: Final = 4


class _Burst(NamedTuple):
    """Probes of one CPU that lost time to each other."""

    cpu: int
    records: list[ProbeRecord]
    evidence: dict[str, Any]


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each CPU on which probes of one node lost time to each other; one if it is many CPUs."""
    timed = (t for t in case.clocked if not t.record.nested and t.record.cpu is not None)
    for node, group in group_by(timed, lambda t: t.record.device_node).items():
        bursts = [burst for period in clusters(group, _span, BURST_GAP_NS) for burst in _bursts(case, node, period)]
        if len(bursts) > MOST_PER_NODE:
            yield _merged(case, node, bursts)
        else:
            yield from (_single(case, node, burst) for burst in bursts)
    yield from _untimed(case)


def _bursts(case: Case, node: int | None, period: Sequence[Timed]) -> Iterator[_Burst]:
    """Yield the CPUs on which time was lost in a period without a pause, if the node had a CPU to spare in it."""
    if not _has_choice(case, node, {timed.record.cpu for timed in period}):
        return
    for cpu, on_cpu in group_by(period, lambda t: t.record.cpu).items():
        for burst in clusters(on_cpu, _span, BURST_GAP_NS):
            evidence = None if cpu is None else _evidence(node, cpu, burst)
            if cpu is not None and evidence is not None:
                yield _Burst(cpu, [timed.record for timed in burst], evidence)


def _single(case: Case, node: int | None, burst: _Burst) -> Finding:
    advice = _advice(case, node, burst.cpu, burst.records)
    return Finding(
        kind=KIND,
        devices=names(burst.records),
        evidence=burst.evidence,
        advice=advice,
        severity=_severity(burst.evidence),
        remedies=_remedies(case, burst.records),
    )


def _merged(case: Case, node: int | None, bursts: Sequence[_Burst]) -> Finding:
    """One finding for a node where many CPUs were shared while others were not used."""
    records = [record for burst in bursts for record in burst.records]
    evidence: dict[str, Any] = {"node": node, "shared_cpus": cpu_list(burst.cpu for burst in bursts)}
    evidence["probes"] = len(records)
    evidence["drivers"] = sorted({record.driver for record in records})[:SHOWN]
    for key in ("cost_ns", "overlap_ns", "runnable_ns"):
        evidence[key] = sum(burst.evidence.get(key, 0) for burst in bursts)
    return Finding(
        kind=KIND,
        devices=names(records),
        evidence=evidence,
        advice=_advice(case, node, None, records),
        severity=_severity(evidence),
        remedies=_remedies(case, records),
    )


def _span(timed: Timed) -> tuple[int, int]:
    return timed.start_ns, timed.end_ns


def _has_choice(case: Case, node: int | None, used: set[int | None]) -> bool:
    """Whether the node had a usable CPU that none of its probes used; True if the machine is unknown."""
    usable = None if node is None or node < 0 else case.usable_cpus(node)
    return usable is None or any(cpu not in used for cpu in usable)


def _evidence(node: int | None, cpu: int, burst: Sequence[Timed]) -> dict[str, Any] | None:
    """Return the evidence of a burst; None if nothing was lost."""
    records = [timed.record for timed in burst]
    cost = sum(record.cost_ns for record in records)
    overlap = _overlap(burst)
    queued = burst[-1].start_ns - burst[0].start_ns if _queued_together(records) else 0
    runnable = _runnable(records) if overlap else 0
    lost = max(overlap if runnable is None else runnable, queued)
    if len(burst) < 2 or lost < max(1, MIN_SHARE * cost):  # noqa: PLR2004  it takes two
        return None
    evidence: dict[str, Any] = _base(node, cpu, records) | {"cost_ns": cost, "overlap_ns": overlap}
    if runnable:
        evidence |= {"runnable_ns": runnable, "waits": waits(records, cpu)}
    if queued >= MIN_SHARE * cost:
        evidence["queued_ns"] = queued
    return evidence


def _overlap(burst: Iterable[Timed]) -> int:
    """Time during which two or more tasks were in flight; what one task does in itself does not count."""
    spans: list[tuple[int, int]] = []
    by_task = group_by(burst, lambda t: t.record.comm or id(t))
    for group in by_task.values():
        for cluster in clusters(group, _span):
            spans.append((cluster[0].start_ns, max(timed.end_ns for timed in cluster)))  # noqa: PERF401  two levels
    return coverage(spans).overlap_ns


def _queued_together(records: Sequence[ProbeRecord]) -> bool:
    """Whether these were asked for at the same time: async, on a per-CPU pool, each with a caller of its own."""
    callers = {record.caller_comm for record in records if record.caller_comm is not None}
    bound = all(record.asynchronous and bound_worker_cpu(record.comm) == record.cpu for record in records)
    return bound and len(callers) == len(records)


def _runnable(records: Iterable[ProbeRecord]) -> int | None:
    known = [record.runnable_ns for record in records if record.runnable_ns is not None]
    return sum(known) if known else None


def _base(node: int | None, cpu: int, records: Sequence[ProbeRecord]) -> dict[str, Any]:
    workers = sorted({record.comm for record in records if record.comm is not None})
    return {
        "node": node,
        "cpu": cpu,
        "probes": len(records),
        "drivers": sorted({record.driver for record in records})[:SHOWN],
        "workers": workers[:SHOWN],
    }


def _untimed(case: Case) -> Iterator[Finding]:
    """Evidence by names alone, for sources that print a duration and no time."""
    candidates = (
        record
        for record in case.measured
        if record.start_ns is None and record.asynchronous is not False and bound_worker_cpu(record.comm) is not None
    )
    for (node, cpu), records in group_by(candidates, lambda r: (r.device_node, r.cpu)).items():
        workers = {record.comm for record in records}
        if cpu is None or len(workers) < 2 or not _has_choice(case, node, {cpu}):  # noqa: PLR2004  it takes two
            continue
        evidence = _base(node, cpu, records) | {"cost_ns": sum(record.cost_ns for record in records)}
        advice = _advice(case, node, cpu, records)
        yield Finding(
            kind=KIND, devices=names(records), evidence=evidence, advice=advice, remedies=_remedies(case, records)
        )


def _severity(evidence: dict[str, Any]) -> Severity:
    """By what the probes lost to each other: the waiting, where it is told, else the overlap."""
    lost = max(evidence.get("runnable_ns") or evidence.get("overlap_ns", 0), evidence.get("queued_ns", 0))
    return graded(lost, evidence["cost_ns"])


def _remedies(case: Case, records: Sequence[ProbeRecord]) -> tuple[Remedy, ...]:
    if unbound_pool(records[0].comm) is not None:
        return (*node_scope(case, Aim.TIME), *policies(Aim.TIME, "strict-node", "spread"))
    return policies(Aim.TIME, "probe-on-node", "queue-on-node", "strict-node")


def _advice(case: Case, node: int | None, cpu: int | None, records: Sequence[ProbeRecord]) -> str:
    usable = None if node is None or node < 0 else case.usable_cpus(node)
    room = f"node {node} has {plural(len(usable), 'CPU')} for them" if usable else "others of their node were idle"
    if unbound_pool(records[0].comm) is not None:
        return f"They share CPUs while others were not used: the pool serves only a part of the node; {room}."
    where = "one CPU" if cpu is None else f"CPU {cpu}"
    if bound_worker_cpu(records[0].comm) is None:
        return f"They ran on {where} because their tasks were kept there; {room}."
    return f"They were queued on the worker pool of {where}, and no parameter of a stock kernel spreads them; {room}."
