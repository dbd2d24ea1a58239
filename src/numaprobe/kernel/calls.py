"""Calls in flight, the probes that they are of, and where their time goes.

A *call* is a probe function that was entered and has not returned. Calls of one task nest; the task is in one state at
a time (running, runnable, sleeping), as the scheduler's events tell. It is followed only while the task has an open
call, and was running when the first one opened.

A task keeps one log of its changes of state, which all its open calls share: a change costs three appends, and only the
call that a record is made of is ever summed up (``settle``). The log is three columns, since these are grown, cut and
made segments of without a step of the interpreter for each change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from operator import is_, lt
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
#: Names that do not tell which task it is. ftrace shows each event's own task by the last name that it ever had, if it
#: still knows one, and a worker is renamed when it ends (``worker_thread``, read in 5.10 to 7.3). A switch to the task
#: holds the name that it has then.
DYING: Final = "kworker/dying"
NAMELESS: Final = frozenset({None, DYING})

#: makes a segment of a tuple, without the detour of its own constructor: a long trace has hundreds of thousands
_segment: Final = partial(tuple.__new__, Segment)


@dataclass(slots=True)
class StateLog:
    """Changes of state, oldest first."""

    #: since when, ns; these never go back
    times: list[int] = field(default_factory=list)
    states: list[RunState] = field(default_factory=list)
    #: on, or waiting for, which CPU
    cpus: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.times)

    def part(self, first: int, last: int | None = None) -> StateLog:
        """Return a copy of the changes from ``first`` to before ``last``."""
        return StateLog(self.times[first:last], self.states[first:last], self.cpus[first:last])

    def stretches(self, end_ns: int) -> list[Segment]:
        """Return the stretches that the changes begin, none of them empty; neighbours that are alike are one.

        The last one lasts until ``end_ns``.
        """
        size = len(self.times)
        while size > 1 and self.times[size - 1] == end_ns:
            size -= 1  # the return itself
        times, states, cpus = self.times[:size], self.states[:size], self.cpus[:size]
        ends = [*times[1:], end_ns]
        if all(map(lt, times, ends)) and not any(map(is_, states, states[1:])):
            return list(map(_segment, zip(times, ends, states, cpus, strict=True)))
        return self._joined(end_ns)

    def _joined(self, end_ns: int) -> list[Segment]:
        found: list[Segment] = []
        since, state, cpu = self.times[0], self.states[0], self.cpus[0]
        for now, next_state, next_cpu in zip(self.times, self.states, self.cpus, strict=True):
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

    def add(self, changes: StateLog, end_ns: int) -> None:
        """Count the stretches that ``changes`` begin; the last one lasts until ``end_ns``."""
        if not changes.times:
            return
        by_cpu, runnable, sleeping = self.by_cpu, 0, 0
        if changes.states[0] is RUNNING:
            by_cpu.setdefault(changes.cpus[0], 0)
        stretches = changes.stretches(end_ns)
        for start, end, state, cpu in stretches:
            if state is RUNNING:
                by_cpu[cpu] = by_cpu.get(cpu, 0) + end - start
            elif state is RUNNABLE:
                runnable += end - start
            else:
                sleeping += end - start
        self.runnable_ns += runnable
        self.sleeping_ns += sleeping
        if self.segments is not None:
            self.segments += stretches


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
    #: once it returned: its task's log, and how long that was then
    log: StateLog | None = None
    last: int = 0
    #: what was summed up before the log became too long
    account: Account | None = None
    #: events were lost meanwhile: the parts are not to be trusted
    gap: bool = False
    #: the task's waits for others since it was entered, once it returned; None: there were too many
    waits: tuple[TaskWait, ...] | None = ()

    def settle(self, end_ns: int) -> Account:
        """Return where its time went."""
        account = self.account or Account()
        if self.log is not None:
            account.add(self.log.part(self.first, self.last), end_ns)
        self.account = self.log = None
        return account


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

    #: None while ftrace only said ``<...>``; see ``NAMELESS``
    comm: str | None
    space: LogSpace
    state: RunState = RUNNING
    #: outermost first
    calls: list[Call] = field(default_factory=list)
    #: changes of state since the outermost open call began
    log: StateLog = field(default_factory=StateLog)
    #: for which other tasks it waited
    waits: TaskWaits = field(default_factory=TaskWaits)

    @property
    def asleep_since(self) -> int | None:
        """Since when it sleeps; None: it does not, or nobody knows."""
        return self.log.times[-1] if self.state is SLEEPING and self.log.times else None

    def enter(self, state: RunState, now: int, cpu: int) -> None:
        """Change state at ``now``; a clock that steps back stands still."""
        log = self.log
        if log.times and now < log.times[-1]:
            now = log.times[-1]
        log.times.append(now)
        log.states.append(state)
        log.cpus.append(cpu)
        self.state = state
        self.space.used += 1
        if self.space.used > MAX_LOGGED:
            self._fold()

    def follow(self, told: StateLog, wakes: Iterable[int]) -> int:
        """Change state as told; ``told`` is used up.

        Args:
            told: the changes.
            wakes: which of them are wake-ups, that count only for a task that sleeps.

        Returns:
            the time of the last change; -1 if there was none.

        """
        times, states, cpus = told.times, told.states, told.cpus
        vain = [place for place in wakes if (states[place - 1] if place else self.state) is not SLEEPING]
        for place in reversed(vain):
            del times[place], states[place], cpus[place]
        if not times:
            return -1
        log, last = self.log, times[-1]
        if log.times and times[0] < log.times[-1]:
            times = [max(now, log.times[-1]) for now in times]
        log.times += times
        log.states += states
        log.cpus += cpus
        self.state = states[-1]
        self.space.used += len(times)
        if self.space.used > MAX_LOGGED:
            self._fold()
        return last

    def open(self, call: Call) -> None:
        """A call begins; the task runs, whatever was thought before."""
        self.enter(RUNNING, call.start_ns, call.cpu)
        call.start_ns = self.log.times[-1]
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
                call.log, call.last = self.log, len(self.log.times)
                call.waits = self.waits.since(call.start_ns)
                return call, missed
        return None, []

    def _fold(self) -> None:
        """Sum up what the log holds and begin again."""
        last = self.log.part(len(self.log) - 1)
        for call in self.calls:
            call.account = call.account or Account(segments=None)
            call.account.add(self.log.part(call.first), last.times[0])
            call.first = 0
        self.space.used -= len(self.log) - 1
        self.log = last

    def forget(self) -> None:
        """The task has no open call any more: give back its log's space."""
        self.space.used -= len(self.log)
        self.log = StateLog()
        self.waits.forget()
