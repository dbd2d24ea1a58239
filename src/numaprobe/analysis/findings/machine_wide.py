"""A node's probes served by a pool that is not the node's, because the node's first CPU is isolated.

An unbound workqueue serves a pod with the pod's CPUs minus the isolated ones. If that leaves none, the kernel quietly
uses the queue's default pool, with every housekeeping CPU of the machine (``wq_calc_pod_cpumask``,
kernel/workqueue.c). ``queue_work_node`` picks the pod of the node's *first* CPU, so that isolating the first CPUs of
a node takes the whole node's work away from it, though it has free CPUs left. Up to 7.0 isolated CPUs may be in CPU
0's pod instead (see ``docs/kernel-profiles.md``); then its pool, of another node, serves them.

Where such a probe runs is luck, good or bad: the pool's idle worker wakes where it last ran, which is arbitrary after a
boot and the same until the next. So this is a finding also where every probe of this run happened to be on its node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.findings.case import SHOWN, group_by, has_node, names, plural
from numaprobe.analysis.findings.remedies import isolate_last, node_scope, policies
from numaprobe.analysis.hold import Hold, pod_cpus, unbound_pool
from numaprobe.records import Aim, Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.analysis.findings.case import Case
    from numaprobe.records import ProbeRecord

KIND: Final = "machine-wide"
SUMMARY: Final = "isolation sent a node's probes to a pool that is not the node's: where they run is luck"


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each node whose unbound work another pool did while the node had usable CPUs."""
    if case.topology is None or not case.isolated or sum(bool(node.cpus) for node in case.topology.nodes) < 2:  # noqa: PLR2004
        return
    wide = (r for r in case.probes if has_node(r) and _first_isolated(case, r) and _is_served_elsewhere(case, r))
    for (node, pool), records in group_by(wide, lambda r: (r.device_node, unbound_pool(r.comm))).items():
        if node is not None and pool is not None and case.usable_cpus(node):
            evidence = _evidence(case, node, pool, records)
            yield Finding(
                kind=KIND,
                devices=names(records),
                evidence=evidence,
                advice=_advice(case, node, records),
                severity=Severity.MEDIUM if evidence["outside_node"] else Severity.LOW,
                remedies=(
                    *node_scope(case, Aim.PLACE),
                    *isolate_last(case, node),
                    *policies(Aim.PLACE, "strict-node"),
                ),
            )


def _is_served_elsewhere(case: Case, record: ProbeRecord) -> bool:
    """Whether the worker's pool is the machine-wide one or, where the source tells, one whose pod is not the node's."""
    pool = unbound_pool(record.comm)
    if pool is None or record.pod is None:
        return pool is not None and pool == case.holds.machine_wide_pool
    return case.holds.of(record) in (Hold.ANYWHERE, Hold.AWAY)


def _first_isolated(case: Case, record: ProbeRecord) -> bool:
    cpus = case.node_cpus(record.device_node or 0)
    return cpus is not None and cpus.first in case.isolated


def _evidence(case: Case, node: int, pool: int, records: Sequence[ProbeRecord]) -> dict[str, Any]:
    away = [record for record in records if case.is_remote(record)]
    cpus = case.node_cpus(node)
    assert cpus is not None  # noqa: S101  the caller looked
    pod = pod_cpus(records[0])
    return {
        "node": node,
        "pool": pool,
        **({} if pod is None else {"pool_cpus": str(pod)}),
        "probes": len(records),
        "outside_node": len(away),
        **{f"outside_{key.removeprefix('cost_')}": value for key, value in case.cost(away).items()},
        **case.cost(records),
        "isolated_cpus": str(cpus & case.isolated),
        "usable_cpus": str(case.usable_cpus(node)),
        "ran_on_cpus": sorted({record.cpu for record in records if record.cpu is not None})[:SHOWN],
    }


def _advice(case: Case, node: int, records: Sequence[ProbeRecord]) -> str:
    away = sum(bool(case.is_remote(record)) for record in records)
    pod = pod_cpus(records[0])
    whole = pod is None or case.spans_nodes(pod)
    pool = "the machine-wide pool" if whole else f"the pool of CPUs {pod}"
    luck = f"{away} of {len(records)}" if away else "none"
    return (
        f"The first CPU of node {node} is isolated, so its pod has no CPU for {plural(len(records), 'probe')} and"
        f" {pool} serves them; nothing draws it to the node. That {luck} ran outside is this boot's luck. The usable"
        f" CPUs, {case.usable_cpus(node)}, would have room."
    )
