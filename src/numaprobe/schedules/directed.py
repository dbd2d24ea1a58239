"""Orders that are directed at one cycle of lock classes: can it close?

Whoever has taken a class of the cycle is held up there, until each class of it is held by another task, or nobody else
can go on. Then they go on first, each to the class that the next one holds. Whom to hold up, and who goes on meanwhile,
is drawn: a task that must take a lock twice, or finish its first round, is let past at times.

A schedule so found proves the cycle. That none is found proves nothing.

The idea of holding tasks up at the locks of a cycle is that of Joshi, Park, Sen, Naik, "A randomized dynamic program
analysis technique for detecting real deadlocks" (PLDI 2009).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from numaprobe.schedules.classes import class_taken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numaprobe.schedules.classes import ClassCycle
    from numaprobe.schedules.model import ChosenStep

#: How often a task that takes a class of the cycle is held up there.
_HELD_UP: Final = 0.75
#: How often the one who took the last step goes on, if it can.
_GOES_ON: Final = 0.7


class Directed:
    """The strategy of one run.

    Args:
        cycle: what is to close.
        classes: name of lock -> its class, as far as it is known.
        run: a number; the same one gives the same run.

    """

    def __init__(self, cycle: ClassCycle, classes: Mapping[str, str], run: int) -> None:
        self._random = random.Random(f"directed/{run}")
        self._classes = classes
        #: the classes that must be held at once, by different tasks; one that is taken under itself by two
        self._wanted = list(cycle.names) * (2 if len(cycle.names) == 1 else 1)
        #: who is held up -> what it holds
        self._held_up: dict[str, str] = {}
        self._closing: list[str] = []
        self._looked = 0

    def choose(self, steps: Sequence[ChosenStep], actors: Sequence[str], *, goes_on: bool) -> int:
        """Return one that is not held up, if there is one."""
        for step in steps[self._looked :]:
            self._look(step)
        self._looked = len(steps)
        for actor in self._closing:
            if actor in actors:
                return actors.index(actor)
        free = [index for index, actor in enumerate(actors) if actor not in self._held_up]
        if not free:  # nobody else can go on: let the first of them past
            first = next(actor for actor in self._held_up if actor in actors)
            del self._held_up[first]
            return actors.index(first)
        if goes_on and free[0] == 0 and self._random.random() < _GOES_ON:
            return 0
        return self._random.choice(free)

    def _look(self, step: ChosenStep) -> None:
        """Hold up who took a class of the cycle."""
        if step.what:
            return
        for verb, what in step.notes:
            name = class_taken(verb, what, self._classes)
            left = list(self._wanted)
            for held in self._held_up.values():
                left.remove(held)
            if name in left and step.actor not in self._held_up and self._random.random() < _HELD_UP:
                self._held_up[step.actor] = name
                if len(left) == 1:  # each class is held by another task
                    self._closing, self._held_up = list(self._held_up), {}
                return

    def decide(self, steps: Sequence[ChosenStep], what: str, count: int) -> int:  # noqa: ARG002  as in ``Strategy``
        """Draw, mostly what happens in a normal run."""
        return self._random.randrange(count) if self._random.random() < 1 - _GOES_ON else 0
