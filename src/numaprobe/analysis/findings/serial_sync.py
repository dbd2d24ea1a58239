"""Several slow devices of one synchronous driver, probed one after the other.

Asynchronous probing would run them beside each other. What that brings is not in the records: probes share locks and
CPUs, and where a kernel sends all of them to one CPU it brings next to nothing. So it is proposed here, and advised
only where the run, repeated with it, was shorter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.analysis.findings.case import SHOWN, group_by, names, plural
from numaprobe.analysis.findings.remedies import async_probe
from numaprobe.analysis.findings.waiting import Visit, visits
from numaprobe.records import Aim, Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.analysis.findings.case import Case

KIND: Final = "serial-sync"
SUMMARY: Final = "slow devices of a synchronous driver were probed one after the other"

#: Saving less than this is not worth a boot parameter. Arbitrary: a tenth of what users report as worth it (700 ms).
MIN_SAVING_NS: Final = 70_000_000
#: Who waits for longer than this looks for the reason. Arbitrary.
LONG_NS: Final = 1_000_000_000
#: Said of writes to ``bind``: no setting makes them asynchronous.
_BIND_ADVICE: Final = (
    "A write to bind is always synchronous. Writes from several shells run beside each other; a stock kernel still"
    " probes the PCI devices of a node on one CPU."
)


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
    held = sum(visit.held_ns for visit in group)
    slowest = max((record for visit in group for record in visit.records), key=lambda record: record.cost_ns)
    return Finding(
        kind=KIND,
        devices=devices,
        evidence={
            "driver": driver,
            "callers": sorted({visit.caller for visit in group if visit.caller})[:SHOWN],
            "probes": sum(len(visit.records) for visit in group),
            "held_ns": held,
            "slowest": slowest.device,
            "slowest_ns": slowest.cost_ns,
        },
        advice=_BIND_ADVICE if bind else f"{plural(len(devices), 'device')} waited for each other.",
        severity=Severity.HIGH if held >= LONG_NS else Severity.MEDIUM,
        remedies=() if bind else async_probe(Aim.TIME, [driver]),
    )
