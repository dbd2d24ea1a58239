"""Whether two sets of repeated runs differ, and by how much: without assumptions about the distribution.

Three questions, each with the answer that readers of Go's benchstat know.

* *What is the figure?* The median, and the interval of the median: two of the ordered runs between which the true
  median lies with 95 % confidence. It takes six runs; fewer never give one.
* *Do the two differ?* Mann and Whitney's rank test (1947), two-sided and exact: of all ways to deal the same numbers to
  two sides of this size, the share that sets their ranks as far apart in this direction, or further, twice. Equal
  numbers share their mean rank and are counted as they are, so that a coarse clock costs nothing. Few runs have few
  ways: three against three can never say less than 0.10, four against four less than 0.029 (``smallest_p``).
* *By how much?* Hodges and Lehmann's shift (1963), the median of all differences between a run of one side and a run of
  the other, with the interval that inverts the same test.

Who looks at twenty figures at once sees one of them at 0.05 by chance alone. Holm's rule (1979) holds the chance that
*anything* is claimed falsely to 5 %; its weighted form lets the figure that matters most keep most of it.

Counting is exact up to ``EXACT_RUNS`` runs together; beyond, the normal approximation with the correction for ties.
SciPy's ``mannwhitneyu`` counts exactly only where no two numbers are equal, and is a witness in the tests.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, median
from typing import TYPE_CHECKING, Final

from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: A difference is believed if chance would show it in fewer than this share of comparisons.
SIGNIFICANCE: Final = 0.05
#: Count all ways up to this many runs of both sides; beyond, the approximation is good to the third digit.
EXACT_RUNS: Final = 100
#: Up to so many differences between the runs of two sides are listed; of more, those that are asked for are searched.
MOST_LISTED: Final = 10_000


# ---- one side --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Sample:
    """Repeated measurements of one figure, in any unit: at least one."""

    #: in the order of running
    values: tuple[float, ...]

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.values)

    @property
    def median(self) -> float:
        """The middle one, or the mean of the two in the middle."""
        return float(median(self.values))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the true median lies with 95 % confidence; None: fewer than six runs cannot say."""
        ordered = sorted(self.values)
        left_out = _outside_of_median(len(ordered))
        return None if left_out is None else (ordered[left_out], ordered[-1 - left_out])

    @property
    def spread(self) -> float | None:
        """The further end of the interval, as a share of the median: benchstat's ``± 3%``; None: no interval."""
        middle, interval = self.median, self.interval
        if interval is None or not middle:
            return None
        return max(interval[1] / middle - 1, 1 - interval[0] / middle)


@lru_cache
def _outside_of_median(size: int) -> int | None:
    """Return how many of the ordered runs lie outside of the interval on each side; None: too few runs.

    That ``k`` or fewer of ``size`` runs fall below the median has the chance of so many heads of fair coins.
    """
    below, found = 0, None
    for count in range(size):
        below += math.comb(size, count)
        if 2 * below > SIGNIFICANCE * 2**size:
            break
        found = count
    return found


# ---- two sides -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Shift:
    """By how much the second side is larger, in the unit of the figure."""

    estimate: float
    #: where the true shift lies with 95 % confidence; None: too few runs
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureChange:
    """What two sides of runs say of one figure."""

    base: Sample
    runs: Sample
    shift: Shift
    #: chance of ranks so far apart, in either direction, if nothing had changed
    p_value: float

    @property
    def percent(self) -> float | None:
        """(median - base's median) in percent of the base's; None if that is zero."""
        return _percent(self.runs.median - self.base.median, self.base.median)

    @property
    def percent_interval(self) -> tuple[float, float] | None:
        """The interval of the shift in percent of the base's median; None: too few runs, or a base of zero."""
        base = self.base.median
        if self.shift.interval is None or not base:
            return None
        low, high = self.shift.interval
        return 100 * low / base, 100 * high / base


def compare_runs(base: Sequence[float], runs: Sequence[float]) -> FigureChange:
    """Compare repeated measurements ``runs`` with those of ``base`` (any unit, the same for both).

    Raises:
        UsageError: a side is empty.

    """
    if not base or not runs:
        raise UsageError("nothing to compare: each side needs at least one run")
    return FigureChange(
        base=Sample(tuple(base)), runs=Sample(tuple(runs)), shift=shift(base, runs), p_value=rank_test(base, runs)
    )


def rank_test(base: Sequence[float], runs: Sequence[float]) -> float:
    """Return the two-sided p-value of Mann and Whitney's rank test."""
    ranks = _doubled_ranks((*base, *runs))
    total = sum(ranks[: len(base)])
    if len(ranks) > EXACT_RUNS:
        return _approximate(ranks, len(base), abs(total - len(base) * (len(ranks) + 1)) / 2)
    ways = _ways(tuple(sorted(ranks)), len(base))
    return min(1.0, 2 * min(sum(ways[: total + 1]), sum(ways[total:])) / math.comb(len(ranks), len(base)))


def smallest_p(first: int, second: int) -> float:
    """Return the smallest p-value that so many runs of each side can ever give: all of one below all of the other."""
    return min(1.0, 2 / math.comb(first + second, first))


def shift(base: Sequence[float], runs: Sequence[float]) -> Shift:
    """Return the Hodges-Lehmann shift of ``runs`` against ``base``."""
    left_out = _outside_of_shift(len(base), len(runs))
    differences = _Differences(base, runs)
    last = len(differences) - 1
    middle = (differences[last // 2] + differences[(last + 1) // 2]) / 2
    return Shift(float(middle), None if left_out is None else (differences[left_out], differences[last - left_out]))


class _Differences:
    """All differences between a run of one side and a run of the other, in order; listed only if they are few.

    Of many, one is searched: how many are not larger than a value is known after one look into the sorted runs for
    each of base, and the value is halved in on.
    """

    def __init__(self, base: Sequence[float], runs: Sequence[float]) -> None:
        self._base, self._runs = sorted(base), sorted(runs)
        few = len(self) <= MOST_LISTED
        self._listed = sorted(after - before for before in base for after in runs) if few else None

    def __len__(self) -> int:
        return len(self._base) * len(self._runs)

    def __getitem__(self, index: int) -> float:
        """Return the difference that so many others come before."""
        if self._listed is not None:
            return self._listed[index]
        low, high = self._runs[0] - self._base[-1] - 1, self._runs[-1] - self._base[0]
        while low < (middle := low + (high - low) / 2) < high:
            if sum(bisect_right(self._runs, before + middle) for before in self._base) > index:
                high = middle
            else:
                low = middle
        return min(self._around(high), key=lambda difference: abs(difference - high))

    def _around(self, value: float) -> Iterator[float]:
        """Yield differences next to a value: that which was searched is one, but for what adding rounds away."""
        for before in self._base:
            place = bisect_left(self._runs, before + value)
            yield from (after - before for after in self._runs[max(place - 1, 0) : place + 1])


def holm(p_values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return p-values adjusted for having looked at all of them: believe those below ``SIGNIFICANCE``.

    Args:
        p_values: one of each figure.
        weights: how much of the permitted chance each figure gets; positive, of any sum.

    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index] / weights[index])
    left, highest, adjusted = math.fsum(weights), 0.0, [1.0] * len(p_values)
    for index in order:
        highest = max(highest, min(1.0, p_values[index] * left / weights[index]))
        adjusted[index] = highest
        left -= weights[index]
    return adjusted


def _percent(value: float, base: float) -> float | None:
    return 100 * value / base if base else None


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Return twice the rank of each value: equal ones share their mean rank, which may be a half."""
    counts = Counter(values)
    ranks, below = {}, 0
    for value in sorted(counts):
        ranks[value] = 2 * below + counts[value] + 1
        below += counts[value]
    return [ranks[value] for value in values]


@lru_cache(maxsize=64)
def _ways(ranks: tuple[int, ...], chosen: int) -> tuple[int, ...]:
    """Return in how many ways ``chosen`` of ``ranks`` have each sum: one polynomial, kept in one long integer.

    Choosing a rank or not is a factor ``1 + x^rank y``; the coefficient of ``y^chosen`` is what is asked for. With
    room for the largest coefficient, a polynomial in x is an integer and a product with ``x^rank`` is a shift.
    """
    bits = 8 * (math.comb(len(ranks), chosen).bit_length() // 8 + 1)
    sums = [1] + [0] * chosen
    for number, rank in enumerate(ranks, 1):
        for count in range(min(chosen, number), 0, -1):
            sums[count] += sums[count - 1] << rank * bits
    size = bits // 8
    data = sums[chosen].to_bytes((sum(ranks) + 1) * size, "little")
    return tuple(int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size))


def _approximate(ranks: Sequence[int], first: int, distance: float) -> float:
    total = len(ranks)
    ties = sum(count**3 - count for count in Counter(ranks).values())
    variance = first * (total - first) / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    return min(1.0, 2 * NormalDist().cdf((0.5 - distance) / math.sqrt(variance)))


@lru_cache
def _outside_of_shift(first: int, second: int) -> int | None:
    """Return how many of the ordered differences lie outside of the shift's interval on each side; None: too few."""
    pairs = first * second
    if first + second > EXACT_RUNS:
        sigma = math.sqrt(pairs * (first + second + 1) / 12)
        return int(pairs / 2 - NormalDist().inv_cdf(1 - SIGNIFICANCE / 2) * sigma) - 1
    ways = _ways(tuple(range(2, 2 * (first + second) + 1, 2)), first)
    below, everything, found = 0, math.comb(first + second, first), None
    for smaller in range(pairs):
        below += ways[first * (first + 1) + 2 * smaller]
        if 2 * below > SIGNIFICANCE * everything:
            break
        found = smaller
    return found
