"""A probe whose body started on another node than its device's.

Its register accesses cross the interconnect, and what it allocates by first touch lands on the wrong node for as long
as the device is bound. A device on a node without usable CPUs cannot be probed there: it is reported only if a nearer
node with CPUs was passed over.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.findings.case import SHOWN, group_by, is_worker, names
from numaprobe.analysis.findings.remedies import async_probe, load_from, node_scope, policies
from numaprobe.records import Aim, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numaprobe.analysis.findings.case import Case
    from numaprobe.records import ProbeRecord, Remedy

KIND: Final = "remote"
SUMMARY: Final = "the probe ran on another node than its device"


#: Said where isolation may be the cause.
_ISOLATION: Final = "; the isolation of CPUs may have left its pod without one"
#: Why nothing held the probe on its node: what the advice depends on.
_CALLER: Final = "caller"
_WORKER: Final = "worker without a node"
_QUEUED: Final = "worker queued for the node"


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each device node and reason: probes that ran on a farther node than they had to."""
    away = (record for record in case.probes if case.is_remote(record) and not _nearest(case, record))
    for (node, reason), records in group_by(away, lambda r: (r.device_node, _reason(r))).items():
        if node is not None:
            yield Finding(
                kind=KIND,
                devices=names(records),
                evidence=_evidence(case, node, records) | {"ran_in": reason},
                advice=_advice(case, node, reason),
                remedies=_remedies(case, node, reason, records),
            )


def _reason(record: ProbeRecord) -> str:
    """A worker that was given the probe by a waiting caller was meant for the node; one that ran it inline was not."""
    if not is_worker(record.comm):
        return _CALLER
    given = record.caller_comm not in (None, record.comm)
    return _QUEUED if record.asynchronous or given else _WORKER


def _nearest(case: Case, record: ProbeRecord) -> bool:
    """Whether the device's node has no usable CPU and the probe ran on a node that is as near as any that has."""
    node, ran_on, machine = record.device_node, case.cpu_node(record), case.topology
    if machine is None or node is None or ran_on is None or case.usable_cpus(node):
        return False
    distances = [machine.distance(node, other.id) for other in machine.nodes if case.usable_cpus(other.id)]
    return not distances or machine.distance(node, ran_on) <= min(distances)


def _evidence(case: Case, node: int, records: Sequence[ProbeRecord]) -> dict[str, Any]:
    ran_on = Counter(case.cpu_node(record) for record in records)
    evidence: dict[str, Any] = {
        "node": node,
        "ran_on_nodes": {str(other): count for other, count in sorted(ran_on.items(), key=str)},
        "drivers": _drivers(records),
        "probes": len(records),
        "tasks": sorted({record.comm for record in records if record.comm})[:SHOWN],
        **case.cost(records),
    }
    if case.topology is not None:
        evidence["distance"] = max(case.topology.distance(node, other) for other in ran_on if other is not None)
    known = [record.remote_ns for record in records if record.remote_ns is not None]
    if known:
        evidence["remote_ns"] = sum(known)
    away = _memory_away(records)
    if away:
        evidence["memory_away_bytes"] = away
    return evidence


def _memory_away(records: Iterable[ProbeRecord]) -> int:
    """Bytes that the bodies allocated on other nodes than their device's, as far as records tell."""
    return sum(size for r in records for node, size in (r.memory or {}).items() if node != r.device_node)


def _drivers(records: Iterable[ProbeRecord]) -> list[str]:
    return sorted({record.driver for record in records})[:SHOWN]


def _remedies(case: Case, node: int, reason: str, records: Sequence[ProbeRecord]) -> tuple[Remedy, ...]:
    if reason == _QUEUED:
        return (*node_scope(case, Aim.PLACE), *policies(Aim.PLACE, "strict-node"))
    placing = policies(Aim.PLACE, "probe-on-node", "exec-on-node", "strict-node")
    if reason == _WORKER:
        return placing
    return (*load_from(case, node), *async_probe(Aim.PLACE, (record.driver for record in records)), *placing)


def _advice(case: Case, node: int, reason: str) -> str:
    usable = case.usable_cpus(node)
    if usable is not None and not usable:
        return f"Node {node} has no CPU that may do kernel work: the nearest node that has one is the best place."
    if reason == _QUEUED:
        kept = case.node_cpus(node)
        isolation = kept is None or bool(kept & case.isolated)
        return (
            "Nothing held the worker on the node: unbound queues are not strict, and its pool is another one's or the"
            f" scheduler moved it{_ISOLATION if isolation else ''}."
        )
    if reason == _WORKER:
        return (
            "A worker without a node ran them, as deferred and hot-plugged devices get: no parameter gives it one, so"
            " that they run where it happens to be."
        )
    return f"They ran synchronously where their caller was; a caller on node {node} probes there."
