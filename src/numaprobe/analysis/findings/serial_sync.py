"""Several slow devices of one synchronous driver, probed one after the other.

Asynchronous probing would run them beside each other: at best the time of the slowest is left. That is what the
evidence says, and it is a bound, not a promise: probes may share a lock or a CPU (``numaprobe compare`` with the
policies says more).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.analysis.findings.case import names, plural
from numaprobe.analysis.findings.waiting import Visit, visits
from numaprobe.records import Finding
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.analysis.findings.case import Case

KIND: Final = "serial-sync"
SUMMARY: Final = "slow devices of a synchronous driver were probed one after the other"

#: Saving less than this is not worth a boot parameter. Arbitrary: a tenth of what users report as worth it (700 ms).
MIN_SAVING_NS: Final = 70_000_000
#: The caution that belongs to every advice to switch a driver over.
CAUTION: Final = "some drivers panic when probed asynchronously: try it once by hand, and keep a boot entry without it"


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each visit that asynchronous probing could shorten by ``MIN_SAVING_NS``."""
    for visit in visits(case):
        if saving_ns(visit) >= MIN_SAVING_NS:
            yield _finding(visit)


def saving_ns(visit: Visit) -> int:
    """Return the most that asynchronous probing could save: the time held, less the slowest probe."""
    return visit.held_ns - visit.worst_ns if len(names(visit.records)) > 1 else 0


def _finding(visit: Visit) -> Finding:
    devices = names(visit.records)
    saving = saving_ns(visit)
    return Finding(
        kind=KIND,
        devices=devices,
        evidence={
            "driver": visit.driver,
            "caller": visit.caller,
            "probes": len(visit.records),
            "held_ns": visit.held_ns,
            "slowest_ns": visit.worst_ns,
            "saving_at_best_ns": saving,
        },
        advice=(
            f"driver_async_probe={visit.driver} on the command line lets {plural(len(devices), 'device')} probe beside"
            f" each other and saves {format_time(saving)} at best ({CAUTION})."
        ),
    )
