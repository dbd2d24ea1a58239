"""The search: runs a subject in one order after the other, and keeps what is worth telling.

*Findings* are endings that are wrong (``Verdict``), each once, and *outcomes* of the runs that are not, each once: more
than one is a race. For each the shortest schedule is kept (fewest pre-emptions, then fewest steps), and shortened at
the end (``shorten``).

Strategies: ``dfs`` searches every order with 0, 1, ... pre-emptions (``bounded``), then every order, one of each that
differ (``reduced``) where the machine sees all that steps touch; ``pct`` and ``random`` draw (``chance``);
``portfolio`` is dfs with half of the budget, then pct and random in turn.

"Every order" is said only if the space was closed. What a bounded search says is what it covered.
"""

from __future__ import annotations

import builtins
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from numaprobe.errors import UsageError
from numaprobe.schedules.attempt import attempt
from numaprobe.schedules.batches import BATCH, Draw, attempted, batch
from numaprobe.schedules.bounded import Bounded
from numaprobe.schedules.chance import bound
from numaprobe.schedules.classes import class_cycles
from numaprobe.schedules.conductor import Repeat
from numaprobe.schedules.reduced import Reduced
from numaprobe.schedules.replay import write_schedule
from numaprobe.schedules.shorten import shortest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numaprobe.schedules.attempt import Subject
    from numaprobe.schedules.batches import Attempted
    from numaprobe.schedules.classes import ClassCycle
    from numaprobe.schedules.conductor import Strategy
    from numaprobe.schedules.model import ChosenRun, ChosenStep, Ending

#: From so many pre-emptions on, a search without a bound is reduced first.
_REDUCE_AFTER: Final = 2
STRATEGIES: Final = ("dfs", "pct", "random", "portfolio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a search goes.

    Raises:
        UsageError: a number makes no sense.

    """

    strategy: str = "dfs"
    #: pre-emptions up to which dfs goes; None: as far as its budget lets it, and to a closed space if it can
    preemptions: int | None = None
    #: orders between steps that a bug needs, for pct
    depth: int = 3
    runs: int = 10_000
    seconds: float | None = None
    seed: int = 0
    #: states that are remembered at most
    states: int = 1_000_000
    #: stop at the first finding
    first: bool = False
    #: look at lock classes too
    classes: bool = False

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise UsageError(f"unknown strategy '{self.strategy[:40]}': known: {', '.join(STRATEGIES)}")
        for name, least in (("preemptions", 0), ("depth", 1), ("runs", 1), ("states", 0)):
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise UsageError(f"--{name} {getattr(self, name)}: it is {least} or more")


@dataclass(slots=True, kw_only=True)
class Found:
    """An ending, and the shortest run seen that ends so."""

    ending: Ending
    schedule: str
    run: ChosenRun
    #: how many runs ended so; by which run it was found first
    times: int = 1
    first_run: int = 0


@dataclass(slots=True, kw_only=True)
class Explored:
    """What a search found, and what it covered."""

    subject: str
    digest: str
    limits: Limits
    #: wrong endings and outcomes, by their keys, in the order of finding
    found: dict[str, Found] = field(default_factory=dict)
    #: runs that were made
    runs: int = 0
    steps: int = 0
    #: states that are remembered
    states: int = 0
    seconds: float = 0.0
    #: number of actors and of steps in the longest run
    actors: int = 0
    longest: int = 0
    #: every order was seen
    exhaustive: bool = False
    #: every order with at most so many pre-emptions was seen; None: not even with none
    preemptions: int | None = None
    #: cycles in the order of lock classes, and what the search has to say of each
    classes: list[tuple[ClassCycle, str]] = field(default_factory=list)
    #: the machine does not see all that steps touch: nothing was reduced
    opaque: bool = False

    @property
    def findings(self) -> list[Found]:
        """What is wrong, in the order of finding."""
        return [one for one in self.found.values() if one.ending.wrong]

    @property
    def outcomes(self) -> list[Found]:
        """What came of the runs in which nothing is wrong: more than one is a race."""
        return [one for one in self.found.values() if not one.ending.wrong]

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong and there is one outcome at most."""
        return not self.findings and len(self.outcomes) <= 1

    @property
    def coverage(self) -> str:
        """What was covered, in words that claim no more."""
        counts = f"{self.runs} schedules"
        if self.exhaustive:
            return f"exhaustive: every order of this subject, in {counts}"
        if self.limits.strategy == "pct":
            least = bound(self.actors, self.longest, self.limits.depth)
            miss = (1 - least) ** self.runs
            return (
                f"pct: {counts}; a bug of depth {self.limits.depth} is met with {least:.2g} or more a run"
                f" ({self.actors} actors, {self.longest} steps), missed by all with {miss:.2g} at most"
            )
        if self.limits.strategy == "random":
            return f"random: {counts}; nothing is proved"
        if self.preemptions is None:
            return f"bounded: {counts}; not even every order without a pre-emption was seen"
        return f"bounded: every order with at most {self.preemptions} pre-emptions, in {counts}; more is left"


class Search:
    """One search.

    Args:
        subject: what is explored.
        limits: how far.
        progress: called after each run with the number of runs.
        map: makes the batches of pct and random: that of a process pool, in order; the result is the same.

    """

    def __init__(
        self,
        subject: Subject,
        limits: Limits,
        progress: Callable[[int], object] | None = None,
        *,
        map: Callable[..., Iterable[list[Attempted]]] = builtins.map,  # noqa: A002  it is what takes its place
    ) -> None:
        self._map = map
        self._subject = subject
        self._limits = limits
        self._progress = progress
        self._start = time.monotonic()
        self.result = Explored(subject=subject.name, digest=subject.digest, limits=limits, opaque=subject.opaque)

    def explore(self) -> Explored:
        """Search, and shorten what was found."""
        limits = self._limits
        if limits.strategy in ("dfs", "portfolio"):
            budget = limits.runs if limits.strategy == "dfs" else limits.runs // 2
            self._depth_first(budget)
        if limits.strategy != "dfs" and not self.result.exhaustive:
            self._by_chance()
        for one in self.result.found.values():
            one.run = shortest(self._subject, one.run)
            one.ending = one.run.ending
            one.schedule = write_schedule(self.result.digest, one.run.choices)
        if limits.classes:
            seen = {one.schedule: one.ending for one in self.result.found.values()}
            self.result.classes = class_cycles(self._subject, seen)
        self.result.seconds = time.monotonic() - self._start
        return self.result

    def _spent(self, budget: int) -> bool:
        seconds = self._limits.seconds
        return (
            self.result.runs >= budget
            or (seconds is not None and time.monotonic() - self._start >= seconds)
            or (self._limits.first and bool(self.result.findings))
        )

    # ---- dfs -------------------------------------------------------------------------------------------------------
    def _depth_first(self, budget: int) -> None:
        """Bound by bound; where steps can be exchanged the reduced search comes after the first pre-emption."""
        last = self._limits.preemptions
        preemptions = 0
        while not self.result.exhaustive and not self._spent(budget) and (last is None or preemptions <= last):
            if preemptions == _REDUCE_AFTER and not self._subject.opaque and last is None:
                self._reduce((self.result.runs + budget) // 2)
            else:
                self._bounded(preemptions, budget)
            preemptions += 1

    def _bounded(self, preemptions: int, budget: int) -> None:
        search = Bounded(preemptions, states=self._limits.states)
        while not search.over:
            if self._spent(budget):
                return
            search.begin()
            search.end(self._one(search))
            self.result.states = max(self.result.states, search.known)
        self.result.preemptions = preemptions
        self.result.exhaustive = not search.cut

    def _reduce(self, budget: int) -> None:
        search = Reduced()
        while not search.over:
            if self._spent(budget):
                return
            search.begin()
            search.end(self._one(search))
        self.result.exhaustive = True

    # ---- by chance -------------------------------------------------------------------------------------------------
    def _by_chance(self) -> None:
        limits = self._limits
        length = self.result.longest or len(self._one(Repeat({})))
        draw = Draw(limits.strategy, limits.seed, limits.depth, length)
        left = range(1, limits.runs - self.result.runs + 1)
        batches = [left[start : start + BATCH] for start in range(0, len(left), BATCH)]
        for answers in self._map(partial(batch, self._subject, draw), batches):
            for answer in answers:
                self._count(answer)
            if self._spent(limits.runs):
                return

    # ---- one run ---------------------------------------------------------------------------------------------------
    def _one(self, strategy: Strategy) -> list[ChosenStep]:
        """Run once, and take note of how it ended; return all steps that were made."""
        conductor, runs = attempt(self._subject, strategy)
        self._count(attempted(conductor.steps, runs))
        return conductor.steps

    def _count(self, answer: Attempted) -> None:
        result = self.result
        result.runs += 1
        result.steps += answer.steps
        result.longest = max(result.longest, answer.steps)
        result.actors = max(result.actors, answer.actors)
        if self._progress is not None:
            self._progress(result.runs)
        for key, run in answer.endings:
            self._keep(key, run)

    def _keep(self, key: str, run: ChosenRun | None) -> None:
        result = self.result
        known = result.found.get(key)
        if known is None and run is not None:
            result.found[key] = Found(
                ending=run.ending,
                run=run,
                schedule=write_schedule(result.digest, run.choices),
                first_run=result.runs,
            )
            return
        if known is not None:
            known.times += 1
        if known is not None and run is not None and run.size < known.run.size:
            known.ending, known.run = run.ending, run
            known.schedule = write_schedule(result.digest, run.choices)
