"""What a task awaits while a thread does something for it.

An asyncio future resumes its task one turn of the loop after it was resolved; a turn costs a system call and gives up
the interpreter lock. A ticket is resolved by the loop itself, outside of any task, and resumes its task at once: of the
time of an empty probe that is a tenth. It is a future as far as ``asyncio.Task`` can tell (``_asyncio_future_blocking``
and the methods below, see ``asyncio.isfuture``), for one task only.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numaprobe.host.thread import Outcome


class Ticket:
    """A promise of an outcome.

    Args:
        loop: of the task that will await it.

    """

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_context", "_error", "_loop", "_outcome", "_resume")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._resume: Callable[[Any], object] | None = None
        self._context: Context | None = None
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._cancelled = False

    # ---- for who resolves it ---------------------------------------------------------------------------------------
    def done(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._outcome is not None or self._error is not None

    def resolve(self, outcome: Outcome) -> None:
        """Give the outcome, and resume the task at once. Called in the loop, outside any task."""
        if not self.done():
            self._outcome = outcome
            self._run()

    def fail(self, error: Exception) -> None:
        """Have the task's await raise ``error``. Called in the loop, outside any task."""
        if not self.done():
            self._error = error
            self._run()

    def _run(self) -> None:
        resume, self._resume = self._resume, None
        if resume is not None and self._context is not None:
            self._context.run(resume, self)

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
        if self.done():
            return False
        self._error, self._cancelled = asyncio.CancelledError(), True
        self._loop.call_soon(self._run, context=Context())
        return True

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled

    def result(self) -> Outcome:
        """Return the outcome, or raise what it failed with."""
        if self._error is not None:
            raise self._error
        if self._outcome is None:
            raise asyncio.InvalidStateError("the ticket is not resolved")
        return self._outcome

    def __await__(self) -> Generator[Any, None, Outcome]:
        if not self.done():
            self._asyncio_future_blocking = True
            yield self
        return self.result()
