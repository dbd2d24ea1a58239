"""How long synchronous probes make their caller wait: what ``serial-sync``, ``slow-sync``, ``udev-timeout`` share.

A synchronous probe holds whoever registered the driver, added the device or wrote to ``bind``. A *visit* is what one
caller did for one driver: its sync probes, as long as no more than ``PAUSE_NS`` passes between two. Records name a
caller by its task's name alone; where probes of one name overlap, it was several tasks, and each gets a visit of its
own.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.analysis.findings.case import Timed, group_by
from numaprobe.analysis.sweep import clusters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numaprobe.analysis.findings.case import Case
    from numaprobe.records import ProbeRecord

#: A caller that pauses longer is at another command. Arbitrary, as ``BURST_GAP_NS`` of ``same-cpu``.
PAUSE_NS: Final = 100_000_000
#: ``ProbeRecord.path`` of a write to a driver's ``bind`` file: always synchronous, whatever the driver asks for.
_BIND: Final = "device_driver_attach"


@dataclass(frozen=True, slots=True)
class Visit:
    """The sync probes that one caller did for one driver, one after the other."""

    driver: str
    #: name of the task that waited; None if unknown
    caller: str | None
    #: by start; without times in the order of the trace
    records: tuple[ProbeRecord, ...]

    @property
    def held_ns(self) -> int:
        """Time during which the caller was held."""
        return sum(record.cost_ns for record in self.records)

    @property
    def worst_ns(self) -> int:
        """Cost of the slowest probe: what would be left if all ran at once."""
        return max(record.cost_ns for record in self.records)

    @property
    def is_bind(self) -> bool:
        """Whether somebody wrote to ``bind``: no driver was registered."""
        return all((record.path or "").startswith(_BIND) for record in self.records)


def visits(case: Case) -> Iterator[Visit]:
    """Yield the visits of a trace, by driver and caller."""
    waited = [r for r in case.measured if r.asynchronous is False and not r.nested]
    for (driver, caller), group in group_by(waited, lambda r: (r.driver, r.caller_comm)).items():
        timed = [Timed(r.start_ns, r.end_ns, r) for r in group if r.start_ns is not None and r.end_ns is not None]
        for task in _tasks(timed):
            for cluster in clusters(task, lambda t: (t.start_ns, t.end_ns), PAUSE_NS):
                yield Visit(driver, caller, tuple(t.record for t in cluster))
        untimed = tuple(r for r in group if r.start_ns is None or r.end_ns is None)
        if untimed:
            yield Visit(driver, caller, untimed)


def _tasks(timed: Iterable[Timed]) -> list[list[Timed]]:
    """Deal the probes out to as few tasks as could have done them: each to the one that was free last."""
    tasks: list[list[Timed]] = []
    busy: list[tuple[int, int]] = []
    free: list[int] = []
    for one in sorted(timed, key=lambda t: t.start_ns):
        while busy and busy[0][0] <= one.start_ns:
            free.append(heapq.heappop(busy)[1])
        if not free:
            free.append(len(tasks))
            tasks.append([])
        index = free.pop()
        tasks[index].append(one)
        heapq.heappush(busy, (one.end_ns, index))
    return tasks
