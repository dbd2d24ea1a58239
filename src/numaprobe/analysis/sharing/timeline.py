"""Whether probes that were under way at once also *ran* at once: what one trace's timelines say of a lock.

Probes that share a lock which is taken often, in short holds, end together and in no order: no staircase shows it. But
while one has it the others sleep, so that hardly two run at once. How much that is depends on how much they run at
all, so it is held against chance: two probes on different CPUs that run for the shares *p* and *q* of the time in which
both are under way would, if they did not care about each other, both run for *p · q* of it. Two that each compute once,
one after the other, say nothing. So one of each pair is also moved against the other, round and round, to nineteen
other places: if at each of them they would have run at once for longer than they did, that is chance once in twenty.
Probes on one CPU take turns whatever they share, and are left out; so are probes inside of others.

It is a suspicion, not a sight: whatever has probes take turns looks the same. In guests without a lock two probes ran
at once for 0.93 to 1.02 of what chance would have (``docs/shared.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.analysis.sharing.company import divided
from numaprobe.analysis.sweep import coverage
from numaprobe.records import RunState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.analysis.sharing.company import Met
    from numaprobe.records import ProbeRecord

#: Pairs that are looked at: more of them tell nothing new.
MAX_PAIRS: Final = 128
#: Other places to which one of a pair is moved: as many as a chance of one in twenty takes.
MOVES: Final = 19
#: Of what chance would have: below, probes keep each other from running (our choice; see the figures above).
KEPT_APART: Final = 0.5
#: Of a cost: with less sleep there is nothing that a lock could explain, with more waiting for CPUs there is something
#: else to explain it (our choice).
MIN_SLEEP: Final = 0.3
MAX_RUNNABLE: Final = 0.1


@dataclass(frozen=True, slots=True)
class RunningTogether:
    """How much the probes of a trace ran at once."""

    #: those that met another one on another CPU
    records: tuple[ProbeRecord, ...]
    #: of the time in which some of them ran: two or more did
    two_or_more: float
    #: how long two ran at once, over all pairs, as a share of what chance would have
    of_chance: float
    #: less than at any other place of one against the other
    unusual: bool
    #: shares of their costs
    asleep: float
    runnable: float

    @property
    def kept_apart(self) -> bool:
        """Whether they hardly ran at once, slept meanwhile, and did not want for CPUs."""
        turns = self.unusual and self.of_chance < KEPT_APART
        return turns and self.asleep > MIN_SLEEP and self.runnable < MAX_RUNNABLE


def timeline(records: Iterable[ProbeRecord]) -> RunningTogether | None:
    """Return how much these probes ran at once; None: none met another one on another CPU, or none has segments."""
    probes = divided(record for record in records if record.segments)
    pairs = _pairs(probes)
    together, chance = 0, 0.0
    moved = [0] * MOVES
    for one, other in pairs:
        start, end = max(one.start_ns, other.start_ns), min(one.end_ns, other.end_ns)
        mine, theirs = (_running(met, start, end) for met in (one, other))
        spent = [sum(until - since for since, until in spans) for spans in (mine, theirs)]
        together += coverage([*mine, *theirs]).overlap_ns
        chance += spent[0] * spent[1] / (end - start)
        for index in range(MOVES):
            by = (end - start) * (index + 1) // (MOVES + 1)
            moved[index] += coverage([*mine, *_moved(theirs, by, start, end)]).overlap_ns
    if not chance:
        return None
    met = {id(one): one for pair in pairs for one in pair}.values()
    cost = sum(one.end_ns - one.start_ns for one in met)
    ran = coverage(span for one in met for span in _running(one, one.start_ns, one.end_ns))
    return RunningTogether(
        records=tuple(one.record for one in met),
        two_or_more=ran.overlap_ns / ran.union_ns,
        of_chance=together / chance,
        unusual=together < min(moved),
        asleep=sum(one.sleeping_ns for one in met) / cost,
        runnable=sum(one.runnable_ns for one in met) / cost,
    )


def _pairs(probes: Sequence[Met]) -> list[tuple[Met, Met]]:
    """Return the pairs of probes that were under way at once on different CPUs, as far as they are looked at."""
    found: list[tuple[Met, Met]] = []
    under_way: list[Met] = []
    for met in probes:
        under_way = [other for other in under_way if other.end_ns > met.start_ns]
        mine = set(met.record.cpus or (met.record.cpu,))
        for other in under_way:
            if mine.isdisjoint(other.record.cpus or (other.record.cpu,)) and met.end_ns > met.start_ns:
                found.append((other, met))
                if len(found) == MAX_PAIRS:
                    return found
        under_way.append(met)
    return found


def _moved(spans: Iterable[tuple[int, int]], by: int, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """Return spans of a time later by so much; what leaves it at its end comes in at its start."""
    length, found = end_ns - start_ns, []
    for since, until in spans:
        first, last = since + by, until + by
        if first < end_ns < last:
            found += [(first, end_ns), (start_ns, last - length)]
        else:
            found.append((first, last) if last <= end_ns else (first - length, last - length))
    return found


def _running(met: Met, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """Return when a probe ran between two moments."""
    spans = (
        (max(one.start_ns, start_ns), min(one.end_ns, end_ns))
        for one in met.record.segments or ()
        if one.state is RunState.RUNNING
    )
    return [(start, end) for start, end in spans if start < end]
