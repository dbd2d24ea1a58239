"""A probe whose body started on another node than its device's.

Its register accesses cross the interconnect, and what it allocates by first touch lands on the wrong node for as long
as the device is bound. A device on a node without usable CPUs cannot be probed there: it is reported only if a nearer
node with CPUs was passed over.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.findings.case import SHOWN, group_by, has_node, is_worker, names, plural
from numaprobe.records import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numaprobe.analysis.findings.case import Case
    from numaprobe.records import ProbeRecord

KIND: Final = "remote"
SUMMARY: Final = "the probe ran on another node than its device"


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each driver and device node whose probes ran on a farther node than they had to."""
    away = (record for record in case.probes if case.is_remote(record) and not _nearest(case, record))
    for (driver, node), records in group_by(away, lambda r: (r.driver, r.device_node)).items():
        if node is not None:
            yield Finding(
                kind=KIND,
                devices=names(records),
                evidence=_evidence(case, driver, node, records),
                advice=_advice(case, driver, node, records),
            )


def _nearest(case: Case, record: ProbeRecord) -> bool:
    """Whether the device's node has no usable CPU and the probe ran on a node that is as near as any that has."""
    node, ran_on, machine = record.device_node, case.cpu_node(record), case.topology
    if machine is None or node is None or ran_on is None or case.usable_cpus(node):
        return False
    distances = [machine.distance(node, other.id) for other in machine.nodes if case.usable_cpus(other.id)]
    return not distances or machine.distance(node, ran_on) <= min(distances)


def _evidence(case: Case, driver: str, node: int, records: Sequence[ProbeRecord]) -> dict[str, Any]:
    ran_on = Counter(case.cpu_node(record) for record in records)
    evidence: dict[str, Any] = {
        "driver": driver,
        "node": node,
        "ran_on_nodes": {str(other): count for other, count in sorted(ran_on.items(), key=str)},
        "probes": len(records),
        "tasks": sorted({record.comm for record in records if record.comm})[:SHOWN],
        "cost_ns": sum(record.cost_ns for record in records),
    }
    if case.topology is not None:
        evidence["distance"] = max(case.topology.distance(node, other) for other in ran_on if other is not None)
    known = [record.remote_ns for record in records if record.remote_ns is not None]
    if known:
        evidence["remote_ns"] = sum(known)
    away = _memory_away(records)
    if away is not None:
        evidence["memory_away_bytes"] = away
    return evidence


def _memory_away(records: Iterable[ProbeRecord]) -> int | None:
    known = [record for record in records if record.memory is not None and has_node(record)]
    if not known:
        return None
    return sum(sum(r.memory.values()) - r.memory.get(r.device_node or 0, 0) for r in known if r.memory is not None)


def _advice(case: Case, driver: str, node: int, records: Sequence[ProbeRecord]) -> str:
    usable = case.usable_cpus(node)
    if usable is not None and not usable:
        return f"Node {node} has no CPU that may do kernel work: probe on the nearest node that has one."
    if any(record.asynchronous or is_worker(record.comm) for record in records):
        return (
            "The worker was not held on the node: look at isolcpus=, nohz_full= and workqueue.unbound_cpus= on the"
            " command line, and at workqueue.default_affinity_scope=; the policy strict-node holds it there."
        )
    return (
        f"On this bus a synchronous probe runs wherever its caller is. Load {driver} or write to its bind file from a"
        f" CPU of node {node} (numactl --cpunodebind={node}), or probe it asynchronously (driver_async_probe={driver});"
        f" the policy probe-on-node does it for {plural(len(records), 'probe')} at once."
    )
