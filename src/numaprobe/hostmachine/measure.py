"""What a stretch of a task cost.

Running is what the thread's own clock says about the calls it did, held to the wall time: a virtual CPU that was taken
away for a while may have its time counted by one clock and not by the other. Runnable is the kernel's ``run_delay`` of
the thread (schedstat): waiting for a CPU after a wake-up. Sleeping is the rest of the wall time. Where the kernel keeps
no schedstat, runnable and sleeping are unknown.

Stretches of one task nest (a child is probed inside its parent's body); calls are counted in the innermost, which hands
all on to the next outer one when it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from numaprobe.runtime.protocol import Usage

if TYPE_CHECKING:
    from numaprobe.cpuset import CpuSet
    from numaprobe.hostmachine.attributes import Attributes
    from numaprobe.hostmachine.bodies import HeldMemory
    from numaprobe.hostmachine.thread import BodyThread
    from numaprobe.topology import Topology


class MeasuredTask(Protocol):
    """What is measured: a task of the host machine (``task.py``)."""

    stretch: Stretch | None

    @property
    def thread(self) -> BodyThread | None:
        """Where its bodies run."""
        ...

    @property
    def home(self) -> Attributes:
        """What it was created with."""
        ...

    def drop_memory(self) -> None:
        """Give back what its bodies allocated."""
        ...


class Stretch:
    """An open stretch of a task, and the innermost one; always ``end`` it.

    Args:
        task: the current task.
        topology: says on which node a CPU is.
        now: when it starts.

    """

    __slots__ = (
        "_between",
        "_delay",
        "_memory",
        "_node_of",
        "_outer",
        "_running",
        "_start",
        "_task",
        "_thread",
        "_unknown_memory",
        "trail",
    )

    def __init__(self, task: MeasuredTask, topology: Topology, now: int) -> None:
        self._task = task
        self._node_of = topology.node_of
        self._start = now
        self._thread = task.thread
        self._delay = task.thread.run_delay_ns() if task.thread is not None else 0
        #: CPU time on each node
        self._running: dict[int, int] = {}
        #: of it, the time of calls that changed nodes, which belongs to no node for certain
        self._between = 0
        #: CPUs in the order of use; none: the thread has not said where it is since the start
        self.trail: list[int] = []
        self._memory: dict[int, int] = {}
        #: bytes that the kernel did not tell the nodes of
        self._unknown_memory = 0
        self._outer = task.stretch
        task.stretch = self

    def ran(self, running_ns: int, first_cpu: int, last_cpu: int) -> None:
        """Count a call."""
        node = self._node_of(last_cpu)
        self._running[node] = self._running.get(node, 0) + running_ns
        self.trail.append(first_cpu)
        if last_cpu != first_cpu:
            self.trail.append(last_cpu)
            if self._node_of(first_cpu) != node:
                self._between += running_ns

    def allocated(self, size: int, memory: HeldMemory) -> None:
        """Count memory; ``size`` is in bytes."""
        if memory.by_node is None:
            self._unknown_memory += size
        else:
            _add(self._memory, memory.by_node)

    def end(self) -> None:
        """Close it. The outermost one gives back the memory that the bodies allocated."""
        task, outer = self._task, self._outer
        task.stretch = outer
        if outer is None:
            task.drop_memory()
            return
        _add(outer._running, self._running)  # noqa: SLF001  its own kind
        _add(outer._memory, self._memory)  # noqa: SLF001
        outer.trail += self.trail
        outer._between += self._between  # noqa: SLF001
        outer._unknown_memory += self._unknown_memory  # noqa: SLF001

    def usage(self, now: int, everywhere: CpuSet) -> Usage:
        """Return what it cost until ``now``; a thread that is not pinned may run ``everywhere``."""
        cost = now - self._start
        by_node, running = self._running, sum(self._running.values())
        if running > cost:
            by_node, running = _held_to(cost, by_node), cost
        runnable = self._runnable(cost - running)
        task = self._task
        allowed, held_on = everywhere, None if task.thread is None else task.thread.held_on
        if held_on is not None:
            allowed = held_on if not held_on.bits & ~everywhere.bits else held_on & everywhere or held_on
        return Usage(  # by position: naming them costs a fiftieth of an empty probe
            self._start,
            now,
            running,
            runnable,
            None if runnable is None else cost - running - runnable,
            tuple(dict.fromkeys(self.trail)),
            None if self._between else by_node,
            None if self._unknown_memory else self._memory,
            None,
            allowed,
            task.home.pod,
        )

    def _runnable(self, left: int) -> int | None:
        """Return the thread's wait for CPUs: the two clocks are read apart, so it is held to what is left."""
        thread = self._task.thread
        delay = thread.run_delay_ns() if thread is not None else None
        if delay is None or self._delay is None:
            return None
        before = self._delay if thread is self._thread else 0
        return max(0, min(delay - before, left))


def _held_to(limit: int, amounts: dict[int, int]) -> dict[int, int]:
    """Return amounts whose sum is at most ``limit``; what is too much is taken from the last ones."""
    held = {}
    for key, amount in amounts.items():
        held[key] = min(amount, limit)
        limit -= held[key]
    return held


def _add(to: dict[int, int], amounts: dict[int, int]) -> None:
    for node, amount in amounts.items():
        to[node] = to.get(node, 0) + amount
