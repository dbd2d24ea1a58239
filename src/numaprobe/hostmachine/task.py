"""A task of the host machine: an asyncio task of the core, and an OS thread for what its bodies do.

The thread is made with the first body: a shell that only adds devices needs none, nor does a worker that only waits.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    import asyncio

    from numaprobe.hostmachine.attributes import Attributes
    from numaprobe.hostmachine.bodies import HeldMemory
    from numaprobe.hostmachine.future import TaskFuture
    from numaprobe.hostmachine.measure import Stretch
    from numaprobe.hostmachine.thread import BodyThread
    from numaprobe.runtime import Work

#: The task whose code is running, in the core's loop and in the threads of bodies.
CURRENT: Final[ContextVar[HostTask | None]] = ContextVar("numaprobe_current", default=None)


class Watcher(Protocol):
    """What wants to know when a worker sleeps: the seat of its pool."""

    def sleeping(self, task: HostTask) -> None:
        """It leaves its CPU."""
        ...

    def waking(self, task: HostTask) -> None:
        """It is ready again."""
        ...

    def made(self, task: HostTask) -> None:
        """It has a thread."""
        ...

    def without_thread(self, task: HostTask) -> None:
        """It has none any more."""
        ...


class HostTask:
    """A schedulable context.

    Attributes:
        comm: name.
        cpu: the CPU last seen under it (``getcpu``); before that, the one it was placed on.
        home: the attributes it was created with.
        wish: its attributes now.
        is_worker: ``PF_WQ_WORKER``.
        work: what a worker executes now.
        pool: of a worker, what wants to know when it sleeps.
        thread: where its bodies run; None before the first.
        waits: what it waits for, for reports; empty if it does not.
        parked: set while it waits for ``wake``.
        running_ns: CPU time of all its bodies so far.
        stretch: the innermost stretch of it that is being measured.
        held: what its bodies allocated.
        requests: what the core does for its async bodies now, outermost first.

    """

    def __init__(self, comm: str, cpu: int, home: Attributes, pool: Watcher | None = None) -> None:
        self.comm = comm
        self.cpu = cpu
        self.home = home
        self.wish = home
        self.pool = pool
        self.work: Work | None = None
        self.thread: BodyThread | None = None
        self.waits: object = ""
        self.parked: TaskFuture | None = None
        self.done = False
        self.joined = False
        self.result: Any = None
        self.failure: Exception | None = None
        self.joiners: list[HostTask] = []
        self.running_ns = 0
        self.stretch: Stretch | None = None
        self.held: list[HeldMemory] = []
        self.requests: list[asyncio.Future[None]] = []

    @property
    def is_worker(self) -> bool:
        """``PF_WQ_WORKER``."""
        return self.pool is not None

    def drop_memory(self) -> None:
        """Give back what its bodies allocated: its thread does it, because that may wait for other threads' pages."""
        if not self.held:
            return
        held, self.held = self.held, []
        if self.thread is not None:
            self.thread.leave_to_free(held)
        else:
            for memory in held:
                memory.free()
