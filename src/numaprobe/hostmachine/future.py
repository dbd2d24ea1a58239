"""What a task awaits: a ``TaskFuture`` that another task gives a value, or a ``ThreadCall`` in its own OS thread.

An asyncio future resumes its task through a handle and in the next turn of the loop. A task future is resolved by the
loop itself, outside of any task, and resumes its task at once. It is a future as far as ``asyncio.Task`` can tell
(``_asyncio_future_blocking`` and the methods below, see ``asyncio.isfuture``), for one task only. Where asyncio does
not know it as one it waits with one of asyncio's own, and the task resumes in the next turn.

Two sides write to a call: the thread what it saw (``value``, ``error``, readings), the loop how it ended (``resolve``,
``fail``, ``cancel``); the first end counts. A thread that was given up writes into a call that nobody reads any more.

The other direction is a ``Request``: what a body asks the core.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

#: While the core is busy for a body, its deadline is looked at this often.
LATER_S: Final = 0.01


class Message(Protocol):
    """What the loop is handed: a call that was done, a future that was given something, a request."""

    def resolve(self) -> None:
        """Take note of it. Called in the loop, outside any task."""
        ...


class Request:
    """What a body asks the core.

    Args:
        begin: sees to the answer; called in the loop, outside any task.

    """

    __slots__ = ("resolve",)

    def __init__(self, begin: Callable[[], None]) -> None:
        self.resolve = begin


class TaskFuture:
    """A place to wait.

    Args:
        loop: of the task that will await it.

    Attributes:
        value: what it was given, or what a call returned.

    """

    __slots__ = ("_asyncio_future_blocking", "_context", "_ended", "_failure", "_loop", "_resume", "value")

    #: in which the task is resumed; there if ``_resume`` is
    _context: Context

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.value: Any = None
        self._asyncio_future_blocking = False
        self._loop = loop
        self._resume: Callable[[Any], object] | None = None
        self._ended = False
        self._failure: BaseException | None = None

    # ---- to end it ------------------------------------------------------------------------------------------------
    def done(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._ended

    def give(self, value: object) -> None:
        """End it with ``value``; it still has to be posted to the loop, which resumes the task."""
        self.value, self._ended = value, True

    def resolve(self) -> None:
        """End it, if it has not ended, and resume the task at once. Called in the loop, outside any task."""
        self._ended = True
        resume, self._resume = self._resume, None
        if resume is not None:
            self._context.run(resume, self)

    def fail(self, failure: BaseException) -> None:
        """Have the task's await raise ``failure``. Called in the loop, outside any task."""
        if not self._ended:
            self._failure = failure
            self.resolve()

    # ---- for asyncio.Task ------------------------------------------------------------------------------------------
    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop."""
        return self._loop

    def add_done_callback(self, function: Callable[[Any], object], *, context: Context) -> None:
        """Note how to resume the task."""
        self._resume, self._context = function, context

    def cancel(self, msg: object = None) -> bool:
        """Have the task's await raise CancelledError, in the next turn: the canceller may be a task."""
        del msg
        if self._ended or self._failure is not None:
            return False
        self._failure = asyncio.CancelledError()
        self._loop.call_soon(self.resolve, context=Context())
        return True

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return isinstance(self._failure, asyncio.CancelledError)

    def result(self) -> None:
        """Raise what it failed with, if it did."""
        if self._failure is not None:
            raise self._failure

    def __await__(self) -> Generator[Any, None, Any]:
        if not self._ended:
            if IS_FUTURE:
                self._asyncio_future_blocking = True
                yield self
            else:
                yield from self._by_future()
        if self._failure is not None:
            raise self._failure
        return self.value

    def _by_future(self) -> Generator[Any, None, None]:
        """Wait with a future of asyncio's."""
        future: asyncio.Future[None] = self._loop.create_future()

        def resume(_: object) -> None:
            if not future.done():
                future.set_result(None)

        self._resume, self._context = resume, Context()
        try:
            yield from future
        except asyncio.CancelledError:
            self._ended = True
            raise


def _is_known() -> bool:
    one = TaskFuture.__new__(TaskFuture)
    one._asyncio_future_blocking = False  # noqa: SLF001  its own module
    return asyncio.isfuture(one)


#: Whether asyncio takes a task future for one of its own.
IS_FUTURE: Final = _is_known()


class ThreadCall(TaskFuture):
    """A call to be made in a task's own OS thread, and its outcome.

    Args:
        loop: of the task that will await it.
        function: what to call.
        args: what with.

    Attributes:
        value, error: what the call returned or raised.
        running_ns: its CPU time, calls inside it not counted.
        cpu_before, cpu_after: where the thread was.
        depth: of one with a deadline, how many bodies below it in its thread wait for the core.
        alarm: of one with a deadline, the timer.

    """

    __slots__ = ("alarm", "args", "cpu_after", "cpu_before", "depth", "error", "function", "running_ns")

    depth: int
    alarm: asyncio.TimerHandle

    def __init__(
        self, loop: asyncio.AbstractEventLoop, function: Callable[..., Any], args: tuple[Any, ...] = ()
    ) -> None:
        super().__init__(loop)
        self.function = function
        self.args = args
        self.error: BaseException | None = None
        self.running_ns = 0
        self.cpu_before = self.cpu_after = -1
