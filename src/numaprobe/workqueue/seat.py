"""What a machine adds to the rules of workqueues: a seat for the workers of a pool.

A machine makes one for each pool (or one for all). It makes a worker, wakes it, lets it sleep, calls later, and says
whether the pool may grow; all the rest is decided by ``pool``, which asks the seat and never the machine. A seat does
not call back into its pool from inside one of these calls: what it wakes runs later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.runtime import Task

#: the worker, of which a seat keeps its own part in ``task``
W_contra = TypeVar("W_contra", contravariant=True)


class Seat(Protocol[W_contra]):
    """What the workers of one pool get from the machine."""

    @property
    def ticks(self) -> bool:
        """Whether the machine itself calls ``tick`` of a worker in time; else the pool looks after hogs."""
        ...

    def now(self) -> int:
        """Return the machine's time, ns."""
        ...

    def may_grow(self) -> bool:
        """Whether the pool may have one more worker now. If not, the seat kicks the pool when it may."""
        ...

    def create(self, worker: W_contra) -> None:
        """Make what executes a new worker (``worker.task``), asleep."""
        ...

    def wake(self, worker: W_contra) -> None:
        """Let an idle worker run: it calls ``worker.begin`` first of all."""
        ...

    def rest(self, worker: W_contra) -> bool:
        """Let a worker without work sleep; False = it ends instead."""
        ...

    def end(self, worker: W_contra) -> None:
        """End a worker that sleeps."""
        ...

    def move(self, worker: W_contra) -> None:
        """The worker may now use ``worker.pool.mask``."""
        ...

    def flushed(self, task: Task) -> None:
        """Wake a task that waits in ``flush_work``."""
        ...

    def call_later(self, delay_ns: int, function: Callable[[], None]) -> None:
        """Call ``function`` after ``delay_ns``, outside any task."""
        ...
