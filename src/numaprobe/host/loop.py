"""The core's event loop: asyncio's, but woken by a queue instead of a pipe.

Outcomes of bodies come from other threads, one for each probe. asyncio wakes its loop for such a thing with a byte
through a socket: a write, a poll and a read, each of which gives up the interpreter lock and has to get it back while
the bodies' threads want it too. This loop waits in the queue itself, which is one futex; it looks at file descriptors
only while somebody has registered one (a body that uses asyncio's streams), and then the socket wakes it as usual.

What the loop sends to bodies goes out when it has nothing left to do in this turn: a thread that is woken earlier only
waits for the interpreter lock, and has to be woken a second time for that.

Posted mail is read in the loop's thread, between two of its turns and outside of any task.
"""

from __future__ import annotations

import asyncio
import selectors
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import FileDescriptorLike

    from numaprobe.host.thread import Job, Outcome

    Ready = list[tuple[selectors.SelectorKey, int]]

#: The loop's own socket is registered always.
_OWN_FILES: Final = 1


class _Mailbox(selectors.EpollSelector):
    """Waits for mail, and for files if there are any.

    Args:
        read: takes each outcome.

    """

    def __init__(self, read: Callable[[Outcome], None]) -> None:
        super().__init__()
        self._read = read
        self._files = 0
        self.outbox: list[tuple[Callable[[Job], None], Job]] = []
        self.mail: SimpleQueue[Outcome | None] = SimpleQueue()
        #: it waits for files: mail alone does not wake it
        self.polls = False

    def register(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        key = super().register(fileobj, events, data)
        self._files += 1
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        key = super().unregister(fileobj)
        self._files -= 1
        return key

    def select(self, timeout: float | None = None) -> Ready:
        """Wait for mail or files and read the mail; return the files."""
        ready: Ready = []
        if self.outbox:
            self._send()
        if self._files > _OWN_FILES:
            ready = self._poll(timeout)
        elif timeout is None or (timeout > 0 and self.mail.empty()):
            self._wait(timeout)
        for _ in range(self.mail.qsize()):
            self._take(self.mail.get())
        return ready

    def _send(self) -> None:
        outbox, self.outbox = self.outbox, []
        for put, job in outbox:
            put(job)

    def _wait(self, timeout: float | None) -> None:
        try:
            self._take(self.mail.get(timeout=timeout))
        except Empty:
            return

    def _poll(self, timeout: float | None) -> Ready:
        self.polls = True  # before the look at the mail: who posts looks at this afterwards
        try:
            return super().select(timeout if self.mail.empty() else 0)
        finally:
            self.polls = False

    def _take(self, outcome: Outcome | None) -> None:
        if outcome is not None:
            self._read(outcome)


class CoreLoop(asyncio.SelectorEventLoop):
    """An asyncio loop with a mailbox.

    Args:
        read: takes each outcome that was posted.

    """

    def __init__(self, read: Callable[[Outcome], None]) -> None:
        self._mailbox = _Mailbox(read)
        super().__init__(self._mailbox)

    def send(self, put: Callable[[Job], None], job: Job) -> None:
        """Call ``put``, which must not raise, with a job at the end of this turn; called in the loop's thread."""
        self._mailbox.outbox.append((put, job))

    def post(self, outcome: Outcome | None) -> None:
        """Hand over an outcome (or nothing) and wake the loop; may be called from any thread, also after its end."""
        self._mailbox.mail.put(outcome)
        if self._mailbox.polls:
            super()._write_to_self()  # type: ignore[misc]

    def _write_to_self(self) -> None:
        """Wake the loop: asyncio calls this for ``call_soon_threadsafe``."""
        self.post(None)
