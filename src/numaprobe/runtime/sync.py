"""A mutex and a flag for any machine that can park a task and wake it.

Both hand over in the order of asking. Neither looks at time or threads: a timeout is the machine's timer, and the
machine's one owner guards the state, so that a step between two awaits is atomic.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, Self

from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.runtime.protocol import Task, Timer


class Waker(Protocol):
    """The machine, as locks and events need it."""

    @property
    def current(self) -> Task:
        """The task whose code is running."""
        ...

    async def park(self, why: object) -> Any:  # noqa: ANN401  what ``wake`` gives
        """Leave the current task until it is woken; a deadlock report holds ``str(why)`` as it is then."""
        ...

    def wake(self, task: Task, *, value: object = None) -> None:
        """Make ``task`` ready; its await returns ``value``."""
        ...

    def timer(self, delay_ns: int, function: Callable[[], object]) -> Timer:
        """Call ``function`` after ``delay_ns``."""
        ...


class FifoLock:
    """A FIFO mutex; ``release`` hands it to the longest waiter at once.

    Every device has one, and few are ever waited for: the queue is made by the first waiter.
    """

    __slots__ = ("_machine", "_waiters", "name", "owner")

    def __init__(self, machine: Waker, name: str) -> None:
        self._machine = machine
        self.name = name
        self.owner: Task | None = None
        self._waiters: deque[Task] | None = None

    async def acquire(self) -> None:
        """Take it, after all tasks that asked before."""
        task = self._machine.current
        if self.owner is None:
            self.owner = task
            return
        if self._waiters is None:
            self._waiters = deque()
        self._waiters.append(task)
        try:
            await self._machine.park(self)
        except BaseException:  # cut short: it must not be given to a task that does not wait any more
            self._withdraw(task)
            raise

    def _withdraw(self, task: Task) -> None:
        if self._waiters is not None and task in self._waiters:
            self._waiters.remove(task)
        elif self.owner is task:
            self.release()

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

    def __str__(self) -> str:
        return f"lock '{self.name}' held by {self.owner.comm if self.owner is not None else 'nobody'}"

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.release()


class Flag:
    """A flag."""

    def __init__(self, machine: Waker, name: str) -> None:
        self._machine = machine
        self._name = name
        self.is_set = False
        self._waiters: list[Task] = []

    def set(self) -> None:
        """Set it, and wake all tasks that wait."""
        self.is_set = True
        if self._waiters:
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
        try:
            answer: bool = await self._machine.park(self)
        finally:
            if task in self._waiters:  # cut short: it must not be woken out of its next wait
                self._waiters.remove(task)
            if timer is not None:
                timer.cancel()
        return answer

    def __str__(self) -> str:
        return f"event '{self._name}'"
