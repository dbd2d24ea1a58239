"""The bounded search in several processes: parts of the tree are searched anywhere, and taken in the tree's order.

What is left of the tree is cut into parts (``Bounded.parts``). In each round the first of them are searched, each for a
number of runs at most; what a part has left is cut again and stands in its place. The runs are counted in the order of
the tree: so everything that is said of them, where a budget ends, and where another search would have to go on, is the
same for any number of processes, and as if one had made the runs one after the other. Runs that were made beyond the
end are forgotten.

That holds of searches that remember no states: what one part has seen would be left out in another one. So only
subjects whose steps no machine sees (``Subject.opaque``) are searched so; of them no states are kept anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from numaprobe.schedules.attempt import attempt
from numaprobe.schedules.batches import attempted, shortest_alone
from numaprobe.schedules.bounded import Bounded
from numaprobe.virtual.loop import earlier_things_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numaprobe.schedules.attempt import Subject
    from numaprobe.schedules.batches import Attempted
    from numaprobe.schedules.bounded import Turn

    #: as ``map``: what is made of each part, in the order of the parts
    Mapped = Callable[..., Iterable["SearchedPart"]]

#: runs of a part in one round
_RUNS: Final = 32
#: parts of a round
_PARTS: Final = 16


@dataclass(slots=True, eq=False)
class TreePart:
    """A part of the tree; of one that was searched, what came of its first runs.

    Attributes:
        path: where its search begins.
        floor: how many points of the path are not its own.
        answers: what came of its runs; None: it was not searched.

    """

    path: Sequence[Turn]
    floor: int
    answers: list[Attempted] | None = None


@dataclass(frozen=True, slots=True)
class SearchedPart:
    """What came of a part.

    Attributes:
        answers: of each run.
        left: paths and floors of what it has left.
        cut: the bound cut something off.

    """

    answers: list[Attempted]
    left: list[tuple[list[Turn], int]]
    cut: bool


def search_part(subject: Subject, bound: int, part: tuple[Sequence[Turn], int]) -> SearchedPart:
    """Search a part for so many runs at most; in a worker, if there are some."""
    path, floor = part
    search = Bounded(bound, states=0, path=path, floor=floor)
    with earlier_things_kept():
        answers = list(shortest_alone(islice(_made(subject, search), _RUNS)))
    left = [] if search.over else list(search.parts())
    return SearchedPart(answers, left, search.cut)


def _made(subject: Subject, search: Bounded) -> Iterator[Attempted]:
    while not search.over:
        search.begin()
        conductor, runs = attempt(subject, search)
        search.end(conductor.steps)
        yield attempted(conductor.steps, runs)


class Tree:
    """One bounded search.

    Args:
        subject: what is run.
        bound: of pre-emptions.
        mapped: searches parts somewhere; see ``Mapped``.
        path: where to go on; empty: at the beginning.
        cut: whether the bound cut anything off before.

    Attributes:
        cut: whether the bound cut anything off so far.

    """

    def __init__(self, subject: Subject, bound: int, mapped: Mapped, *, path: Sequence[Turn], cut: bool) -> None:
        self._subject = subject
        self._bound = bound
        self._mapped = mapped
        start = Bounded(bound, states=0, path=path, cut=cut)
        self._parts = [TreePart(*part) for part in start.parts()]
        self._taken = 0
        self.cut = start.cut

    def __iter__(self) -> Iterator[Attempted]:
        """Yield what came of each run, in the order of the tree."""
        while self._parts:
            first = self._parts[0]
            if first.answers is None:
                self._round()
                continue
            for answer in first.answers:
                self._taken += 1
                yield answer
            self._parts.pop(0)
            self._taken = 0

    def _round(self) -> None:
        """Search the first parts that were not."""
        waiting = list(islice((part for part in self._parts if part.answers is None), _PARTS))
        work = partial(search_part, self._subject, self._bound)
        done = self._mapped(work, [(part.path, part.floor) for part in waiting])
        for part, found in zip(waiting, done, strict=True):
            part.answers = found.answers
            self.cut = self.cut or found.cut
            place = self._parts.index(part) + 1
            self._parts[place:place] = [TreePart(*left) for left in found.left]

    def _after(self) -> list[TreePart]:
        """Return the parts that are not over, after the last run that was yielded."""
        parts = self._parts
        over = bool(parts) and parts[0].answers is not None and self._taken == len(parts[0].answers)
        return parts[1:] if over else parts

    @property
    def more(self) -> bool:
        """Whether anything is left after the last run that was yielded."""
        return bool(self._after())

    @property
    def rest(self) -> list[Turn]:
        """Where a search would go on after the last run that was yielded, if ``more`` is left."""
        parts = self._after()
        search = Bounded(self._bound, states=0, path=parts[0].path if parts else ())
        if parts is self._parts:
            for _ in islice(_made(self._subject, search), self._taken):
                pass
        return search.path
