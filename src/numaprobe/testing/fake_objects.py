"""The fake machine's tasks, works and timers: plain data, for the loop that owns them."""

from __future__ import annotations

import types
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from numaprobe.runtime.profile import AffinityScope
    from numaprobe.runtime.protocol import Work


T = TypeVar("T")


@types.coroutine
def suspend(why: object) -> Generator[object, Any, Any]:
    """Give the CPU back to the loop; returns what the loop sends."""
    return (yield why)


async def as_coroutine(function: Callable[[], Awaitable[T]]) -> T:
    """Return any awaitable as a coroutine, which the loop can drive."""
    return await function()


@dataclass(eq=False)
class Entry:
    """A call on the heap; also what ``timer`` returns."""

    function: Callable[[], object]
    pending: bool = True

    def cancel(self) -> None:
        """Forget the call."""
        self.pending = False


@dataclass(eq=False)
class FakeTask:
    """A task: a coroutine, a CPU, and counters that only grow (``measure`` takes differences)."""

    comm: str
    cpu: int
    coroutine: Coroutine[str, Any, Any]
    #: where it was created; ``set_affinity(None)`` brings it back
    home: int
    is_worker: bool = False
    work: Work | None = None
    waits: object = ""
    memory_node: int | None = None
    done: bool = False
    result: Any = None
    failure: Exception | None = None
    #: somebody took the failure
    joined: bool = False
    joiners: list[FakeTask] = field(default_factory=list)
    trail: list[int] = field(default_factory=list)
    running: Counter[int] = field(default_factory=Counter)
    memory: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, eq=False)
class FakeWorkqueue:
    """A workqueue: its pods are ``scope``'s."""

    name: str
    unbound: bool
    scope: AffinityScope


@dataclass(eq=False)
class WorkState:
    """What ``Work.state`` holds. Those who flush wait for the queueing they saw, not for later ones."""

    target: tuple[FakeWorkqueue, int]
    pending: bool = False
    running: bool = False
    #: who waits for the pending queueing, and for the running one
    next_waiters: list[FakeTask] = field(default_factory=list)
    waiters: list[FakeTask] = field(default_factory=list)
