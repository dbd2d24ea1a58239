"""What a run under chosen order is: its steps, what was chosen, how it ended.

Everything here is plain data, and travels between processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """How a run ended."""

    #: nothing is wrong; its outcome may differ from another run's
    DONE = "done"
    #: tasks wait for each other in a cycle, told when it closes
    DEADLOCK = "deadlock"
    #: nothing can run, and a work that was queued is not taken (limits), or nobody is there who ends a wait
    STALL = "stall"
    #: steps without end
    LIVELOCK = "livelock"
    #: a task could go on for so many steps, and others did
    STARVATION = "starvation"
    #: something was used after its end
    USE_AFTER_END = "use-after-end"
    #: a promise of the core or the machine is broken
    INVARIANT = "invariant"
    #: the subject's own code raised
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One task of a cycle of waits."""

    task: str
    #: what it waits for, in words
    waits_for: str
    #: who would have to go on first, by name of task
    behind: tuple[str, ...]
    #: where it waits: functions, innermost first, with file and line
    stack: tuple[str, ...] = ()
    #: the locks that it holds
    holds: tuple[str, ...] = ()
    #: what happened to the device that it works for, oldest first
    story: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended, and what came of it."""

    verdict: Verdict
    #: what makes two endings the same one: never times, never numbers of workers
    key: str
    #: one line for people
    text: str
    #: of a run that is done: what came of it, in lines that two runs can be compared by
    outcome: tuple[str, ...] = ()
    #: of a deadlock: who waits for whom, each for the next
    cycle: tuple[Party, ...] = ()

    @property
    def wrong(self) -> bool:
        """Whether this alone is a finding."""
        return self.verdict is not Verdict.DONE


@dataclass(slots=True)
class ChosenStep:
    """One step of a run, or one choice that is no order.

    Attributes:
        actors: who could go on; of a choice that is no order, the numbers of what could happen.
        index: which of them did.
        goes_on: the first of them took the last step and could go on: another one is a pre-emption.
        touched: thing -> whether the step changed it (or only looked at it).
        what: of a choice that is no order: what was chosen.
        notes: what the step did, for people: ("takes", the lock's name).

    """

    actors: tuple[str, ...]
    index: int
    goes_on: bool = False
    touched: dict[str, bool] = field(default_factory=dict)
    what: str = ""
    notes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def actor(self) -> str:
        """Who took it."""
        return self.actors[self.index]

    @property
    def preempts(self) -> bool:
        """Whether it took the turn from one that could go on."""
        return self.goes_on and self.index > 0


@dataclass(slots=True)
class ChosenRun:
    """A run that is over."""

    steps: list[ChosenStep]
    ending: Ending
    #: name of actor -> what people read
    labels: dict[str, str]

    @property
    def preemptions(self) -> int:
        """How often one that could go on was held up."""
        return sum(step.preempts for step in self.steps)

    @property
    def choices(self) -> list[int]:
        """What was chosen wherever there was a choice."""
        return [step.index for step in self.steps if len(step.actors) > 1]

    @property
    def size(self) -> tuple[int, int, int]:
        """What makes a schedule long: pre-emptions, steps, choices that are not the first."""
        return self.preemptions, len(self.steps), sum(map(bool, self.choices))
