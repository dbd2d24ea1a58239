"""Orders by chance: each choice alike (``Random``), or by priorities (``Pct``).

PCT gives every actor a random priority; the highest that can go on does. At ``depth - 1`` random steps of the run the
one in turn falls below all others. A bug of depth d (one that d orders between steps are enough for) in a run of n
actors and k steps is met with a probability of at least 1 / (n * k^(d-1)), whatever the program (Burckhardt, Kothari,
Musuvathi, Nagarakatte, "A randomized scheduler with probabilistic guarantees of finding bugs", ASPLOS 2010).

Both take a seed for each run: a run is the same whoever makes it, and after whichever other.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.schedules.model import ChosenStep


class Random:
    """Every choice alike."""

    def __init__(self, seed: int, run: int) -> None:
        self._random = random.Random(f"{seed}/{run}")

    def choose(self, steps: Sequence[ChosenStep], actors: Sequence[str], *, goes_on: bool) -> int:  # noqa: ARG002
        """Draw."""
        return self._random.randrange(len(actors))

    def decide(self, steps: Sequence[ChosenStep], what: str, count: int) -> int:  # noqa: ARG002  as above
        """Draw."""
        return self._random.randrange(count)


class Pct:
    """Priorities, with ``depth - 1`` changes among the first ``length`` steps."""

    def __init__(self, seed: int, run: int, *, depth: int, length: int) -> None:
        self._random = random.Random(f"pct/{seed}/{run}")
        self._priority: dict[str, float] = {}
        self._falls = sorted(self._random.randrange(max(1, length)) for _ in range(depth - 1))

    def choose(self, steps: Sequence[ChosenStep], actors: Sequence[str], *, goes_on: bool) -> int:  # noqa: ARG002
        """Return the one of the highest priority; lower it first if this is a step of change."""
        for actor in actors:
            if actor not in self._priority:
                self._priority[actor] = 1 + self._random.random()
        while self._falls and self._falls[0] <= len(steps):
            self._falls.pop(0)
            self._priority[self._highest(actors)] = -len(steps) - self._random.random()
        return list(actors).index(self._highest(actors))

    def _highest(self, actors: Sequence[str]) -> str:
        return max(actors, key=self._priority.__getitem__)

    def decide(self, steps: Sequence[ChosenStep], what: str, count: int) -> int:  # noqa: ARG002  as above
        """Draw."""
        return self._random.randrange(count)


def bound(actors: int, steps: int, depth: int) -> float:
    """Return the least probability with which one run meets a bug of this depth."""
    return 1.0 / float(max(1, actors) * max(1, steps) ** (depth - 1))
