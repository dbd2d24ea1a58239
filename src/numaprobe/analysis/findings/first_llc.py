"""All of a node's probes in the first group of CPUs that share a cache, while the node has more of them.

``queue_work_node`` names the node by its first CPU, and the unbound pool of that CPU serves one LLC (scope ``cache``)
or one shard of it (scope ``cache_shard``, since 7.1). Every device of the node is probed there; the rest of the node
idles. It costs nothing while the group has a free CPU for each probe, and the evidence says how near that is: the
most probes in flight at once, beside the CPUs of the group.

The groups are the pods of the trace's kernel, with the scope and the shard size that its machine shows. Where the trace
does not tell the kernel they are LLCs. With a scope as wide as the node there is one group, and nothing to find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.findings.case import SHOWN, graded, group_by, has_node, names, plural
from numaprobe.analysis.findings.remedies import node_scope, policies
from numaprobe.analysis.hold import unbound_pool
from numaprobe.analysis.machine import has_node_scope
from numaprobe.analysis.sweep import coverage
from numaprobe.cpuset import CpuSet
from numaprobe.records import Aim, Finding, Severity
from numaprobe.runtime.profile import AffinityScope
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.analysis.findings.case import Case
    from numaprobe.records import ProbeRecord, Remedy
    from numaprobe.topology import Topology

KIND: Final = "first-llc"
SUMMARY: Final = "all of a node's probes ran in its first LLC or shard"

#: Policies whose queue serves the whole node: that an idle node's first LLC is enough is then the scheduler's choice.
NODE_WIDE: Final = frozenset({"strict-node", "spread"})
#: One or two CPUs can share an LLC by chance; from this many on it is a rule. Arbitrary.
MIN_PROBES: Final = 3


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each node whose unbound work stayed in the first of several groups."""
    if case.topology is None or case.trace.policy in NODE_WIDE or has_node_scope(case.topology):
        return
    possible = case.topology.possible
    spread = (r for r in case.probes if r.cpu in possible and has_node(r) and not r.nested)
    unbound = (r for r in spread if unbound_pool(r.comm) is not None)
    for node, records in group_by(unbound, lambda r: r.device_node).items():
        if node is not None and len(records) >= MIN_PROBES:
            yield from _node(case, case.topology, node, records)


def _node(case: Case, machine: Topology, node: int, records: Sequence[ProbeRecord]) -> Iterator[Finding]:
    usable = case.usable_cpus(node) or CpuSet()
    kind, groups = _groups(case, machine, usable)
    used = CpuSet.of(record.cpu for record in records if record.cpu is not None)
    if len(groups) < 2 or not used.issubset(groups[0]):  # noqa: PLR2004  one group leaves no choice
        return
    evidence = _evidence(case, node, kind, groups, records) | {"used_cpus": str(used)}
    if evidence.get("most_in_flight") == 1:
        return
    severity = _severity(groups[0], evidence)
    yield Finding(
        kind=KIND,
        devices=names(records),
        evidence=evidence,
        advice=_advice(node, kind, groups, evidence),
        severity=severity,
        remedies=() if severity is Severity.LOW else _remedies(case),
    )


def _groups(case: Case, machine: Topology, usable: CpuSet) -> tuple[str, list[CpuSet]]:
    """Return what groups of CPUs are called, and the node's groups that have a usable CPU."""
    kernel = case.kernel
    if kernel is None or kernel.default_scope is AffinityScope.CACHE:
        return "LLC", [llc & usable for llc in machine.llcs if llc & usable]
    groups = [group & usable for group in map(CpuSet, kernel.pods(machine)) if group & usable]
    if groups == [llc & usable for llc in machine.llcs if llc & usable]:
        return "LLC", groups
    return "shard" if kernel.default_scope is AffinityScope.CACHE_SHARD else "pod", groups


def _evidence(
    case: Case, node: int, kind: str, groups: Sequence[CpuSet], records: Sequence[ProbeRecord]
) -> dict[str, Any]:
    spans = [(r.start_ns, r.end_ns) for r in records if r.start_ns is not None and r.end_ns is not None]
    evidence: dict[str, Any] = {
        "node": node,
        "group": kind,
        "group_cpus": str(groups[0]),
        "idle_groups": len(groups) - 1,
        "drivers": sorted({record.driver for record in records})[:SHOWN],
        "probes": len(records),
        **case.cost(records),
    }
    if spans:
        evidence["most_in_flight"] = coverage(spans).peak
    known = [record.runnable_ns for record in records if record.runnable_ns is not None]
    if known and "cost_ns" in evidence:
        evidence["runnable_ns"] = sum(known)
    return evidence


def _severity(first: CpuSet, evidence: dict[str, Any]) -> Severity:
    """By the waiting for the group's CPUs; without it, by whether more were in flight than it has."""
    runnable = evidence.get("runnable_ns")
    if runnable is not None:
        return graded(runnable, evidence["cost_ns"])
    return Severity.MEDIUM if evidence.get("most_in_flight", 0) > len(first) else Severity.LOW


def _remedies(case: Case) -> tuple[Remedy, ...]:
    return (*node_scope(case, Aim.TIME), *policies(Aim.TIME, "strict-node", "spread"))


def _advice(node: int, kind: str, groups: Sequence[CpuSet], evidence: dict[str, Any]) -> str:
    others = f"the other {kind}" if len(groups) == 2 else f"the other {len(groups) - 1} {kind}s"  # noqa: PLR2004
    return f"{_price(groups[0], evidence)} The work leaves {others} of node {node} alone (first: CPUs {groups[0]})."


def _price(first: CpuSet, evidence: dict[str, Any]) -> str:
    """Say what it cost, as far as the source tells."""
    room = plural(len(first), "CPU")
    runnable, peak = evidence.get("runnable_ns"), evidence.get("most_in_flight")
    if runnable is not None and graded(runnable, evidence["cost_ns"]) is not Severity.LOW:
        return f"The probes waited {format_time(runnable)} for its {room}."
    if runnable is not None:
        return f"It costs nothing yet: no probe waited long for its {room}."
    if peak is None or peak <= len(first):
        return f"It costs nothing yet: at most {plural(peak or 1, 'probe')} at once on its {room}."
    return f"More probes at once than its {room} wait for each other."
