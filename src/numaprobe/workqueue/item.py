"""One queueing of a work: what waits in a pool's list, and what its end concerns (``struct work_struct``'s data).

A ``Work`` is what callers hold and queue again and again; an ``Item`` is one queueing of it. A work has at most one
item that no worker has taken yet (*pending*). A task that flushes a work waits for the end of one item, not of later
ones.

An item knows the pool and the limit it goes through by the little that it needs of them, so that this file stands
below both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from numaprobe.runtime import Task, Work


class Place(Protocol):
    """The pool, as an item knows it."""

    def insert(self, item: Item) -> None:
        """Append it to the list of works, and see that somebody takes it."""
        ...

    def where(self, item: Item) -> str:
        """Say which worker executes it, or behind which item it waits."""
        ...


class Gate(Protocol):
    """The limit that lets it in."""

    def admit(self, item: Item) -> None:
        """Let it in, now or later."""
        ...

    def release(self) -> None:
        """One that was let in is done."""
        ...

    def why_not(self, item: Item) -> str:
        """Say why it has not been let in; empty if it has."""
        ...


class WorkState:
    """What ``Work.state`` holds (``work->data``, and the pools' busy hashes)."""

    __slots__ = ("pending", "running")

    def __init__(self) -> None:
        #: its queueing that no worker has taken yet
        self.pending: Item | None = None
        #: the one that is executed; of two (it was queued on another workqueue meanwhile, which the kernel allows) the
        #: later
        self.running: Item | None = None


class Item:
    """One queueing of a work.

    Attributes:
        work, state: what is queued, and what is known of it.
        wq: the workqueue it was queued on.
        pool, limit: what will execute it, and what lets it in.
        waiters: tasks that flush it; None if there are none.
        followers: the same work, queued again while this runs: a pool never runs a work twice at once.

    """

    __slots__ = ("followers", "limit", "pool", "state", "waiters", "work", "wq")

    def __init__(self, work: Work, state: WorkState, wq: object, pool: Place, limit: Gate) -> None:
        self.work = work
        self.state = state
        self.wq = wq
        self.pool = pool
        self.limit = limit
        self.waiters: list[Task] | None = None
        self.followers: list[Item] | None = None

    def forsaken_by(self, task: Task) -> None:
        """Note that a task waits no more."""
        if self.waiters is not None and task in self.waiters:
            self.waiters.remove(task)

    def followed_by(self, item: Item) -> None:
        """Note a later queueing of the same work, for the worker that executes this one."""
        if self.followers is None:
            self.followers = []
        self.followers.append(item)

    def __str__(self) -> str:
        return f"work {self.work.name}, {self.limit.why_not(self) or self.pool.where(self)}"
