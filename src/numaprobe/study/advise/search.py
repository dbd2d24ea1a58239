"""The search: every selection where there are few, else step by step, until the time is over.

What is best is said once, for all selections that were run (``pick``). First comes time: the makespan under the reading
that is worst for the selection, with ``STEP`` of the time in which probes are under way on top for each choice, since
each is a line that somebody has to write, explain and keep. Then comes place: of all that are within one step of that,
the one with the fewest probes off their devices' node; the virtual machine charges nothing for remote memory, so that
place is not in time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numaprobe.study.advise.choices import Choice, Selection
    from numaprobe.study.advise.trials import Trial, Trials

#: What a choice has to bring to be worth a line, as a share of the time in which some probe of the base is under way.
STEP: Final = 0.01
#: Up to so many selections are all run, if half of the time is enough for them.
MAX_EXHAUSTIVE: Final = 1024
#: Of a search step by step: so many selections of what helped on the way.
_MAX_REFINED: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """How far a search came."""

    #: every selection was run
    exhaustive: bool
    #: the time was over first
    timed_out: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchProgress:
    """How far a search is."""

    runs: int
    #: selections that will be run; None: not known, it goes step by step
    total: int | None
    #: the best so far
    best: Trial


def pick(base: Trial, trials: Iterable[Trial], *, hopeful: bool = False) -> Trial:
    """Return the best of some trials; the base if none is better.

    Args:
        base: what they are compared with; it is one of them.
        trials: any; broken ones are passed over.
        hopeful: go by the reading that is best for each, and not by the worst.

    """
    step = base.worth(STEP)
    whole = [base, *(trial for trial in trials if not trial.broken)]

    def spent(trial: Trial) -> int:
        return -trial.gain(base)[1 if hopeful else 0]

    first = min(whole, key=lambda trial: (spent(trial) + step * len(trial.selection), trial.remote, trial.selection))
    near = [trial for trial in whole if spent(trial) <= spent(first) + step]
    best = min(near, key=lambda trial: (trial.remote, len(trial.selection), spent(trial), trial.selection))
    return best if best.remote < first.remote else first


def search(
    trials: Trials,
    slots: Mapping[str, Sequence[Choice]],
    *,
    deadline: float,
    progress: Callable[[SearchProgress], object] | None = None,
) -> Searched:
    """Run selections of these slots; what they come to is kept in ``trials``.

    Args:
        trials: runs them.
        slots: choices that exclude each other.
        deadline: of ``time.monotonic``; no run begins after it.
        progress: called before each run.

    """
    budget = _Budget(trials, deadline, progress)
    ordered = [list(choices) for choices in slots.values() if choices]
    count = prod(len(choices) + 1 for choices in ordered)
    if count <= MAX_EXHAUSTIVE and 2 * count * trials.seconds <= deadline - time.monotonic():
        todo = sorted(_all(ordered), key=len)
        return Searched(exhaustive=budget.run_all(todo, len(todo)), timed_out=budget.is_over)
    _step_by_step(budget, ordered)
    return Searched(exhaustive=False, timed_out=budget.is_over)


class _Budget:
    """Runs selections while there is time."""

    def __init__(self, trials: Trials, deadline: float, progress: Callable[[SearchProgress], object] | None) -> None:
        self.trials = trials
        self._deadline = deadline
        self._progress = progress
        self.is_over = False

    def run_all(self, selections: Iterable[Selection], total: int | None = None) -> bool:
        """Run these; return whether there was time for all of them."""
        for selection in selections:
            if self.trials.knows(selection):
                continue
            if time.monotonic() >= self._deadline:
                self.is_over = True
                return False
            if self._progress is not None:
                best = pick(self.trials.base, self.trials.all())
                self._progress(SearchProgress(runs=self.trials.runs, total=total, best=best))
            self.trials.run(selection)
        return True

    def best(self, *, hopeful: bool) -> Trial:
        """Return the best of all that was run."""
        return pick(self.trials.base, self.trials.all(), hopeful=hopeful)


def _all(slots: Sequence[Sequence[Choice]]) -> Iterator[Selection]:
    for chosen in product(*([None, *choices] for choices in slots)):
        yield tuple(sorted(choice for choice in chosen if choice is not None))


def _step_by_step(budget: _Budget, slots: Sequence[Sequence[Choice]]) -> None:
    """Take the step that helps most until none does, then try all of what was found useful on the way.

    Twice: once by the reading that is worst for each selection and once by the one that is best, since either may be
    asked for.
    """
    useful: list[list[Choice]] = []
    for hopeful in (False, True):
        at: Selection = ()
        while budget.run_all(_neighbours(at, slots)):
            best = budget.best(hopeful=hopeful).selection
            if best == at:
                break
            at = best
        if budget.is_over:
            return
    base = budget.trials.base
    for choices in slots:
        good = [
            choice
            for choice in choices
            if (trial := budget.trials.run((choice,))).gain(base)[1] > 0 or trial.remote < base.remote
        ]
        if good:
            useful.append(good)
    while prod(len(choices) + 1 for choices in useful) > _MAX_REFINED:
        useful.remove(min(useful, key=lambda good: max(budget.trials.run((one,)).gain(base)[1] for one in good)))
    budget.run_all(sorted(_all(useful), key=len))


def _neighbours(at: Selection, slots: Sequence[Sequence[Choice]]) -> Iterator[Selection]:
    """Yield the selections that differ in one slot."""
    for choices in slots:
        kept = tuple(choice for choice in at if choice not in choices)
        if kept != at:
            yield kept
        for choice in choices:
            yield tuple(sorted((*kept, choice)))
