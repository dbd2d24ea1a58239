"""Waiting for another task: what blocks a task and wakes it. Locks and events (``runtime.sync``) stand on it.

A blocked task is not live (see ``loop``): if nothing else is, it waits for ever, and ``waits_for`` says for what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from numaprobe.errors import UsageError
from numaprobe.virtual.loop import PAUSE, EventLoop, ShutDown, VirtualTimer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.runtime import Task
    from numaprobe.virtual.task import VirtualTask


class SchedulerLike(Protocol):
    """What the machine asks of its scheduler, modelled (``Scheduler``) or switched off (``FreeCpus``)."""

    online: int
    domain: int

    def wake(self, task: VirtualTask) -> None:
        """Make a sleeping task runnable."""

    def wake_new(self, task: VirtualTask) -> None:
        """Make a new task runnable."""

    def sleep(self, task: VirtualTask) -> None:
        """Take the running task off its CPU until it is woken."""

    def exit(self, task: VirtualTask) -> None:
        """Take the running task off its CPU for ever."""

    def compute(self, task: VirtualTask, ns: int) -> None:
        """Let the running task use its CPU for ``ns``; then it is stepped."""

    def set_mask(self, task: VirtualTask, mask: int) -> None:
        """Change where ``task`` may run, and move it if it must."""

    def set_offline(self, cpu: int) -> None:
        """Take ``cpu`` offline."""

    def set_online(self, cpu: int) -> None:
        """Bring ``cpu`` online."""

    def set_domain(self, domain: int) -> None:
        """Change which CPUs take part in load balancing."""


class Blocker:
    """Takes tasks off their CPU until another task wakes them."""

    __slots__ = ("blocked", "loop", "scheduler")

    def __init__(self, loop: EventLoop, scheduler: SchedulerLike) -> None:
        self.loop = loop
        self.scheduler = scheduler
        #: tasks that wait for another one, in the order of blocking
        self.blocked: dict[VirtualTask, None] = {}

    def block(self, task: VirtualTask, reason: object) -> None:
        """Let the running ``task`` sleep; ``reason`` None = it is idle and waits for nobody.

        Raises:
            ShutDown: the machine is being closed.

        """
        if self.loop.closing:
            raise ShutDown
        if reason is not None:
            task.waits_for = reason
            self.blocked[task] = None
        self.loop.live -= 1
        self.scheduler.sleep(task)

    def unblock(self, task: VirtualTask) -> None:
        """Wake a task that ``block`` put to sleep; nobody goes on while the machine is being closed."""
        if self.loop.closing:
            return
        if task.waits_for is not None:
            task.waits_for = None
            del self.blocked[task]
        self.loop.live += 1
        self.scheduler.wake(task)

    def running(self) -> VirtualTask:
        """Return the task whose code is running.

        Raises:
            UsageError: none is.

        """
        task = self.loop.current
        if task is None:
            raise UsageError("this call belongs into a task: use machine.run or machine.spawn")
        return task

    # ---- as ``runtime.sync`` wants it ------------------------------------------------------------------------------
    @property
    def current(self) -> VirtualTask:
        """The task whose code is running."""
        return self.running()

    async def park(self, why: object) -> Any:  # noqa: ANN401  what ``wake`` gives
        """Leave the current task until it is woken; return what ``wake`` was given."""
        task = self.running()
        self.block(task, why)
        await PAUSE
        return task.result

    def wake(self, task: Task, *, value: object = None) -> None:
        """Wake a parked task; its ``park`` returns ``value``."""
        parked = cast("VirtualTask", task)
        parked.result = value
        self.unblock(parked)

    def timer(self, delay_ns: int, function: Callable[[], object]) -> VirtualTimer:
        """Call ``function`` after ``delay_ns``, outside any task, on the CPU that arms the timer."""
        return VirtualTimer(self.loop, delay_ns, function, self.loop.cpu)
