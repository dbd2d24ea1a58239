"""One change, from its intent to its end, in the thread that makes its writes.

Theory of operation: the intent is on the disk when this begins. Before each write that gives or takes a driver, the
device is looked at and the guard is asked again; a device that is in use by now, or no longer stands as the plan found
it, is refused. What the kernel answers is noted, and the driver link has the last word. Whatever fails is put back
(``putback.py``).

A line of the journal that cannot be written stops nothing here: the intent is enough to recover from, and half a change
is worse than a missing line. It is told, and no other change begins.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numaprobe.bringup.outcome import ChangeOutcome, SeenWrite, errno_name, key_of
from numaprobe.bringup.putback import PutBack
from numaprobe.bringup.steps import JournalStep
from numaprobe.bringup.strokes import Standing, after, before, forward
from numaprobe.errors import KernelInterfaceError
from numaprobe.hostmachine import syscalls

if TYPE_CHECKING:
    from numaprobe.bringup.journal import Journal
    from numaprobe.bringup.plan import Change
    from numaprobe.bringup.putback import Recheck
    from numaprobe.bringup.strokes import Stroke
    from numaprobe.bringup.sysfs import Sysfs
    from numaprobe.bringup.write import Writer


class AbandonedError(Exception):
    """The run is over, and this change came back too late to go on."""


@dataclass(slots=True, eq=False)
class Flight:
    """A change under way, shared by its thread and the crew; ``lock`` guards ``since_ns`` and ``abandoned``."""

    change: Change
    outcome: ChangeOutcome = field(init=False)
    #: CLOCK_MONOTONIC, ns, when the write began that the kernel has now; None: no write is under way
    since_ns: int | None = None
    #: nobody waits for it any more: if it does come back, it does no more
    abandoned: bool = False
    #: the thread's id, once it runs
    tid: int = 0
    #: past its deadline; the crew's
    is_late: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.outcome = ChangeOutcome(self.change)

    def leave(self) -> bool:
        """Wait for it no more if the kernel has it; return whether it has."""
        with self.lock:
            self.abandoned = self.since_ns is not None
            return self.abandoned

    def is_back(self) -> None:
        """Note that a write has come back.

        Raises:
            AbandonedError: nobody waits for it any more.

        """
        with self.lock:
            self.since_ns = None
            if self.abandoned:
                raise AbandonedError


class Carrier:
    """Carries changes out; any number of threads may call it at once.

    Args:
        sysfs: where devices are looked at.
        writer: what writes.
        journal: where it is written down.
        recheck: asked before each write that gives or takes a driver.

    """

    def __init__(self, sysfs: Sysfs, writer: Writer, journal: Journal, recheck: Recheck) -> None:
        self._sysfs = sysfs
        self._writer = writer
        self._journal = journal
        self._recheck = recheck
        self._back = PutBack(sysfs, writer, recheck)
        #: what went wrong with the journal itself
        self.journal_error: KernelInterfaceError | None = None

    def carry(self, flight: Flight) -> None:
        """Carry a change out, and leave its outcome in ``flight``."""
        with contextlib.suppress(AbandonedError):
            self._strokes(flight)

    def note(self, outcome: ChangeOutcome, step: JournalStep, **data: Any) -> None:  # noqa: ANN401  what JSON has
        """Write down a step of a change."""
        outcome.step = step
        if outcome.sentence:
            data["sentence"] = outcome.sentence
        try:
            self._journal.append(step, key_of(outcome.change), lasting=False, **data)
        except KernelInterfaceError as error:
            self.journal_error = error

    def put_back(self, outcome: ChangeOutcome, change: Change | None = None) -> None:
        """Undo a change (or the larger one that it is part of), and write down what became of it."""
        settled = self._back.settle(change or outcome.change, finish=False)
        outcome.driver = settled.driver
        outcome.sentence = "; ".join(filter(None, (outcome.sentence, settled.sentence or _said(settled.driver))))
        self.note(outcome, settled.step, driver=settled.driver)

    # ---- the writes ------------------------------------------------------------------------------------------------
    def _strokes(self, flight: Flight) -> None:
        change, outcome = flight.change, flight.outcome
        refusal = self._look(change) or self._ask(change)
        if refusal:
            outcome.sentence = refusal
            outcome.driver = self._sysfs.driver_of(change.device)
            self.note(outcome, JournalStep.REFUSED)
            return
        asked = True  # and nothing since but an override, which takes nothing from anybody
        for stroke in forward(change):
            failure = "" if asked or stroke.kind == "override" else self._ask(change)
            failure = failure or self._make(flight, stroke)
            asked = asked and stroke.kind == "override"
            if failure:
                outcome.sentence = failure
                self.note(outcome, JournalStep.FAILED, result=outcome.result)
                self.put_back(outcome)
                return
        outcome.result = "0"
        self.note(outcome, JournalStep.DONE)
        self._verify(outcome)

    def _look(self, change: Change) -> str:
        """Return why the device is not what the plan was made for, or nothing."""
        device = self._sysfs.at(change.device)
        if device is None:
            return "the device is not there any more"
        if Standing.of(device) != before(change):
            has = device.driver or "no driver"
            override = f" and override {device.override}" if device.override else ""
            return f"it has {has}{override} by now, which is not what the plan was made for; make a new plan"
        return ""

    def _ask(self, change: Change) -> str:
        """Return why the guard would not have the next write made, or nothing."""
        try:
            reasons = self._recheck(change)
        except KernelInterfaceError as error:
            return str(error)
        if not reasons:
            return ""
        flag = f" ({reasons[0].flag} would allow it)" if reasons[0].flag else ""
        return f"in use by now: {reasons[0].sentence}{flag}"

    def _make(self, flight: Flight, stroke: Stroke) -> str:
        """Make one write; return what went wrong, or nothing."""
        cpu, running = syscalls.getcpu(), time.thread_time_ns()
        start = flight.since_ns = time.monotonic_ns()
        refused = None
        try:
            stroke.make(self._writer, flight.change)
        except OSError as error:
            refused = error
        end = time.monotonic_ns()
        flight.is_back()
        if stroke.kind == "bind":
            flight.outcome.seen = SeenWrite(
                start_ns=start,
                end_ns=end,
                cpu=cpu,
                cpu_after=syscalls.getcpu(),
                comm=threading.current_thread().name,
                running_ns=time.thread_time_ns() - running,
            )
        if refused is None:
            return ""
        flight.outcome.result = errno_name(refused)
        return _failed(stroke, refused)

    def _verify(self, outcome: ChangeOutcome) -> None:
        """Have the driver link, and the override, say what became of it."""
        change = outcome.change
        device = self._sysfs.at(change.device)
        if device is not None and Standing.of(device) == after(change):
            outcome.driver = device.driver
            self.note(outcome, JournalStep.VERIFIED, driver=device.driver)
            return
        has = "is not there any more" if device is None else f"has {device.driver or 'no driver'}"
        outcome.result = "E?"
        outcome.sentence = f"the kernel took the write, but the device {has}; dmesg may say why"
        self.note(outcome, JournalStep.FAILED, result=outcome.result)
        self.put_back(outcome)


def _failed(stroke: Stroke, error: OSError) -> str:
    name = errno_name(error)
    advice = {
        "EAGAIN": "it waits for a supplier (deferred)",
        "ENODEV": "the driver does not take this device",
        "ENOENT": "the driver is not loaded, or the device is gone",
    }.get(name, error.strerror or "")
    return f"{stroke.kind} {stroke.driver or ''}".strip() + f": {name} ({advice})"


def _said(driver: str | None) -> str:
    return f"put back to {driver}" if driver else "left without a driver, as before"
