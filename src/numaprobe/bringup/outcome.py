"""What became of a plan: one outcome for each change, with what was seen of its write from the outside.

The outside is the task that wrote: where it was, how long the kernel kept it, how much of that it ran. Where the
*probe* ran the kernel alone knows (``record``): a bus may probe in the writer's task or queue the probe elsewhere.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from numaprobe.bringup.steps import JournalStep

if TYPE_CHECKING:
    from numaprobe.bringup.plan import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenWrite:
    """The write that probed, as its writer saw it."""

    #: CLOCK_MONOTONIC, ns
    start_ns: int
    end_ns: int
    #: where the writer was before and after, and its name
    cpu: int
    cpu_after: int
    comm: str
    #: of the time between: on a CPU itself, ns
    running_ns: int


@dataclass(slots=True)
class ChangeOutcome:
    """What became of one change.

    Attributes:
        change: which.
        step: where the journal has it; None: not begun yet.
        result: "0", or the errno's name that the kernel answered with; None: nothing was written.
        driver: what it is bound to now, as its link says.
        sentence: what there is to say about it; empty if all is as asked.
        seen: the write that probed; None if there was none, or it has not come back.
        was_late: it took longer than its deadline.

    """

    change: Change
    step: JournalStep | None = None
    result: str | None = None
    driver: str | None = None
    sentence: str = ""
    seen: SeenWrite | None = None
    was_late: bool = False

    @property
    def is_as_asked(self) -> bool:
        """Whether the device is as the plan wants it."""
        return self.step is JournalStep.VERIFIED


@dataclass(slots=True)
class Report:
    """What became of a plan."""

    run: str
    outcomes: list[ChangeOutcome] = field(default_factory=list)
    #: Ctrl-C, or a signal, came before all was begun
    interrupted: bool = False
    #: CLOCK_MONOTONIC, ns: the first write begins, the last has come back
    start_ns: int = 0
    end_ns: int = 0
    #: CLOCK_BOOTTIME, ns: when it is all undone unless it is confirmed; None: it stays
    waits_until_ns: int | None = None
    #: lines for people: pins that were refused, a journal that could not be written
    warnings: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """What is not as asked, one line each."""
        return [sentence_of(one) for one in self.outcomes if not one.is_as_asked]


def key_of(change: Change) -> str:
    """Return what a journal calls a change: a plan has no two of one action and device."""
    return f"{change.action} {change.bus}/{change.name}"


def sentence_of(outcome: ChangeOutcome) -> str:
    """Return one line about a change that is not as asked."""
    what = key_of(outcome.change)
    return f"{what}: {outcome.sentence}" if outcome.sentence else f"{what}: {outcome.step or 'not begun'}"


def errno_name(error: OSError) -> str:
    """Return the name of an error that the kernel answered with."""
    return errno.errorcode.get(error.errno or 0, "EIO")
