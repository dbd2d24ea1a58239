"""An ``async def`` body: strangers' code in the core's loop, in an asyncio task of its own.

What such code does to its asyncio task (cancels it, or lets a timer cancel it later; ends it with whatever) must not
happen to the task of the core that probes, which has locks to release and states to set. So the body gets one of its
own, which stands for the same ``HostTask``: its primitives run in the same thread, and count in the same measurement.

A deadline cancels the body. It may clean up for a moment; if it goes on for longer it is given up like a thread: it
belongs to no task any more, the primitives and the core refuse it, and the core goes on without it.

What the core does for a body (adding a child, say) is not interrupted: the core's state would be left half-way. A
deadline that passes meanwhile takes effect afterwards; bodies nested in it have their own. The core does one such thing
at a time for each body; what a body asks for at the same time (``asyncio.gather``) waits.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from numaprobe.errors import UsageError
from numaprobe.hostmachine.future import LATER_S, TaskFuture
from numaprobe.hostmachine.task import CURRENT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.hostmachine.runner import Runner
    from numaprobe.hostmachine.task import HostTask

T = TypeVar("T")

#: A body that was cancelled at its deadline may take this long to clean up. An assumption.
GRACE_S: Final = 1.0

#: What the core does for the body at this place in the code: the innermost request, see ``uninterrupted``.
_REQUEST: Final[ContextVar[asyncio.Future[None] | None]] = ContextVar("numaprobe_request", default=None)


class AsyncBody(Generic[T]):
    """One call of an async body.

    Args:
        runner: runs tasks.
        task: the one that calls.
        function: the body.
        deadline_ns: how long it may take; None = as long as it likes.

    """

    def __init__(
        self, runner: Runner, task: HostTask, function: Callable[[], Awaitable[T]], deadline_ns: int | None
    ) -> None:
        self._runner = runner
        self._task = task
        self._deadline_ns = deadline_ns
        self._late = False
        loop = self._loop = runner.core.loop
        self._end = TaskFuture(loop)
        #: how it ended; it may have been cancelled before its first step
        self._outcome: tuple[T | None, BaseException | None] = None, asyncio.CancelledError()
        self._context = contextvars.copy_context()
        self._own = loop.create_task(self._live(function), context=self._context, name=task.comm)
        self._own.add_done_callback(self._over, context=contextvars.Context())
        self._alarm: asyncio.TimerHandle | None = None
        if deadline_ns is not None:
            self._look_at(deadline_ns / 1e9, self._expire)

    async def _live(self, function: Callable[[], Awaitable[T]]) -> None:
        value: T | None = None
        failure: BaseException | None = None
        try:
            value = await function()
        except BaseException as error:  # noqa: BLE001  handed to the task that waits; asyncio would end its loop for some
            failure = error
        self._runner.core.end_forked_child(failure)
        self._outcome = value, failure

    def _over(self, _own: asyncio.Task[None]) -> None:
        self._end.give(self._outcome)
        self._end.resolve()

    async def outcome(self) -> T:
        """Wait for its end; return what it returned, or raise whatever it raised.

        Raises:
            TimeoutError: it passed its deadline.

        """
        if self._task.pool is not None:
            self._task.pool.made(self._task)  # it needs no thread for this: the next worker may be made
        try:
            value, failure = await self._end
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
            self._own.cancel()  # where it has not ended the machine shuts down, or it was given up
        if self._late:
            raise self._timeout("cancelled")
        if failure is not None:
            raise failure
        result: T = value
        return result

    def _look_at(self, delay_s: float, function: Callable[[], None]) -> None:
        self._alarm = self._loop.call_later(delay_s, function, context=contextvars.Context())

    def _expire(self) -> None:
        if self._task.requests:
            self._look_at(LATER_S, self._expire)
            return
        self._late = True
        self._own.cancel()
        self._look_at(GRACE_S, self._give_up)

    def _give_up(self) -> None:
        if self._task.requests:
            self._look_at(LATER_S, self._give_up)
            return
        self._context.run(CURRENT.set, None)
        self._end.fail(self._timeout(f"cancelled, and given up: it goes on {_where(self._own)}"))

    def _timeout(self, what: str) -> TimeoutError:
        late = (self._deadline_ns or 0) / 1e6
        message = f"{self._task.comm}: an async body is past its deadline of {late:g} ms; {what}"
        self._runner.warn("deadline", message)
        return TimeoutError(errno.ETIMEDOUT, message)


def _where(own: asyncio.Task[Any]) -> str:
    return ", ".join(f"at {f.f_code.co_filename}:{f.f_lineno} {f.f_code.co_name}" for f in own.get_stack(limit=1))


async def uninterrupted(runner: Runner, function: Callable[[], Awaitable[T]]) -> T:
    """Have the core do something for the current async body, to its end, whatever cancels the body meanwhile.

    Raises:
        UsageError: the body was given up, or is no body of this machine.

    """
    task = CURRENT.get()
    if task is None:
        raise UsageError("no task is running here; only an async body that was not given up may ask the core")
    caller, own = _REQUEST.get(), runner.core.loop.create_future()
    while task.requests and caller is not task.requests[-1]:
        await asyncio.wait([task.requests[-1]])  # the core is busy for this body already
    task.requests.append(own)
    context = contextvars.copy_context()
    context.run(_REQUEST.set, own)
    work = runner.core.loop.create_task(_awaited(function), context=context)
    try:
        await _end_of(work, runner)
    finally:
        task.requests.remove(own)
        own.set_result(None)
    return work.result()


async def _awaited(function: Callable[[], Awaitable[T]]) -> T:
    return await function()


async def _end_of(work: asyncio.Task[T], runner: Runner) -> None:
    cut: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            if runner.closing:
                work.cancel()
                raise
            cut = error
    if cut is not None:
        if not work.cancelled():
            work.exception()  # nobody else will look at it
        raise cut
