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
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import InputError, InternalError
from numaprobe.schedules.attempt import attempt
from numaprobe.schedules.batches import BATCH, Draw, attempted, batch
from numaprobe.schedules.bounded import Bounded
from numaprobe.schedules.chance import bound
from numaprobe.schedules.classes import class_order
from numaprobe.schedules.conductor import Repeat
from numaprobe.schedules.directed import Directed
from numaprobe.schedules.reduced import Reduced
from numaprobe.schedules.replay import write_schedule
from numaprobe.schedules.rest import KeptFinding, Rest, check_rest
from numaprobe.schedules.shorten import found_again, shortest
from numaprobe.schedules.tree import Tree
from numaprobe.virtual.loop import earlier_things_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numaprobe.schedules.attempt import Subject
    from numaprobe.schedules.batches import Attempted
    from numaprobe.schedules.classes import ClassCycle, ClassOrder
    from numaprobe.schedules.conductor import Strategy
    from numaprobe.schedules.limits import Limits
    from numaprobe.schedules.model import ChosenRun, ChosenStep, Ending

#: What is counted of a search, and kept of one that stops.
_COUNTED: Final = ("runs", "steps", "states", "actors", "longest", "exhaustive", "preemptions")
#: Seconds between two times at which it is kept what is left.
_KEEP_EVERY_S: Final = 20.0
#: Runs that are directed at a cycle of lock classes which the search has not closed.
_DIRECTED: Final = 100
#: From so many pre-emptions on, a search without a bound is reduced first.
_REDUCE_AFTER: Final = 2


@dataclass(slots=True, kw_only=True)
class Found:
    """An ending, and the shortest run seen that ends so."""

    ending: Ending
    schedule: str
    run: ChosenRun
    #: how many runs ended so; by which run it was found first
    times: int = 1
    first_run: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedCycle:
    """A cycle of lock classes: a claim, and its proof if there is one."""

    cycle: ClassCycle
    #: the schedule that deadlocks so; "": none is known
    schedule: str = ""
    #: runs that were directed at it, beyond those of the search
    directed: int = 0


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
    classes: list[ClaimedCycle] = field(default_factory=list)
    #: the machine does not see all that steps touch: nothing was reduced
    opaque: bool = False
    #: the one schedule that was run again (``once``); "": it was a search
    repeats: str = ""

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
    def over(self) -> bool:
        """Whether all was searched that was asked for: another search with more runs would add nothing."""
        bound = self.limits.preemptions
        return self.exhaustive or (bound is not None and self.preemptions is not None and self.preemptions >= bound)

    @property
    def too_large(self) -> bool:
        """Whether not even the orders without a pre-emption were all seen, though they were to be."""
        if self.repeats:
            return False
        return self.limits.strategy in ("dfs", "portfolio") and self.preemptions is None and not self.exhaustive

    @property
    def coverage(self) -> str:
        """What was covered, in words that claim no more."""
        if self.repeats:
            return "one schedule, run again"
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
        map: makes parts of the search: that of a process pool, in order; None: here. The result is the same.
        rest: what an earlier search has left.
        keep: called now and then, and at the end, with what is left.

    Raises:
        InputError: ``rest`` is of another subject, or of a search of another kind.

    """

    def __init__(
        self,
        subject: Subject,
        limits: Limits,
        progress: Callable[[int], object] | None = None,
        *,
        map: Callable[..., Iterable[Any]] | None = None,  # noqa: A002  it is what takes its place
        rest: Rest | None = None,
        keep: Callable[[Rest], object] | None = None,
    ) -> None:
        self._map = map
        self._subject = subject
        self._limits = limits
        self._progress = progress
        self._keep_rest = keep
        self._start = self._kept = time.monotonic()
        self.result = Explored(subject=subject.name, digest=subject.digest, limits=limits, opaque=subject.opaque)
        #: what is left, but for what was counted and found
        self._left: Callable[[], dict[str, Any]] = dict
        self._rest = rest
        if rest is not None:
            check_rest(rest, subject, limits)
        #: set it from anywhere: the search ends after the run under way
        self.stopped = False

    def explore(self) -> Explored:
        """Search, and shorten what was found.

        Raises:
            InputError: what is left does not fit the subject; or the subject cannot be run.

        """
        resumed = self._rest is not None
        with earlier_things_kept():
            try:
                self._search()
            except InternalError as error:
                if not resumed:
                    raise
                raise InputError(f"what is left does not fit {self.result.subject}: {error}") from None
            self._keep_now()
            self._tell()
        self.result.seconds = time.monotonic() - self._start
        return self.result

    def _search(self) -> None:
        limits = self._limits
        self._go_on()
        if limits.strategy in ("dfs", "portfolio"):
            budget = limits.runs if limits.strategy == "dfs" else limits.runs // 2
            self._depth_first(budget)
        if limits.strategy != "dfs" and not self.result.exhaustive and not self.stopped:
            self._by_chance()

    def _tell(self) -> None:
        """Shorten what was found, and look at lock classes."""
        for one in self.result.found.values():
            self._shorten(one)
        if self._limits.classes:
            seen = {one.schedule: one.ending for one in self.result.found.values()}
            order = class_order(self._subject, seen)
            self.result.classes = [self._claimed(order, cycle) for cycle in order.cycles()]

    def _shorten(self, one: Found) -> None:
        one.run = shortest(self._subject, one.run)
        one.ending = one.run.ending
        one.schedule = write_schedule(self.result.digest, one.run.choices)

    def _claimed(self, order: ClassOrder, cycle: ClassCycle) -> ClaimedCycle:
        """Return what is to be said of a cycle; where the search has not closed it, runs are directed at it."""
        seen = {one.schedule: one.ending for one in self.result.found.values()}
        schedule = order.proof(cycle, seen)
        if schedule or self.result.exhaustive:
            return ClaimedCycle(cycle=cycle, schedule=schedule)
        for number in range(1, _DIRECTED + 1):
            _, runs = attempt(self._subject, Directed(cycle, order.classes, number))
            for run in runs:
                if order.closes(cycle, run.ending):
                    found = Found(ending=run.ending, run=run, schedule="", first_run=self.result.runs + number)
                    self._shorten(found)
                    found = self.result.found.setdefault(run.ending.key, found)
                    return ClaimedCycle(cycle=cycle, schedule=found.schedule, directed=number)
        return ClaimedCycle(cycle=cycle, directed=_DIRECTED)

    def _spent(self, budget: int) -> bool:
        seconds = self._limits.seconds
        self._keep_now_and_then()
        return (
            self.stopped
            or self.result.runs >= budget
            or (seconds is not None and time.monotonic() - self._start >= seconds)
            or (self._limits.first and bool(self.result.findings))
        )

    # ---- dfs -------------------------------------------------------------------------------------------------------
    def _depth_first(self, budget: int) -> None:
        """Bound by bound; where steps can be exchanged the reduced search comes after the first pre-emption."""
        last = self._limits.preemptions
        preemptions = 0 if self._rest is None else self._rest.bound
        while not self.result.exhaustive and not self._spent(budget) and (last is None or preemptions <= last):
            rest, self._rest = self._rest, None
            if preemptions == _REDUCE_AFTER and not self._subject.opaque and last is None:
                closed = self._reduce(preemptions, budget, rest)
            else:
                closed = self._bounded(preemptions, budget, rest)
            if not closed:
                return
            preemptions += 1
            self._left = partial(dict, bound=preemptions)

    def _bounded(self, preemptions: int, budget: int, rest: Rest | None) -> bool:
        """Search to a bound; return False if the budget ended first."""
        path, cut = ([], False) if rest is None else (rest.path, rest.cut)
        if self._map is not None and self._subject.opaque:
            tree = Tree(self._subject, preemptions, self._map, path=path, cut=cut)
            closed = self._in_parts(tree, preemptions, budget)
            cut = tree.cut
        else:
            seen = {} if rest is None else {(state, turn): used for state, turn, used in rest.seen}
            search = Bounded(preemptions, states=self._limits.states, path=path, cut=cut, seen=seen)
            closed = self._one_by_one(search, preemptions, budget)
            cut = search.cut
        if closed:
            self.result.preemptions = preemptions
            self.result.exhaustive = not cut
        return closed

    def _in_parts(self, tree: Tree, preemptions: int, budget: int) -> bool:
        self._left = lambda: {"bound": preemptions, "path": tree.rest, "cut": tree.cut}
        for answer in tree:
            self._count(answer)
            if tree.more and self._spent(budget):
                return False
        return True

    def _one_by_one(self, search: Bounded, preemptions: int, budget: int) -> bool:
        def left() -> dict[str, Any]:
            seen = [(state, turn, used) for (state, turn), used in search.seen.items()]
            return {"bound": preemptions, "path": search.path, "cut": search.cut, "seen": seen}

        self._left = left
        while not search.over:
            if self._spent(budget):
                return False
            search.begin()
            search.end(self._one(search))
            self.result.states = max(self.result.states, search.known)
        return True

    def _reduce(self, preemptions: int, budget: int, rest: Rest | None) -> bool:
        """Search one order of each that differ; it may give up for a further bound."""
        reduced = None if rest is None else rest.reduced
        search = Reduced([turn.model_dump() for turn in reduced or ()])
        until = (self.result.runs + budget) // 2 if rest is None or reduced is None else rest.until
        self._left = lambda: {"bound": preemptions, "reduced": search.path, "until": until}
        while not search.over:
            if self._spent(min(until, budget)):
                return not self._spent(budget)
            search.begin()
            search.end(self._one(search))
        self.result.exhaustive = True
        return True

    # ---- by chance -------------------------------------------------------------------------------------------------
    def _by_chance(self) -> None:
        limits, rest = self._limits, self._rest
        drawn, length = (0, 0) if rest is None else (rest.drawn, rest.length)
        length = length or self.result.longest or len(self._one(Repeat({})))
        draw = Draw(limits.strategy, limits.seed, limits.depth, length)
        left = range(drawn + 1, drawn + limits.runs - self.result.runs + 1)
        batches = [left[start : start + BATCH] for start in range(0, len(left), BATCH)]
        count = drawn
        before = self._left()
        self._left = lambda: {**before, "drawn": count, "length": length}
        for answers in (self._map or builtins.map)(partial(batch, self._subject, draw), batches):
            for answer in answers:
                self._count(answer)
            count += len(answers)
            if self._spent(limits.runs):
                return

    # ---- stopping and going on -------------------------------------------------------------------------------------
    @property
    def rest(self) -> Rest:
        """What is left; what was found is not shortened yet."""
        result, limits = self.result, self._limits
        found = [
            KeptFinding(key=key, schedule=one.schedule, times=one.times, first_run=one.first_run)
            for key, one in result.found.items()
        ]
        counted: dict[str, Any] = {name: getattr(result, name) for name in _COUNTED}
        about: dict[str, Any] = {"strategy": limits.strategy, "seed": limits.seed, "depth": limits.depth}
        return Rest(subject=result.subject, digest=result.digest, found=found, **about, **counted, **self._left())

    def _keep_now(self) -> None:
        if self._keep_rest is not None:
            self._keep_rest(self.rest)
        self._kept = time.monotonic()

    def _keep_now_and_then(self) -> None:
        if self._keep_rest is not None and time.monotonic() - self._kept > _KEEP_EVERY_S:
            self._keep_now()

    def _go_on(self) -> None:
        """Take over what an earlier search counted and found."""
        rest = self._rest
        if rest is None:
            return
        for name in _COUNTED:
            setattr(self.result, name, getattr(rest, name))
        where = rest.model_dump(include={"bound", "path", "cut", "seen", "reduced", "until", "drawn", "length"})
        self._left = lambda: where
        for one in rest.found:
            run = found_again(self._subject, one)
            self.result.found[one.key] = Found(
                ending=run.ending, run=run, schedule=one.schedule, times=one.times, first_run=one.first_run
            )

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
