"""The OS threads of tasks: made with the first body, refused by the system, given up, dead.

A system may have no thread to give (``RLIMIT_NPROC``, a cgroup's ``pids.max``, no room for a stack). Then tasks stand
in line, and the thread at its head is asked for again and again. Meanwhile the rest go on with the threads there are,
and these go round: an idle worker hands over its own at once, a busy one when its work is over. A task that has waited
too long gets ``EAGAIN`` for its body, as a system call would; a deadline counts from the call, and so holds while it
waits.

A thread may also end by something that no body raised (an interpreter without memory between two bodies). Then its
bodies fail with ``ENOMEM``, and the task's next one gets a new thread.

All of this runs in the core's loop and needs no lock.
"""

from __future__ import annotations

import contextvars
import errno
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from numaprobe.errors import describe
from numaprobe.hostmachine.future import Request
from numaprobe.hostmachine.task import CURRENT
from numaprobe.hostmachine.thread import BodyThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.hostmachine.attributes import Applier
    from numaprobe.hostmachine.core import CoreThread
    from numaprobe.hostmachine.task import HostTask

#: If the system gives no thread now, it is asked again after this long.
_RETRY_S: Final = 0.1
#: So long it is asked while no body of this machine runs: only other programs could end a thread then.
PATIENCE_S: Final = 1.0
#: So long it is asked while others run, which may end and hand over their threads. An assumption.
HOPE_S: Final = 30.0


class _Waiting(NamedTuple):
    """A task in the line, and since when (``time.monotonic``)."""

    task: HostTask
    thread: BodyThread
    since: float


class Threads:
    """The threads of one machine.

    Args:
        core: whose home thread starts them.
        applier: gives them their attributes.
        warn: takes warnings.

    Attributes:
        all: those to be waited for at the end.
        hung: threads whose body passed its deadline; those that ended since are forgotten at the next.
        refused: the system gave no thread the last time.

    """

    def __init__(self, core: CoreThread, applier: Applier, warn: Callable[[str, str], None]) -> None:
        self.all: set[BodyThread] = set()
        self.hung: list[BodyThread] = []
        self.refused = False
        self._core = core
        self._applier = applier
        self._warn = warn
        self._next_sweep = 64
        self._line: deque[_Waiting] = deque()
        #: the line is looked at in a moment
        self._looks = False
        #: a body ran, as far as was seen (``time.monotonic``)
        self._hoped = 0.0

    def of(self, task: HostTask) -> BodyThread:
        """Return the task's thread; make it if there is none, or if its body hung."""
        thread = task.thread
        if thread is None:
            loop = self._core.loop

            def enter() -> None:
                loop.adopt()
                CURRENT.set(task)

            died = partial(self._died, task)
            thread = BodyThread(task.comm, task.wish, self._applier, loop.deliver, task, enter, died)
            task.thread = thread
            self._remember(thread)
            waiting = _Waiting(task, thread, time.monotonic())
            if self._line:
                self._line.append(waiting)
            else:
                self._start(waiting)
        return thread

    def _remember(self, thread: BodyThread) -> None:
        """Keep the thread to be waited for at the end; forget those that ended, now and then."""
        self.all.add(thread)
        if len(self.all) >= self._next_sweep:
            self.all = {one for one in self.all if not one.ended}
            self._next_sweep = 2 * len(self.all) + 64

    # ---- no thread to be had ---------------------------------------------------------------------------------------
    def _start(self, waiting: _Waiting) -> None:
        self._core.loop.start_thread(waiting.thread, partial(self._started, waiting))

    def _started(self, waiting: _Waiting, error: BaseException | None) -> None:
        """Note that a thread runs, or put its task at the head of the line."""
        task = waiting.task
        if error is None:
            self.refused = False
            if task.pool is not None:
                task.pool.made(task)
            return
        if not self.refused:
            self.refused = True
            self._warn("no-thread", f"{task.comm}: {describe(error)}; its bodies wait for a thread")
        self._line.appendleft(waiting)
        self._reclaim_idle()
        self._look_later()

    def _look_later(self) -> None:
        if not self._looks:
            self._looks = True
            self._core.loop.call_later(_RETRY_S, self._look, context=contextvars.Context())

    def _look(self) -> None:
        """Ask for the thread at the head of the line; a task that has waited for too long fails."""
        self._looks = False
        now = time.monotonic()
        if any(thread.at_work for thread in self.all):
            self._hoped = now
        line, self._line = self._line, deque()
        for waiting in line:
            if waiting.thread.abandoned:
                continue
            if now - max(waiting.since, self._hoped) > PATIENCE_S or now - waiting.since > HOPE_S:
                self._refuse(waiting, now - waiting.since)
            else:
                self._line.append(waiting)
        if self._line:
            self._start(self._line.popleft())
        if self._line:
            self._look_later()

    def _refuse(self, waiting: _Waiting, waited_s: float) -> None:
        text = f"{waiting.task.comm}: the system gave no thread for {waited_s:.1f} s; see ulimit -u, -v and pids.max"
        self._fail_calls(waiting.task, waiting.thread, OSError(errno.EAGAIN, text))

    def _reclaim_idle(self) -> None:
        """Have idle workers give up their threads to those that stand in line."""
        for thread in tuple(self.all) if self._line else ():
            task: HostTask = thread.owner  # type: ignore[assignment]
            if task.thread is thread and task.is_worker and task.work is None and thread.tid:
                self.give_back(task)

    def give_back(self, task: HostTask) -> None:
        """Give the thread of a worker that has done a work, or of a task that ends, to the first in line."""
        thread = task.thread
        while thread is not None and self._line and not thread.calls and not thread.abandoned:
            successor = self._line.popleft()
            if not successor.thread.abandoned:
                task.thread = None
                if task.pool is not None:
                    task.pool.without_thread(task)
                self.all.discard(thread)
                thread.hand_over(successor.thread)
                if successor.task.pool is not None:
                    successor.task.pool.made(successor.task)
                return

    # ---- the end of a thread ---------------------------------------------------------------------------------------
    def give_up(self, task: HostTask, thread: BodyThread, message: str) -> None:
        """Let the task go on with a new thread; what the old one does cannot be stopped."""
        thread.abandon()
        self.hung = [*(one for one in self.hung if not one.join(0)), thread]
        if task.thread is thread:
            task.thread = None
        self._warn("deadline", message)

    def _died(self, task: HostTask, thread: BodyThread, error: BaseException) -> None:
        """Tell the core of a thread that ended by itself; called in that thread."""
        text = f"{task.comm}: its thread ended: {describe(error)}"
        fail = partial(self._fail_calls, task, thread, OSError(errno.ENOMEM, text))
        self._core.loop.notify(Request(fail))

    def _fail_calls(self, task: HostTask, thread: BodyThread, error: OSError) -> None:
        """Fail all that waits for a thread, innermost first, and let the task have a new one."""
        thread.abandoned = True
        if task.thread is thread:
            task.thread = None
            if task.pool is not None:
                task.pool.without_thread(task)
        for call in thread.calls[::-1]:
            call.fail(error)
