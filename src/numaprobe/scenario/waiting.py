"""The locks of a run, watched: which probe waited for which, and for how long.

A wait is cut where the lock changed hands, and each piece goes to the probe that had it then. Where it changed hands
more often than is remembered, the oldest piece goes to nobody.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from numaprobe.records import LockWait, SharedHold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numaprobe.runtime import Lock

#: Changes of hands that a lock remembers.
REMEMBERED: Final = 64


class Waiter(NamedTuple):
    """A probe that takes locks."""

    bus: str
    device: str
    #: when its body began
    start_ns: int


class LockBook:
    """What all probes of a run waited for."""

    def __init__(self) -> None:
        self._sums: dict[Waiter, dict[tuple[str, str | None], list[int]]] = {}
        self._held: dict[str, dict[Waiter, int]] = {}
        #: there is a lock that probes share
        self.used = False

    def add(self, waiter: Waiter, lock: str, held_by: str | None, ns: int) -> None:
        """Note a piece of a wait."""
        found = self._sums.setdefault(waiter, {}).setdefault((lock, held_by), [0, 0, 0])
        found[0] += 1
        found[1] += ns
        found[2] = max(found[2], ns)

    def hold(self, waiter: Waiter, lock: str, ns: int) -> None:
        """Note that a probe had a lock."""
        held = self._held.setdefault(lock, {})
        held[waiter] = held.get(waiter, 0) + ns

    def shared(self, drivers: Mapping[Waiter, str]) -> tuple[SharedHold, ...]:
        """Return the locks that probes of several devices had, and for how long; drivers: that of each probe."""
        found = (_shared(lock, held, drivers) for lock, held in sorted(self._held.items()))
        return tuple(one for one in found if one is not None)

    def of(self, waiter: Waiter) -> tuple[LockWait, ...]:
        """Return the waits of a probe by lock and holder, the longest sum first."""
        waits = [LockWait(lock, by, *sums) for (lock, by), sums in self._sums.get(waiter, {}).items()]
        return tuple(sorted(waits, key=lambda one: (-one.wait_ns, one.lock, one.held_by or "")))


class WatchedLock:
    """A lock whose waits are written down.

    Args:
        lock: the machine's.
        now: the machine's clock.
        book: where they are written.

    """

    def __init__(self, lock: Lock, now: Callable[[], int], book: LockBook) -> None:
        self._lock = lock
        self._now = now
        self._book = book
        self._taken = 0
        self._hands: deque[tuple[int, str]] = deque(maxlen=REMEMBERED)
        book.used = True

    def taken_by(self, waiter: Waiter) -> TakenLock:
        """Return what to enter (``async with``) to have it."""
        return TakenLock(self, waiter)

    async def acquire(self, waiter: Waiter) -> None:
        """Take it, after all that asked before."""
        since = self._now()
        await self._lock.acquire()
        now = self._now()
        if now > since:
            self._write(waiter, since, now)
        self._hands.append((now, waiter.device))
        self._taken = now

    def release(self, waiter: Waiter) -> None:
        """Let go of it."""
        self._book.hold(waiter, self._lock.name, self._now() - self._taken)
        self._lock.release()

    def _write(self, waiter: Waiter, since: int, now: int) -> None:
        for taken, device in reversed(self._hands):
            if taken < now:
                self._book.add(waiter, self._lock.name, device, now - max(since, taken))
                now = taken
            if now <= since:
                return
        self._book.add(waiter, self._lock.name, None, now - since)


class TakenLock:
    """A lock that one probe has within a block."""

    __slots__ = ("_lock", "_waiter")

    def __init__(self, lock: WatchedLock, waiter: Waiter) -> None:
        self._lock = lock
        self._waiter = waiter

    async def __aenter__(self) -> Self:
        await self._lock.acquire(self._waiter)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._lock.release(self._waiter)


def _shared(lock: str, held: Mapping[Waiter, int], drivers: Mapping[Waiter, str]) -> SharedHold | None:
    by_driver: dict[str, list[int]] = {}
    for waiter, ns in held.items():
        if waiter in drivers:
            by_driver.setdefault(drivers[waiter], []).append(ns)
    if sum(len(each) for each in by_driver.values()) <= 1:
        return None
    holds = {driver: round(median(each)) for driver, each in sorted(by_driver.items())}
    everything = [ns for each in by_driver.values() for ns in each]
    return SharedHold(
        resource=lock,
        hold_ns=round(median(holds.values())),
        hold_range_ns=(min(everything), max(everything)),
        members=tuple(holds),
        by_member=holds if len(holds) > 1 else {},
        evidence="seen",
        source="scenario",
    )
