"""Calls in flight, and where their time goes.

A *call* is a probe function that was entered and has not returned. Calls of one task nest; the task is in one state
at a time (running, runnable, sleeping), and every stretch of it counts for all calls that are open. The state comes
from the scheduler's events: it is kept only for tasks with an open call, which were running when the first one opened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from numaprobe.records import RunState, Segment

if TYPE_CHECKING:
    from numaprobe.kernel.open_probe import OpenProbe

#: A call in more stretches than this keeps its sums and loses its segments (5 s at one switch every 100 µs).
MAX_SEGMENTS: Final = 50_000

RUNNING: Final = RunState.RUNNING
RUNNABLE: Final = RunState.RUNNABLE
SLEEPING: Final = RunState.SLEEPING


@dataclass(slots=True, eq=False)
class Account:
    """The time of one call, by state and CPU."""

    runnable_ns: int = 0
    sleeping_ns: int = 0
    #: time on each CPU, in the order of first use; its sum is the running time
    by_cpu: dict[int, int] = field(default_factory=dict)
    #: oldest first; None once there were too many
    segments: list[Segment] | None = field(default_factory=list)
    #: events were lost meanwhile: the parts are not to be trusted
    gap: bool = False

    @property
    def running_ns(self) -> int:
        """Time on a CPU."""
        return sum(self.by_cpu.values())

    def add(self, state: RunState, start: int, end: int, cpu: int) -> None:
        """Count a stretch."""
        if state is RUNNING:
            self.by_cpu[cpu] = self.by_cpu.get(cpu, 0) + end - start
        elif state is RUNNABLE:
            self.runnable_ns += end - start
        else:
            self.sleeping_ns += end - start
        if self.segments is not None:
            self._append(state, start, end, cpu)

    def _append(self, state: RunState, start: int, end: int, cpu: int) -> None:
        segments = self.segments or []
        if segments and segments[-1][2] is state and segments[-1][3] == cpu:
            segments[-1] = Segment(segments[-1][0], end, state, cpu)
        elif len(segments) < MAX_SEGMENTS:
            segments.append(Segment(start, end, state, cpu))
        else:
            self.segments = None
            return
        self.segments = segments


@dataclass(slots=True, eq=False)
class Call:
    """A probe function in flight."""

    function: str
    start_ns: int
    #: where it was entered
    cpu: int
    task: TaskTime
    probe: OpenProbe
    account: Account = field(default_factory=Account)


@dataclass(slots=True, eq=False)
class TaskTime:
    """A task with open calls."""

    #: None while ftrace only said ``<...>``
    comm: str | None
    cpu: int
    since_ns: int
    state: RunState = RUNNING
    #: outermost first
    calls: list[Call] = field(default_factory=list)

    def enter(self, state: RunState, now: int, cpu: int) -> None:
        """Change state at ``now``; what lies behind goes to the open calls."""
        if now > self.since_ns:
            for call in self.calls:
                call.account.add(self.state, self.since_ns, now, self.cpu)
            self.since_ns = now
        self.state = state
        self.cpu = cpu

    def open(self, call: Call) -> None:
        """A call begins; the task runs, whatever was thought before."""
        self.enter(RUNNING, call.start_ns, call.cpu)
        call.account.by_cpu.setdefault(call.cpu, 0)
        self.calls.append(call)

    def close(self, function: str, now: int, cpu: int) -> tuple[Call | None, list[Call]]:
        """End the innermost open call of ``function``; return it, and the calls inside it whose return was missed."""
        for index in range(len(self.calls) - 1, -1, -1):
            if self.calls[index].function == function:
                self.enter(RUNNING, now, cpu)
                call, *missed = self.calls[index:]
                del self.calls[index:]
                return call, missed
        return None, []
