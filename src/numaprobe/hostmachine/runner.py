"""Tasks in the core's loop, and their bodies on threads of their own.

A task is an asyncio task with ``CURRENT`` set in its context. It leaves the loop in two ways: ``park`` until another
task wakes it, and ``run_in_thread``. Code between two awaits is atomic, because one
thread at a time runs the loop.

A run is over when nothing is busy and no timer is pending (``Accounting``); it is stuck when only waiting tasks are
left. While the machine serves a library (nobody called ``run``), help may come from outside at any time, and being
still means nothing.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from numaprobe.errors import BodyError, DeadlockError, UsageError, describe, explain
from numaprobe.hostmachine.accounting import Accounting
from numaprobe.hostmachine.core import CoreThread
from numaprobe.hostmachine.future import LATER_S, Request, TaskFuture, ThreadCall
from numaprobe.hostmachine.task import CURRENT, HostTask
from numaprobe.hostmachine.thread import BodyThread, this_thread
from numaprobe.hostmachine.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from numaprobe.hostmachine.attributes import Applier, Attributes

T = TypeVar("T")


def nothing() -> None:
    """Be called in a thread, which then says where it is."""


class HostTimer:
    """A pending call in the core's loop, outside any task."""

    def __init__(self, runner: Runner, delay_ns: int, function: Callable[[], object]) -> None:
        self._runner = runner
        self._function = function
        self.pending = True
        runner.accounting.timers += 1
        delay = max(0, delay_ns) / 1e9
        self._handle = runner.core.loop.call_later(delay, self._fire, context=contextvars.Context())

    def _fire(self) -> None:
        self.pending = False
        try:
            self._function()
        except Exception as error:  # noqa: BLE001  handed to whoever runs the machine
            self._runner.fail(error)
        self._runner.accounting.timer_gone()

    def cancel(self) -> None:
        """Forget the call."""
        if self.pending:
            self.pending = False
            self._handle.cancel()
            self._runner.accounting.timer_gone()


class Runner:
    """Tasks, their threads, and whether anything can still happen.

    Args:
        applier: gives threads their attributes.
        warn: takes warnings.

    Attributes:
        tasks: all that are not done.
        failures: what nobody was there to take.
        threads: where bodies run.

    """

    def __init__(self, applier: Applier, warn: Callable[[str, str], None]) -> None:
        self.core = CoreThread("numaprobe-core", warn)
        self.accounting = Accounting(self._still)
        self.tasks: dict[HostTask, asyncio.Task[None]] = {}
        self.failures: list[Exception] = []
        self.threads = Threads(self.core, applier, warn)
        self.warn = warn
        #: all is being cancelled: bodies may finish in their own time
        self.closing = False
        #: what a report of a deadlock adds: works held back by max_active
        self.held: Callable[[], Iterable[str]] = tuple
        self._idle: asyncio.Future[None] | None = None

    # ---- tasks -----------------------------------------------------------------------------------------------------
    @property
    def current(self) -> HostTask:
        """The task whose code is running; in a body's thread the task it belongs to.

        Raises:
            UsageError: called from outside any task.

        """
        task = CURRENT.get()
        if task is None:
            raise UsageError("no task is running here; call this from a task of this machine, or from a probe body")
        return task

    def start(self, task: HostTask, life: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Let a coroutine of the core run as ``task``."""
        context = contextvars.Context()
        context.run(CURRENT.set, task)
        running = self.tasks[task] = self.core.loop.create_task(life, context=context, name=task.comm)
        return running

    def spawn(self, task: HostTask, function: Callable[[], Awaitable[Any]]) -> None:
        """Start a task that runs ``function`` and ends."""
        self.accounting.busy += 1
        self.start(task, self._life(task, function))

    async def _life(self, task: HostTask, function: Callable[[], Awaitable[Any]]) -> None:
        try:
            task.result = await function()
        except BaseException as error:  # noqa: BLE001  kept for the task that joins
            cut = self.closing and not isinstance(error, Exception)
            task.failure = UsageError(cut_short(task.comm)) if cut else presentable(task, error)
        finally:
            self._finish(task)
            self.accounting.done()

    def _finish(self, task: HostTask) -> None:
        task.done = True
        if task.failure is not None and not task.joiners and not task.joined:
            self.fail(task.failure)
        for joiner in task.joiners:
            self.wake(joiner)
        self.leave(task)

    def fail(self, error: Exception) -> None:
        """Keep what nobody was there to take for whoever runs the machine; as a warning if nobody does."""
        if self._idle is not None:
            self.failures.append(error)
        elif not self.closing:
            self.warn("failed", explain(error))

    def leave(self, task: HostTask) -> None:
        """Give back what a task held: its memory, its thread."""
        self.tasks.pop(task, None)
        task.drop_memory()
        self.threads.give_back(task)
        if task.thread is not None:
            task.thread.stop()

    async def join(self, task: HostTask) -> Any:  # noqa: ANN401  what the task's function returned
        """Wait until a task is done; return what it returned, or raise what it raised."""
        if not task.done:
            own = self.current
            task.joiners.append(own)
            try:
                await self.park(f"the end of {task.comm}")
            except BaseException:
                task.joiners.remove(own)  # cut short: it must not be woken out of its next wait
                raise
        elif task.failure in self.failures and task.failure is not None:
            self.failures.remove(task.failure)
        task.joined = True
        if task.failure is not None:
            raise task.failure
        return task.result

    # ---- waiting ---------------------------------------------------------------------------------------------------
    async def park(self, why: object) -> Any:  # noqa: ANN401  what ``wake`` gives
        """Leave the current task until it is woken; ``why`` is what a deadlock report says."""
        task = self.current
        if task.parked is not None:
            raise UsageError(f"{task.comm} waits for {task.waits} and for {why} at the same time: a task waits for one")
        future = task.parked = TaskFuture(self.core.loop)
        task.waits = why
        if task.pool is not None:
            task.pool.sleeping(task)
        self.accounting.waits()
        try:
            return await future
        finally:
            task.waits = ""
            if task.parked is future:  # cancelled, not woken
                task.parked = None
                self.accounting.waiting -= 1
                if task.pool is not None and not self.closing:
                    task.pool.waking(task)

    def wake(self, task: HostTask, *, value: object = None) -> None:
        """Make a parked task ready; its await returns ``value``."""
        future, task.parked = task.parked, None
        if future is None:
            return
        self.accounting.waiting -= 1
        if task.pool is not None:
            task.pool.waking(task)
        future.give(value)
        self.core.loop.post(future)

    def _still(self) -> None:
        if self._idle is not None and not self._idle.done():
            self.core.loop.call_soon(self._settle, context=contextvars.Context())

    def _settle(self) -> None:
        if self._idle is None or self._idle.done() or not self.accounting.is_still:
            return
        if not self.accounting.busy:
            self._idle.set_result(None)
            return
        waits = [f"{task.comm} waits for {task.waits}" for task in self.tasks if task.waits and task.parked is not None]
        self._idle.set_exception(DeadlockError([*waits, *self.held()]))

    def end_run(self, error: Exception) -> None:
        """End the run with an error: something that others wait for will never come."""
        if self._idle is not None and not self._idle.done():
            self._idle.set_exception(error)

    async def until_over(self, start: Callable[[], None]) -> None:
        """Call ``start``, then wait until nothing is left to run.

        Raises:
            DeadlockError: tasks wait and nothing can wake them.

        """
        self._idle = self.core.loop.create_future()
        try:
            start()
            await self._idle
        finally:
            self._idle = None

    # ---- bodies ----------------------------------------------------------------------------------------------------
    async def run_in_thread(
        self,
        task: HostTask,
        function: Callable[..., T],
        *args: object,
        deadline_ns: int | None = None,
        interrupt: Callable[[], None] | None = None,
    ) -> T:
        """Call ``function`` in the task's thread; ``interrupt`` makes it return, if the task is cancelled meanwhile.

        Raises:
            TimeoutError: it passed its deadline.
            BodyError: it raised what is no ``Exception``.
            OSError: EAGAIN, the system gave no thread; ENOMEM, the thread died.

        """
        thread = task.thread or self.threads.of(task)
        loop = self.core.loop
        call = ThreadCall(loop, function, args)
        thread.calls.append(call)
        loop.send(thread, call)
        if deadline_ns is not None:
            call.depth = thread.asking
            call.alarm = loop.call_later(deadline_ns / 1e9, self._expire, task, thread, call, deadline_ns)
        try:
            await call
        except asyncio.CancelledError:
            if interrupt is not None:
                interrupt()
            elif not self.closing:
                self.threads.give_up(task, thread, f"{task.comm}: a body was cancelled at {thread.stack()}")
            raise
        finally:
            thread.calls.remove(call)
            if deadline_ns is not None:
                call.alarm.cancel()
        task.cpu = call.cpu_after
        task.running_ns += call.running_ns
        if task.stretch is not None:
            task.stretch.ran(call.running_ns, call.cpu_before, call.cpu_after)
        if call.error is not None:
            raise presentable(task, call.error)
        value: T = call.value
        return value

    def _expire(self, task: HostTask, thread: BodyThread, call: ThreadCall, deadline_ns: int) -> None:
        """Give up a body at its deadline; one that waits for the core when that is over (see ``async_body.py``)."""
        if call.done():
            return
        if thread.asking > call.depth:
            call.alarm = self.core.loop.call_later(LATER_S, self._expire, task, thread, call, deadline_ns)
            return
        where = f"at {thread.stack()}" if thread.tid else "and the system gave no thread for it"
        message = f"{task.comm}: a body is past its deadline of {deadline_ns / 1e6:g} ms, {where}"
        self.threads.give_up(task, thread, message)
        call.fail(TimeoutError(errno.ETIMEDOUT, message))

    async def change(self, task: HostTask, wish: Attributes) -> None:
        """Give a task other attributes, now."""
        task.wish = wish
        await self.run_in_thread(task, self.threads.of(task).change, wish)
        await self.run_in_thread(task, nothing)

    # ---- requests from bodies -------------------------------------------------------------------------------------
    def ask(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run ``function`` in the core, as the task of the calling body, and wait for it in the body's thread.

        Raises:
            UsageError: the caller is no body of this machine.

        """
        thread = this_thread()
        if thread is None or not isinstance(thread.owner, HostTask) or self.core.here:
            raise UsageError("only a probe body (plain code in its own thread) may ask the core and wait")
        if not self.core.alive:
            raise UsageError("the host machine does not run any more; nobody can answer")
        answer: T = thread.ask(Request(partial(self._answer, thread, function)))  # type: ignore[assignment]
        return answer

    def _answer(self, thread: BodyThread, function: Callable[[], Awaitable[object]]) -> None:
        async def work() -> object:
            try:
                return await function()
            except Exception:
                raise
            except BaseException as error:
                if self.closing:
                    raise UsageError(cut_short(thread.comm)) from None
                raise presentable(CURRENT.get() or thread.owner, error) from error  # type: ignore[arg-type]

        def tell(done: asyncio.Task[object]) -> None:
            if thread.abandoned and not self.closing and thread.calls:  # a body nested in the asker's was given up
                text = f"{thread.comm}: a body above this one in its thread was given up, and this one with it"
                thread.calls[-1].fail(TimeoutError(errno.ETIMEDOUT, text))
            if done.cancelled():
                thread.answer(None, UsageError(cut_short(thread.comm)))
            elif (error := done.exception()) is not None:
                thread.answer(None, error)
            else:
                thread.answer(done.result(), None)

        context = contextvars.Context()
        context.run(CURRENT.set, thread.owner)  # type: ignore[arg-type]
        self.core.loop.create_task(work(), context=context).add_done_callback(tell)


def presentable(task: HostTask, error: BaseException) -> Exception:
    """Return what may be raised in a coroutine; what would end the program (or a generator) is the body's fault."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration | StopAsyncIteration):
        return error
    fault = BodyError(f"{task.comm}: a body raised {describe(error)}; it counts as failed")
    fault.__cause__ = error
    return fault


def cut_short(comm: str) -> str:
    """Say why what ``comm`` asked for will not be done."""
    return f"{comm}: cut short, because the host machine was closed meanwhile (its 'with' block, or its run, ended)"
