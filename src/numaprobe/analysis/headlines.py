"""A finding in half a sentence: what stands first when somebody looks at a table.

``headline`` is about the probes (``three drives waited for each other on CPU 0``), ``fault_of`` about what a policy or
setting does to them (``queue three drives on CPU 0``). A kind that has no words of its own here goes by its summary in
the catalogue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from numaprobe.analysis.findings import CATALOGUE
from numaprobe.analysis.words import plural
from numaprobe.cpuset import CpuSet
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numaprobe.records import Finding

    #: half a sentence about a finding
    Words = Callable[["_Told"], str]

#: A longer list of CPUs is told by their number: a sentence is read at one glance.
LONGEST_LIST: Final = 24
#: What devices of well-known drivers are called.
_NOUNS: Final = {"nvme": "drive", "ahci": "disk controller", "virtio_blk": "disk", "ixgbe": "network card"}


class _Told(NamedTuple):
    """What sentences are made of."""

    #: how many, with their noun: ``three drives``
    devices: str
    #: the verb that goes with them
    were: str
    #: the finding's evidence
    of: Mapping[str, Any]


def headline(finding: Finding) -> str:
    """Return what happened to the probes."""
    words = _HEADLINES.get(finding.kind)
    if words:
        return words(_told(finding))
    summary = next((rule.SUMMARY for rule in CATALOGUE if finding.kind == rule.KIND), "")
    return f"{finding.kind}: {summary}" if summary else finding.kind


def fault_of(finding: Finding, *, several: bool) -> str:
    """Return what whoever has this finding does, as a verb for one or several; empty if there are no words for it."""
    words = _FAULTS.get(finding.kind)
    if words is None:
        return ""
    verb, _, what = words(_told(finding)).partition(" ")
    return f"{verb if several else f'{verb}s'} {what}"


def _told(finding: Finding) -> _Told:
    evidence, count = finding.evidence, len(finding.devices)
    drivers = [evidence["driver"]] if evidence.get("driver") else evidence.get("drivers") or ["?"]
    nouns = {_NOUNS.get(driver, "device") for driver in drivers}
    return _Told(plural(count, nouns.pop() if len(nouns) == 1 else "device"), "was" if count == 1 else "were", evidence)


def _place(told: _Told) -> str:
    if "cpu" in told.of:
        return f"CPU {told.of['cpu']}"
    shared = CpuSet.parse_list(told.of.get("shared_cpus", ""))
    return f"CPUs {shared}" if len(str(shared)) <= LONGEST_LIST else f"{len(shared)} CPUs that others used too"


def _same_cpu(told: _Told) -> str:
    lost = told.of.get("runnable_ns") or told.of.get("queued_ns")
    cost = f": {format_time(lost)} of {format_time(told.of['cost_ns'])} were waiting" if lost else ""
    return f"{told.devices} {told.were} queued on {_place(told)}{cost}"


def _remote(told: _Told) -> str:
    nodes = ", ".join(told.of.get("ran_on_nodes", {}))
    return f"{told.devices} of node {told.of.get('node')} {told.were} probed on node {nodes}"


def _serial_sync(told: _Told) -> str:
    return f"{told.devices} of {told.of.get('driver')} took {format_time(told.of['held_ns'])}, one after the other"


def _slow_sync(told: _Told) -> str:
    return f"{told.of.get('caller') or 'a caller'} waited {format_time(told.of['held_ns'])} for {told.of.get('driver')}"


def _slow_probe(told: _Told) -> str:
    return f"{told.of['slowest']} took {format_time(told.of['slowest_ns'])} by itself"


def _machine_wide(told: _Told) -> str:
    return f"isolation leaves {told.devices} of node {told.of.get('node')} without a pool of their node"


def _left_node(told: _Told) -> str:
    away = told.of.get("remote_ns")
    span = f", for {format_time(away)}" if away else ""
    return f"{told.devices} of node {told.of.get('node')} left it in the middle{span}"


def _first_llc(told: _Told) -> str:
    return f"{told.devices} shared the first {told.of.get('group')} of node {told.of.get('node')}"


def _unknown_node(told: _Told) -> str:
    return f"the firmware gave {told.devices} no node"


def _deferral(told: _Told) -> str:
    if told.of.get("root") is None:
        return f"{told.devices} never got past EPROBE_DEFER"
    return f"devices waited up to {format_time(told.of['longest_delay_ns'])} for {told.of['root']}"


def _udev(told: _Told) -> str:
    return f"{told.of.get('driver')} came near udev's limit of 180 s: {format_time(told.of['held_ns'])}"


_HEADLINES: Final[Mapping[str, Words]] = {
    "same-cpu": _same_cpu,
    "remote": _remote,
    "left-node": _left_node,
    "machine-wide": _machine_wide,
    "unknown-node": _unknown_node,
    "first-llc": _first_llc,
    "serial-sync": _serial_sync,
    "slow-sync": _slow_sync,
    "slow-probe": _slow_probe,
    "deferral-chain": _deferral,
    "udev-timeout": _udev,
}
_FAULTS: Final[Mapping[str, Words]] = {
    "same-cpu": lambda told: f"queue {told.devices} on {_place(told)}",
    "first-llc": lambda told: f"keep {told.devices} in the first {told.of.get('group')}",
    "remote": lambda told: f"probe {told.devices} off their node",
    "left-node": lambda told: f"let {told.devices} leave their node",
    "serial-sync": lambda told: f"probe {told.devices} one after the other",
}
