"""``work_on_cpu``: run a function on one CPU and wait for it (``kernel/workqueue.c``, ``work_on_cpu_key``).

Written once, over the protocol, because it is nothing but a work on the stack of the caller, queued and flushed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from numaprobe.runtime.protocol import Work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.runtime.protocol import Machine, Workqueue

T = TypeVar("T")


async def run_as_work(
    machine: Machine, queue: Callable[[Work], object], function: Callable[[], Awaitable[T]], name: str
) -> T:
    """Queue ``function`` as an on-stack work with ``queue``, wait for it, and return or raise what it did."""
    call = _Call(function)
    work = Work(call.run, name)
    queue(work)
    await machine.flush_work(work)
    if call.failure is not None:
        raise call.failure
    return call.result


class _Call(Generic[T]):
    """A function, to be called in a worker, and what it returned or raised."""

    __slots__ = ("failure", "function", "result")

    result: T

    def __init__(self, function: Callable[[], Awaitable[T]]) -> None:
        self.function = function
        self.failure: BaseException | None = None

    async def run(self) -> None:
        try:
            self.result = await self.function()
        except Exception as error:  # noqa: BLE001  handed to the task that waits
            self.failure = error
        except BaseException as error:  # the machine ends, or the program does
            self.failure = error
            raise


async def work_on_cpu(
    machine: Machine,
    cpu: int,
    function: Callable[[], Awaitable[T]],
    *,
    wq: Workqueue | None = None,
    name: str = "work_for_cpu_fn",
) -> T:
    """Run ``function`` in a kworker of ``cpu`` and wait for it. ``wq`` None = ``system_percpu_wq``."""
    target = wq or machine.system_percpu_wq
    return await run_as_work(machine, partial(machine.queue_work_on, cpu, target), function, name)
