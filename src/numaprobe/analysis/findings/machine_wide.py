"""A node's probes served by a pool that may run anywhere, because the pool's own CPUs are isolated.

An unbound workqueue serves a pod with the pod's CPUs minus the isolated ones. If that leaves none, the kernel quietly
uses the queue's default pool, with every housekeeping CPU of the machine (``wq_calc_pod_cpumask``,
kernel/workqueue.c). ``queue_work_node`` picks the pod of the node's *first* CPU, so that isolating the first CPUs of
a node takes the whole node's work away from it, though it has free CPUs left.

The default pool is the first unbound one: its id is two per possible CPU, or four where the BH pools come first
(since 6.9). Ids below four per CPU are seen only in the first numbering.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.findings.case import SHOWN, group_by, has_node, names, plural, unbound_pool
from numaprobe.records import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.analysis.findings.case import Case
    from numaprobe.records import ProbeRecord

KIND: Final = "machine-wide"
SUMMARY: Final = "isolation sent a node's probes to a pool of the whole machine"

#: Worker pools of a possible CPU: normal and high priority, and since 6.9 the two BH pools before them.
_POOLS_PER_CPU: Final = 2
_POOLS_PER_CPU_BH: Final = 4


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each node whose unbound work ran in the default pool while the node had usable CPUs."""
    if case.topology is None or not case.isolated:
        return
    default = _default_pool(case)
    wide = (r for r in case.probes if has_node(r) and unbound_pool(r.comm) == default and _first_isolated(case, r))
    for node, records in group_by(wide, lambda r: r.device_node).items():
        if node is not None and case.usable_cpus(node) and any(case.is_remote(record) for record in records):
            evidence = _evidence(case, node, default, records)
            yield Finding(kind=KIND, devices=names(records), evidence=evidence, advice=_advice(case, node, records))


def _default_pool(case: Case) -> int:
    assert case.topology is not None  # noqa: S101  the caller looked
    possible = len(case.topology.possible)
    comms = {comm for record in case.probes for comm in (record.comm, record.caller_comm)}
    seen = [pool for comm in comms if (pool := unbound_pool(comm)) is not None]
    old = bool(seen) and min(seen) < _POOLS_PER_CPU_BH * possible
    return possible * (_POOLS_PER_CPU if old else _POOLS_PER_CPU_BH)


def _first_isolated(case: Case, record: ProbeRecord) -> bool:
    cpus = case.node_cpus(record.device_node or 0)
    return cpus is not None and cpus.first in case.isolated


def _evidence(case: Case, node: int, pool: int, records: Sequence[ProbeRecord]) -> dict[str, Any]:
    away = [record for record in records if case.is_remote(record)]
    cpus = case.node_cpus(node)
    assert cpus is not None  # noqa: S101  the caller looked
    return {
        "node": node,
        "pool": pool,
        "probes": len(records),
        "outside_node": len(away),
        "outside_ns": sum(record.cost_ns for record in away),
        "cost_ns": sum(record.cost_ns for record in records),
        "isolated_cpus": str(cpus & case.isolated),
        "usable_cpus": str(case.usable_cpus(node)),
        "ran_on_cpus": sorted({record.cpu for record in records if record.cpu is not None})[:SHOWN],
    }


def _advice(case: Case, node: int, records: Sequence[ProbeRecord]) -> str:
    return (
        f"The first CPU of node {node} is isolated, so its pod has no CPU for {plural(len(records), 'probe')} and the"
        " machine-wide pool serves them. Boot with workqueue.default_affinity_scope=numa, or isolate other CPUs than"
        f" {(case.node_cpus(node) or case.isolated) & case.isolated}; the usable ones, {case.usable_cpus(node)}, then"
        " do the work."
    )
