"""Calls in flight, the probes that they are of, and where their time goes.

A *call* is a probe function that was entered and has not returned. Calls of one task nest; the task is in one state at
a time (running, runnable, sleeping), as the scheduler's events tell. It is followed only while the task has an open
call, and was running when the first one opened.

A task keeps one log of its changes of state, which all its open calls share: a change costs one append, and only the
call that a record is made of is ever summed up (``settle``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from numaprobe.kernel.lockwaits import TaskWaits
from numaprobe.kernel.outer import OUTER
from numaprobe.records import RunState, Segment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.kernel.lockwaits import TaskWait
    from numaprobe.kernel.roads import Road

#: Changes of state that all logs together keep (about 40 MB); beyond, calls keep their sums and lose their segments.
MAX_LOGGED: Final = 400_000

RUNNING: Final = RunState.RUNNING
RUNNABLE: Final = RunState.RUNNABLE
SLEEPING: Final = RunState.SLEEPING

#: since when, in which state, on (or waiting for) which CPU
Change = tuple[int, RunState, int]

#: makes a segment of a tuple, without the detour of its own constructor: a long trace has hundreds of thousands
_segment: Final = partial(tuple.__new__, Segment)


@dataclass(slots=True, eq=False)
class Account:
    """The time of one call, by state and CPU."""

    runnable_ns: int = 0
    sleeping_ns: int = 0
    #: time on each CPU, in the order of first use; its sum is the running time
    by_cpu: dict[int, int] = field(default_factory=dict)
    #: oldest first; None once there were too many
    segments: list[Segment] | None = field(default_factory=list)

    @property
    def running_ns(self) -> int:
        """Time on a CPU."""
        return sum(self.by_cpu.values())

    def add(self, changes: list[Change], end_ns: int) -> None:
        """Count the stretches that ``changes`` begin; the last one lasts until ``end_ns``."""
        if not changes:
            return
        if changes[0][1] is RUNNING:
            self.by_cpu.setdefault(changes[0][2], 0)
        stretches = _stretches(changes, end_ns)
        for start, end, state, cpu in stretches:
            if state is RUNNING:
                self.by_cpu[cpu] = self.by_cpu.get(cpu, 0) + end - start
            elif state is RUNNABLE:
                self.runnable_ns += end - start
            else:
                self.sleeping_ns += end - start
        if self.segments is not None:
            self.segments += stretches


def _stretches(changes: list[Change], end_ns: int) -> list[Segment]:
    """Return the stretches that changes of state begin, none of them empty; neighbours that are alike are one."""
    found: list[Segment] = []
    since, state, cpu = changes[0]
    for now, next_state, next_cpu in changes:
        if next_state is state and next_cpu == cpu:
            continue
        if now > since:
            found.append(_segment((since, now, state, cpu)))
            since = now
        elif found and found[-1].state is next_state and found[-1].cpu == next_cpu:
            since = found.pop().start_ns
        state, cpu = next_state, next_cpu
    if end_ns > since:
        found.append(_segment((since, end_ns, state, cpu)))
    return found


@dataclass(slots=True, eq=False)
class Call:
    """A probe function in flight, or returned."""

    function: str
    start_ns: int
    #: where it was entered
    cpu: int
    task: TaskTime
    probe: OpenProbe
    #: index of its first change in the task's log
    first: int = 0
    #: its own part of the log, once it returned
    changes: list[Change] = field(default_factory=list)
    #: what was summed up before the log became too long
    account: Account = field(default_factory=Account)
    #: events were lost meanwhile: the parts are not to be trusted
    gap: bool = False
    #: the task's waits for others since it was entered, once it returned; None: there were too many
    waits: tuple[TaskWait, ...] | None = ()

    def settle(self, end_ns: int) -> Account:
        """Return where its time went."""
        self.account.add(self.changes, end_ns)
        self.changes = []
        return self.account


@dataclass(slots=True)
class Finished:
    """A call that returned."""

    call: Call
    end_ns: int
    result: int | None


@dataclass(slots=True, eq=False)
class OpenProbe:
    """A probe in flight."""

    device: str
    driver: str
    path: str | None
    asynchronous: bool | None
    nested: bool | None
    #: how it was reached; None: its ``really_probe`` was not recorded
    road: Road | None = None
    #: the call that opened it: ``really_probe``, or the outermost one that was recorded
    root: Call | None = None
    #: of the calls that returned, the one to time
    body: Finished | None = None
    #: the PCI core took part
    is_pci: bool = False

    def offer(self, done: Finished) -> None:
        """Take a returned call as the body if it is nearer to the driver's own function than what there is."""
        if self.body is None or self._prefers(done, self.body):
            self.body = done

    @staticmethod
    def _prefers(new: Finished, old: Finished) -> bool:
        new_outer, old_outer = new.call.function in OUTER, old.call.function in OUTER
        if new_outer != old_outer:
            return old_outer
        if new.call.start_ns >= old.end_ns:
            return True  # the same again, later: what counts is the last try
        return not new_outer  # both the driver's: the one that returned later is the outermost


@dataclass(slots=True, eq=False)
class LogSpace:
    """How many changes of state all logs hold."""

    used: int = 0


@dataclass(slots=True, eq=False)
class TaskTime:
    """A task with open calls."""

    #: None while ftrace only said ``<...>``
    comm: str | None
    space: LogSpace
    state: RunState = RUNNING
    #: outermost first
    calls: list[Call] = field(default_factory=list)
    #: changes of state since the outermost open call began; times never go back
    log: list[Change] = field(default_factory=list)
    #: for which other tasks it waited
    waits: TaskWaits = field(default_factory=TaskWaits)

    @property
    def asleep_since(self) -> int | None:
        """Since when it sleeps; None: it does not, or nobody knows."""
        return self.log[-1][0] if self.state is SLEEPING and self.log else None

    def enter(self, state: RunState, now: int, cpu: int) -> None:
        """Change state at ``now``; a clock that steps back stands still."""
        log = self.log
        if log and now < log[-1][0]:
            now = log[-1][0]
        log.append((now, state, cpu))
        self.state = state
        self.space.used += 1
        if self.space.used > MAX_LOGGED:
            self._fold()

    def follow(self, told: Iterable[tuple[int, RunState | None, int]]) -> int:
        """Change state as told, at times that do not go back; None is a wake-up: runnable if it slept.

        Returns:
            the time of the last change; -1 if there was none.

        """
        log, state, now = self.log, self.state, -1
        floor, before = log[-1][0] if log else 0, len(log)
        for now_told, told_state, cpu in told:
            if told_state is None:
                if state is not SLEEPING:
                    continue
                told_state = RUNNABLE  # noqa: PLW2901  a wake-up
            now, state = now_told, told_state
            log.append((max(now, floor), state, cpu))
        self.state = state
        self.space.used += len(log) - before
        if self.space.used > MAX_LOGGED:
            self._fold()
        return now

    def open(self, call: Call) -> None:
        """A call begins; the task runs, whatever was thought before."""
        self.enter(RUNNING, call.start_ns, call.cpu)
        call.start_ns = self.log[-1][0]
        call.first = len(self.log) - 1
        self.calls.append(call)

    def close(self, function: str, now: int, cpu: int) -> tuple[Call | None, list[Call]]:
        """End the innermost open call of ``function``; return it, and the calls inside it whose return was missed.

        Its end is the time of the log's last change.
        """
        for index in range(len(self.calls) - 1, -1, -1):
            if self.calls[index].function == function:
                self.enter(RUNNING, now, cpu)
                call, *missed = self.calls[index:]
                del self.calls[index:]
                call.changes = self.log[call.first :]
                since = (wait for wait in self.waits.waits if wait.end_ns > call.start_ns)
                call.waits = None if self.waits.overflown else tuple(since)
                return call, missed
        return None, []

    def _fold(self) -> None:
        """Sum up what the log holds and begin again."""
        last = self.log[-1]
        for call in self.calls:
            call.account.segments = None
            call.account.add(self.log[call.first :], last[0])
            call.first = 0
        self.space.used -= len(self.log) - 1
        self.log = [last]

    def forget(self) -> None:
        """The task has no open call any more: give back its log's space."""
        self.space.used -= len(self.log)
        self.log = []
        self.waits.forget()
