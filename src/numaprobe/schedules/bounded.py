"""Depth-first search of every order with at most so many pre-emptions, and of every other choice.

A pre-emption is a turn taken from a task that could go on. Most bugs need one or two (CHESS, OSDI 2008), and the number
of orders grows with the bound alone, not with their length. The search is stateless: each run starts at the beginning,
follows the path that the search is at, and goes on in the machine's own order.

A state is not entered twice with the same task in turn and no more pre-emptions left than before (``Fingerprint``).
If the bound cut nothing off, every order was seen.

Where the search is at is its path, as plain numbers (``Turn``): a search that is made with that path goes on there. The
paths that are left are in the order of the tree, the deepest change first, so that ``parts`` of them can be searched
anywhere, and what is found be taken in that order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InternalError
from numaprobe.schedules.conductor import EVERYTHING, Stopped
from numaprobe.schedules.order import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numaprobe.schedules.model import ChosenStep


#: Bytes for one remembered state; 127 were measured (CPython 3.11), without the texts that many of them share.
STATE_BYTES: Final = 200


#: A point of the path: how many can be chosen there, whether the first of them could go on, how many pre-emptions came
#: before, and which is chosen.
Turn = tuple[int, bool, int, int]


@dataclass(slots=True)
class _BoundedNode:
    """As ``Turn``."""

    count: int
    goes_on: bool
    preemptions: int
    index: int = 0

    @property
    def preempts(self) -> bool:
        """Whether what is chosen takes the turn from one that could go on."""
        return self.goes_on and self.index > 0


class Bounded:
    """The search; a strategy for one run after the other.

    Args:
        preemptions: the bound; None: none.
        states: how many states are remembered at most; 0: none.
        path: where to go on; empty: at the beginning.
        floor: how many points of ``path`` stay as they are: what is below them alone is searched.
        cut: whether the bound cut anything off before.
        seen: the states that are known.

    Attributes:
        cut: whether the bound cut anything off so far.
        seen: state and who is in turn -> pre-emptions that it was entered with.
        known: how many states are remembered.
        over: whether all was seen.

    """

    def __init__(
        self,
        preemptions: int | None,
        *,
        states: int = 1_000_000,
        path: Sequence[Turn] = (),
        floor: int = 0,
        cut: bool = False,
        seen: Mapping[tuple[int, str], int] | None = None,
    ) -> None:
        self._bound = preemptions
        self._limit = states
        self._path = [_BoundedNode(*turn) for turn in path]
        self._floor = floor
        self._depth = 0
        self.seen: dict[tuple[int, str], int] = dict(seen or {})
        self._print = Fingerprint()
        self._marked = 0
        self.cut = cut
        self.over = False

    @property
    def known(self) -> int:
        """How many states are remembered."""
        return len(self.seen)

    def begin(self) -> None:
        """Prepare for the next run."""
        self._depth = 0
        self._print = Fingerprint()
        self._marked = 0

    def end(self, _steps: Sequence[ChosenStep]) -> None:
        """Go to the next path, as a run is over; ``over`` is set if there is none."""
        del self._path[self._depth :]
        while len(self._path) > self._floor:
            if self._turned(self._path[-1]):
                return
            self._path.pop()
        self.over = True

    def _turned(self, node: _BoundedNode) -> bool:
        """Let the next one be chosen there; return False if none is left within the bound."""
        while node.index + 1 < node.count:
            node.index += 1
            if self._bound is None or node.preemptions + node.preempts <= self._bound:
                return True
            self.cut = True
        return False

    @property
    def path(self) -> list[Turn]:
        """Where to go on."""
        return [(node.count, node.goes_on, node.preemptions, node.index) for node in self._path]

    def parts(self) -> Iterator[tuple[list[Turn], int]]:
        """Yield what is left in the order of the tree, as paths and floors of searches of their own.

        This search itself must not go on.
        """
        if not self._path:
            yield [], 0
            return
        yield self.path, len(self._path)
        while len(self._path) > self._floor:
            if self._turned(self._path[-1]):
                yield self.path, len(self._path) - 1
            self._path.pop()

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
            used = 0 if before is None else before.preemptions + before.preempts
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
        known = self.seen.get(key)
        if known is not None and (known <= used or self._bound is None):
            return True
        if known is not None or len(self.seen) < self._limit:
            self.seen[key] = used
        return False
