"""A found schedule made shorter: fewest pre-emptions, then fewest steps, then fewest choices of its own.

First every choice that is not the machine's own is taken back, one after the other, as long as the run ends the same.
Then the orders with fewer pre-emptions than are left are searched for one that ends the same, up to a number of runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.schedules.attempt import attempt
from numaprobe.schedules.bounded import Bounded
from numaprobe.schedules.conductor import Repeat
from numaprobe.schedules.replay import read_schedule

if TYPE_CHECKING:
    from numaprobe.schedules.attempt import Subject
    from numaprobe.schedules.model import ChosenRun
    from numaprobe.schedules.rest import KeptFinding

#: Runs that may be spent on searching with fewer pre-emptions.
_SEARCH: Final = 100
#: Rounds of taking choices back.
_ROUNDS: Final = 4


class _GoingOn(Repeat):
    """Repeats a schedule beyond findings, as the search did that made it."""

    keeps_going = True


class _Leniently(Repeat):
    """Repeats choices as far as they are there: what a changed run no longer has is the last that it has."""

    def _next(self, count: int) -> int:
        return min(super()._next(count), count - 1)


def found_again(subject: Subject, kept: KeptFinding) -> ChosenRun:
    """Return the run that a search kept as a schedule.

    Raises:
        InputError: the schedule does not end so.

    """
    strategy = _GoingOn(read_schedule(kept.schedule, subject.digest))
    for run in attempt(subject, strategy)[1]:
        if run.ending.key == kept.key:
            return run
    raise InputError(f"schedule {kept.schedule[:40]} of what is left does not end as it says: begin again")


def shortest(subject: Subject, run: ChosenRun) -> ChosenRun:
    """Return the shortest run found that ends as this one does."""
    for _ in range(_ROUNDS):
        shorter = _with_less(subject, run)
        if shorter is run:
            break
        run = shorter
    return _with_fewer_preemptions(subject, run)


def _with_less(subject: Subject, run: ChosenRun) -> ChosenRun:
    for position in [number for number, index in enumerate(run.choices) if index]:
        changes = {number: index for number, index in enumerate(run.choices) if index and number != position}
        for found in attempt(subject, _Leniently(changes))[1]:
            if found.ending.key == run.ending.key and found.size < run.size:
                return _with_less(subject, found)
    return run


def _with_fewer_preemptions(subject: Subject, run: ChosenRun) -> ChosenRun:
    spent = 0
    for preemptions in range(run.preemptions):
        search = Bounded(preemptions)
        while not search.over and spent < _SEARCH:
            search.begin()
            conductor, runs = attempt(subject, search)
            search.end(conductor.steps)
            spent += 1
            for found in runs:
                if found.ending.key == run.ending.key:
                    return found
    return run
