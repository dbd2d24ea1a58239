"""Workers: what a kworker does all day (``worker_thread``, ``process_one_work``).

A worker gets its OS thread with its first body: one whose works only wait for others (a probe that another workqueue
does) needs none.
"""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING

from numaprobe.host.job import Ticket
from numaprobe.host.runner import presentable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numaprobe.host.pool import Item, Pool, Worker, WorkState
    from numaprobe.host.runner import Runner
    from numaprobe.host.workqueue import Workqueues


class Workers:
    """Runs the workers of all pools.

    Args:
        runner: runs tasks.
        warn: takes remarks.

    """

    def __init__(self, runner: Runner, warn: Callable[[str, str], None]) -> None:
        self._runner = runner
        self._warn = warn
        self.workqueues: Workqueues | None = None
        runner.held = self._held

    def _held(self) -> Iterator[str]:
        for wq in self.workqueues.workqueues if self.workqueues is not None else ():
            for limit in wq.limits.values():
                yield from (f"work {item.work.name} waits for a slot of workqueue {wq.name}" for item in limit.held)

    def start_worker(self, worker: Worker) -> None:
        """Let the worker serve its pool."""
        if worker.pool is not None:
            self._runner.start(worker, self._serve(worker, worker.pool))

    def hand(self, worker: Worker, item: Item) -> None:
        """Give an idle worker a work."""
        if worker.inbox is not None:
            worker.inbox.give(item)
            self._runner.core.loop.post(worker.inbox)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call ``function`` in the core's loop, outside any task."""
        self._runner.core.loop.call_later(seconds, function, context=contextvars.Context())

    async def _serve(self, worker: Worker, pool: Pool) -> None:
        try:
            await self._work_on(worker, pool)
        except Exception as error:  # noqa: BLE001  our own bug: its works would wait for ever, so the run ends
            self._warn("worker-died", f"{worker.comm}: {type(error).__name__}: {error}")
            self._runner.end_run(error)
        finally:
            pool.gone(worker)
            self._runner.leave(worker)

    async def _work_on(self, worker: Worker, pool: Pool) -> None:
        while True:
            worker.inbox = Ticket(self._runner.core.loop)
            if not pool.idle(worker):
                return
            item: Item | None = await worker.inbox
            while item is not None:
                running: Item | None = item.work.state.running
                if running is not None:  # the same work, queued again while it runs: never two at once
                    running.followers = [*(running.followers or ()), item]
                else:
                    await self._run(worker, item, item.work.state)
                    if item.followers is not None:
                        await self._run_followers(worker, item.followers)
                item = pool.next_for(worker)

    async def _run_followers(self, worker: Worker, later: list[Item]) -> None:
        while later:
            item = later.pop(0)
            await self._run(worker, item, item.work.state)
            later += item.followers or ()

    async def _run(self, worker: Worker, item: Item, state: WorkState) -> None:
        state.pending, state.running, worker.work = None, item, item.work
        if worker.thread is not None:
            worker.thread.fresh = True
        try:
            await item.work.function()
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001  a broken promise: run raises it
            self._warn("work-raised", f"{worker.comm}: work {item.work.name} raised {type(error).__name__}: {error}")
            self._runner.failures.append(presentable(worker, error))
        finally:
            worker.work, state.running = None, None
            self._end(worker, item)
        if worker.wish is not worker.home:
            await self._runner.change(worker, worker.home)

    def _end(self, worker: Worker, item: Item) -> None:
        worker.drop_memory()
        item.limit.release()
        for waiter in item.waiters or ():
            self._runner.wake(waiter, value=True)
        self._runner.accounting.done()
