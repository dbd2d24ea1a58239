"""Workers in virtual time: the seat that the virtual machine gives to the rules in ``numaprobe.workqueue``.

A worker is no endless coroutine: its ``send`` is ``_woken`` while it is idle and its work's coroutine's ``send`` while
it executes, so an idle machine holds no suspended code. Making a worker takes no time, and a pool may always grow. The
scheduler tells each worker when it sleeps, runs, and has hogged its CPU, to the nanosecond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from numaprobe.virtual.task import State, VirtualTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.runtime import Task, Work
    from numaprobe.virtual.blocking import Blocker
    from numaprobe.virtual.loop import EventLoop
    from numaprobe.workqueue import Worker


class VirtualWorker(VirtualTask):
    """The task of a kworker."""

    __slots__ = ("loop", "worker")

    def __init__(self, worker: Worker, loop: EventLoop, cpu: int) -> None:
        super().__init__(worker.comm, worker.pool.mask, cpu)
        self.worker = worker
        self.loop = loop
        self.send = self._woken

    @property
    def is_worker(self) -> bool:
        """``PF_WQ_WORKER``: always."""
        return True

    @property
    def work(self) -> Work | None:
        """The work it executes now."""
        item = self.worker.item
        return None if item is None else item.work

    @property
    def pod(self) -> int:
        """The pod of its pool, if that is an unbound one."""
        pool = self.worker.pool
        return pool.pod if pool.label.startswith("u") else 0

    def _woken(self, _: None) -> object:
        item = self.worker.begin(self.executed)
        if item is None:
            return None
        self.start(item.work.function)
        return self.send(None)

    def finished(self, result: object, error: Exception | None) -> None:  # noqa: ARG002  a work returns nothing
        """Its work is done: go on with the next one or rest."""
        if error is not None:
            raise error
        item = self.worker.finish(self.executed)
        if item is None:
            self.send = self._woken
        else:
            self.start(item.work.function)
            self.loop.make_due(self)

    # ---- as the scheduler sees it ----------------------------------------------------------------------------------
    def scheduled_out(self) -> None:
        """It is about to sleep."""
        self.worker.sleeps()

    def scheduled_in(self) -> None:
        """It runs again."""
        if self.worker.sleeping:
            self.worker.runs(self.executed)

    def cpu_allowance(self, limit: int) -> int | None:
        """Return the CPU time left before it hogs the CPU; None if that changes nothing."""
        return self.worker.allowance(self.executed, limit)

    def hogged(self, limit: int) -> None:
        """It computed on; past the limit it no longer counts."""
        self.worker.tick(self.executed, limit)


class VirtualSeat:
    """The seat of all workers of a virtual machine."""

    __slots__ = ("_blocker", "_loop")

    #: the scheduler calls ``hogged`` in time
    ticks = True

    def __init__(self, blocker: Blocker) -> None:
        self._blocker = blocker
        self._loop = blocker.loop

    def now(self) -> int:
        """Return virtual time."""
        return self._loop.now

    def may_grow(self) -> bool:
        """Making a worker takes nothing."""
        return True

    def create(self, worker: Worker) -> None:
        """Make the task, asleep, somewhere in the pod."""
        worker.task = VirtualWorker(worker, self._loop, worker.pool.distribute(worker.pool.pod))

    def wake(self, worker: Worker) -> None:
        """Wake the task, in its pod."""
        task = worker.task
        task.cpu = worker.pool.wake_cpu(task.cpu)
        self._blocker.unblock(task)

    def rest(self, worker: Worker) -> bool:
        """Let the task sleep; it waits for nobody."""
        self._blocker.block(worker.task, None)
        return True

    def end(self, worker: Worker) -> None:
        """Note that the task is dead."""
        worker.task.state = State.DEAD

    def move(self, worker: Worker) -> None:
        """Change where the task may run, for good."""
        mask = worker.pool.mask
        worker.task.home_mask = mask
        self._blocker.scheduler.set_mask(worker.task, mask)

    def flushed(self, task: Task) -> None:
        """Wake a task that flushed a work."""
        self._blocker.unblock(cast("VirtualTask", task))

    def call_later(self, delay_ns: int, function: Callable[[], None]) -> None:
        """Call ``function`` after ``delay_ns``."""
        self._blocker.timer(delay_ns, function)
