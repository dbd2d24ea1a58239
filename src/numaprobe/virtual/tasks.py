"""Tasks that are no workers: shells, udev, modprobe, and background load; how they start, end and are waited for."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from numaprobe.cpuset import CpuSet
from numaprobe.errors import UsageError
from numaprobe.virtual.cpu import ENDLESS
from numaprobe.virtual.loop import PAUSE
from numaprobe.virtual.task import State, VirtualTask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from numaprobe.topology import Topology
    from numaprobe.virtual.blocking import Blocker


class Tasks:
    """All tasks that are no workers.

    Attributes:
        alive: those that are not done, in the order of start.
        loads: background load.
        unjoined: those that failed and that nobody has joined, in the order of failing.

    """

    def __init__(self, topology: Topology, blocker: Blocker) -> None:
        self.topology = topology
        self.blocker = blocker
        self.loop = blocker.loop
        self.scheduler = blocker.scheduler
        self.alive: dict[VirtualTask, None] = {}
        self.loads: list[VirtualTask] = []
        self.unjoined: dict[VirtualTask, None] = {}

    @property
    def default_mask(self) -> int:
        """Where a task may run whose ancestor is init: not on isolated CPUs."""
        domain = self.scheduler.domain
        return domain if domain & self.scheduler.online else self.topology.possible.bits

    def start(
        self, function: Callable[[], Awaitable[Any]], comm: str, cpus: CpuSet | None, cpu: int | None
    ) -> VirtualTask:
        """Start a task that awaits what ``function`` returns.

        Raises:
            UsageError: none of ``cpus`` is online, or ``cpu`` is not one of them.

        """
        allowed = self.default_mask if cpus is None else cpus.bits
        task = VirtualTask(comm, allowed, self._first_cpu(comm, allowed, cpu))
        task.since = self.loop.now
        task.when_done = self._done
        task.start(function)
        self.alive[task] = None
        self.loop.live += 1
        self.scheduler.wake_new(task)
        return task

    def _first_cpu(self, comm: str, allowed: int, cpu: int | None) -> int:
        usable = allowed & self.scheduler.online
        if cpu is not None:
            usable &= 1 << cpu
        if not usable:
            raise UsageError(self._why_nowhere(comm, allowed, cpu))
        current = self.loop.current
        if current is not None and usable >> current.cpu & 1:
            return current.cpu
        return (usable & -usable).bit_length() - 1

    def _why_nowhere(self, comm: str, allowed: int, cpu: int | None) -> str:
        if cpu is None:
            return f"{comm} cannot run on CPUs {CpuSet(allowed)}: none is online"
        if not self.scheduler.online >> cpu & 1:
            return f"{comm} cannot run on CPU {cpu}: it is not online"
        if allowed == self.default_mask:
            return f"{comm} cannot start on CPU {cpu}: it is isolated, only a task that is pinned to it runs there"
        return f"{comm} cannot run on CPU {cpu}: it may run on CPUs {CpuSet(allowed)} only"

    def _done(self, task: VirtualTask) -> None:
        del self.alive[task]
        self.loop.live -= 1
        self.scheduler.exit(task)
        if task.error is not None:
            self.unjoined[task] = None
        for waiter in task.waiters:
            self.blocker.unblock(waiter)

    async def join(self, task: VirtualTask) -> Any:  # noqa: ANN401  what the task's function returned
        """Wait until ``task`` is done; return what it returned, or raise what it raised."""
        if task.state is not State.DEAD:
            current = self.blocker.running()
            task.waiters.append(current)
            self.blocker.block(current, f"the end of {task.comm}")
            await PAUSE
        if task.error is not None:
            self.unjoined.pop(task, None)
            raise task.error
        return task.result

    def add_load(self, comm: str, cpu: int, mask: int) -> None:
        """Start an endless task that nobody waits for."""
        task = VirtualTask(comm, mask, cpu)
        task.since = self.loop.now
        task.load = True
        task.remaining = ENDLESS
        self.loads.append(task)
        self.scheduler.wake_new(task)

    async def settle(self) -> None:
        """Wait for a CPU, if the current task was just taken off its own."""
        task = self.blocker.running()
        if task.due or not task.on_cpu:
            await PAUSE

    def close(self, workers: Iterable[VirtualTask]) -> None:
        """Unwind what is suspended, each in its own name, after a run was cut short."""
        self.loop.closing = True
        for task in [*self.alive, *workers]:
            coroutine = getattr(task.send, "__self__", None)
            if coroutine is not None and hasattr(coroutine, "close"):
                self.loop.current = task
                with suppress(Exception):  # what it raises while it unwinds must not hide what went wrong
                    coroutine.close()
        self.loop.current = None
