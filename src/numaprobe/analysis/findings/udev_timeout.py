"""A probe, or a row of them in one caller, near the time after which udev kills the worker that waits.

udev gives an event 180 s (``event_timeout=``); a worker that loads a module is inside its probes all that time. When
it is killed the device that it was at is lost (1,255 disks behind one adapter did that).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.analysis.findings.case import names
from numaprobe.analysis.findings.remedies import async_probe
from numaprobe.analysis.findings.waiting import visits
from numaprobe.records import Aim, Finding, Severity
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.analysis.findings.case import Case
    from numaprobe.records import ProbeRecord

KIND: Final = "udev-timeout"
SUMMARY: Final = "a probe came near udev's limit of 180 s"

#: udev's default ``event_timeout=``.
UDEV_TIMEOUT_NS: Final = 180 * 10**9
#: Half of it is near: a slower disk, a retry or a second adapter doubles a probe.
NEAR_NS: Final = UDEV_TIMEOUT_NS // 2


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each caller held for long by one driver, and for each other probe that is long by itself."""
    told: set[int] = set()
    for visit in visits(case):
        if visit.held_ns >= NEAR_NS:
            told.update(id(record) for record in visit.records)
            yield _finding(visit.driver, visit.caller, visit.held_ns, visit.records)
    for record in case.measured:
        if record.cost_ns >= NEAR_NS and id(record) not in told:
            yield _finding(record.driver, record.caller_comm, record.cost_ns, [record])


def _finding(driver: str, caller: str | None, held_ns: int, records: Sequence[ProbeRecord]) -> Finding:
    return Finding(
        kind=KIND,
        devices=names(records),
        evidence={
            "driver": driver,
            "caller": caller,
            "held_ns": held_ns,
            "limit_ns": UDEV_TIMEOUT_NS,
            "slowest_ns": max(record.cost_ns for record in records),
        },
        advice=(
            f"A worker of udev that waits {format_time(held_ns)} needs an event_timeout= (udev.conf) above that; a"
            " driver that is loaded before udev starts (modules-load.d, initramfs) has no such limit."
        ),
        severity=Severity.HIGH,
        remedies=async_probe(Aim.TIME, [driver]) if len(names(records)) > 1 else (),
    )
