"""The end of a host machine: cancel tasks, end threads and processes, and say what would not end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.hostmachine.plain_loop import PlainLoop
    from numaprobe.hostmachine.runner import Runner
    from numaprobe.hostmachine.thread import BodyThread

#: The loop answers within this long if nothing holds it up. An assumption, for a machine with more to do than CPUs.
_ANSWER_S = 5.0


async def _cancel_all(loop: PlainLoop, grace_s: float) -> list[asyncio.Task[object]]:
    """Cancel every task of the loop, newest first, until none is left: a ``finally`` may start others.

    Returns:
        those that go on in spite of it.

    """
    own = asyncio.current_task()
    end = time.monotonic() + grace_s
    while tasks := [task for task in loop.all_tasks() if task is not own]:
        for task in reversed(tasks):
            task.cancel()
        await asyncio.wait(tasks, timeout=max(0.01, min(1.0, end - time.monotonic())))
        if time.monotonic() > end:
            return [task for task in tasks if not task.done()]
    return []


def shut_down(runner: Runner, grace_s: float, warn: Callable[[str, str], None]) -> None:
    """End everything; wait for running bodies at most ``grace_s`` together.

    A body that still runs then is abandoned, with a warning ``left-behind`` that says where it is: its thread ends when
    it returns, or with the program.
    """
    runner.closing = True
    kept = runner.threads
    threads = {*kept.all, *(task.thread for task in runner.tasks if task.thread is not None), *kept.hung}
    _end_tasks(runner, grace_s, warn)
    _end_threads(threads, grace_s, warn)
    if not runner.core.stop(_ANSWER_S):
        warn("left-behind", "the core's own thread did not end: an async body keeps it")
    runner.tasks.clear()
    kept.all = {thread for thread in kept.all if not thread.join(0)}
    runner.accounting.clear()
    runner.closing = False


def _end_tasks(runner: Runner, grace_s: float, warn: Callable[[str, str], None]) -> None:
    try:
        left = runner.core.submit(_cancel_all(runner.core.loop, grace_s)).result(grace_s + _ANSWER_S)
    except concurrent.futures.TimeoutError:
        warn("left-behind", f"an async body keeps the core's loop and does not await; it is at {runner.core.where()}")
        return
    for task in left:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001  as asyncio does: it is told here
        warn("left-behind", f"{task.get_name()}: an async body went on for {grace_s:g} s after it was cancelled")


def _end_threads(threads: set[BodyThread], grace_s: float, warn: Callable[[str, str], None]) -> None:
    for thread in threads:
        thread.stop()
    end = time.monotonic() + grace_s
    for thread in threads:
        if not thread.join(max(0.0, end - time.monotonic()) if not thread.abandoned else 0.0):
            if not thread.abandoned:
                thread.abandon()
            warn("left-behind", f"{thread.comm}: a body did not end within {grace_s:g} s, it is at {thread.stack()}")
