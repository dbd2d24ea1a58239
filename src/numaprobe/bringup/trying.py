"""``--try``: changes that are undone unless somebody says that they shall stay.

The journal is the truth: a run that *waits* has its deadline in it, on the boot clock. Whoever made the changes keeps
watch (``watch``) and undoes them when time is up; ``confirm`` comes first or too late, and the lock decides which,
since both look again once they have it. If the watcher dies, the run still waits, and ``recover`` undoes it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from numaprobe.bringup.history import read_history
from numaprobe.bringup.journal import NAME, Journal
from numaprobe.bringup.lock import RunLock
from numaprobe.bringup.recover import settle_run
from numaprobe.bringup.state import make_state
from numaprobe.bringup.steps import JournalStep
from numaprobe.errors import RefusedError

if TYPE_CHECKING:
    from numaprobe.bringup.history import JournalRun
    from numaprobe.bringup.recover import Recovered
    from numaprobe.bringup.tools import BringupTools

#: seconds between looks at the journal (our choice): that late a watcher notices that it is not needed any more
_LOOK: Final = 0.2


def deadline_ns(run: JournalRun) -> int:
    """Return when a waiting run is undone, on the boot clock, ns."""
    return int(run.lines[-1].data.get("deadline_ns", 0))


def confirm(tools: BringupTools) -> JournalRun:
    """Keep what the waiting run did; return it.

    Raises:
        RefusedError: nothing waits, its time is up, or another run is at work.
        KernelInterfaceError: the journal cannot be written.

    """
    make_state(tools.state)
    with RunLock(tools.state, tools.clock):
        run = next((one for one in read_history(tools.state).open_runs if _waits(one, tools)), None)
        if run is None:
            raise RefusedError("nothing waits to be confirmed; 'numaprobe history' says what became of it")
        if tools.clock.boottime_ns() >= deadline_ns(run):
            raise RefusedError(f"run {run.id}: its time is up, and it is being undone; 'numaprobe history' says how")
        with Journal(tools.state, tools.clock, run.id) as journal:
            journal.resume(run.steps)
            journal.append(JournalStep.CONFIRMED)
            journal.append(JournalStep.END)
    return run


def watch(tools: BringupTools, run_id: str) -> list[Recovered]:
    """Wait until a run is confirmed or its time is up; then undo it, and return what became of its devices.

    Raises:
        KernelInterfaceError: the journal cannot be written.
        InputError: the journal cannot be read.

    """
    looked, run = -1, None
    while True:
        size = (tools.state / NAME).stat().st_size
        if size != looked:
            looked, run = size, _run(tools, run_id)
        if run is None or not run.is_waiting:
            return []
        left = (deadline_ns(run) - tools.clock.boottime_ns()) / 1e9
        if left <= 0:
            undone = _undo(tools, run_id)
            if undone is not None:
                return undone
        time.sleep(min(_LOOK, max(left, 0.01)))


def _undo(tools: BringupTools, run_id: str) -> list[Recovered] | None:
    """Undo a run if it still waits; None if another run has the lock, which is to be tried again."""
    try:
        lock = RunLock(tools.state, tools.clock).__enter__()
    except RefusedError:
        return None
    try:
        run = _run(tools, run_id)
        return settle_run(tools, run, []) if run is not None and run.is_waiting else []
    finally:
        lock.release()


def _run(tools: BringupTools, run_id: str) -> JournalRun | None:
    return next((run for run in read_history(tools.state).runs if run.id == run_id), None)


def _waits(run: JournalRun, tools: BringupTools) -> bool:
    return run.boot == tools.clock.boot and run.is_waiting
