"""One run under a strategy, and what can be run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from numaprobe.schedules.conductor import Conductor, Stopped
from numaprobe.schedules.model import ChosenRun

if TYPE_CHECKING:
    from numaprobe.schedules.conductor import Strategy
    from numaprobe.schedules.model import Ending


class Subject(Protocol):
    """What is run again and again: a scenario under a policy, or a user's test."""

    @property
    def name(self) -> str:
        """For headings."""
        ...

    @property
    def digest(self) -> str:
        """Eight letters: a schedule is of one subject alone."""
        ...

    @property
    def opaque(self) -> bool:
        """Whether its steps may touch what no machine sees: then no two steps can be exchanged."""
        ...

    @property
    def patience(self) -> int | None:
        """How many steps a task may be passed over, before that is a finding; None: any number."""
        ...

    def run(self, conductor: Conductor) -> Ending:
        """Run it once, in the order that ``conductor`` wants."""
        ...


def attempt(subject: Subject, strategy: Strategy) -> tuple[Conductor, list[ChosenRun]]:
    """Run once: the conductor with all steps, and the run; none if it was given up as nothing new could come.

    A run ends where its finding was made, though the conductor may have gone on: then to further findings, each of
    which is a run too.
    """
    keeps_going = getattr(strategy, "keeps_going", False)
    conductor = Conductor(strategy, opaque=subject.opaque, patience=subject.patience, keeps_going=keeps_going)
    ending: Ending | None
    try:
        ending = subject.run(conductor)
    except Stopped:  # given up
        ending = None
    steps, labels = conductor.steps, dict(conductor.labels)
    runs = [ChosenRun(steps[:length], found, labels) for found, length in conductor.found]
    return conductor, runs or ([] if ending is None else [ChosenRun(steps, ending, labels)])
