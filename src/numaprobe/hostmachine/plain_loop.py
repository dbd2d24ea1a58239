"""The core's event loop by asyncio's public ways alone: what ``loop.py`` improves on, and its stand-in.

Only the home thread runs it. A body's thread hands in its call with ``call_soon_threadsafe`` and waits for the next
one, so each body costs two switches of threads more than where threads lead. Everything else is the same: one owner of
the state, calls and futures resolved outside of any task, threads started by the home thread, which is never pinned.

``loops.py`` chooses between the two.
"""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, NoReturn

from numaprobe.errors import UsageError

if TYPE_CHECKING:
    import selectors
    from collections.abc import Callable

    from numaprobe.hostmachine.future import Message, ThreadCall
    from numaprobe.hostmachine.thread import BodyThread

    Started = Callable[[Exception | None], None]


class PlainLoop(asyncio.SelectorEventLoop):
    """An asyncio loop for bodies in threads. Made, then ``settle``d in its home thread and run there.

    Attributes:
        post: has a message read when the running task has left the loop.

    """

    post: Callable[[Message], None]

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        self._home = threading.get_ident()
        #: this is the copy of a child that was forked inside a body
        self.forked = False
        self.post = self._post
        super().__init__(selector)

    def settle(self) -> None:
        """Make the calling thread its home."""
        self._home = threading.get_ident()

    def adopt(self) -> None:
        """Take note that the calling thread runs bodies."""

    def disown(self) -> None:
        """In the child of a fork: what this copy does next ends the child (see ``end_child``)."""
        self.forked = True
        if not self.is_closed():
            self.call_soon(end_child, context=Context())

    @property
    def leader(self) -> int | None:
        """The thread that runs it now (``threading.get_ident``)."""
        return self._home if self.is_running() else None

    def all_tasks(self) -> set[asyncio.Task[Any]]:
        """Return the tasks that are not done. Called in the loop."""
        return asyncio.all_tasks(self)

    def send(self, thread: BodyThread, call: ThreadCall) -> None:
        """Give a thread a call. Called in the loop."""
        thread.put(call)

    def start_thread(self, thread: BodyThread, when_started: Started) -> None:
        """Start a thread, and call ``when_started`` soon: with the error if there can be none. Called in the loop."""
        self.call_soon(when_started, start(thread), context=Context())

    def _post(self, message: Message) -> None:
        self.call_soon(message.resolve, context=Context())

    def notify(self, message: Message) -> None:
        """Have a message read; may be called from any thread, also after the loop's end."""
        with suppress(RuntimeError):
            self.call_soon_threadsafe(message.resolve, context=Context())

    def deliver(self, message: Message, thread: BodyThread) -> ThreadCall | None:
        """Hand in a call that was made; return the thread's next call if it is known already."""
        del thread
        if self.forked:
            end_child(getattr(message, "error", None))
        self.notify(message)
        return None


def start(thread: BodyThread) -> Exception | None:
    """Start a thread; return why there can be none."""
    try:
        thread.start()
    except (RuntimeError, MemoryError, OSError) as error:  # threading: can't start new thread
        return error
    return None


def end_child(error: BaseException | None = None) -> NoReturn:
    """End a child that was forked inside a body and came out of it: what follows is its parent's business.

    ``sys.exit`` in the child is heeded; anything else is a mistake, and said so.
    """
    if isinstance(error, SystemExit):
        code = error.code
        os._exit(code if isinstance(code, int) else int(code is not None))
    what = f" by {type(error).__name__}" if error is not None else ""
    os.write(2, f"numaprobe: a child forked inside a body left the body{what}; it ends here: use os._exit\n".encode())
    os._exit(UsageError.exit_code)
