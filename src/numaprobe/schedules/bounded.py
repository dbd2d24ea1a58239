"""Depth-first search of every order with at most so many pre-emptions, and of every other choice.

A pre-emption is a turn taken from a task that could go on. Most bugs need one or two (CHESS, OSDI 2008), and the number
of orders grows with the bound alone, not with their length. The search is stateless: each run starts at the beginning,
follows the path that the search is at, and goes on in the machine's own order.

A state is not entered twice with the same task in turn and no more pre-emptions left than before (``Fingerprint``).
If the bound cut nothing off, every order was seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InternalError
from numaprobe.schedules.conductor import EVERYTHING, Stopped
from numaprobe.schedules.order import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numaprobe.schedules.model import ChosenStep


#: Bytes for one remembered state; 127 were measured (CPython 3.11), without the texts that many of them share.
STATE_BYTES: Final = 200


@dataclass(slots=True)
class _BoundedNode:
    """A point of the path: what can be chosen there, what of it was, and how many pre-emptions came before."""

    count: int
    goes_on: bool
    preemptions: int
    index: int = 0


class Bounded:
    """The search; a strategy for one run after the other.

    Args:
        preemptions: the bound; None: none.
        states: how many states are remembered at most; 0: none.

    Attributes:
        cut: whether the bound cut anything off so far.
        known: how many states are remembered.
        over: whether all was seen.

    """

    def __init__(self, preemptions: int | None, *, states: int = 1_000_000) -> None:
        self._bound = preemptions
        self._limit = states
        self._path: list[_BoundedNode] = []
        self._depth = 0
        self._seen: dict[tuple[int, str], int] = {}
        self._print = Fingerprint()
        self._marked = 0
        self.cut = False
        self.over = False

    @property
    def known(self) -> int:
        """How many states are remembered."""
        return len(self._seen)

    def begin(self) -> None:
        """Prepare for the next run."""
        self._depth = 0
        self._print = Fingerprint()
        self._marked = 0

    def end(self, _steps: Sequence[ChosenStep]) -> None:
        """Go to the next path, as a run is over; ``over`` is set if there is none."""
        del self._path[self._depth :]
        while self._path:
            node = self._path[-1]
            while node.index + 1 < node.count:
                node.index += 1
                if not self._too_many(node):
                    return
                self.cut = True
            self._path.pop()
        self.over = True

    def _too_many(self, node: _BoundedNode) -> bool:
        return self._bound is not None and node.preemptions + (node.goes_on and node.index > 0) > self._bound

    def choose(self, steps: Sequence[ChosenStep], actors: Sequence[str], *, goes_on: bool) -> int:
        """Follow the path; beyond its end, take the machine's choice."""
        if len(actors) == 1:
            return 0
        turn = actors[0] if goes_on else ""
        return self._next(len(actors), goes_on=goes_on, seen=partial(self._seen_before, steps, turn))

    def decide(self, steps: Sequence[ChosenStep], what: str, count: int) -> int:  # noqa: ARG002
        """Follow the path; beyond its end, take what happens in a normal run."""
        return self._next(count)

    def _next(self, count: int, *, goes_on: bool = False, seen: Callable[[int], bool] | None = None) -> int:
        if self._depth < len(self._path):
            node = self._path[self._depth]
            if node.count != count:
                raise InternalError(f"a run is not repeatable: {count} choices where there were {node.count}")
        else:
            before = self._path[-1] if self._path else None
            used = 0 if before is None else before.preemptions + (before.goes_on and before.index > 0)
            if seen is not None and seen(used):
                raise Stopped(None)
            node = _BoundedNode(count, goes_on, used)
            self._path.append(node)
        self._depth += 1
        return node.index

    def _seen_before(self, steps: Sequence[ChosenStep], turn: str, used: int) -> bool:
        """Tell whether this state was entered before with as many pre-emptions left; remember it."""
        if not self._limit or any(EVERYTHING in step.touched for step in steps[-1:]):
            return False
        for step in steps[self._marked :]:
            self._print.add(step)
        self._marked = len(steps)
        key = self._print.value, turn
        known = self._seen.get(key)
        if known is not None and (known <= used or self._bound is None):
            return True
        if known is not None or len(self._seen) < self._limit:
            self._seen[key] = used
        return False
