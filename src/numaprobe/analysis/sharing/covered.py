"""How much of a probe's sleep can have been a wait for another probe: none of it while no other probe ran.

A wait for a lock ends when its holder lets go, and a holder that sleeps with the lock held is rare. So sleep while no
other probe was on a CPU is the device's own; the rest may be either. This is a bound, not an estimate: probes that
sleep for their devices while others happen to run are no different to look at.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from numaprobe.records import RunState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.records import ProbeRecord


class RunningTime:
    """The time in which at least one of some probes was on a CPU."""

    def __init__(self, probes: Iterable[ProbeRecord]) -> None:
        spans = sorted(
            (segment.start_ns, segment.end_ns)
            for record in probes
            for segment in record.segments or ()
            if segment.state is RunState.RUNNING
        )
        merged: list[tuple[int, int]] = []
        for start, end in spans:
            if merged and start <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(merged[-1][1], end)
            else:
                merged.append((start, end))
        self._starts = [start for start, _ in merged]
        self._ends = [end for _, end in merged]
        self._before = [0, *accumulate(end - start for start, end in merged)]

    def within(self, start_ns: int, end_ns: int) -> int:
        """Return how much of it lies between two moments, in ns."""
        return self._until(end_ns) - self._until(start_ns)

    def _until(self, moment: int) -> int:
        index = bisect_right(self._starts, moment)
        if index == 0:
            return 0
        last = self._ends[index - 1]
        return self._before[index] - max(0, last - moment)

    def own_sleep_ns(self, record: ProbeRecord) -> int:
        """Return how long a probe slept while none of them ran; all of its sleep may be waits if it has no segments."""
        sleeps = [s for s in record.segments or () if s.state is RunState.SLEEPING]
        return sum(s.end_ns - s.start_ns - self.within(s.start_ns, s.end_ns) for s in sleeps)
