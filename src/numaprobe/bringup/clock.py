"""What time it is, and which boot: the two facts that a journal's lines carry.

Two clocks, for two readers. The **wall** clock is for people, who ask when; it may jump, backwards too, and nothing is
ever decided by it. The **boot** clock (``CLOCK_BOOTTIME``) counts nanoseconds since the kernel started, also while it
is suspended; deadlines and ages are taken from it, and it means something within one boot only. The boot's id
(``/proc/sys/kernel/random/boot_id``) tells one boot from the next.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from numaprobe.errors import MissingInterfaceError

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """Where a journal takes its times from; a test has one of its own."""

    @property
    def boot(self) -> str:
        """The id of this boot."""

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970, as people count; may jump."""

    def boottime_ns(self) -> int:
        """Return nanoseconds since this boot began; never goes back."""


@dataclass(frozen=True, slots=True)
class SystemClock:
    """This machine's clocks."""

    boot: str

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970, as people count; may jump."""
        return time.time_ns()

    def boottime_ns(self) -> int:
        """Return nanoseconds since this boot began; never goes back."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def system_clock() -> SystemClock:
    """Return this machine's clocks.

    Raises:
        MissingInterfaceError: the kernel does not tell its boot's id (no ``/proc``).

    """
    try:
        return SystemClock(boot=_BOOT_ID.read_text(encoding="ascii").strip())
    except OSError as error:
        text = f"{_BOOT_ID}: {error.strerror}; a journal must know which boot it belongs to: mount /proc"
        raise MissingInterfaceError(text) from None


def wall_text(wall_ns: int) -> str:
    """Return a wall time for people, in UTC, to the second: ``2026-11-21 19:50:08Z``; ``?`` if it cannot be one."""
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(wall_ns // 10**9, tz=UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return "?"
