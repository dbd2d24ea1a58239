"""The core's loop and its home thread, and the one way into it from threads that are not the machine's.

All state of the machine belongs to who runs the loop (``loop.py`` says who that is). The home thread is never pinned:
what it may run on is what the process may.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, TypeVar

from numaprobe.errors import UsageError
from numaprobe.host.loop import CoreLoop

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Coroutine


T = TypeVar("T")


class CoreThread:
    """The loop, and its home thread.

    Args:
        name: of the thread.

    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: CoreLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._loop is not None

    @property
    def loop(self) -> CoreLoop:
        """Its loop.

        Raises:
            UsageError: it does not run.

        """
        if self._loop is None:
            raise UsageError("the host machine does not run; use it in a 'with' block, or call its run")
        return self._loop

    @property
    def here(self) -> bool:
        """Whether the caller runs the loop now."""
        return self._loop is not None and asyncio._get_running_loop() is self._loop  # noqa: SLF001  it never raises

    def allowed_cpus(self) -> set[int]:
        """Return the CPUs that the process may use: the home thread's, or the caller's if there is none."""
        tid = self._thread.native_id if self._thread is not None else None
        return os.sched_getaffinity(tid or 0)

    def start(self) -> None:
        """Start it and wait until its loop runs."""
        ready = threading.Event()
        loop = self._loop = CoreLoop()

        def main() -> None:
            loop.settle()
            asyncio.set_event_loop(loop)
            loop.call_soon(ready.set)
            while not _ran_until_stopped(loop):
                pass
            loop.run_until_complete(loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            loop.close()

        self._thread = threading.Thread(target=main, name=self._name, daemon=True)
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        """Stop its loop and wait for its end."""
        loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
        self._thread = None

    def submit(self, coroutine: Coroutine[object, object, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine in the loop, outside any task; may be called from any other thread."""
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except (UsageError, RuntimeError):
            coroutine.close()
            raise


def _ran_until_stopped(loop: CoreLoop) -> bool:
    """Run the loop; False if a task tried to end the program: asyncio stops for that, and others would wait."""
    try:
        loop.run_forever()
    except (KeyboardInterrupt, SystemExit):
        return False
    return True
