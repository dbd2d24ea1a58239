"""A plan carried out: lock, journal, waves, and an end that the journal knows.

In this order, and each before the next may begin: the lock is taken; runs that another boot ended are closed; a run of
this boot that did not end refuses us (``recover`` or ``confirm`` is for it); room in the journal is set aside; the run
begins. Then the waves, one after the other. If a driver could not be taken away in one of them, the later ones are not
begun: what they would take away may still be needed. Then halves of pairs are put back, and the run ends.

``Performance.stop`` (Ctrl-C) lets what is under way end, begins nothing more, and the rest is as above.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

from numaprobe.bringup.alive import this_task
from numaprobe.bringup.carry import Carrier
from numaprobe.bringup.crew import Crew
from numaprobe.bringup.history import read_history
from numaprobe.bringup.journal import Journal, rotate
from numaprobe.bringup.lock import RunLock
from numaprobe.bringup.outcome import ChangeOutcome, Report, key_of
from numaprobe.bringup.plan import change_to_dict
from numaprobe.bringup.putback import whole
from numaprobe.bringup.recover import check_free, close_foreign
from numaprobe.bringup.state import make_state
from numaprobe.bringup.steps import JournalStep
from numaprobe.errors import KernelInterfaceError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.bringup.carry import Flight
    from numaprobe.bringup.plan import Plan
    from numaprobe.bringup.tools import BringupTools


class Performance:
    """One plan, carried out once; enter it, ``run`` it, leave it.

    Args:
        plan: what to do.
        tools: with what.
        command: what the journal calls it: ``bind``, ``install``, …
        try_ns: how long the changes wait for a word after they are made; None: they stay.
        pins: each write comes from its device's node; else from anywhere.

    """

    def __init__(
        self, plan: Plan, tools: BringupTools, *, command: str, try_ns: int | None = None, pins: bool = True
    ) -> None:
        self._plan = plan
        self.tools = tools
        self._command = command
        self._try_ns = try_ns
        self._pins = pins
        self._open = ExitStack()
        self._crew: Crew | None = None

    def __enter__(self) -> Self:
        """Take the lock and begin the run; nothing is written to the kernel yet.

        Raises:
            KernelInterfaceError: another run has the lock, did not end, or the journal cannot be written.
            InputError: the journal cannot be read.

        """
        tools = self.tools
        make_state(tools.state)
        with ExitStack() as stack:
            self._lock = stack.enter_context(RunLock(tools.state, tools.clock))
            history = read_history(tools.state)
            check_free(history.open_runs, tools.clock.boot)
            close_foreign(tools, history.open_runs)
            rotate(tools.state)
            self._journal = stack.enter_context(Journal(tools.state, tools.clock))
            self._journal.reserve(len(self._plan.changes))
            self._write_ahead()
            self._open = stack.pop_all()
        self.report = Report(self._journal.run)
        self._carrier = Carrier(tools.sysfs, tools.writer, self._journal, tools.recheck)
        return self

    def _write_ahead(self) -> None:
        begin = {
            "boot": self.tools.clock.boot,
            "pid": os.getpid(),
            "command": self._command,
            "changes": len(self._plan.changes),
            "try_ns": self._try_ns,
        }
        intents = [(JournalStep.INTENT, key_of(change), change_to_dict(change)) for change in self._plan.changes]
        self._journal.append_all([(JournalStep.BEGIN, None, begin), *intents])

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def stop(self) -> None:
        """Begin no more changes; a signal's handler may call it."""
        self._stopped = True
        if self._crew is not None:
            self._crew.stopped = True

    _stopped = False

    def run(self, told: Callable[[ChangeOutcome], None] | None = None) -> Report:
        """Carry the plan out; return what became of each change. The lock is free afterwards.

        Args:
            told: told of each change that is over, wave by wave.

        """
        self._crew = crew = Crew(
            self._carry,
            jobs=self._plan.jobs,
            deadline_ns=self._plan.deadline_ns,
            pins=self._pins,
            late=self._is_late,
            warn=self.report.warnings.append,
        )
        crew.stopped = self._stopped
        self.report.start_ns = time.monotonic_ns()
        for _wave, changes in groupby(sorted(self._plan.changes, key=lambda one: one.wave), key=lambda one: one.wave):
            flights = crew.fly(changes)
            self.report.outcomes += [flight.outcome for flight in flights]
            for flight in flights if told is not None else ():
                told(flight.outcome)  # type: ignore[misc]  # it is not None
            crew.stopped |= any(_still_bound(flight) for flight in flights)
        for flight in crew.leave():
            flight.outcome.step = JournalStep.LATE
        self._put_halves_back()
        self.report.end_ns = time.monotonic_ns()
        self.report.interrupted = self._stopped
        self._explain()
        self._end()
        return self.report

    # ---- what the crew calls ---------------------------------------------------------------------------------------
    def _carry(self, flight: Flight) -> None:
        self._carrier.carry(flight)
        if self._carrier.journal_error is not None and self._crew is not None:
            self._crew.stopped = True

    def _is_late(self, flight: Flight) -> None:
        seconds = (self._plan.deadline_ns or 0) / 1e9
        flight.outcome.sentence = f"still in the kernel after its {seconds:g} s; a driver that hangs holds its device"
        try:
            self._journal.append(JournalStep.LATE, key_of(flight.change), task=this_task(flight.tid))
        except StateError:  # it came back this very moment
            flight.outcome.sentence = ""
        except KernelInterfaceError as error:
            self._carrier.journal_error = error

    # ---- the end ---------------------------------------------------------------------------------------------------
    def _put_halves_back(self) -> None:
        """Put back every device whose driver was taken away for a bind that did not come."""
        by_device: dict[str, list[ChangeOutcome]] = {}
        for outcome in self.report.outcomes:
            by_device.setdefault(outcome.change.device, []).append(outcome)
        for outcomes in by_device.values():
            first, last = outcomes[0], outcomes[-1]
            if first is not last and first.is_as_asked and not last.is_as_asked and last.step is not JournalStep.LATE:
                first.sentence = "the bind that should have followed did not come"
                self._carrier.put_back(first, whole([first.change, last.change]))

    def _explain(self) -> None:
        """Say of each change that did not begin why."""
        why = "interrupted before it began" if self._stopped else "not begun, because of what went wrong before it"
        for outcome in self.report.outcomes:
            if outcome.step is None:
                outcome.sentence = why
                self._carrier.note(outcome, JournalStep.REFUSED)
        error = self._carrier.journal_error
        if error is not None:
            self.report.warnings.append(f"the journal could not be written, and nothing more was begun: {error}")

    def _end(self) -> None:
        """Write the run's last line, or that it waits; then let the next one in."""
        waits = self._try_ns is not None and any(one.is_as_asked for one in self.report.outcomes)
        data: dict[str, Any] = {"interrupted": self._stopped, "failures": len(self.report.failures)}
        try:
            if waits and self._try_ns is not None:
                deadline_ns = self.tools.clock.boottime_ns() + self._try_ns
                self._journal.append(JournalStep.WAITING, deadline_ns=deadline_ns, pid=os.getpid(), **data)
                self.report.waits_until_ns = deadline_ns
            else:
                self._journal.append(JournalStep.END, **data)
        except KernelInterfaceError as error:
            self.report.warnings.append(f"the run's end could not be written down: {error}")
        self._open.close()


def _still_bound(flight: Flight) -> bool:
    """Return whether a driver that was to be taken away is, or may be, still there."""
    return flight.change.driver_before is not None and not flight.outcome.is_as_asked
