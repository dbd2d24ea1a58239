"""The fake machine's seat for the rules of workqueues: about the least that a machine has to give.

A worker's coroutine is made when the worker is woken, and is over when it has nothing to do; its task is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from numaprobe.testing.fake_objects import FakeTask

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from numaprobe.cpuset import CpuSet
    from numaprobe.runtime.protocol import Task, Timer
    from numaprobe.workqueue import Worker


class FakeStage(Protocol):
    """What the seat needs of its machine."""

    @property
    def online(self) -> CpuSet:
        """The CPUs online."""
        ...

    def now(self) -> int:
        """Return the time, ns."""
        ...

    def begin(self, task: FakeTask, life: Coroutine[object, object, None]) -> None:
        """Run a coroutine as ``task``."""
        ...

    def wake(self, task: Task, *, value: object = None) -> None:
        """Make a parked task ready."""
        ...

    def timer(self, delay_ns: int, function: Callable[[], object]) -> Timer:
        """Call ``function`` after ``delay_ns``."""
        ...


class FakeSeat:
    """The seat of all workers of a fake machine."""

    #: ``FakeMachine.compute`` calls ``tick`` in time
    ticks = True

    def __init__(self, stage: FakeStage) -> None:
        self._stage = stage

    def now(self) -> int:
        """Return the time, ns."""
        return self._stage.now()

    def may_grow(self) -> bool:
        """Making a worker takes nothing."""
        return True

    def create(self, worker: Worker) -> None:
        """Make the task, somewhere in the pod."""
        cpu = worker.pool.distribute(worker.pool.pod)
        worker.task = FakeTask(worker.comm, cpu, cpu, is_worker=True, worker=worker, trail=[cpu])

    def wake(self, worker: Worker) -> None:
        """Give the task a new coroutine, in the pod."""
        task, pool = cast("FakeTask", worker.task), worker.pool
        task.move(pool.wake_cpu(task.cpu) if task.cpu in self._stage.online else pool.distribute(pool.pod))
        self._stage.begin(task, _serve(task, worker))

    def rest(self, worker: Worker) -> bool:
        """Its coroutine comes to its end."""
        del worker
        return True

    def end(self, worker: Worker) -> None:
        """There is nothing left of it."""

    def move(self, worker: Worker) -> None:
        """Move the task, if it is where it may not be now."""
        task, mask = cast("FakeTask", worker.task), worker.pool.mask
        if not mask >> task.cpu & 1:
            task.move(worker.pool.distribute(mask))

    def flushed(self, task: Task) -> None:
        """Wake a task that flushed a work."""
        self._stage.wake(task, value=True)

    def call_later(self, delay_ns: int, function: Callable[[], None]) -> None:
        """Call ``function`` after ``delay_ns``."""
        self._stage.timer(delay_ns, function)


async def _serve(task: FakeTask, worker: Worker) -> None:
    item = worker.begin(task.executed)
    while item is not None:
        task.work = item.work
        try:
            await item.work.function()
        except Exception:
            worker.die()
            raise
        finally:
            task.work = None
        item = worker.finish(task.executed)
