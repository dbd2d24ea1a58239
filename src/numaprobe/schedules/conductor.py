"""The chooser of one run: asks a strategy, writes down every step, and says when a cycle of waits closes.

A conductor serves one run. What it raises when the run must not go on is a ``BaseException``, so that no body of a
user's takes it for an outcome of its own; it is raised between two steps, where no task's code is running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from numaprobe.errors import DeadlockError, InputError
from numaprobe.schedules.model import ChosenStep, Ending, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: What a step touches that can be exchanged with no other.
EVERYTHING: Final = "everything"
#: Steps after which a run is taken for one that never ends.
MAX_STEPS: Final = 20_000


class Stopped(BaseException):
    """The run must not go on: here is how it ends.

    Attributes:
        ending: how it ends; None: it was given up, as all that follows has been seen.

    """

    def __init__(self, ending: Ending | None) -> None:
        self.ending = ending
        super().__init__(ending)


class Strategy(Protocol):
    """Chooses. ``steps`` holds those that are over; what they touched is known."""

    def choose(self, steps: Sequence[ChosenStep], actors: Sequence[str], *, goes_on: bool) -> int:
        """Return who goes on; see ``runtime.choice.Chooser``."""
        ...

    def decide(self, steps: Sequence[ChosenStep], what: str, count: int) -> int:
        """Return what happens."""
        ...


class Conductor:
    """See the module's text.

    Args:
        strategy: who decides.
        opaque: every step counts as touching what others touch.
        max_steps: when a run is taken for endless.
        patience: how many steps one may be passed over who could take them, before that is a finding; None: any number.
        keeps_going: a run goes on after a finding, as far as it can: its other tasks may matter to the search.
        repeats: one is repeated that a search has found: what ended it there is noted here, and the run goes on to an
            end that a trace can hold.

    Attributes:
        found: how the run ended, and after how many steps, each time that it went on after that.
        steps: all so far; the last one may be under way.
        labels: name of actor -> what people read.
        listener: told of each note: actor, its label, verb, what.
        class_of: name of lock -> name of its class.
        watch: looks at the tasks that wait, after each step: how the run ends, or None.

    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        opaque: bool = False,
        max_steps: int = MAX_STEPS,
        patience: int | None = None,
        keeps_going: bool = False,
        repeats: bool = False,
    ) -> None:
        self.steps: list[ChosenStep] = []
        self.found: list[tuple[Ending, int]] = []
        self._wrong: Ending | None = None
        self._keeps_going = keeps_going
        self._repeats = repeats
        self.labels: Mapping[str, str] = {}
        self.class_of: Callable[[str], str] = str
        self.watch: Callable[[Mapping[Any, object]], Ending | None] = lambda _: None
        self.listener: Callable[[str, str, str, str], object] | None = None
        self._strategy = strategy
        self._opaque = opaque
        self._max_steps = max_steps
        self._patience = patience
        #: who can go on now -> the step since when, without having taken one
        self._able_since: dict[str, int] = {}
        self._current: ChosenStep | None = None

    # ---- runtime.choice.Chooser ------------------------------------------------------------------------------------
    def choose(self, actors: Sequence[str], *, goes_on: bool) -> int:
        """Ask the strategy.

        Raises:
            Stopped: the run never ends, or a task starves.
            DeadlockError: so does one that is repeated, and never ends.

        """
        if len(self.steps) >= self._max_steps:
            ending = self._endless()
            self._end_with(ending)
            raise DeadlockError([ending.text])
        names = tuple(actors)
        if self._patience is not None:
            self._look_for_starved(names, self._patience)
        index = self._strategy.choose(self.steps, names, goes_on=goes_on)
        if not 0 <= index < len(names):
            raise InputError(
                f"schedule: it wants number {index} of {len(names)} at step {len(self.steps)}: explore again"
            )
        self._current = ChosenStep(names, index, goes_on)
        self.steps.append(self._current)
        if self._opaque:
            self.touch(EVERYTHING)
        return index

    def _look_for_starved(self, names: tuple[str, ...], patience: int) -> None:
        """End the run if one of these could have taken each of the last ``patience`` steps, and took none."""
        now = len(self.steps)
        last = self.steps[-1].actor if self.steps else ""
        self._able_since = {name: now if name == last else self._able_since.get(name, now) for name in names}
        for name, since in self._able_since.items():
            if now - since >= patience:
                self._end_with(self._starved(name, patience))

    def _end_with(self, ending: Ending) -> None:
        """End the run; of one that is repeated, note that it was to end here."""
        if not self._repeats:
            raise Stopped(ending)
        self._note_found(ending)

    def _note_found(self, ending: Ending) -> None:
        if all(known.key != ending.key for known, _ in self.found):
            self.found.append((ending, len(self.steps)))

    def _endless(self) -> Ending:
        """Return how a run ends that does not: somebody who could have ended it was not let, or nobody could."""
        recent = [set(step.actors) - {step.actor} for step in self.steps[len(self.steps) // 2 :] if not step.what]
        passed_over = set.intersection(*recent) if recent else set()
        if passed_over:
            return self._starved(min(passed_over), len(recent))
        text = f"no end after {self._max_steps} steps"
        return Ending(verdict=Verdict.LIVELOCK, key="no end", text=text)

    def _starved(self, name: str, steps: int) -> Ending:
        since = [step for step in self.steps[-steps:] if not step.what]
        others = ", ".join(sorted({self.labels.get(step.actor, step.actor) for step in since})[:3])
        label = self.labels.get(name, name)
        text = f"{label} could go on for {steps} steps and did not, while {others} did"
        return Ending(verdict=Verdict.STARVATION, key=f"starvation: {label}", text=text)

    def decide(self, what: str, count: int) -> int:
        """Ask the strategy."""
        index = self._strategy.decide(self.steps, what, count)
        if not 0 <= index < count:
            raise InputError(f"schedule: it wants number {index} of {count} for {what}: explore again")
        actor = self._current.actor if self._current is not None else ""
        self.touch(EVERYTHING)  # what the rest of the step touches depends on it
        self.steps.append(ChosenStep(tuple(f"{actor}?{number}" for number in range(count)), index, what=what))
        return index

    def touch(self, thing: str, *, change: bool = True) -> None:
        """Write it down."""
        if self._current is not None:
            touched = self._current.touched
            touched[thing] = change or touched.get(thing, False)

    def stepped(self, blocked: Mapping[Any, object]) -> None:
        """See whether a cycle has closed."""
        self._current = None
        ending = self.watch(blocked)
        ending, self._wrong = self._wrong or ending, None
        if ending is None:
            return
        if not self._keeps_going:
            raise Stopped(ending)
        self._note_found(ending)

    def wrong(self, verdict: str, text: str) -> None:
        """Write it down; the run ends after this step."""
        self._wrong = Ending(verdict=Verdict(verdict), key=f"{verdict}: {text}", text=text)

    def note(self, verb: str, what: str) -> None:
        """Write it down."""
        if self._current is not None:
            self._current.notes.append((verb, what))
            if self.listener is not None:
                actor = self._current.actor
                self.listener(actor, self.labels.get(actor, actor), verb, what)


class Repeat:
    """The strategy that repeats a schedule: what it does not name goes in the machine's own order."""

    def __init__(self, changes: Mapping[int, int]) -> None:
        self._changes = dict(changes)
        self._position = 0

    def _next(self, count: int) -> int:
        if count == 1:
            return 0
        index = self._changes.pop(self._position, 0)
        self._position += 1
        return index

    def choose(self, steps: Sequence[ChosenStep], actors: Sequence[str], *, goes_on: bool) -> int:  # noqa: ARG002
        """Return what the schedule says."""
        return self._next(len(actors))

    def decide(self, steps: Sequence[ChosenStep], what: str, count: int) -> int:  # noqa: ARG002  as above
        """Return what the schedule says."""
        return self._next(count)

    @property
    def left(self) -> int:
        """How many of its choices never came."""
        return len(self._changes)
