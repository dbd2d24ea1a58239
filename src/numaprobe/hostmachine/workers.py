"""Workers: what a kworker does all day (``worker_thread``, ``process_one_work``).

A worker gets its OS thread with its first body: one whose works only wait for others (a probe that another workqueue
does) needs none.
"""

from __future__ import annotations

import contextvars
import time
from typing import TYPE_CHECKING

from numaprobe.errors import explain
from numaprobe.hostmachine.future import TaskFuture
from numaprobe.hostmachine.runner import presentable
from numaprobe.hostmachine.seat import HostWorker, ThreadSeat

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.hostmachine.attributes import Attributes
    from numaprobe.hostmachine.runner import Runner
    from numaprobe.workqueue import Pool
    from numaprobe.workqueue.item import Item


class Workers:
    """Runs the workers of all pools.

    Args:
        runner: runs tasks.
        warn: takes warnings.
        attributes: see ``WorkerHost``.
        follow: called often, with the time (ns), for whoever wants to see whether CPUs have come or gone.

    """

    def __init__(
        self,
        runner: Runner,
        warn: Callable[[str, str], None],
        attributes: Callable[[Pool], tuple[Attributes, int]],
        follow: Callable[[int], object],
    ) -> None:
        self._runner = runner
        self._warn = warn
        self._follow = follow
        self.attributes = attributes
        #: wakes a task that flushed a work
        self.wake_task = runner.wake

    # ---- for their seats -------------------------------------------------------------------------------------------
    def seat(self, pool: Pool) -> ThreadSeat:
        """Make the seat of a pool's workers."""
        return ThreadSeat(pool, self)

    def may_start(self) -> bool:
        """Whether workers may be made: the machine is not being closed."""
        return not self._runner.closing

    def start(self, task: HostWorker) -> None:
        """Let a new worker begin."""
        self._runner.start(task, self._serve(task))

    def inbox(self) -> TaskFuture:
        """Return a place where a worker may wait."""
        return TaskFuture(self._runner.core.loop)

    def resume(self, inbox: TaskFuture) -> None:
        """Let the worker that waits there go on."""
        inbox.give(None)
        self._runner.core.loop.post(inbox)

    def call_later(self, delay_ns: int, function: Callable[[], None]) -> None:
        """Call ``function`` in the core's loop, outside any task."""
        self._runner.core.loop.call_later(delay_ns / 1e9, function, context=contextvars.Context())

    # ---- a worker's life -------------------------------------------------------------------------------------------
    async def _serve(self, task: HostWorker) -> None:
        try:
            await self._work_on(task)
        except Exception as error:  # noqa: BLE001  our own bug: its works would wait for ever, so the run ends
            self._warn("worker-died", f"{task.comm}: {type(error).__name__}: {error}")
            self._runner.end_run(error)
        finally:
            if not self._runner.closing:
                self._leave_pool(task)
            self._runner.leave(task)

    def _leave_pool(self, task: HostWorker) -> None:
        if not task.ended:
            task.worker.die()
        task.seat.made(task)

    async def _work_on(self, task: HostWorker) -> None:
        worker, done = task.worker, self._runner.accounting.done
        while True:
            now = time.monotonic_ns()
            item = worker.begin(now)
            task.began_ns = now
            while item is not None:
                await self._run(task, item)
                now = time.monotonic_ns()
                task.seat.work_ended(task, now)
                self._follow(now)
                item = worker.finish(now)
                done()
            if not task.ended and task.inbox is not None:
                await task.inbox
            if task.ended:
                return

    async def _run(self, task: HostWorker, item: Item) -> None:
        task.work = item.work
        if task.thread is not None:
            task.thread.fresh = True
            if task.wish is not task.home:  # the pool's CPU went or came
                await self._runner.change(task, task.home)
        try:
            await item.work.function()
        except BaseException as error:  # a broken promise: run raises it
            if self._runner.closing and not isinstance(error, Exception):
                raise
            self._warn("work-raised", f"{task.comm}: work {item.work.name} raised {explain(error)}")
            self._runner.fail(presentable(task, error))
        task.drop_memory()
        task.work = None
        self._runner.threads.give_back(task)
        if task.thread is None:
            task.wish = task.home
        elif task.wish is not task.home:
            await self._runner.change(task, task.home)
