"""Tasks: schedulable contexts, what they are doing, and what a measured stretch of one cost.

A task is *on a CPU* (its code runs, or it computes), *runnable* (it waits for a CPU) or asleep. Its ``since`` is the
time of the last step from one to another; ``account`` books the stretch since then. A ``Frame`` is open while a stretch
is measured; frames nest, and each books on its own. What is neither running nor runnable is sleep: the gaps.
"""

from __future__ import annotations

from enum import IntEnum
from types import CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InternalError
from numaprobe.records import RunState, Segment
from numaprobe.runtime import Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from numaprobe.runtime import Work
    from numaprobe.topology import Topology


class State(IntEnum):
    """What a task is doing."""

    SLEEPING = 0
    RUNNABLE = 1
    RUNNING = 2
    DEAD = 3


class SameCpus:
    """What tasks that may use the same CPUs have in common: one object for all of them.

    Run queues keep their tasks by it, and not by the mask itself: hashing 4,096 bits takes a quarter of a microsecond,
    and a turn would do so eight times.
    """

    __slots__ = ("mask", "may_move")

    def __init__(self, mask: int) -> None:
        self.mask = mask
        #: it has more than one CPU
        self.may_move = mask & (mask - 1) != 0


class Frame:
    """One measured stretch: books running and runnable time per CPU."""

    __slots__ = ("allowed", "by_cpu", "memory", "pod", "runnable", "segments", "start")

    def __init__(self, start: int, task: VirtualTask, *, timeline: bool) -> None:
        self.start = start
        #: CPUs that the task may use, and its pool's pod
        self.allowed = task.mask
        self.pod = task.pod
        #: CPU -> ns on it, in the order of first use
        self.by_cpu: dict[int, int] = {task.cpu: 0}
        self.runnable = 0
        self.memory: dict[int, int] = {}
        #: running and runnable stretches, oldest first; None if no timeline is kept
        self.segments: list[Segment] | None = [] if timeline else None

    def add(self, start: int, end: int, state: State, cpu: int) -> None:
        """Book a stretch of running or runnable time."""
        if state is State.RUNNING:
            self.by_cpu[cpu] = self.by_cpu.get(cpu, 0) + end - start
            name = RunState.RUNNING
        else:
            self.runnable += end - start
            name = RunState.RUNNABLE
        if self.segments is not None:
            last = self.segments[-1] if self.segments else None
            if last and last.end_ns == start and last.state is name and last.cpu == cpu:
                self.segments[-1] = Segment(last.start_ns, end, name, cpu)
            else:
                self.segments.append(Segment(start, end, name, cpu))

    def usage(self, end: int, topology: Topology) -> Usage:
        """Return what was booked, as the protocol shows it."""
        running = sum(self.by_cpu.values())
        nodes: dict[int, int] = {}
        for cpu, ns in self.by_cpu.items():
            if ns:
                node = topology.node_of(cpu)
                nodes[node] = nodes.get(node, 0) + ns
        return Usage(  # by position, as every probe has one
            self.start,
            end,
            running,
            self.runnable,
            end - self.start - running - self.runnable,
            tuple(self.by_cpu),
            nodes,
            self.memory,
            None if self.segments is None else self._with_sleep(end),
            CpuSet(self.allowed),
            CpuSet(self.pod) if self.pod else None,
        )

    def _with_sleep(self, end: int) -> tuple[Segment, ...]:
        result: list[Segment] = []
        time, cpu = self.start, next(iter(self.by_cpu))
        for segment in self.segments or ():
            if segment.start_ns > time:
                result.append(Segment(time, segment.start_ns, RunState.SLEEPING, cpu))
            result.append(segment)
            time, cpu = segment.end_ns, segment.cpu
        if end > time:
            result.append(Segment(time, end, RunState.SLEEPING, cpu))
        return tuple(result)


class VirtualTask:
    """A schedulable context (of ``struct task_struct`` what the machine needs).

    Attributes:
        comm: its name.
        cpu: the CPU it runs on, or last ran on.
        mask: the CPUs it may use now, as bits.
        same_cpus: the same as an object, for the scheduler alone; None until it first waits.
        home_mask: the CPUs it may use as it was created.
        memory_node: node its memory comes from first; None = the CPU's.
        state: what it is doing.
        since: when that began, or was last booked.
        executed: CPU time in all, ns (``sum_exec_runtime``).
        remaining: CPU time that its ``compute`` still needs, ns.
        vruntime: its place in the run queue's order; comparable within one queue only.
        due: it is in the loop's queue of tasks to step now.
        on_cpu: it is the one its CPU runs: its code may go on.
        waits_for: what it is blocked on, ``str`` of it for reports; None if it is not.
        load: background load: endless, and not waited for.

    """

    __slots__ = (
        "comm",
        "cpu",
        "due",
        "error",
        "executed",
        "frames",
        "home_mask",
        "load",
        "mask",
        "memory_node",
        "on_cpu",
        "remaining",
        "result",
        "same_cpus",
        "send",
        "since",
        "state",
        "vruntime",
        "waiters",
        "waits_for",
        "when_done",
    )

    def __init__(self, comm: str, mask: int, cpu: int) -> None:
        self.comm = comm
        self.cpu = cpu
        self.mask = mask
        self.same_cpus: SameCpus | None = None
        self.home_mask = mask
        self.memory_node: int | None = None
        self.state = State.SLEEPING
        self.since = 0
        self.executed = 0
        self.remaining = 0
        self.vruntime = 0
        self.due = False
        self.on_cpu = False
        self.load = False
        self.frames: list[Frame] = []
        self.waits_for: object = None
        self.waiters: list[VirtualTask] = []
        self.result: Any = None
        self.error: Exception | None = None
        self.send: Callable[[None], object] = _never_started
        self.when_done: Callable[[VirtualTask], None] | None = None

    @property
    def is_worker(self) -> bool:
        """``PF_WQ_WORKER``."""
        return False

    @property
    def work(self) -> Work | None:
        """The work this worker executes now; None if it is no worker."""
        return None

    @property
    def pod(self) -> int:
        """The pod of the unbound pool whose worker it is, as bits; 0 if it is none."""
        return 0

    def start(self, function: Callable[[], Awaitable[Any]]) -> None:
        """Let it call and await ``function`` when it is stepped next."""

        def begin(_: None) -> object:
            # Called here, in the task itself: a wait of the machine begins when it is called.
            self.send = as_coroutine(function()).send
            return self.send(None)

        self.send = begin

    def account(self, now: int) -> int:
        """Book the time since the last step; return it."""
        elapsed = now - self.since
        if elapsed:
            if self.frames and self.state is not State.SLEEPING:
                for frame in self.frames:
                    frame.add(self.since, now, self.state, self.cpu)
            self.since = now
        return elapsed

    def visited(self) -> None:
        """Note that it runs on its CPU, for how short a time it may be."""
        for frame in self.frames:
            frame.by_cpu.setdefault(self.cpu, 0)

    def finished(self, result: object, error: Exception | None) -> None:
        """Keep the outcome and tell the machine."""
        self.result = result
        self.error = error
        if self.when_done is not None:
            self.when_done(self)

    def scheduled_out(self) -> None:
        """It is about to sleep (a worker tells its pool)."""

    def scheduled_in(self) -> None:
        """It runs again (a worker tells its pool)."""

    def cpu_allowance(self, limit: int) -> int | None:  # noqa: ARG002  a worker's business
        """Return the CPU time after which ``hogged`` is to be called; None = never."""
        return None

    def hogged(self, limit: int) -> None:
        """It has computed for a while; ``limit`` as for ``cpu_allowance``."""

    def __repr__(self) -> str:
        return f"<task {self.comm} on CPU {self.cpu}, {self.state.name.lower()}>"


def _never_started(_: None) -> object:
    raise InternalError("a task without code was stepped; please report it")


async def _await(awaitable: Awaitable[Any]) -> object:
    return await awaitable


def as_coroutine(awaitable: Awaitable[Any]) -> Coroutine[Any, Any, Any] | Generator[Any, Any, Any]:
    """Return ``awaitable`` as something that has ``send`` and ``close``."""
    if isinstance(awaitable, CoroutineType | GeneratorType):
        return awaitable
    return _await(awaitable)
