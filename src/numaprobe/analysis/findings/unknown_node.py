"""Devices whose node the firmware did not give (-1), on a machine that has several.

The kernel then probes where the caller happens to be, and allocates there. What that costs is shown by the node mix of
these probes, and, where the same driver also has devices with a node that were probed on it, by the difference of the
two mean costs.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.findings.case import SHOWN, group_by, names, plural
from numaprobe.analysis.summary import memory_by_node
from numaprobe.records import NO_NODE, Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.analysis.findings.case import Case
    from numaprobe.records import ProbeRecord

KIND: Final = "unknown-node"
SUMMARY: Final = "the firmware gave the device no node"


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each bus with devices of node -1, unless the machine has a single node."""
    if case.topology is not None and sum(bool(node.cpus) for node in case.topology.nodes) < 2:  # noqa: PLR2004
        return
    lost = (record for record in case.probes if record.device_node == NO_NODE and not _assumed(case, record))
    for bus, records in group_by(lost, lambda r: r.bus).items():
        evidence = _evidence(case, bus, records)
        severity = Severity.MEDIUM if evidence.get("extra_mean_ns", 0) > 0 else Severity.LOW
        yield Finding(
            kind=KIND, devices=names(records), evidence=evidence, advice=_advice(bus, records), severity=severity
        )


def _assumed(case: Case, record: ProbeRecord) -> bool:
    """Tell whether a replay put -1 for a node that its source did not tell: that says nothing of the firmware."""
    if not any(warning.kind == KIND for warning in case.trace.warnings):
        return False
    return case.topology is None or all(device.name != record.device for device in case.topology.devices)


def _evidence(case: Case, bus: str | None, records: Sequence[ProbeRecord]) -> dict[str, Any]:
    ran_on = Counter(str(case.cpu_node(record)) for record in records if case.cpu_node(record) is not None)
    evidence: dict[str, Any] = {
        "bus": bus,
        "probes": len(records),
        "drivers": sorted({record.driver for record in records})[:SHOWN],
        **case.cost(records),
    }
    if ran_on:
        evidence["ran_on_nodes"] = dict(sorted(ran_on.items()))
    memory = memory_by_node(records)
    if memory is not None:
        evidence["memory_bytes"] = {str(node): size for node, size in memory.items()}
    extra = _extra(case, records)
    if extra is not None:
        evidence["extra_mean_ns"] = extra
    return evidence


def _extra(case: Case, records: Sequence[ProbeRecord]) -> int | None:
    """Mean cost of these minus that of the same drivers' local probes, driver by driver; None without such probes."""
    lost = group_by((r for r in records if r.device not in case.assumed and not r.deferred), lambda r: r.driver)
    local = (r for r in case.probes if r.driver in lost and not r.deferred and case.is_remote(r) is False)
    placed = group_by(local, lambda r: r.driver)
    if not placed:
        return None
    extra = sum(sum(r.cost_ns for r in lost[driver]) - len(lost[driver]) * _mean(placed[driver]) for driver in placed)
    return round(extra / sum(len(lost[driver]) for driver in placed))


def _mean(records: Sequence[ProbeRecord]) -> float:
    return sum(record.cost_ns for record in records) / len(records)


def _advice(bus: str | None, records: Sequence[ProbeRecord]) -> str:
    device = records[0].device
    place = f"/sys/bus/{bus}/devices/{device}/numa_node" if bus else f"the numa_node file of {device} in sysfs"
    return (
        f"No policy can place {plural(len(records), 'probe')} whose node is unknown. Look at {place}; ask for firmware"
        " that describes the node (ACPI _PXM), or probe from a task on the right node (numactl --cpunodebind=N)."
        " Writing numa_node sets it too, and taints the kernel."
    )
