"""The core's loop and its home thread, and the one way into it from threads that are not the machine's.

All state of the machine belongs to the thread that runs the loop (``loop.py`` says which that is). The home thread is
never pinned: what it may run on is what the process may.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

from numaprobe.errors import RefusedError, UsageError, describe, explain
from numaprobe.hostmachine import stacks
from numaprobe.hostmachine.loops import make_loop
from numaprobe.hostmachine.plain_loop import PlainLoop, end_child

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


T = TypeVar("T")


class CoreThread:
    """The loop, and its home thread.

    Args:
        name: of the thread.
        warn: takes warnings: what asyncio would print.

    """

    def __init__(self, name: str, warn: Callable[[str, str], None]) -> None:
        self._name = name
        self._warn = warn
        #: guards the two below: what asks is in ``_owed`` before the loop is gone, or is refused
        self._asking = threading.Lock()
        self._owed: set[concurrent.futures.Future[Any]] = set()
        self._loop: PlainLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._loop is not None

    @property
    def loop(self) -> PlainLoop:
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
        if self._loop is None:
            return False
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:  # none runs
            return False

    def allowed_cpus(self) -> set[int]:
        """Return the CPUs that the process may use: the home thread's, or the caller's if there is none."""
        tid = self._thread.native_id if self._thread is not None else None
        return os.sched_getaffinity(tid or 0)

    def start(self) -> None:
        """Start it and wait until its loop runs.

        Raises:
            RefusedError: the system gives no thread for it.

        """
        ready = threading.Event()
        loop = make_loop(self._warn)
        loop.set_exception_handler(self._complain)

        def main() -> None:
            loop.settle()
            asyncio.set_event_loop(loop)
            loop.call_soon(ready.set)
            while not _ran_until_stopped(loop):
                pass
            loop.run_until_complete(loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            loop.close()

        thread = threading.Thread(target=main, name=self._name, daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError, OSError) as error:
            loop.close()
            raise RefusedError(f"no thread for the core ({describe(error)}); see ulimit -u, -v and pids.max") from None
        self._loop, self._thread = loop, thread
        ready.wait()

    def stop(self, wait_s: float) -> bool:
        """Stop its loop, and wait for its end; return False if a body holds it up for longer than ``wait_s``.

        Whoever still waits for an answer gets an error.
        """
        with self._asking:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
        if thread is not None:
            thread.join(wait_s)
        for future in tuple(self._owed):
            with suppress(concurrent.futures.InvalidStateError):  # it is answered at this very moment
                future.set_exception(UsageError("the host machine was closed before it could answer"))
        return thread is None or not thread.is_alive()

    def _complain(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Make a warning of what asyncio would print with a traceback: mostly what a body left behind in the loop."""
        error = context.get("exception")
        self._warn("asyncio", str(context.get("message")) + (f": {explain(error)}" if error is not None else ""))

    def where(self) -> str:
        """Return where the code is that runs the loop now."""
        entries = stacks.entries(self._loop.leader or 0) if self._loop is not None else []
        return " > ".join(f"{entry.filename}:{entry.lineno} {entry.name}" for entry in entries[-1:]) or "not running"

    # ---- after a fork, in the child --------------------------------------------------------------------------------
    def disown(self) -> None:
        """Let go of the loop: it belongs to the parent."""
        if self._loop is not None:
            self._loop.disown()
        self._asking = threading.Lock()
        self._owed.clear()

    def end_forked_child(self, error: BaseException | None) -> None:
        """End this process if it was forked inside the body that has just ended."""
        if self._loop is not None and self._loop.forked:
            end_child(error)

    # ---- requests from other threads -------------------------------------------------------------------------------
    def ask(self, begin: Callable[[concurrent.futures.Future[T]], None]) -> concurrent.futures.Future[T]:
        """Call ``begin`` in the loop, outside any task, with the future that it shall see to; from any thread.

        The future is always answered: with an error if the loop ends before.

        Raises:
            UsageError: it does not run.

        """
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        future.set_running_or_notify_cancel()  # what the core has begun it does; nobody can cancel that
        with self._asking:
            loop = self.loop
            self._owed.add(future)
            future.add_done_callback(self._owed.discard)
            loop.call_soon_threadsafe(begin, future, context=Context())
        return future

    def submit(self, coroutine: Coroutine[object, object, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine in the loop, outside any task; may be called from any other thread."""
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except (UsageError, RuntimeError):
            coroutine.close()
            raise


def _ran_until_stopped(loop: PlainLoop) -> bool:
    """Run the loop; False if a task tried to end the program: asyncio stops for that, and others would wait."""
    try:
        loop.run_forever()
    except (KeyboardInterrupt, SystemExit):
        return False
    return True
