"""The fake machine's tasks and timers: plain data, for the loop that owns them."""

from __future__ import annotations

import types
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from numaprobe.runtime.protocol import Work
    from numaprobe.workqueue import Worker


T = TypeVar("T")


@types.coroutine
def suspend(why: object) -> Generator[object, Any, Any]:
    """Give the CPU back to the loop; returns what the loop sends."""
    return (yield why)


async def as_coroutine(function: Callable[[], Awaitable[T]]) -> T:
    """Return any awaitable as a coroutine, which the loop can drive."""
    return await function()


@dataclass(eq=False)
class TimerCall:
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
    #: where it was created; ``set_affinity(None)`` brings it back
    home: int
    coroutine: Coroutine[Any, Any, Any] | None = None
    is_worker: bool = False
    #: what its pool knows of it, and what it executes
    worker: Worker | None = None
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
    #: CPU time in all, and per node
    executed: int = 0
    running: Counter[int] = field(default_factory=Counter)
    memory: Counter[int] = field(default_factory=Counter)

    def move(self, cpu: int) -> None:
        """Note that it is on ``cpu`` now."""
        if cpu != self.cpu:
            self.cpu = cpu
            self.trail.append(cpu)
