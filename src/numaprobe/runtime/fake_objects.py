"""The fake machine's tasks, locks, events and timers: plain data, woken through the loop that owns them.

Nothing here decides when something runs; ``Waker`` is the loop's part that these objects need.
"""

from __future__ import annotations

import types
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from numaprobe.runtime.profile import AffinityScope
    from numaprobe.runtime.protocol import Timer, Work


@types.coroutine
def park(why: str) -> Generator[str, Any, Any]:
    """Leave the CPU until somebody wakes the task; ``why`` is what a deadlock report says."""
    return (yield why)


@dataclass(eq=False)
class Entry:
    """A call on the heap; also what ``timer`` returns."""

    function: Callable[[], object]
    pending: bool = True

    def cancel(self) -> None:
        """Forget the call."""
        self.pending = False


@dataclass(eq=False)
class FakeTask:
    """A task: a coroutine, a CPU, and counters that only grow (``measure`` takes differences)."""

    comm: str
    cpu: int
    coroutine: Coroutine[str, Any, Any]
    #: where it was created; ``set_affinity(None)`` brings it back
    home: int
    is_worker: bool = False
    work: Work | None = None
    waits: str = ""
    memory_node: int | None = None
    done: bool = False
    result: Any = None
    failure: Exception | None = None
    #: somebody took the failure
    joined: bool = False
    joiners: list[FakeTask] = field(default_factory=list)
    trail: list[int] = field(default_factory=list)
    running: Counter[int] = field(default_factory=Counter)
    memory: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, eq=False)
class FakeWorkqueue:
    """A workqueue: its pods are ``scope``'s."""

    name: str
    unbound: bool
    scope: AffinityScope


@dataclass(eq=False)
class WorkState:
    """What ``Work.state`` holds. Those who flush wait for the queueing they saw, not for later ones."""

    target: tuple[FakeWorkqueue, int]
    pending: bool = False
    running: bool = False
    #: who waits for the pending queueing, and for the running one
    next_waiters: list[FakeTask] = field(default_factory=list)
    waiters: list[FakeTask] = field(default_factory=list)


class Waker(Protocol):
    """The loop, as locks and events need it."""

    @property
    def current(self) -> FakeTask:
        """The task whose code is running."""
        ...

    def wake(self, task: FakeTask, *, value: object = None) -> None:
        """Make ``task`` ready; its await returns ``value``."""
        ...

    def timer(self, delay_ns: int, function: Callable[[], object]) -> Timer:
        """Call ``function`` after ``delay_ns``."""
        ...


class FakeLock:
    """A FIFO mutex; ``release`` hands it to the longest waiter at once."""

    def __init__(self, machine: Waker, name: str) -> None:
        self._machine = machine
        self.name = name
        self.owner: FakeTask | None = None
        self._waiters: deque[FakeTask] = deque()

    async def acquire(self) -> None:
        """Take it, after all who asked before."""
        task = self._machine.current
        if self.owner is None:
            self.owner = task
            return
        self._waiters.append(task)
        await park(f"lock '{self.name}' held by {self.owner.comm}")

    def release(self) -> None:
        """Give it to the longest waiter.

        Raises:
            UsageError: the current task does not own it.

        """
        if self.owner is not self._machine.current:
            raise UsageError(f"lock '{self.name}': {self._machine.current.comm} releases it but does not own it")
        self.owner = self._waiters.popleft() if self._waiters else None
        if self.owner is not None:
            self._machine.wake(self.owner)

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.release()


class FakeEvent:
    """A flag."""

    def __init__(self, machine: Waker, name: str) -> None:
        self._machine = machine
        self._name = name
        self.is_set = False
        self._waiters: list[FakeTask] = []

    def set(self) -> None:
        """Set it, and wake all who wait."""
        self.is_set = True
        waiters, self._waiters = self._waiters, []
        for task in waiters:
            self._machine.wake(task, value=True)

    def clear(self) -> None:
        """Take it back."""
        self.is_set = False

    async def wait(self, timeout_ns: int | None = None) -> bool:
        """Wait until the flag is set; return False if ``timeout_ns`` passed first."""
        if self.is_set or (timeout_ns is not None and timeout_ns <= 0):
            return self.is_set
        task = self._machine.current
        self._waiters.append(task)

        def expire() -> None:
            if task in self._waiters:
                self._waiters.remove(task)
                self._machine.wake(task, value=False)

        timer = None if timeout_ns is None else self._machine.timer(timeout_ns, expire)
        answer: bool = await park(f"event '{self._name}'")
        if timer is not None:
            timer.cancel()
        return answer
