"""The threads that write: one for each change, on its device's node, as many at once as the plan has jobs.

One thread owns nothing but its change; the crew owns which may begin. Of the exclusive changes of one driver one is
under way at a time. A change that is past its deadline gives its job to the next one and is told; it may still come
back. Its driver stays taken: a second probe beside one that hangs is what "one by one" is there to prevent. A write
that hangs sleeps in the kernel where no signal reaches it, so a thread that is still there at the end is left to the
kernel, and does no more if it comes back.

A thread is pinned to the CPUs of its node and prefers its memory. Where it may not be (a cpuset, a container) it writes
from where it is, and that is told once.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from numaprobe.bringup.carry import Flight
from numaprobe.cpuset import CpuSet
from numaprobe.hostmachine import syscalls
from numaprobe.hostmachine.attributes import Applier, Attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numaprobe.bringup.plan import Change

#: seconds between looks at the deadlines (our choice); a signal that came meanwhile is noticed then, too
_LOOK: Final = 0.1


class Crew:
    """Carries out the changes of one wave at a time.

    Args:
        carry: carries one change out, in the thread that calls it.
        jobs: most changes at one time.
        deadline_ns: longest time of one write; None: no limit.
        pins: a thread writes from its device's node.
        late: told of a change that is past its deadline, by the crew's thread.
        warn: told what a thread could not be given.

    """

    def __init__(
        self,
        carry: Callable[[Flight], None],
        *,
        jobs: int,
        deadline_ns: int | None,
        pins: bool,
        late: Callable[[Flight], None],
        warn: Callable[[str], None],
    ) -> None:
        self._carry = carry
        self._jobs = jobs
        self._deadline_ns = deadline_ns
        self._pins = pins
        self._late = late
        self._applier = Applier(lambda _kind, text: warn(text), lambda: CpuSet.of(os.sched_getaffinity(0)))
        #: guards what flies
        self._changed = threading.Condition()
        self._flying: list[Flight] = []
        #: set (by a signal, too): no change begins any more
        self.stopped = False

    def fly(self, changes: Iterable[Change]) -> list[Flight]:
        """Carry these changes out; return when each has come back or is late, or may not begin any more."""
        flights = [Flight(change) for change in changes]
        lanes: dict[str | None, deque[Flight]] = {}
        for flight in flights:
            lanes.setdefault(_lane(flight.change), deque()).append(flight)
        with self._changed:
            self._begin(lanes)
            while self._awaited():
                self._changed.wait(_LOOK)
                self._look()
                self._begin(lanes)
        return flights

    def leave(self) -> list[Flight]:
        """Wait for those that are on their way back, and no more for those that the kernel keeps; return these."""
        with self._changed:
            while not all(flight.leave() for flight in self._flying):
                self._changed.wait(_LOOK)
            return list(self._flying)

    # ---- which change may begin ------------------------------------------------------------------------------------
    def _begin(self, lanes: dict[str | None, deque[Flight]]) -> None:
        for lane, flights in lanes.items():
            while flights and self._is_free(lane) and not self.stopped and len(self._awaited()) < self._jobs:
                if not self._start(flights[0]):
                    return
                flights.popleft()

    def _is_free(self, lane: str | None) -> bool:
        return lane is None or all(_lane(flight.change) != lane for flight in self._flying)

    def _awaited(self) -> list[Flight]:
        return [flight for flight in self._flying if not flight.is_late]

    def _start(self, flight: Flight) -> bool:
        thread = threading.Thread(target=self._run, args=(flight,), name=_name(flight.change), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._flying:
                raise
            return False  # no more threads are to be had: those that fly make room
        self._flying.append(flight)
        return True

    # ---- one thread ------------------------------------------------------------------------------------------------
    def _run(self, flight: Flight) -> None:
        try:
            flight.tid = threading.get_native_id()
            self._take_place(flight.change)
            self._carry(flight)
        finally:
            with self._changed:
                self._flying.remove(flight)
                self._changed.notify()

    def _take_place(self, change: Change) -> None:
        syscalls.set_name(_name(change))
        if not self._pins:
            return
        if change.cpus:
            self._applier.apply_cpus(change.cpus)
        if change.node is not None:
            self._applier.apply_memory(Attributes(memory_node=change.node))

    def _look(self) -> None:
        """Tell the changes that are past their deadline."""
        now = time.monotonic_ns()
        for flight in self._awaited() if self._deadline_ns is not None else ():
            since = flight.since_ns
            if since is not None and now - since > (self._deadline_ns or 0):
                flight.is_late = flight.outcome.was_late = True
                self._late(flight)


def _lane(change: Change) -> str | None:
    """Return what an exclusive change shares with those that may not be beside it; None: it shares nothing."""
    return f"{change.bus}/{change.driver_after or change.driver_before}" if change.exclusive else None


def _name(change: Change) -> str:
    return "numaprobe" if change.node is None else f"numaprobe-n{change.node}"
