"""How far a number is from many others, some of which may be as wrong as it is.

Mean and standard deviation are drawn along by what they are to find. So the middle is the median, and the width the
median absolute deviation from it (MAD), times 1.4826: the standard deviation, were the numbers normal. The number of
widths between a value and the median is Iglewicz and Hoaglin's *modified z-score* (How to Detect and Handle Outliers,
1993), who call it an outlier beyond 3.5. Three things are done beside that, because of what costs of probes are like:

* each side has its own width: costs are skewed, and the long side must not widen the short one, nor be found in whole;
* among a hundred peers or more the width is also that of the 95th percentile of the deviations, so that a long tail
  that many hosts share is no outlier;
* who looks at thousands of numbers sees some beyond 3.5 by chance. The limit is raised until one in twenty fleets of
  normal numbers would show any (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist, median
from typing import TYPE_CHECKING, Final

from numaprobe.analysis.statistics import SIGNIFICANCE

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Iglewicz and Hoaglin's limit.
LEAST_LIMIT: Final = 3.5
#: So many widths of a normal distribution are its MAD's inverse, and its 95th percentile of absolute deviations.
_OF_MAD: Final = 1.4826
_OF_TAIL: Final = 1.96
_TAIL: Final = 0.95
#: Fewer peers do not tell a tail from an outlier.
_ENOUGH_FOR_TAIL: Final = 100


@dataclass(frozen=True, slots=True)
class Width:
    """Where many numbers lie: their median, and the widths of both sides."""

    median: float
    below: float
    above: float

    def score(self, value: float) -> float:
        """Return how many widths a value is above the median; negative: below it."""
        distance = value - self.median
        return distance / (self.above if distance > 0 else self.below)


def width_of(values: Sequence[float], least: float) -> Width:
    """Return the width of at least one number.

    Args:
        values: the numbers.
        least: no side is narrower: what two measurements of one thing may differ by.

    """
    middle = median(values)
    below = sorted(middle - value for value in values if value <= middle)
    above = sorted(value - middle for value in values if value >= middle)
    return Width(middle, _side(below, least), _side(above, least))


def _side(deviations: Sequence[float], least: float) -> float:
    found = max(least, _OF_MAD * median(deviations))
    if 2 * len(deviations) < _ENOUGH_FOR_TAIL:
        return found
    return max(found, deviations[int(_TAIL * (len(deviations) - 1))] / _OF_TAIL)


def limit_of(tests: int) -> float:
    """Return the score beyond which a number is an outlier, if so many are looked at."""
    return max(LEAST_LIMIT, NormalDist().inv_cdf(1 - SIGNIFICANCE / (2 * max(tests, 1))))
