"""What the checks share: a way to say what was promised, and a run around an asynchronous check."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InternalError, NumaprobeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.runtime.protocol import Machine

#: A time that real threads and a loaded computer can tell from nothing, and short enough to wait for: 5 ms.
TICK_NS: Final = 5_000_000


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


def in_a_task(check: Callable[[Machine], Awaitable[None]]) -> Callable[[Machine], None]:
    """Return a check that runs this one as the main task."""

    @functools.wraps(check)
    def whole(machine: Machine) -> None:
        machine.run(lambda: check(machine))

    return whole
