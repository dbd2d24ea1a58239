"""Several slow devices of one synchronous driver, probed one after the other.

Asynchronous probing would run them beside each other: at best the time of the slowest is left. That is what the
evidence says, and it is a bound, not a promise: probes may share a lock or a CPU (``numaprobe compare`` with the
policies says more).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.analysis.findings.case import SHOWN, group_by, names, plural
from numaprobe.analysis.findings.waiting import Visit, visits
from numaprobe.records import Finding
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.analysis.findings.case import Case

KIND: Final = "serial-sync"
SUMMARY: Final = "slow devices of a synchronous driver were probed one after the other"

#: Saving less than this is not worth a boot parameter. Arbitrary: a tenth of what users report as worth it (700 ms).
MIN_SAVING_NS: Final = 70_000_000
#: The caution that belongs to every advice to switch a driver over.
CAUTION: Final = "some drivers panic when probed asynchronously: try it once by hand, and keep a boot entry without it"


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each driver with visits that parallel probing could shorten by ``MIN_SAVING_NS``."""
    worth = (visit for visit in visits(case) if saving_ns(visit) >= MIN_SAVING_NS)
    for (driver, bind), group in group_by(worth, lambda visit: (visit.driver, visit.is_bind)).items():
        yield _finding(driver, group, bind=bind)


def saving_ns(visit: Visit) -> int:
    """Return the most that parallel probing could save: the time held, less the slowest probe."""
    return visit.held_ns - visit.worst_ns if len(names(visit.records)) > 1 else 0


def _finding(driver: str, group: Sequence[Visit], *, bind: bool) -> Finding:
    devices = names(record for visit in group for record in visit.records)
    saving = sum(saving_ns(visit) for visit in group)
    return Finding(
        kind=KIND,
        devices=devices,
        evidence={
            "driver": driver,
            "callers": sorted({visit.caller for visit in group if visit.caller})[:SHOWN],
            "probes": sum(len(visit.records) for visit in group),
            "held_ns": sum(visit.held_ns for visit in group),
            "slowest_ns": max(visit.worst_ns for visit in group),
            "saving_at_best_ns": saving,
        },
        advice=_bind_advice(len(devices), saving) if bind else _advice(driver, len(devices), saving),
    )


def _advice(driver: str, count: int, saving: int) -> str:
    return (
        f"driver_async_probe={driver} on the command line lets {plural(count, 'device')} probe beside each other and"
        f" saves {format_time(saving)} at best ({CAUTION})."
    )


def _bind_advice(count: int, saving: int) -> str:
    return (
        f"Bind the {plural(count, 'device')} at the same time, each from a shell of its own, and save"
        f" {format_time(saving)} at best; a stock kernel still probes PCI devices of one node on one CPU."
    )
