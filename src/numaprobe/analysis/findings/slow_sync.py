"""A slow synchronous probe that holds up the registration of its driver, and whatever its caller does next.

Here the parallel probing of several devices would not help (that is ``serial-sync``): one slow device is enough.
Probing it asynchronously lets the caller go on; the end of a module's load waits for it all the same, a built-in
driver's does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.analysis.findings.case import group_by, names
from numaprobe.analysis.findings.remedies import async_probe
from numaprobe.analysis.findings.serial_sync import LONG_NS, MIN_SAVING_NS, saving_ns
from numaprobe.analysis.findings.waiting import visits
from numaprobe.records import Aim, Finding, Severity
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.analysis.findings.case import Case
    from numaprobe.analysis.findings.waiting import Visit

KIND: Final = "slow-sync"
SUMMARY: Final = "a slow synchronous probe held up its caller"

#: A single probe is slow from here on. Arbitrary: what a person notices, and a few times a usual NVMe probe.
SLOW_NS: Final = 100_000_000


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each driver whose registration was held up by single slow probes."""
    slow = (v for v in visits(case) if v.worst_ns >= SLOW_NS and saving_ns(v) < MIN_SAVING_NS and not v.is_bind)
    for driver, group in group_by(slow, lambda visit: visit.driver).items():
        yield _finding(driver, group)


def _finding(driver: str, group: Sequence[Visit]) -> Finding:
    longest = max(group, key=lambda visit: visit.held_ns)
    slow = (record for visit in group for record in visit.records if record.cost_ns >= SLOW_NS)
    return Finding(
        kind=KIND,
        devices=names(slow),
        evidence={
            "driver": driver,
            "caller": longest.caller,
            "held_ns": longest.held_ns,
            "slowest_ns": max(visit.worst_ns for visit in group),
            "times": len(group),
        },
        advice=(
            f"{longest.caller or 'The caller'} waited {format_time(longest.held_ns)} for {driver}. Probed"
            " asynchronously, a built-in driver holds nobody up; the load of a module still waits for its probes at the"
            " end."
        ),
        severity=Severity.HIGH if longest.held_ns >= LONG_NS else Severity.MEDIUM,
        remedies=async_probe(Aim.TIME, [driver]),
    )
