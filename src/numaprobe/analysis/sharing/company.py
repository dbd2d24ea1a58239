"""Which probes were under way beside which: the probes of a trace, alone and in company.

A probe that met no other is *alone*: what it computed and slept is its own. One that met others is in *company*, and
its sleep may hold waits for them. Both may stand in one trace. Probes inside of others are part of these and left out;
so are probes without times, without divided costs, and those that were sent away with EPROBE_DEFER.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.records import ProbeRecord

#: A probe that had others beside it for less than this share of its time was alone (our choice).
ALONE: Final = 0.05
#: Probes under way at once beside one that are looked at; with more, what one of them does is lost among them.
MAX_BESIDE: Final = 512


@dataclass(slots=True, eq=False)
class Met:
    """A probe and which others were under way meanwhile."""

    record: ProbeRecord
    start_ns: int
    end_ns: int
    running_ns: int
    sleeping_ns: int
    runnable_ns: int
    #: how many others were under way beside it, on average over its time
    beside: float = 0.0
    #: the others (``meetings``), and for which share of this probe's time each was under way
    others: list[tuple[Met, float]] = field(default_factory=list)

    @property
    def driver(self) -> str:
        """Its driver."""
        return self.record.driver

    @property
    def device(self) -> tuple[str, str]:
        """Driver and device."""
        return self.record.driver, self.record.device

    @property
    def waited_ns(self) -> int:
        """How much of its sleep is seen to have been waits for others."""
        return min(self.sleeping_ns, sum(wait.wait_ns for wait in self.record.waits or ()))

    @property
    def alone(self) -> bool:
        """Whether it met no other, or hardly."""
        return self.beside < ALONE


def divided(records: Iterable[ProbeRecord]) -> list[Met]:
    """Return the probes that tell times and parts, by start, with how much company each had, but not whose."""
    found = []
    for record in records:
        parts = record.running_ns, record.sleeping_ns, record.start_ns, record.end_ns
        if record.nested or record.deferred or None in parts:
            continue
        running, sleeping, start, end = (part or 0 for part in parts)
        waited = max(0, record.cost_ns - running - sleeping) if record.runnable_ns is None else record.runnable_ns
        found.append(Met(record, start, end, running, sleeping, waited))
    found.sort(key=lambda met: (met.start_ns, met.end_ns))
    _count_beside(found)
    return found


def _count_beside(probes: Sequence[Met]) -> None:
    """Tell each probe how many others there were beside it: the time of all, within its own, less its own."""
    changes = sorted([(met.start_ns, 1) for met in probes] + [(met.end_ns, -1) for met in probes])
    #: moment -> time of all probes together until then
    spent: dict[int, int] = {}
    total = under_way = last = 0
    for moment, change in changes:
        total += under_way * (moment - last)
        spent[moment], last = total, moment
        under_way += change
    for met in probes:
        if length := met.end_ns - met.start_ns:
            met.beside = (spent[met.end_ns] - spent[met.start_ns]) / length - 1


def meetings(records: Iterable[ProbeRecord]) -> list[Met]:
    """Return the probes of one trace that tell times and parts, with those that were under way beside each."""
    probes = divided(records)
    under_way: list[Met] = []
    for met in probes:
        under_way = [other for other in under_way if other.end_ns > met.start_ns][-MAX_BESIDE:]
        for other in under_way:
            both = min(other.end_ns, met.end_ns) - met.start_ns
            if both > 0:
                met.others.append((other, both / (met.end_ns - met.start_ns)))
                other.others.append((met, both / (other.end_ns - other.start_ns)))
        under_way.append(met)
    return probes
