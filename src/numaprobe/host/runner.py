"""Tasks in the core's loop, and their bodies on threads of their own.

A task is an asyncio task with ``CURRENT`` set in its context. It leaves the loop in two ways: ``park`` until another
task wakes it, and ``hop`` to have something done in its own OS thread. Code between two awaits is atomic, because one
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
from typing import TYPE_CHECKING, Any, Final, TypeVar

from numaprobe.errors import BodyError, DeadlockError, UsageError
from numaprobe.host.accounting import Accounting
from numaprobe.host.core import CoreThread
from numaprobe.host.job import Job, Question, Ticket
from numaprobe.host.task import CURRENT, HostTask
from numaprobe.host.thread import BodyThread, this_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from numaprobe.host.attributes import Applier, Attributes

T = TypeVar("T")

#: If the system gives no thread now, it is asked again after this long.
_RETRY_S: Final = 0.1


def nothing() -> None:
    """Be a job: the thread says where it is."""


class HostTimer:
    """A pending call in the core's loop, outside any task."""

    def __init__(self, runner: Runner, delay_ns: int, function: Callable[[], object]) -> None:
        self._runner = runner
        self._function = function
        self.pending = True
        runner.accounting.timers += 1
        delay = max(0, delay_ns) / 1e9
        self._handle = runner.core.loop.call_later(delay, self._ring, context=contextvars.Context())

    def _ring(self) -> None:
        self.pending = False
        try:
            self._function()
        except Exception as error:  # noqa: BLE001  handed to whoever runs the machine
            self._runner.failures.append(error)
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
        warn: takes remarks.

    Attributes:
        tasks: all that are not done.
        failures: what nobody was there to take.
        hung: threads whose body passed its deadline.

    """

    def __init__(self, applier: Applier, warn: Callable[[str, str], None]) -> None:
        self.core = CoreThread("numaprobe-core")
        self.accounting = Accounting(self._still)
        self.tasks: dict[HostTask, asyncio.Task[None]] = {}
        self.failures: list[Exception] = []
        self.threads: set[BodyThread] = set()
        self._next_sweep = 64
        #: the system gave no thread the last time
        self._refused = False
        self.hung: list[BodyThread] = []
        #: all is being cancelled: bodies may finish in their own time
        self.closing = False
        #: what a report of a deadlock adds: works held back by max_active
        self.held: Callable[[], Iterable[str]] = tuple
        self._applier = applier
        self._warn = warn
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
        except Exception as error:  # noqa: BLE001  kept for the one who joins
            task.failure = error
        except (KeyboardInterrupt, SystemExit) as error:
            task.failure = BodyError(f"{task.comm} raised {type(error).__name__}; a body must not end the program")
        finally:
            self._finish(task)
            self.accounting.done()

    def _finish(self, task: HostTask) -> None:
        task.done = True
        if task.failure is not None and not task.joiners and not task.joined:
            self.failures.append(task.failure)
        for joiner in task.joiners:
            self.wake(joiner)
        self.leave(task)

    def leave(self, task: HostTask) -> None:
        """Give back what a task held: its memory, its thread."""
        self.tasks.pop(task, None)
        task.drop_memory()
        if task.thread is not None:
            task.thread.stop()

    async def join(self, task: HostTask) -> Any:  # noqa: ANN401  what the task's function returned
        """Wait until a task is done; return what it returned, or raise what it raised."""
        if not task.done:
            task.joiners.append(self.current)
            await self.park(f"the end of {task.comm}")
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
        ticket = task.parked = Ticket(self.core.loop)
        task.waits = why
        if task.pool is not None:
            task.pool.sleeping(task)
        self.accounting.waits()
        try:
            return await ticket
        finally:
            task.waits = ""
            if task.parked is ticket:  # cancelled, not woken
                task.parked = None
                self.accounting.waiting -= 1

    def wake(self, task: HostTask, *, value: object = None) -> None:
        """Make a parked task ready; its await returns ``value``."""
        ticket, task.parked = task.parked, None
        if ticket is None:
            return
        self.accounting.waiting -= 1
        if task.pool is not None:
            task.pool.waking(task)
        ticket.give(value)
        self.core.loop.post(ticket)

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
    def thread_of(self, task: HostTask) -> BodyThread:
        """Return the task's thread; make it if there is none, or if its body hung."""
        thread = task.thread
        if thread is None:
            loop = self.core.loop

            def enter() -> None:
                loop.adopt()
                CURRENT.set(task)

            thread = BodyThread(task.comm, task.wish, self._applier, loop.deliver, task, enter)
            loop.start_thread(thread, partial(self._born, task, thread))
            task.thread = thread
            self._remember(thread)
        return thread

    def _born(self, task: HostTask, thread: BodyThread, error: RuntimeError | None) -> None:
        """Note that a thread runs, or try again later: until then its jobs wait."""
        if error is None:
            self._refused = False
            if task.pool is not None:
                task.pool.made(task)
            return
        if not self._refused:
            self._refused = True
            self._warn("no-thread", f"{task.comm}: {error}; its bodies wait for a thread")
        again = partial(self.core.loop.start_thread, thread, partial(self._born, task, thread))
        self.core.loop.call_later(_RETRY_S, again, context=contextvars.Context())

    def _remember(self, thread: BodyThread) -> None:
        """Keep the thread to be waited for at the end; forget those that ended, now and then."""
        self.threads.add(thread)
        if len(self.threads) >= self._next_sweep:
            self.threads = {one for one in self.threads if not one.ended}
            self._next_sweep = 2 * len(self.threads) + 64

    async def hop(
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
            BodyError: it tried to end the program.

        """
        thread = self.thread_of(task)
        loop = self.core.loop
        job = Job(loop, function, args)
        loop.send(thread, job)
        alarm = None
        if deadline_ns is not None:
            alarm = loop.call_later(deadline_ns / 1e9, partial(self._expire, task, thread, job, deadline_ns))
        try:
            await job
        except asyncio.CancelledError:
            if interrupt is not None:
                interrupt()
            elif not self.closing:
                self._give_up(task, thread, f"{task.comm}: a body was cancelled at {thread.stack()}")
            raise
        finally:
            if alarm is not None:
                alarm.cancel()
        task.cpu = job.cpu_after
        task.running_ns += job.running_ns
        if task.stretch is not None:
            task.stretch.ran(job.running_ns, job.cpu_before, job.cpu_after)
        if job.error is not None:
            raise presentable(task, job.error)
        value: T = job.value
        return value

    def _expire(self, task: HostTask, thread: BodyThread, job: Job, deadline_ns: int) -> None:
        if job.done():
            return
        message = f"{task.comm}: a body is past its deadline of {deadline_ns / 1e6:g} ms, at {thread.stack()}"
        self._give_up(task, thread, message)
        job.fail(TimeoutError(errno.ETIMEDOUT, message))

    def _give_up(self, task: HostTask, thread: BodyThread, message: str) -> None:
        """Let the task go on with a new thread; what the old one does cannot be stopped."""
        thread.abandon()
        self.hung.append(thread)
        if task.thread is thread:
            task.thread = None
        self._warn("deadline", message)

    async def change(self, task: HostTask, wish: Attributes) -> None:
        """Give a task other attributes, now."""
        task.wish = wish
        await self.hop(task, self.thread_of(task).change, wish)
        await self.hop(task, nothing)

    # ---- questions from bodies -------------------------------------------------------------------------------------
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
        answer: T = thread.ask(Question(partial(self._answer, thread, function)))  # type: ignore[assignment]
        return answer

    def _answer(self, thread: BodyThread, function: Callable[[], Awaitable[object]]) -> None:
        async def work() -> object:
            try:
                return await function()
            except (KeyboardInterrupt, SystemExit) as error:
                raise presentable(CURRENT.get() or thread.owner, error) from error  # type: ignore[arg-type]

        def tell(done: asyncio.Task[object]) -> None:
            if done.cancelled():
                thread.answer(None, BodyError(f"{thread.comm}: the machine was shut down"))
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
    fault = BodyError(f"{task.comm}: a body raised {type(error).__name__}: {error}; it counts as failed")
    fault.__cause__ = error
    return fault
