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


class Step(StrEnum):
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
RUN_STEPS: Final[dict[Step | None, frozenset[Step]]] = {
    None: frozenset({Step.BEGIN}),
    Step.BEGIN: frozenset({Step.WAITING, Step.END, Step.CLOSED}),
    Step.WAITING: frozenset({Step.CONFIRMED, Step.END, Step.CLOSED}),
    Step.CONFIRMED: frozenset({Step.END, Step.CLOSED}),
    Step.END: frozenset(),
    Step.CLOSED: frozenset(),
}

_ENDS: Final = frozenset({Step.VERIFIED, Step.UNDONE, Step.LEFT})
#: steps of a change, each with those that may follow
CHANGE_STEPS: Final[dict[Step | None, frozenset[Step]]] = {
    None: frozenset({Step.INTENT}),
    Step.INTENT: _ENDS | {Step.DONE, Step.FAILED, Step.LATE, Step.REFUSED},
    Step.DONE: _ENDS | {Step.FAILED, Step.LATE},
    Step.FAILED: _ENDS | {Step.LATE},
    Step.LATE: _ENDS | {Step.DONE, Step.FAILED},
    Step.VERIFIED: frozenset({Step.UNDONE, Step.LEFT}),
    Step.REFUSED: frozenset(),
    Step.UNDONE: frozenset(),
    Step.LEFT: frozenset({Step.VERIFIED, Step.UNDONE, Step.LEFT}),
}

#: a change that is here needs nobody any more
SETTLED: Final = frozenset({Step.VERIFIED, Step.UNDONE, Step.REFUSED, Step.LEFT})
#: a run that is here needs nobody any more
OVER: Final = frozenset({Step.END, Step.CLOSED})
