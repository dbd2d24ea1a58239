"""Virtual time: one heap, one queue of tasks that are due now, and the coroutines they drive.

Theory of operation
===================

Time is an integer count of nanoseconds and moves only when nothing is due now. What is due later waits in a heap whose
key is (time, priority, serial), the last two in one integer: the serial is given out in the order of asking, so the
order is total, and a run is repeatable to the byte. What is due *now* waits in a FIFO queue, which is the heap's class
(now, first, serial) without the cost of a heap.

A task is driven by ``task.send(None)``: the ``send`` of its coroutine (or, for a worker without work, what a worker
does when it wakes). The code between two awaits takes no virtual time. An awaitable of the machine arranges for its own
waking, then yields once.

``live`` counts what can still make the run go on: tasks that run, are ready or sleep on a timer, and pending timers.
Tasks that wait for another task (a lock, an event, a flush, a join), idle workers and background load do not count.
The loop ends when nothing live is left; the machine then tells a finished run from a deadlock.
"""

from __future__ import annotations

import gc
from collections import deque
from contextlib import contextmanager
from functools import partial
from heapq import heappop, heappush
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, cast

from numaprobe.reading.collector import pass_over_the_young

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from numaprobe.virtual.task import VirtualTask


#: Heap priorities at one instant, to be added to the serial: wake-ups come before the CPUs' decisions, so that the end
#: of a turn sees all tasks that woke.
PRIORITY_TIMER: Final = 0
PRIORITY_CPU: Final = 1 << 62


class _Pause:
    """What a task awaits once it has arranged for its waking: one bare yield to the loop, made in C.

    ``staticmethod`` because from Python 3.14 on a ``partial`` in a class is a method.
    """

    __slots__ = ()

    __await__: Callable[[], Iterator[None]] = staticmethod(partial(repeat, None, 1))


class _Nothing:
    """Awaited where there is nothing to wait for: no yield."""

    __slots__ = ()

    __await__: Callable[[], Iterator[None]] = staticmethod(partial(repeat, None, 0))


#: Awaited by every wait of the machine, after ``EventLoop`` or a scheduler knows when the task goes on.
PAUSE: Final[Awaitable[None]] = cast("Awaitable[None]", _Pause())
#: Awaited instead where the task just goes on.
NOTHING: Final[Awaitable[None]] = cast("Awaitable[None]", _Nothing())


class ShutDown(GeneratorExit):
    """Raised where a coroutine would wait while the machine closes it."""


class EventLoop:
    """The heap, the queue of tasks due now, and the clock.

    Attributes:
        now: ns since the start of the machine.
        current: the task whose code is running; None between tasks.
        live: see the module's text.
        closing: coroutines are being closed; nobody may wait any more.

    """

    __slots__ = ("closing", "current", "events", "heap", "live", "now", "ready", "serial", "timer_cpu")

    def __init__(self) -> None:
        self.now = 0
        self.current: VirtualTask | None = None
        self.live = 0
        self.closing = False
        #: where the timer that fires now was armed; meaningful outside tasks
        self.timer_cpu = 0
        #: heap events handled so far, for figures
        self.events = 0
        self.serial = 0
        self.heap: list[tuple[int, int, Callable[[Any], None] | None, Any]] = []
        self.ready: deque[VirtualTask] = deque()

    @property
    def cpu(self) -> int:
        """The CPU on which code runs now (``smp_processor_id``)."""
        return self.timer_cpu if self.current is None else self.current.cpu

    def at(self, time: int, priority: int, function: Callable[[Any], None], argument: object) -> None:
        """Call ``function(argument)`` at ``time``."""
        self.serial += 1
        heappush(self.heap, (time, priority + self.serial, function, argument))

    def make_due(self, task: VirtualTask) -> None:
        """Let ``task``, which is on a CPU, go on at this instant."""
        if not task.due:
            task.due = True
            self.ready.append(task)

    def step(self, task: VirtualTask) -> None:
        """Run the code of ``task`` up to its next wait."""
        self.current = task
        try:
            task.send(None)
        except StopIteration as stop:
            task.finished(stop.value, None)
        except Exception as error:  # noqa: BLE001  handed to whoever joins the task
            task.finished(None, error)
        self.current = None

    def run(self) -> None:
        """Handle what is due until nothing live is left."""
        heap, ready, step = self.heap, self.ready, self.step
        try:
            while self.live > 0:
                if ready:
                    task = ready.popleft()
                    task.due = False
                    if task.on_cpu:
                        step(task)
                elif heap:
                    self.now, _, function, argument = heappop(heap)
                    if function is None:
                        # A task on a CPU of its own goes on: the hot path, which is ``step`` written out.
                        self.current = argument
                        try:
                            argument.send(None)
                        except StopIteration as stop:
                            argument.finished(stop.value, None)
                        except Exception as error:  # noqa: BLE001  as in ``step``
                            argument.finished(None, error)
                        self.current = None
                    else:
                        function(argument)
                else:
                    break
        finally:
            self.current = None


class VirtualTimer:
    """A pending call (``struct timer_list``)."""

    __slots__ = ("cpu", "function", "loop", "pending")

    def __init__(self, loop: EventLoop, delay_ns: int, function: Callable[[], object], cpu: int) -> None:
        self.loop = loop
        self.function = function
        #: where it was armed, and where the call is made
        self.cpu = cpu
        self.pending = True
        loop.live += 1
        loop.at(loop.now + delay_ns, PRIORITY_TIMER, VirtualTimer._expire, self)

    def cancel(self) -> None:
        """Forget the call; nothing happens if it was made."""
        if self.pending:
            self.pending = False
            self.loop.live -= 1

    def _expire(self) -> None:
        if self.pending:
            self.cancel()
            self.loop.timer_cpu = self.cpu
            self.function()


#: A run that made more objects than this is not looked at when it is over; a look at so many takes 10 ms.
_LARGE: Final = 100_000


@contextmanager
def no_collections() -> Iterator[None]:
    """Keep the cyclic collector from looking.

    A run makes objects by the million that live to its end; scanning them again and again takes a third of the time of
    a large run. What a run frees, it frees by reference count. What it leaves is one circle, its machine: of a small
    run the collector finds it soon, and a thousand runs behind each other need no more memory than some.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            pass_over_the_young(more_than=_LARGE)
            gc.enable()


@contextmanager
def earlier_things_kept() -> Iterator[None]:
    """Keep the cyclic collector from looking at what is there already, for thousands of small runs one after the other.

    What a run leaves in cycles is collected; what was there before (modules, classes) is some hundred times as much,
    and looking at it again and again takes a third of the time.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
