"""Which steps of a run had to come before which: the happens-before order of what they touch.

Two steps depend on each other if one changes what the other touches, or if one actor takes both. Runs that differ only
in the order of independent steps are the same run (one Mazurkiewicz trace). The order of a run is kept as one integer
for each step, a bit for each earlier step that must come before it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from numaprobe.schedules.conductor import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numaprobe.schedules.model import ChosenStep


def dependent(one: Mapping[str, bool], other: Mapping[str, bool]) -> bool:
    """Tell whether steps that touch these cannot be exchanged."""
    if EVERYTHING in one or EVERYTHING in other:
        return True
    if len(other) < len(one):
        one, other = other, one
    return any(thing in other and (change or other[thing]) for thing, change in one.items())


class Order:
    """The order of a run's steps, as they come.

    Attributes:
        before: for each step the steps that must come before it, as bits.
        direct: for each step those of them that nothing else stands between, of other actors.

    """

    def __init__(self) -> None:
        self.before: list[int] = []
        self.direct: list[list[int]] = []
        #: thing -> the step that changed it last; the steps that looked at it since
        self._changed: dict[str, int] = {}
        self._looked: dict[str, list[int]] = {}
        self._last_of: dict[str, int] = {}
        #: the last step that depends on all; the steps since
        self._barrier: int | None = None
        self._since: list[int] = []

    def add(self, step: ChosenStep) -> None:
        """Take the next step."""
        number = len(self.before)
        if step.what:  # a choice that is no order: part of the step before it
            self.before.append(0)
            self.direct.append([])
            return
        actor = step.actor
        found = set(self._conflicts(step))
        own = self._last_of.get(actor)
        mask = 0
        for one in found | ({own} if own is not None else set()):
            mask |= self.before[one] | 1 << one
        inner = 0
        for one in found | ({own} if own is not None else set()):
            inner |= self.before[one]
        self.before.append(mask)
        self.direct.append(sorted(one for one in found if one != own and not inner >> one & 1))
        self._last_of[actor] = number
        self._note(step, number)

    def _conflicts(self, step: ChosenStep) -> list[int]:
        if EVERYTHING in step.touched:
            return [*self._since, *([self._barrier] if self._barrier is not None else [])]
        found = [] if self._barrier is None else [self._barrier]
        for thing, change in step.touched.items():
            if thing in self._changed:
                found.append(self._changed[thing])
            if change:
                found += self._looked.get(thing, ())
        return found

    def _note(self, step: ChosenStep, number: int) -> None:
        if EVERYTHING in step.touched:
            self._barrier = number
            self._since.clear()
            self._changed.clear()
            self._looked.clear()
            return
        self._since.append(number)
        for thing, change in step.touched.items():
            if change:
                self._changed[thing] = number
                self._looked.pop(thing, None)
            else:
                self._looked.setdefault(thing, []).append(number)


_MASK: Final = (1 << 64) - 1


@lru_cache(maxsize=65_536)
def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


class Fingerprint:
    """A number for the state that a run is in: the same for runs that differ in the order of independent steps.

    It is made of the steps and of what had to come before each, so that equal numbers mean (but for a chance of one in
    2^64) equal states; runs that came to one state by other ways have different numbers, which costs time and misses
    nothing.
    """

    def __init__(self) -> None:
        self.value = 0
        self._changed: dict[str, int] = {}
        self._looked: dict[str, int] = {}
        self._last_of: dict[str, int] = {}
        self._all = 0

    def add(self, step: ChosenStep) -> None:
        """Take the next step."""
        actor = step.actor
        mark = hash((_number(actor), self._last_of.get(actor, 0), self._past(step))) & _MASK
        self._last_of[actor] = mark
        self.value = (self.value + mark) & _MASK
        if EVERYTHING in step.touched:
            self._all = self.value
            self._changed.clear()
            self._looked.clear()
            return
        for thing, change in step.touched.items():
            if change:
                self._changed[thing] = mark
                self._looked[thing] = 0
            else:
                self._looked[thing] = (self._looked.get(thing, 0) + mark) & _MASK

    def _past(self, step: ChosenStep) -> int:
        if EVERYTHING in step.touched:
            return self.value
        past = self._all
        for thing, change in step.touched.items():
            looked = self._looked.get(thing, 0) if change else 0
            past = (past + hash((_number(thing), self._changed.get(thing, 0), looked))) & _MASK
        return past


def orders(steps: Sequence[ChosenStep]) -> Order:
    """Return the order of a whole run."""
    order = Order()
    for step in steps:
        order.add(step)
    return order
