"""The critical chain of a run: the probe that ended last, what it had to wait for before it started, and so on.

A probe had to wait for another one if that is the last to end before it started of

* those that its caller did before it: a synchronous caller does one after the other;
* those that its worker, or its CPU's worker pool, did before it;
* those that bound a device while it was deferred: the last of them let it through.

What a probe waited for *inside* (a CPU, a lock, a device) is part of its own cost. A probe that ran inside another one
is part of that one. Records alone tell no more; where a source has no times there is no chain.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from numaprobe.analysis.findings.case import Timed
from numaprobe.analysis.hold import bound_worker_cpu

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.records import ProbeRecord, Trace

#: A worker or caller that pauses longer was not what the next probe waited for. Arbitrary, as ``PAUSE_NS`` of visits.
PAUSE_NS: Final = 100_000_000


class Because(StrEnum):
    """Why a probe did not start before another one was over."""

    CALLER = "the same caller probed it before"
    WORKER = "the same worker or pool had it before"
    SUPPLIER = "it was deferred until this one was bound"


class Link(NamedTuple):
    """A probe of the chain."""

    record: ProbeRecord
    start_ns: int
    end_ns: int
    #: why it waited for the next link; None: it waited for no other probe
    because: Because | None


class _Ends(NamedTuple):
    """Probes by their ends."""

    ends: list[int]
    probes: list[Timed]

    @classmethod
    def of(cls, probes: Iterable[Timed]) -> _Ends:
        ordered = sorted(probes, key=lambda timed: timed.end_ns)
        return cls([timed.end_ns for timed in ordered], ordered)

    def last_before(self, time_ns: int) -> Timed | None:
        """Return the last to end by this time."""
        index = bisect_right(self.ends, time_ns) - 1
        return self.probes[index] if index >= 0 else None


def critical_chain(trace: Trace) -> list[Link]:
    """Return the chain, from the probe that ended last back to the first one; empty without times."""
    timed = [
        Timed(r.start_ns, r.end_ns, r)
        for r in trace.probes
        if r.start_ns is not None and r.end_ns is not None and not r.nested
    ]
    if not timed:
        return []
    index = _Index(timed)
    links: list[Link] = []
    here: Timed | None = max(timed, key=lambda one: one.end_ns)
    while here is not None and len(links) <= len(timed):
        before, because = index.before(here)
        links.append(Link(here.record, here.start_ns, here.end_ns, because))
        here = before
    return links


class _Index:
    """What each probe may have waited for."""

    def __init__(self, timed: Sequence[Timed]) -> None:
        callers: dict[object, list[Timed]] = defaultdict(list)
        workers: dict[object, list[Timed]] = defaultdict(list)
        self._deferred: dict[str, int] = {}
        for one in timed:
            if (caller := _caller(one.record)) is not None:
                callers[caller].append(one)
            if (worker := _worker(one.record)) is not None:
                workers[worker].append(one)
            if one.record.deferred:
                self._deferred.setdefault(one.record.device, one.start_ns)
        self._callers = {key: _Ends.of(group) for key, group in callers.items()}
        self._workers = {key: _Ends.of(group) for key, group in workers.items()}
        self._bound = _Ends.of(one for one in timed if one.record.result == "0")

    def before(self, one: Timed) -> tuple[Timed | None, Because | None]:
        """Return what a probe waited for last, and why."""
        found: list[tuple[int, Timed, Because]] = []
        first = self._deferred.get(one.record.device)
        if first is not None and first < one.start_ns:
            supplier = self._bound.last_before(one.start_ns)
            if supplier is not None and supplier.end_ns > first:
                found.append((supplier.end_ns, supplier, Because.SUPPLIER))
        for groups, key, because in (
            (self._callers, _caller(one.record), Because.CALLER),
            (self._workers, _worker(one.record), Because.WORKER),
        ):
            last = groups[key].last_before(one.start_ns) if key in groups else None
            if last is not None and last.record is not one.record and one.start_ns - last.end_ns <= PAUSE_NS:
                found.append((last.end_ns, last, because))
        if not found:
            return None, None
        _, last, because = max(found, key=lambda item: item[0])
        return last, because


def _caller(record: ProbeRecord) -> object:
    """Return the task that waited for a synchronous probe; None if nothing waited, or it is not told."""
    return (record.caller_comm, record.caller_cpu) if record.asynchronous is False and record.caller_comm else None


def _worker(record: ProbeRecord) -> object:
    """Return the worker of a probe, or the pool of its CPU; None if it is not told."""
    cpu = bound_worker_cpu(record.comm)
    return record.comm if cpu is None else cpu
