"""The core's thread: one asyncio loop that owns all state of the machine, and the one way into it from other threads.

Outcomes of bodies come in through ``deliver``; the loop (``loop.py``) reads them between two turns. Its thread is never
pinned: what it may run on is what the process may.
"""

from __future__ import annotations

import asyncio
import threading
from contextvars import Context
from typing import TYPE_CHECKING, TypeVar

from numaprobe.errors import UsageError
from numaprobe.host.loop import CoreLoop

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Coroutine

    from numaprobe.host.thread import Outcome

T = TypeVar("T")


class CoreThread:
    """A thread with an asyncio loop.

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
        """Whether the caller is this thread."""
        return self._thread is threading.current_thread()

    def start(self) -> None:
        """Start it and wait until its loop runs."""
        ready = threading.Event()
        loop = self._loop = CoreLoop(_resolve)

        def main() -> None:
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

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """Call ``function`` in the loop, outside any task; may be called from any thread."""
        self.loop.call_soon_threadsafe(function, *args, context=Context())

    def deliver(self, outcome: Outcome) -> None:
        """Hand an outcome to who waits for it; called from the threads of bodies."""
        loop = self._loop
        if loop is not None:
            loop.post(outcome)


def _ran_until_stopped(loop: CoreLoop) -> bool:
    """Run the loop; False if a task tried to end the program: asyncio stops for that, and others would wait."""
    try:
        loop.run_forever()
    except (KeyboardInterrupt, SystemExit):
        return False
    return True


def _resolve(outcome: Outcome) -> None:
    outcome.ticket.resolve(outcome)
