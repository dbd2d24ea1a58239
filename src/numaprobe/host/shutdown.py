"""The end of a host machine: cancel tasks, end threads and processes, and say what would not end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.host.runner import Runner


async def _cancel_all() -> None:
    """Cancel every task of the loop, newest first, until none is left: a ``finally`` may start others."""
    own = asyncio.current_task()
    while tasks := [task for task in asyncio.all_tasks() if task is not own]:
        for task in reversed(tasks):
            task.cancel()
        await asyncio.wait(tasks, timeout=1.0)


def shut_down(runner: Runner, grace_s: float, warn: Callable[[str, str], None]) -> None:
    """End everything; wait for running bodies at most ``grace_s`` together.

    A body that still runs then is abandoned, with a remark ``left-behind`` that says where it is: its thread ends when
    it returns, or with the program.
    """
    runner.closing = True
    threads = {*runner.threads, *(task.thread for task in runner.tasks if task.thread is not None), *runner.hung}
    runner.core.submit(_cancel_all()).result()
    for thread in threads:
        thread.stop()
    end = time.monotonic() + grace_s
    for thread in threads:
        if not thread.join(max(0.0, end - time.monotonic()) if not thread.abandoned else 0.0):
            if not thread.abandoned:
                thread.abandon()
            warn("left-behind", f"{thread.comm}: a body did not end within {grace_s:g} s, it is at {thread.stack()}")
    runner.core.stop()
    runner.tasks.clear()
    runner.threads = {thread for thread in runner.threads if not thread.join(0)}
    runner.accounting.clear()
    runner.closing = False
