"""One schedule shown again: what a search would tell of this order alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.errors import InputError
from numaprobe.schedules.attempt import attempt
from numaprobe.schedules.conductor import Repeat
from numaprobe.schedules.limits import Limits
from numaprobe.schedules.replay import read_schedule
from numaprobe.schedules.search import Explored, Found

if TYPE_CHECKING:
    from numaprobe.schedules.attempt import Subject


def explored_once(subject: Subject, schedule: str) -> Explored:
    """Run a subject in one order; return what came of it, with the schedule as it was given.

    Args:
        subject: offers what the schedule asks for besides (``faults_of``, ``patience_of``).
        schedule: as a search printed it.

    Raises:
        InputError: it is none, of something else, or its choices never come.

    """
    strategy = Repeat(read_schedule(schedule, subject.digest))
    conductor, runs = attempt(subject, strategy)
    if strategy.left:
        raise InputError(f"schedule {schedule[:40]}: {strategy.left} of its choices never came: explore again")
    result = Explored(
        subject=subject.name, digest=subject.digest, limits=Limits(runs=1), opaque=subject.opaque, repeats=schedule
    )
    result.runs, result.steps, result.longest = 1, len(conductor.steps), len(conductor.steps)
    for run in runs:
        result.found[run.ending.key] = Found(ending=run.ending, schedule=schedule, run=run, first_run=1)
    return result
