"""``work_on_cpu``: run a function on one CPU and wait for it (``kernel/workqueue.c``, ``work_on_cpu_key``).

Written once, over the protocol, because it is nothing but a work on the stack of the caller, queued and flushed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from numaprobe.runtime.protocol import Work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.runtime.protocol import Machine, Workqueue

T = TypeVar("T")


async def run_as_work(
    machine: Machine, queue: Callable[[Work], object], function: Callable[[], Awaitable[T]], name: str
) -> T:
    """Queue ``function`` as an on-stack work with ``queue``, wait for it, and return or raise what it did."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    async def body() -> None:
        try:
            outcome.append(await function())
        except Exception as error:  # noqa: BLE001  handed to the one who waits
            failure.append(error)

    work = Work(body, name)
    queue(work)
    await machine.flush_work(work)
    if failure:
        raise failure[0]
    return outcome[0]


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
    return await run_as_work(machine, lambda work: machine.queue_work_on(cpu, target, work), function, name)
