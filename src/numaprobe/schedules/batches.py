"""Runs by chance in batches, here or in other processes: what came of a run depends on its number alone.

A batch is what another process is sent and answers; what is answered of a run is small, unless it is the shortest of
its batch with such an ending. The batches are taken in their order, so that the result is the same for any number of
processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.schedules.attempt import attempt
from numaprobe.schedules.chance import Pct, Random
from numaprobe.virtual.loop import earlier_things_kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.schedules.attempt import Subject
    from numaprobe.schedules.conductor import Strategy
    from numaprobe.schedules.model import ChosenRun, ChosenStep

#: runs of a batch
BATCH: Final = 16


@dataclass(frozen=True, slots=True)
class Attempted:
    """What came of one run, as the search counts it."""

    #: all steps that were made, and who made some
    steps: int
    actors: int
    #: key of each ending, with the run if it is to be looked at
    endings: tuple[tuple[str, ChosenRun | None], ...]


@dataclass(frozen=True, slots=True)
class Draw:
    """Which strategies draw: ``pct``, ``random``, or both in turn (``portfolio``)."""

    strategy: str
    seed: int
    depth: int
    #: steps of a run, about
    length: int

    def of(self, number: int) -> Strategy:
        """Return the strategy of a run."""
        if self.strategy == "pct" or (self.strategy == "portfolio" and number % 2):
            return Pct(self.seed, number, depth=self.depth, length=self.length)
        return Random(self.seed, number)


def attempted(steps: Sequence[ChosenStep], runs: Sequence[ChosenRun]) -> Attempted:
    """Return what is counted of a run."""
    actors = len({step.actor for step in steps if not step.what})
    return Attempted(len(steps), actors, tuple((run.ending.key, run) for run in runs))


def batch(subject: Subject, draw: Draw, numbers: range) -> list[Attempted]:
    """Make these runs; in a worker, if there are some."""
    with earlier_things_kept():
        return list(shortest_alone(_made(subject, draw, numbers)))


def _made(subject: Subject, draw: Draw, numbers: range) -> Iterator[Attempted]:
    for number in numbers:
        conductor, runs = attempt(subject, draw.of(number))
        yield attempted(conductor.steps, runs)


def shortest_alone(answers: Iterator[Attempted]) -> Iterator[Attempted]:
    """Leave out runs that are not shorter than an earlier one of this batch with the same ending."""
    best: dict[str, tuple[int, int, int]] = {}
    for answer in answers:
        kept: list[tuple[str, ChosenRun | None]] = []
        for key, run in answer.endings:
            shorter = run is not None and (key not in best or run.size < best[key])
            if shorter and run is not None:
                best[key] = run.size
            kept.append((key, run if shorter else None))
        yield Attempted(answer.steps, answer.actors, tuple(kept))
