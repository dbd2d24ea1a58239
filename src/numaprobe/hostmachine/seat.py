"""The seat of a pool's workers on threads: what the host machine gives to the rules in ``numaprobe.workqueue``.

A worker is a task of the core. Its OS thread, pinned to the pool's CPUs, comes with its first body. Workers are made
one at a time: the next one when the last one has its thread, or waits without needing any (``growth`` says when one is
missing at all). When a worker waits in a way that the machine can see, the pool is told; what a body does inside plain
Python it cannot see, and there the rule of hogs helps: a worker that has kept the CPU for 10 ms is not counted.

All of this runs in the core's loop and needs no lock.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from numaprobe.hostmachine.growth import PoolGrowth
from numaprobe.hostmachine.task import HostTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.hostmachine.attributes import Attributes
    from numaprobe.hostmachine.future import TaskFuture
    from numaprobe.workqueue import Pool, Worker

#: Idle workers with a thread beyond this many end; the kernel lets them idle for five minutes first, but a thread is
#: dearer here.
IDLE_KEPT: Final = 64


class WorkerHost(Protocol):
    """What seats need of their machine."""

    def attributes(self, pool: Pool) -> tuple[Attributes, int]:
        """Return what the pool's threads are given, and the CPU on which its workers are expected."""
        ...

    def may_start(self) -> bool:
        """Whether workers may be made: the machine is not being closed."""
        ...

    def start(self, task: HostWorker) -> None:
        """Let a new worker begin."""
        ...

    def inbox(self) -> TaskFuture:
        """Return a place where a worker may wait."""
        ...

    def resume(self, inbox: TaskFuture) -> None:
        """Let the worker that waits there go on."""
        ...

    def wake_task(self, task: Any, /) -> None:  # noqa: ANN401  a task of this machine
        """Wake a task that flushed a work."""
        ...

    def call_later(self, delay_ns: int, function: Callable[[], None]) -> None:
        """Call ``function`` in the core's loop, outside any task."""
        ...


class HostWorker(HostTask):
    """The task of a kworker.

    Attributes:
        worker: what the pool knows of it.
        inbox: where it waits for a work; None before it was woken first.
        ended: it has left its pool, and is to end.
        idle_thread: it rests and has a thread.
        began_ns, began_awake_ns: when its work began, and its ``awake_ns`` at the end of the one before: while it
            rests it is not awake.

    """

    def __init__(self, worker: Worker, cpu: int, home: Attributes, seat: ThreadSeat) -> None:
        super().__init__(worker.comm, cpu, home, seat)
        self.worker = worker
        self.seat = seat
        self.inbox: TaskFuture | None = None
        self.ended = False
        self.idle_thread = False
        self.began_ns = self.began_awake_ns = 0

    @property
    def awake_ns(self) -> int:
        """Its time on a CPU and its wait for one so far, as last read."""
        return self.running_ns + (self.thread.run_delay_seen_ns if self.thread is not None else 0)


class ThreadSeat:
    """The seat of one pool's workers."""

    #: nobody says when a body hogs its CPU
    ticks = False

    def __init__(self, pool: Pool, host: WorkerHost) -> None:
        self._pool = pool
        self._host = host
        self._wish, self._cpu = host.attributes(pool)
        #: a managed pool counts them itself
        cpus = sys.maxsize if pool.managed else pool.mask.bit_count()
        #: wakes a task that flushed a work
        self.flushed = host.wake_task
        self._growth = PoolGrowth(pool, cpus, host.call_later)
        self._making: HostWorker | None = None
        self._idle_threads = 0

    # ---- as the pool sees it ---------------------------------------------------------------------------------------
    #: the time, ns
    now = staticmethod(time.monotonic_ns)

    def may_grow(self) -> bool:
        """Tell whether a worker is missing: no spare is made before there is work for it."""
        growth = self._growth
        if not self._pool.worklist or self._making is not None or growth.looks_again or not self._host.may_start():
            return False
        return growth.worker_is_missing()

    def create(self, worker: Worker) -> None:
        """Make the task; its coroutine begins when it is woken."""
        worker.task = self._making = HostWorker(worker, self._cpu, self._wish, self)

    def wake(self, worker: Worker) -> None:
        """Let the worker take a work."""
        task: HostWorker = worker.task
        if task.inbox is None:
            self._host.start(task)
            return
        if task.idle_thread:
            task.idle_thread = False
            self._idle_threads -= 1
        self._host.resume(task.inbox)

    def rest(self, worker: Worker) -> bool:
        """Keep a worker for later; False = there are enough, it shall end."""
        task: HostWorker = worker.task
        if task.thread is not None:
            if self._idle_threads >= IDLE_KEPT:
                task.ended = True
                return False
            self._idle_threads += 1
            task.idle_thread = True
        task.inbox = self._host.inbox()
        return True

    def end(self, worker: Worker) -> None:
        """Let a worker that rests end."""
        task: HostWorker = worker.task
        task.ended = True
        if task.inbox is not None:
            self.wake(worker)
        elif self._making is task:  # it never began
            self._making = None

    def move(self, worker: Worker) -> None:
        """Let a worker use its pool's CPUs as they are now: its thread is told before its next work."""
        self._wish, self._cpu = self._host.attributes(self._pool)
        task: HostWorker = worker.task
        task.home = self._wish
        if task.thread is None:
            task.wish = task.home

    def call_later(self, delay_ns: int, function: Callable[[], None]) -> None:
        """Call ``function`` after ``delay_ns``."""
        self._host.call_later(delay_ns, function)

    # ---- as its workers see it -------------------------------------------------------------------------------------
    def work_ended(self, task: HostWorker, now: int) -> None:
        """Note that a work has ended."""
        if self._making is task:
            self._making = None
        self._growth.note_end(task, now)

    # ---- as the runner sees it -------------------------------------------------------------------------------------
    def sleeping(self, task: HostTask) -> None:
        """A worker leaves its CPU: the next may start."""
        if isinstance(task, HostWorker):
            task.worker.sleeps()
        self.made(task)

    def waking(self, task: HostTask) -> None:
        """A worker is ready again and counts again, beside whoever runs by now."""
        if isinstance(task, HostWorker) and task.worker.sleeping:
            task.worker.runs(time.monotonic_ns())

    def without_thread(self, task: HostTask) -> None:
        """A worker's thread was taken away, perhaps while it rests."""
        if isinstance(task, HostWorker) and task.idle_thread:
            task.idle_thread = False
            self._idle_threads -= 1

    def made(self, task: HostTask) -> None:
        """A worker has a thread now, or waits without one, or ended: if it is the new one, the next may be made."""
        if self._making is task:
            self._making = None
            self._pool.kick()
