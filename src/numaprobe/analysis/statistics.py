"""Whether two sets of repeated runs differ: small and without assumptions about the distribution.

A gate believes the one-sided Mann-Whitney rank test, which says how likely so large a shift in rank is if nothing
changed: two lucky runs do not pass it, and a stray outlier among many does not spoil it. People who tune a boot by hand
boot ten times each and ask that the ranges do not overlap; whether they do is told beside it.

The test counts exactly while that is cheap (no ties, at most ``EXACT_RUNS`` a side), and uses the normal approximation
with the correction for ties beyond (Mann and Whitney, 1947).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, median
from typing import TYPE_CHECKING, Final

from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Count all orders up to this many runs a side; beyond, the approximation is good to the third digit.
EXACT_RUNS: Final = 20
#: A shift is believed if chance would show it in fewer than this share of comparisons.
SIGNIFICANCE: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What two sets of runs of one figure say."""

    #: medians, in the unit given
    base_median: float
    median: float
    #: (median - base) / base, in percent of the base; None if that is zero
    percent: float | None
    #: no run of one set lies in the range of the other
    ranges_apart: bool
    #: chance of so large a shift in its direction if nothing changed
    p_value: float

    @property
    def slower(self) -> bool:
        """A regression to stop for: a larger median, and unlikely to be chance."""
        return self.median > self.base_median and self._believed

    @property
    def faster(self) -> bool:
        """An improvement to believe."""
        return self.median < self.base_median and self._believed

    @property
    def _believed(self) -> bool:
        return self.p_value < SIGNIFICANCE


def compare_runs(base: Sequence[float], runs: Sequence[float]) -> Verdict:
    """Compare repeated measurements ``runs`` with those of ``base`` (any unit, the same for both).

    Raises:
        UsageError: a set is empty.

    """
    if not base or not runs:
        raise UsageError("nothing to compare: each side needs at least one run")
    before, after = median(base), median(runs)
    return Verdict(
        base_median=before,
        median=after,
        percent=100 * (after - before) / before if before else None,
        ranges_apart=min(runs) > max(base) or max(runs) < min(base),
        p_value=rank_test(base, runs),
    )


def rank_test(base: Sequence[float], runs: Sequence[float]) -> float:
    """Return the one-sided p-value of Mann-Whitney's U in the direction in which ``runs`` lies."""
    ordered = sorted(base)
    below = sum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in runs) / 2
    larger = max(below, len(base) * len(runs) - below)
    tied = len(set(base) | set(runs)) < len(base) + len(runs)
    if not tied and max(len(base), len(runs)) <= EXACT_RUNS:
        return _exact(len(base), len(runs), int(larger))
    return _approximate(base, runs, larger)


def _exact(first: int, second: int, larger: int) -> float:
    ways = sum(_orders(first, second, u) for u in range(larger, first * second + 1))
    return ways / math.comb(first + second, first)


@cache
def _orders(first: int, second: int, u: int) -> int:
    """Return in how many orders of the two samples exactly ``u`` pairs have the second's value larger."""
    if u < 0 or u > first * second:
        return 0
    if first == 0 or second == 0:
        return int(u == 0)
    return _orders(first, second - 1, u - first) + _orders(first - 1, second, u)


def _approximate(base: Sequence[float], runs: Sequence[float], larger: float) -> float:
    first, second = len(base), len(runs)
    total = first + second
    ties = sum(count**3 - count for count in Counter((*base, *runs)).values())
    variance = first * second / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    return 1 - NormalDist().cdf((larger - first * second / 2 - 0.5) / math.sqrt(variance))
