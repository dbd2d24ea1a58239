"""A slow synchronous probe that holds up the registration of its driver, and whatever its caller does next.

Here the parallel probing of several devices would not help (that is ``serial-sync``): one slow device is enough.
Probing it asynchronously lets the caller go on; the end of a module's load waits for it all the same, a built-in
driver's does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.analysis.findings.case import names
from numaprobe.analysis.findings.serial_sync import CAUTION, MIN_SAVING_NS, saving_ns
from numaprobe.analysis.findings.waiting import Visit, visits
from numaprobe.records import Finding
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.analysis.findings.case import Case

KIND: Final = "slow-sync"
SUMMARY: Final = "a slow synchronous probe held up its caller"

#: A single probe is slow from here on. Arbitrary: what a person notices, and a few times a usual NVMe probe.
SLOW_NS: Final = 100_000_000


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each visit that is held by single slow probes."""
    for visit in visits(case):
        if visit.worst_ns >= SLOW_NS and saving_ns(visit) < MIN_SAVING_NS:
            yield _finding(visit)


def _finding(visit: Visit) -> Finding:
    slow = [record for record in visit.records if record.cost_ns >= SLOW_NS]
    return Finding(
        kind=KIND,
        devices=names(slow),
        evidence={
            "driver": visit.driver,
            "caller": visit.caller,
            "held_ns": visit.held_ns,
            "slowest_ns": visit.worst_ns,
        },
        advice=(
            f"{visit.caller or 'The caller'} waited {format_time(visit.held_ns)} for {visit.driver}. With"
            f" driver_async_probe={visit.driver} a built-in driver's registration goes on at once; a module's load also"
            f" needs {visit.driver}.async_probe, else it waits at its end ({CAUTION})."
        ),
    )
