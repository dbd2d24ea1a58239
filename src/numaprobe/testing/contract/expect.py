"""What the checks share: a way to say what was promised, and a run around an asynchronous check.

A check never waits for a time in which something will have happened: on a loaded computer it may not have. It waits for
the event itself (``Arrivals``, ``comes``). A sleep in a check only gives a broken machine the time to break its
promise, so that a slow machine is never found guilty. Where time is virtual, order and duration are promised to the
nanosecond (``time_stands``).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from numaprobe.errors import DeadlockError, InternalError, NumaprobeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.runtime.protocol import Event, Machine

#: A time that real threads and a loaded computer can tell from nothing, and short enough to wait for: 5 ms.
TICK_NS: Final = 5_000_000
#: What has not come after this time (a minute) will not come; only a broken machine waits for so long.
PATIENCE_NS: Final = 60_000_000_000


class Arrivals:
    """Counts those that come by, so that a check can wait for their number in place of a time.

    Args:
        machine: on which the check runs.
        what: that comes by, for the promise.

    """

    def __init__(self, machine: Machine, what: str) -> None:
        self._what = what
        self._event = machine.event(what)
        self._wanted = 0
        self.count = 0

    def arrive(self) -> None:
        """Count one more."""
        self.count += 1
        if self.count >= self._wanted:
            self._event.set()

    async def wait(self, number: int) -> None:
        """Wait until ``number`` have come by; one task at a time may.

        Raises:
            InternalError: they do not come.

        """
        self._wanted = number
        if self.count < number:
            self._event.clear()
            await self._event.wait(PATIENCE_NS)
        expect(self.count >= number, f"{self.count} of {number} {self._what}")


async def comes(event: Event, promise: str) -> None:
    """Hold that an event is set, sooner or later.

    Raises:
        InternalError: it is not.

    """
    expect(await event.wait(PATIENCE_NS), promise)


def time_stands(machine: Machine) -> bool:
    """Tell whether time is virtual: it stands while code runs, and passes only while all wait."""
    before = machine.now()
    return all(machine.now() == before for _ in range(1000))


def expect(kept: object, promise: str) -> None:
    """Hold a promise of the protocol.

    Raises:
        InternalError: it is not kept.

    """
    if not kept:
        raise InternalError(f"machine contract: {promise}")


def expect_raises(error: type[NumaprobeError], function: Callable[[], object], promise: str) -> None:
    """Hold that ``function`` raises ``error`` at once.

    Raises:
        InternalError: it did not.

    """
    try:
        function()
    except error:
        return
    raise InternalError(f"machine contract: {promise}")


async def expect_fails(error: type[Exception], awaitable: Awaitable[object], promise: str) -> None:
    """Hold that awaiting raises ``error``.

    Raises:
        InternalError: it did not.

    """
    try:
        await awaitable
    except error:
        return
    raise InternalError(f"machine contract: {promise}")


def run_check(machine: Machine, check: Callable[[], Awaitable[None]]) -> None:
    """Run a check as the main task.

    Raises:
        InternalError: a promise is not kept, also where what the check left behind then waits for ever.

    """
    broken: list[InternalError] = []

    async def main() -> None:
        try:
            await check()
        except InternalError as error:
            broken.append(error)
            raise

    try:
        machine.run(main)
    except DeadlockError:
        if broken:
            raise broken[0] from None
        raise


def in_a_task(check: Callable[[Machine], Awaitable[None]]) -> Callable[[Machine], None]:
    """Return a check that runs this one as the main task."""

    @functools.wraps(check)
    def whole(machine: Machine) -> None:
        run_check(machine, lambda: check(machine))

    return whole
