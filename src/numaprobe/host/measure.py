"""What a stretch of a task cost, from readings before and after.

Running is what the thread's own clock says about the jobs it did. Runnable is the kernel's ``run_delay`` of the thread
(schedstat): waiting for a CPU after a wake-up. Sleeping is the rest of the wall time. Where the kernel keeps no
schedstat, runnable and sleeping are unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.runtime.protocol import Usage

if TYPE_CHECKING:
    from numaprobe.host.task import HostTask


class Stretch:
    """An open stretch of a task; always ``end`` it.

    Args:
        task: the current task.
        now: when it starts.

    """

    def __init__(self, task: HostTask, now: int) -> None:
        self._task = task
        self._start = now
        self._thread = task.thread
        self._delay = task.thread.run_delay_ns() if task.thread is not None else 0
        self._running = dict(task.running)
        self._between = task.between_nodes
        self._memory = dict(task.memory)
        self._unknown_memory = task.unknown_memory
        self._first = task.trail_mark = len(task.trail)
        task.measuring += 1

    @property
    def seen(self) -> bool:
        """Whether the thread said where it is since the start."""
        return len(self._task.trail) > self._first

    def end(self) -> None:
        """Close it. The outermost one gives back the memory that the bodies allocated."""
        task = self._task
        task.measuring -= 1
        if not task.measuring:
            task.trail.clear()
            task.drop_memory()

    def usage(self, now: int) -> Usage:
        """Return what it cost until ``now``."""
        task, cost = self._task, now - self._start
        by_node = _grown(task.running, self._running)
        running = sum(by_node.values())
        runnable = self._runnable(cost - running)
        return Usage(
            start_ns=self._start,
            end_ns=now,
            running_ns=running,
            runnable_ns=runnable,
            sleeping_ns=None if runnable is None else cost - running - runnable,
            cpus=tuple(dict.fromkeys(task.trail[self._first :])),
            running_by_node=by_node if task.between_nodes == self._between else None,
            memory=_grown(task.memory, self._memory) if task.unknown_memory == self._unknown_memory else None,
        )

    def _runnable(self, left: int) -> int | None:
        """Return the thread's wait for CPUs: the two clocks are read apart, so it is held to what is left."""
        thread = self._task.thread
        delay = thread.run_delay_ns() if thread is not None else None
        if delay is None or self._delay is None:
            return None
        before = self._delay if thread is self._thread else 0
        return max(0, min(delay - before, left))


def _grown(after: dict[int, int], before: dict[int, int]) -> dict[int, int]:
    return {node: amount - before.get(node, 0) for node, amount in after.items() if amount != before.get(node)}
