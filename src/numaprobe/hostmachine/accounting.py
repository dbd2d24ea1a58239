"""What is busy, what waits: how the machine knows that a run is over, or that it never will be.

*busy* counts what has been started and is not done: spawned tasks, queued works. *waiting* counts those of them that
only another task, or a timer, can wake; *held* are works that ``max_active`` holds back. *timers* counts pending calls.
When nothing but waiting is left and no timer is pending, a run is over (nothing is busy) or stuck (something is). A
body that runs in a thread, or awaits something of asyncio's own, is busy and not waiting: the machine cannot know what
it does, and never calls that a deadlock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sized


class Accounting:
    """The counts.

    Args:
        still: called (often; it must be cheap) when nothing can run any more without help from outside.

    """

    __slots__ = ("_still", "busy", "held", "timers", "waiting")

    def __init__(self, still: Callable[[], None]) -> None:
        self._still = still
        self.busy = 0
        self.waiting = 0
        #: works held back by ``max_active``
        self.held: Sized = ()
        self.timers = 0

    @property
    def is_still(self) -> bool:
        """Whether nothing can run any more by itself."""
        return self.busy == self.waiting + len(self.held) and not self.timers

    def done(self) -> None:
        """Something busy is done."""
        self.busy -= 1
        if self.busy == self.waiting + len(self.held) and not self.timers:
            self._still()

    def waits(self) -> None:
        """Something busy waits."""
        self.waiting += 1
        if self.busy == self.waiting + len(self.held) and not self.timers:
            self._still()

    def timer_gone(self) -> None:
        """A timer has called, or never will."""
        self.timers -= 1
        if self.busy == self.waiting + len(self.held) and not self.timers:
            self._still()

    def clear(self) -> None:
        """Forget all: everything was cancelled."""
        self.busy = self.waiting = self.timers = 0
