"""A probe that started on its device's node and ran off it in the middle.

Since 6.5 the workers of unbound pools are held in their pod only when they wake; the scheduler may move them away while
they run (wake-up balancing, active balance). The start looks right, and the rest of the work, with its allocations, is
remote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.findings.case import SHOWN, graded, group_by, has_node, names, plural
from numaprobe.analysis.findings.remedies import policies
from numaprobe.analysis.hold import unbound_pool
from numaprobe.records import Aim, Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.analysis.findings.case import Case
    from numaprobe.records import ProbeRecord

KIND: Final = "left-node"
SUMMARY: Final = "the probe started on its node and was moved off it"

#: Less time than this away from the node is not worth a word. Arbitrary: the order of one time slice's tail.
MIN_AWAY_NS: Final = 100_000


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each driver and node whose probes were moved away in the middle."""
    left = (record for record in case.probes if case.is_remote(record) is False and _left(case, record))
    for (driver, node), records in group_by(left, lambda r: (r.driver, r.device_node)).items():
        yield Finding(
            kind=KIND,
            devices=names(records),
            evidence=_evidence(case, driver, node, records),
            advice=_advice(records),
            severity=_severity(records),
            remedies=policies(Aim.PLACE, "strict-node", "spread"),
        )


def _left(case: Case, record: ProbeRecord) -> bool:
    if record.remote_ns is not None:
        return record.remote_ns >= MIN_AWAY_NS
    return bool(_outside(case, record))


def _outside(case: Case, record: ProbeRecord) -> list[int]:
    if case.topology is None or not has_node(record):
        return []
    return [cpu for cpu in record.cpus or () if case.topology.node_of(cpu) != record.device_node]


def _evidence(case: Case, driver: str, node: int | None, records: Sequence[ProbeRecord]) -> dict[str, Any]:
    outside = sorted({cpu for record in records for cpu in _outside(case, record)})
    evidence: dict[str, Any] = {
        "driver": driver,
        "node": node,
        "probes": len(records),
        **case.cost(records),
        "outside_cpus": outside[:SHOWN],
    }
    known = [record.remote_ns for record in records if record.remote_ns is not None]
    if known:
        evidence["remote_ns"] = sum(known)
    return evidence


def _severity(records: Sequence[ProbeRecord]) -> Severity:
    """By the share of their running time that they were away; the least where the source does not tell."""
    known = [(record.remote_ns, record.running_ns or record.cost_ns) for record in records if record.remote_ns]
    return graded(sum(away for away, _ in known), sum(ran for _, ran in known))


def _advice(records: Sequence[ProbeRecord]) -> str:
    count = plural(len(records), "probe")
    if any(unbound_pool(record.comm) is not None for record in records):
        return (
            f"The unbound worker of {count} was free to leave its pod. An affinity scope alone does not hold it: it"
            " takes a strict queue."
        )
    return f"Pin the task that ran {count} to the node's CPUs for as long as it probes (numactl, taskset)."
