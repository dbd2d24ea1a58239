"""Waiting for another task: what blocks a task, and what locks and events are made of.

A blocked task is not live (see ``loop``): if nothing else is, it waits for ever, and ``waits_for`` says for what.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol, Self

from numaprobe.errors import UsageError
from numaprobe.virtual.loop import PAUSE, EventLoop, ShutDown, VirtualTimer

if TYPE_CHECKING:
    from numaprobe.virtual.cpu import CpuModel
    from numaprobe.virtual.task import VirtualTask


class SchedulerLike(Protocol):
    """What the machine asks of its scheduler, modelled (``Scheduler``) or switched off (``FreeCpus``)."""

    model: CpuModel
    online: int
    domain: int

    def wake(self, task: VirtualTask) -> None:
        """Make a sleeping (or new) task runnable."""

    def sleep(self, task: VirtualTask) -> None:
        """Take the running task off its CPU until it is woken."""

    def exit(self, task: VirtualTask) -> None:
        """Take the running task off its CPU for ever."""

    def compute(self, task: VirtualTask, ns: int) -> None:
        """Let the running task use its CPU for ``ns``; then it is stepped."""

    def set_mask(self, task: VirtualTask, mask: int) -> None:
        """Change where ``task`` may run, and move it if it must."""

    def set_offline(self, cpu: int) -> None:
        """Take ``cpu`` off line."""

    def set_online(self, cpu: int) -> None:
        """Bring ``cpu`` on line."""

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
        """Wake a task that ``block`` put to sleep."""
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


class VirtualLock:
    """A mutex: FIFO, with an owner, handed over at release."""

    __slots__ = ("blocker", "name", "owner", "waiters")

    def __init__(self, blocker: Blocker, name: str) -> None:
        self.blocker = blocker
        self.name = name
        self.owner: VirtualTask | None = None
        self.waiters: deque[VirtualTask] = deque()

    async def acquire(self) -> None:
        """Take it, after all who asked before."""
        task = self.blocker.running()
        if self.owner is None:
            self.owner = task
            return
        self.waiters.append(task)
        self.blocker.block(task, self)
        await PAUSE

    def release(self) -> None:
        """Give it to the longest waiter.

        Raises:
            UsageError: the current task does not own it.

        """
        if self.blocker.loop.closing:
            return
        task = self.blocker.running()
        if self.owner is not task:
            owner = "nobody" if self.owner is None else self.owner.comm
            raise UsageError(f"{task.comm} releases lock '{self.name}', which {owner} holds")
        if self.waiters:
            self.owner = self.waiters.popleft()
            self.blocker.unblock(self.owner)
        else:
            self.owner = None

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.release()

    def describe(self) -> str:
        """Name it and its owner for a report of who waits for whom."""
        return f"lock '{self.name}', held by {self.owner.comm if self.owner else 'nobody'}"


class VirtualEvent:
    """A flag that tasks wait for."""

    __slots__ = ("blocker", "is_set", "name", "waiters")

    def __init__(self, blocker: Blocker, name: str) -> None:
        self.blocker = blocker
        self.name = name
        self.is_set = False
        #: who waits -> the timer that ends its waiting, if any
        self.waiters: dict[VirtualTask, VirtualTimer | None] = {}

    def set(self) -> None:
        """Set it, and wake all who wait, in the order in which they came."""
        self.is_set = True
        waiters, self.waiters = self.waiters, {}
        for task, timer in waiters.items():
            if timer is not None:
                timer.cancel()
            task.result = True
            self.blocker.unblock(task)

    def clear(self) -> None:
        """Take it back."""
        self.is_set = False

    async def wait(self, timeout_ns: int | None = None) -> bool:
        """Wait until the flag is set; return False if ``timeout_ns`` passed first."""
        if self.is_set:
            return True
        task = self.blocker.running()
        timer = None
        if timeout_ns is not None:
            timer = VirtualTimer(self.blocker.loop, timeout_ns, lambda: self._give_up(task), task.cpu)
        self.waiters[task] = timer
        self.blocker.block(task, self)
        await PAUSE
        return bool(task.result)

    def _give_up(self, task: VirtualTask) -> None:
        del self.waiters[task]
        task.result = False
        self.blocker.unblock(task)

    def describe(self) -> str:
        """Name it for a report of who waits for whom."""
        return f"event '{self.name}', which nobody sets"
