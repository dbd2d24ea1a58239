"""The core's event loop: asyncio's, but run by whichever thread has just brought it something to do.

Theory of operation
===================

A probe alternates between its body, in an OS thread, and the core's decisions before and after it. If the core had a
thread of its own, each body would cost two wake-ups of a sleeping thread, which is more than all the rest. So the loop
has no thread of its own: it has a *lock*. The thread that holds it runs the loop, and no other does; code of the core
between two awaits is atomic for that reason, and its state has one owner at a time.

A body's thread that has made a call hands it in (``deliver``). If the lock is free it *leads*: it resolves the call,
which resumes the task that waited for it, runs what became ready, and if the next thing to do is a call for itself it
releases the lock and makes that call, without any switch of threads. If the lock is taken, the thread that holds it
finds the finished call before it releases it.

The *home* thread leads when nobody else does: it waits for timers, for files (bodies that use asyncio's streams) and
for what other threads ask (``call_soon_threadsafe``), and is the only one that does. It also starts all threads: a new
thread inherits CPUs and memory policy from its maker, and the home thread has none of its own. A leader that leaves any
such thing behind wakes it.

It leans on names of asyncio that nobody promised (``loops.py`` has the list, and runs a loop without them where one
is missing).

What guards what: everything but ``_messages`` and ``_wakeups`` (which are safe by themselves) is touched under the
lock only. A thread that puts a message and then does not get the lock may rely on its holder: the messages are looked
at once more after the lock was released. The home thread says that it wants the lock, and leaders then leave it to it.
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

from numaprobe.hostmachine.future import Request
from numaprobe.hostmachine.plain_loop import PlainLoop, end_child, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import FileDescriptorLike

    from numaprobe.hostmachine.future import Message, ThreadCall
    from numaprobe.hostmachine.plain_loop import Started
    from numaprobe.hostmachine.thread import BodyThread

    Ready = list[tuple[selectors.SelectorKey, int]]

#: The loop's own socket is registered always.
_OWN_FILES: Final = 1
#: A thread that has led for so long leaves the rest to the home thread and goes back to its own work.
_LEAD_S: Final = 0.0002
#: So many messages are read at a time: tasks that wake each other must not keep timers and files waiting.
_MESSAGES_READ: Final = 1000
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
        self._lock = threading.Lock()
        self._messages: deque[Message] = deque()
        self._outbox: list[tuple[BodyThread, ThreadCall]] = []
        self._starts: list[tuple[BodyThread, Started]] = []
        self._wakeups: SimpleQueue[None] = SimpleQueue()
        #: the home thread: when it wakes up by itself; whether it waits for files; whether it wants the lock
        self._wakes_at = -math.inf
        self._polls = False
        self._home_waits = False
        #: a leader did what only the home thread can go on with
        self._wakes_home = False
        self._files = _Files(self._wait, self._note_change)
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        super().__init__(self._files)
        self.post = self._messages.append  # before anything of asyncio's own; called so often that one call less shows

    def settle(self) -> None:
        """Make the calling thread its home, and take the lock for good: it keeps it when it ends."""
        super().settle()
        self._lock.acquire()

    def adopt(self) -> None:
        """Make the calling thread one that may lead; asyncio wants to know of asynchronous generators in it."""
        sys.set_asyncgen_hooks(self._asyncgen_firstiter_hook, self._asyncgen_finalizer_hook)  # type: ignore[attr-defined]

    def disown(self) -> None:
        """In the child of a fork: whatever this copy would do next ends the child (see ``end_child``)."""
        self.forked = True
        self._messages.appendleft(Request(end_child))
        self._ready.appendleft(asyncio.Handle(end_child, (), self))

    @property
    def leader(self) -> int | None:
        """The thread that runs it now (``threading.get_ident``)."""
        return self._thread_id

    # ---- under the lock ----------------------------------------------------------------------------------------------
    def send(self, thread: BodyThread, call: ThreadCall) -> None:
        """Give a thread a call at the end of this turn: one that is woken earlier only waits for the interpreter."""
        self._outbox.append((thread, call))

    def start_thread(self, thread: BodyThread, when_started: Started) -> None:
        """Have the home thread start a thread and then call ``when_started``: with the error if there can be none."""
        self._starts.append((thread, when_started))
        self._wakes_home = True

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, **how: Any) -> asyncio.TimerHandle:  # type: ignore[override]  # noqa: ANN401  asyncio's own
        """Call ``callback`` at a time of the loop's clock."""
        if when < self._wakes_at:
            self._wakes_home = True
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
        self._wakes_home = True

    def notify(self, message: Message) -> None:
        """Have a message read by the home thread; may be called from any thread."""
        self._messages.append(message)
        self._wake_home()

    def _read_messages(self) -> None:
        for _ in range(_MESSAGES_READ):
            if not self._messages:
                return
            self._messages.popleft().resolve()

    def _send(self, leader: BodyThread | None) -> ThreadCall | None:
        """Send what is to be sent; return the leader's own call."""
        own: ThreadCall | None = None
        for thread, call in self._outbox:
            if thread is leader and own is None:
                own = call
            else:
                thread.put(call)
        self._outbox.clear()
        return own

    # ---- the thread of a body --------------------------------------------------------------------------------------
    def deliver(self, message: Message, thread: BodyThread) -> ThreadCall | None:
        """Hand in a call that was made, and lead if nobody does; return the thread's next call if there is one now."""
        if self.forked:
            end_child(getattr(message, "error", None))
        self._messages.append(message)
        if thread.asking and _is_deep():
            self._wake_home()
            return None
        while self._messages and not self._home_waits and self._lock.acquire(blocking=False):
            own = self._lead(thread)
            if own is not None:
                return own
        return None

    def _lead(self, thread: BodyThread) -> ThreadCall | None:
        home, self._thread_id = self._thread_id, threading.get_ident()
        _set_running_loop(self)
        try:
            self._read_messages()
            if self._ready:
                self._run_ready()
        except (KeyboardInterrupt, SystemExit):
            pass  # a task tried to end the program: it has failed, and we go on
        finally:
            _set_running_loop(None)
            self._thread_id = home
            call = self._send(thread)
            wakes, self._wakes_home = self._wakes_home or self._stopping or bool(self._ready), False
            self._lock.release()
        if wakes or (call is not None and self._messages):
            self._wake_home()
        return call

    def _run_ready(self) -> None:
        """Run asyncio's own callbacks: tasks that another task woke, new ones, timers that are due."""
        until = time.monotonic() + _LEAD_S
        while self._ready and time.monotonic() < until:
            self._run_once()  # type: ignore[attr-defined]
            self._read_messages()

    # ---- the home thread -------------------------------------------------------------------------------------------
    def _wait(self, timeout: float | None) -> Ready:
        """Be asyncio's ``select``: between two turns of the loop."""
        if threading.get_ident() != self._home:
            return []  # a leader only runs what is ready
        self._send(None)
        ready: Ready = []
        if self._starts or (timeout != 0 and not self._messages):
            self._rest(timeout)
        else:
            time.sleep(0)  # bodies that want the interpreter for a moment need not wait for its switch interval
        if self._files.count > _OWN_FILES:
            ready = self._files.poll(0)
        self._read_messages()
        return ready

    def _rest(self, timeout: float | None) -> None:
        """Release the lock: start threads, wait for something to do, and take it again."""
        self._wakes_at = math.inf if timeout is None else self.time() + timeout
        self._wakes_home, starts, self._starts = False, self._starts, []
        self._polls = self._files.count > _OWN_FILES
        self._lock.release()
        errors = [start(thread) for thread, _ in starts]
        if timeout != 0 and not self._messages and not starts:
            self._sleep(timeout)
        self._home_waits = True
        self._lock.acquire()
        self._home_waits = self._polls = False
        self._wakes_at = -math.inf
        for (_, when_started), error in zip(starts, errors, strict=True):
            when_started(error)

    def _sleep(self, timeout: float | None) -> None:
        if self._polls:
            self._files.poll(timeout if self._wakeups.empty() else 0)
        else:
            with suppress(Empty):
                self._wakeups.get(timeout=timeout)
        while not self._wakeups.empty():
            self._wakeups.get()

    def _wake_home(self) -> None:
        """Wake the home thread; may be called from any thread, also after its end."""
        self._wakeups.put(None)
        if self._polls:
            super()._write_to_self()  # type: ignore[misc]

    def _write_to_self(self) -> None:
        """Wake the loop: asyncio calls this for ``call_soon_threadsafe``."""
        self._wake_home()


def _is_deep() -> bool:
    """Whether the caller's stack is so deep that the core's code, for other tasks perhaps, had better run elsewhere."""
    try:
        sys._getframe(_DEEP)  # noqa: SLF001  the cheapest way to ask
    except ValueError:
        return False
    return True
