"""The steps that a journal knows, and which may follow which: one table for a change, one for a run.

::

    intent ─→ done ─→ verified            as asked
       │       │         └──→ undone      taken back: a try that nobody confirmed, the first half of a pair
       │       └→ failed ─→ undone        as before
       │           └──────→ left          neither; the line says what there is, and what to do
       ├─→ refused                        in use by now, or not begun any more: nothing was written
       ├─→ undone, verified, left         found by a later run, which had to look
       └─→ late ─→ any of the ends        past its deadline, and still in the kernel

A step that the table does not have is refused, and nothing is written. Reading takes every line as it is: a journal is
evidence, and evidence is not corrected.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class JournalStep(StrEnum):
    """What a line of a journal says."""

    # ---- a run
    #: a run began: who, when, what was asked
    BEGIN = "begin"
    #: all changes are over; those of a try wait for a word
    WAITING = "waiting"
    #: the word came: the changes stay
    CONFIRMED = "confirmed"
    #: the run is over
    END = "end"
    #: a later run found this one unfinished, and closed it
    CLOSED = "closed"

    # ---- one change of a run
    #: what is to be done, and what there was before; on the disk before anything is written to the kernel
    INTENT = "intent"
    #: the kernel took the write
    DONE = "done"
    #: the driver link says so, too, and the override is as it was
    VERIFIED = "verified"
    #: the kernel refused, or the driver link says something else
    FAILED = "failed"
    #: the write has not come back within its deadline
    LATE = "late"
    #: in use since the plan was made, or not begun any more: nothing was written
    REFUSED = "refused"
    #: driver and override are as they were before
    UNDONE = "undone"
    #: left as it is: neither as before nor as asked; the line says what there is
    LEFT = "left"


#: steps of a run, each with those that may follow
RUN_STEPS: Final[dict[JournalStep | None, frozenset[JournalStep]]] = {
    None: frozenset({JournalStep.BEGIN}),
    JournalStep.BEGIN: frozenset({JournalStep.WAITING, JournalStep.END, JournalStep.CLOSED}),
    JournalStep.WAITING: frozenset({JournalStep.CONFIRMED, JournalStep.END, JournalStep.CLOSED}),
    JournalStep.CONFIRMED: frozenset({JournalStep.END, JournalStep.CLOSED}),
    JournalStep.END: frozenset(),
    JournalStep.CLOSED: frozenset(),
}

_ENDS: Final = frozenset({JournalStep.VERIFIED, JournalStep.UNDONE, JournalStep.LEFT})
#: steps of a change, each with those that may follow
CHANGE_STEPS: Final[dict[JournalStep | None, frozenset[JournalStep]]] = {
    None: frozenset({JournalStep.INTENT}),
    JournalStep.INTENT: _ENDS | {JournalStep.DONE, JournalStep.FAILED, JournalStep.LATE, JournalStep.REFUSED},
    JournalStep.DONE: _ENDS | {JournalStep.FAILED, JournalStep.LATE},
    JournalStep.FAILED: _ENDS | {JournalStep.LATE},
    JournalStep.LATE: _ENDS | {JournalStep.DONE, JournalStep.FAILED},
    JournalStep.VERIFIED: frozenset({JournalStep.UNDONE, JournalStep.LEFT}),
    JournalStep.REFUSED: frozenset(),
    JournalStep.UNDONE: frozenset(),
    JournalStep.LEFT: frozenset({JournalStep.VERIFIED, JournalStep.UNDONE, JournalStep.LEFT}),
}

#: a change that is here needs nobody any more
SETTLED: Final = frozenset({JournalStep.VERIFIED, JournalStep.UNDONE, JournalStep.REFUSED, JournalStep.LEFT})
#: a run that is here needs nobody any more
OVER: Final = frozenset({JournalStep.END, JournalStep.CLOSED})
