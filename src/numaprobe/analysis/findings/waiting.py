"""How long synchronous probes make their caller wait: what ``serial-sync``, ``slow-sync``, ``udev-timeout`` share.

A synchronous probe holds whoever registered the driver, added the device or wrote to ``bind``. A *visit* is what one
caller did for one driver: its sync probes, as long as no more than ``PAUSE_NS`` passes between two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.analysis.findings.case import Timed, group_by
from numaprobe.analysis.sweep import clusters, coverage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.analysis.findings.case import Case
    from numaprobe.records import ProbeRecord

#: A caller that pauses longer is at another command. Arbitrary, as ``BURST_GAP_NS`` of ``same-cpu``.
PAUSE_NS: Final = 100_000_000


@dataclass(frozen=True, slots=True)
class Visit:
    """The sync probes that one caller did for one driver, one after the other."""

    driver: str
    #: name of the task that waited; None if unknown
    caller: str | None
    #: by start; without times in the order of the trace
    records: tuple[ProbeRecord, ...]
    #: time during which the caller was held
    held_ns: int

    @property
    def worst_ns(self) -> int:
        """Cost of the slowest probe: what would be left if all ran at once."""
        return max(record.cost_ns for record in self.records)


def visits(case: Case) -> Iterator[Visit]:
    """Yield the visits of a trace, by driver and caller."""
    waited = [r for r in case.probes if r.asynchronous is False and not r.nested]
    for (driver, caller), group in group_by(waited, lambda r: (r.driver, r.caller_comm)).items():
        timed = [Timed(r.start_ns, r.end_ns, r) for r in group if r.start_ns is not None and r.end_ns is not None]
        for cluster in clusters(timed, lambda t: (t.start_ns, t.end_ns), PAUSE_NS):
            held = coverage((t.start_ns, t.end_ns) for t in cluster).union_ns
            yield Visit(driver, caller, tuple(t.record for t in cluster), held)
        untimed = tuple(r for r in group if r.start_ns is None or r.end_ns is None)
        if untimed:
            yield Visit(driver, caller, untimed, sum(r.cost_ns for r in untimed))
