"""What the programs have in common: tasks side by side, async calls with the choice of no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numaprobe.runtime import Work
from numaprobe.schedules import Drain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.virtual.choosing import ChoosingMachine

    Body = Callable[[], Awaitable[Any]]


async def side_by_side(m: ChoosingMachine, *bodies: Body) -> list[Any]:
    """Run each as a task of the name of its function; return what they return."""
    tasks = [m.spawn(body, comm=getattr(body, "__name__", "task")) for body in bodies]
    return [await m.join(task) for task in tasks]


class Asyncs:
    """``kernel/async.c``: calls in workers, and the wait for all; without memory the caller runs the function."""

    def __init__(self, m: ChoosingMachine, *, may_fail: bool = False) -> None:
        self._m = m
        self._wq = m.alloc_workqueue("async", unbound=True)
        self._may_fail = may_fail
        self.pending = Drain(m, "async calls")
        self._scheduled = 0

    async def schedule(self, function: Body) -> None:
        """Call it in a worker, or here."""
        if self._may_fail and self._m.decide("no memory for an async call", 2):
            await function()
            return

        async def entry() -> None:
            async with self.pending:
                await function()

        self._m.queue_work(self._wq, Work(entry, f"async_{function.__name__}"))

    async def synchronize_full(self) -> None:
        """Wait for all that have begun."""
        await self.pending.wait()


def queue(m: ChoosingMachine, function: Body, wq: Any = None) -> Work:
    """Queue a work on a workqueue (the unbound system one)."""
    work = Work(function, getattr(function, "__name__", "work"))
    m.queue_work(wq or m.system_dfl_wq, work)
    return work
