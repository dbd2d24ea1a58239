"""The core's event loop: asyncio's, but run by whichever thread has just brought it something to do.

Theory of operation
===================

A probe alternates between its body, in an OS thread, and the core's decisions before and after it. If the core had a
thread of its own, each body would cost two wake-ups of a sleeping thread, which is more than all the rest. So the loop
has no thread of its own: it has a *baton*. Who holds the baton runs the loop, and nobody else does; code of the core
between two awaits is atomic for that reason, and its state has one owner at a time.

A body's thread that has done a job hands it in (``deliver``). If the baton is free it *leads*: it resolves the job,
which resumes the task that waited for it, runs what became ready, and if the next thing to do is a job for itself it
lets go of the baton and does it, without any switch of threads. If the baton is not free, whoever holds it will find
the job before letting go.

The *home* thread leads when nobody else does: it waits for timers, for files (bodies that use asyncio's streams) and
for what other threads ask (``call_soon_threadsafe``), and is the only one that does. It also starts all threads: a new
thread inherits CPUs and memory policy from its maker, and the home thread has none of its own. A leader that leaves any
such thing behind rings for it.

It leans on names of asyncio that nobody promised (``loops.py`` has the list, and runs a loop without them where one
is missing).

What guards what: everything but ``_mail`` and ``_bell`` (which are safe by themselves) is touched with the baton in
hand only. Whoever puts mail and then fails to get the baton may rely on its holder: the mail is looked at once more
after the baton was let go. The home thread says that it wants the baton, and leaders then leave it to it.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import sys
import threading
import time
from asyncio import _set_running_loop  # for makers of event loops, its documentation says
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from numaprobe.hostmachine.job import Question
from numaprobe.hostmachine.plain_loop import PlainLoop, end_child, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import FileDescriptorLike

    from numaprobe.hostmachine.job import Job, Mail
    from numaprobe.hostmachine.plain_loop import Born
    from numaprobe.hostmachine.thread import BodyThread

    Ready = list[tuple[selectors.SelectorKey, int]]

#: The loop's own socket is registered always.
_OWN_FILES: Final = 1
#: A thread that has led for so long leaves the rest to the home thread and goes back to its own work.
_LEAD_S: Final = 0.0002
#: So much mail is read at a time: tasks that wake each other must not keep timers and files waiting.
_MAIL_READ: Final = 1000
#: So many frames below a body that asks the core leave it to the home thread to answer.
_DEEP: Final = 300


class _Files(selectors.EpollSelector):
    """Files to wait for; when and how long, the loop says.

    Args:
        wait: waits as the loop should.
        changed: told that there are others now.

    """

    def __init__(self, wait: Callable[[float | None], Ready], changed: Callable[[], None]) -> None:
        super().__init__()
        self._wait = wait
        self._changed = changed
        self.count = 0

    def register(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        key = super().register(fileobj, events, data)
        self.count += 1
        self._changed()
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        key = super().unregister(fileobj)
        self.count -= 1
        self._changed()
        return key

    def select(self, timeout: float | None = None) -> Ready:
        return self._wait(timeout)

    def poll(self, timeout: float | None) -> Ready:
        """Wait for files, as ``select`` of a plain selector."""
        return super().select(timeout)


class CoreLoop(PlainLoop):
    """An asyncio loop that threads run in turn. Made, then ``settle``d in its home thread and run there."""

    _ready: deque[asyncio.Handle]
    _stopping: bool
    _thread_id: int | None

    def __init__(self) -> None:
        self._baton = threading.Lock()
        self._mail: deque[Mail] = deque()
        self._outbox: list[tuple[BodyThread, Job]] = []
        self._births: list[tuple[BodyThread, Born]] = []
        self._bell: SimpleQueue[None] = SimpleQueue()
        #: the home thread: when it wakes up by itself; whether it waits for files; whether it wants the baton
        self._wakes_at = -math.inf
        self._polls = False
        self._wanted = False
        #: a leader did what only the home thread can go on with
        self._rings = False
        self._files = _Files(self._wait, self._note_change)
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        super().__init__(self._files)

    def settle(self) -> None:
        """Make the calling thread its home, and give it the baton for good: it keeps it when it ends."""
        super().settle()
        self._baton.acquire()

    def adopt(self) -> None:
        """Make the calling thread one that may lead; asyncio wants to know of asynchronous generators in it."""
        sys.set_asyncgen_hooks(self._asyncgen_firstiter_hook, self._asyncgen_finalizer_hook)  # type: ignore[attr-defined]

    def disown(self) -> None:
        """In the child of a fork: whatever this copy would do next ends the child (see ``end_child``)."""
        self.forked = True
        self._mail.appendleft(Question(end_child))
        self._ready.appendleft(asyncio.Handle(end_child, (), self))

    @property
    def leader(self) -> int | None:
        """The thread that runs it now (``threading.get_ident``)."""
        return self._thread_id

    # ---- with the baton in hand ------------------------------------------------------------------------------------
    def send(self, thread: BodyThread, job: Job) -> None:
        """Give a thread a job at the end of this turn: one that is woken earlier only waits for the interpreter."""
        self._outbox.append((thread, job))

    def start_thread(self, thread: BodyThread, born: Born) -> None:
        """Have a thread started by the home thread, which then calls ``born``: with the error if there can be none."""
        self._births.append((thread, born))
        self._rings = True

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, **how: Any) -> asyncio.TimerHandle:  # type: ignore[override]  # noqa: ANN401  asyncio's own
        """Call ``callback`` at a time of the loop's clock."""
        if when < self._wakes_at:
            self._rings = True
        return super().call_at(when, callback, *args, **how)

    def create_task(self, coro: Any, **how: Any) -> asyncio.Task[Any]:  # noqa: ANN401  asyncio's own
        """Make a task, and remember it: since Python 3.14 asyncio knows of each thread only the tasks made in it."""
        task = super().create_task(coro, **how)
        self._tasks.add(task)
        return task

    def all_tasks(self) -> set[asyncio.Task[Any]]:
        """Return the tasks that are not done, whichever thread made them. Called in the loop."""
        return super().all_tasks() | {task for task in tuple(self._tasks) if not task.done()}

    def _note_change(self) -> None:
        self._rings = True

    def post(self, mail: Mail) -> None:
        """Have mail read when the running task has left the loop, before anything of asyncio's own."""
        self._mail.append(mail)

    def notify(self, mail: Mail) -> None:
        """Have mail read by the home thread; may be called from any thread."""
        self._mail.append(mail)
        self._ring()

    def _read_mail(self) -> None:
        for _ in range(_MAIL_READ):
            if not self._mail:
                return
            self._mail.popleft().resolve()

    def _send(self, leader: BodyThread | None) -> Job | None:
        """Send what is to be sent; return the leader's own job."""
        own: Job | None = None
        for thread, job in self._outbox:
            if thread is leader and own is None:
                own = job
            else:
                thread.put(job)
        self._outbox.clear()
        return own

    # ---- the thread of a body --------------------------------------------------------------------------------------
    def deliver(self, mail: Mail, thread: BodyThread) -> Job | None:
        """Hand in a job that was done, and lead if nobody does; return the thread's next job if it came up by that."""
        if self.forked:
            end_child(getattr(mail, "error", None))
        self._mail.append(mail)
        if thread.asking and _is_deep():
            self._ring()
            return None
        while self._mail and not self._wanted and self._baton.acquire(blocking=False):
            own = self._lead(thread)
            if own is not None:
                return own
        return None

    def _lead(self, thread: BodyThread) -> Job | None:
        home, self._thread_id = self._thread_id, threading.get_ident()
        _set_running_loop(self)
        try:
            self._read_mail()
            if self._ready:
                self._run_ready()
        except (KeyboardInterrupt, SystemExit):
            pass  # a task tried to end the program: it has failed, and we go on
        finally:
            _set_running_loop(None)
            self._thread_id = home
            job = self._send(thread)
            rings, self._rings = self._rings or self._stopping or bool(self._ready), False
            self._baton.release()
        if rings or (job is not None and self._mail):
            self._ring()
        return job

    def _run_ready(self) -> None:
        """Run asyncio's own callbacks: tasks that another task woke, new ones, timers that are due."""
        until = time.monotonic() + _LEAD_S
        while self._ready and time.monotonic() < until:
            self._run_once()  # type: ignore[attr-defined]
            self._read_mail()

    # ---- the home thread -------------------------------------------------------------------------------------------
    def _wait(self, timeout: float | None) -> Ready:
        """Be asyncio's ``select``: between two turns of the loop."""
        if threading.get_ident() != self._home:
            return []  # a leader only runs what is ready
        self._send(None)
        ready: Ready = []
        if self._births or (timeout != 0 and not self._mail):
            self._rest(timeout)
        else:
            time.sleep(0)  # bodies that want the interpreter for a moment need not wait for its switch interval
        if self._files.count > _OWN_FILES:
            ready = self._files.poll(0)
        self._read_mail()
        return ready

    def _rest(self, timeout: float | None) -> None:
        """Let go of the baton: start threads, wait for something to do, and take it again."""
        self._wakes_at = math.inf if timeout is None else self.time() + timeout
        self._rings, births, self._births = False, self._births, []
        self._polls = self._files.count > _OWN_FILES
        self._baton.release()
        errors = [start(thread) for thread, _ in births]
        if timeout != 0 and not self._mail and not births:
            self._sleep(timeout)
        self._wanted = True
        self._baton.acquire()
        self._wanted = self._polls = False
        self._wakes_at = -math.inf
        for (_, born), error in zip(births, errors, strict=True):
            born(error)

    def _sleep(self, timeout: float | None) -> None:
        if self._polls:
            self._files.poll(timeout if self._bell.empty() else 0)
        else:
            with suppress(Empty):
                self._bell.get(timeout=timeout)
        while not self._bell.empty():
            self._bell.get()

    def _ring(self) -> None:
        """Wake the home thread; may be called from any thread, also after its end."""
        self._bell.put(None)
        if self._polls:
            super()._write_to_self()  # type: ignore[misc]

    def _write_to_self(self) -> None:
        """Wake the loop: asyncio calls this for ``call_soon_threadsafe``."""
        self._ring()


def _is_deep() -> bool:
    """Whether the caller's stack is so deep that the core's code, for other tasks perhaps, had better run elsewhere."""
    try:
        sys._getframe(_DEEP)  # noqa: SLF001  the cheapest way to ask
    except ValueError:
        return False
    return True
