"""Who keeps CPUs from going offline and coming online (``cpu_hotplug_disable``, ``kernel/cpu.c``).

The kernel counts those that disabled CPU hotplug, and refuses every change with EBUSY until all have enabled it again.
PCI does so around each probe, so that the CPU which it chose is still there when the work is queued
(``pci_call_probe``; ``KernelProfile.pci_holds_off_hotplug``).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from numaprobe.listing import first_few

if TYPE_CHECKING:
    from collections.abc import Callable

#: How many holders a warning names before it counts.
_NAMED: Final = 3


class HotplugHolds:
    """The holders of one machine.

    Args:
        warn: takes warnings (kind, message).

    """

    __slots__ = ("_holders", "_warn")

    def __init__(self, warn: Callable[[str, str], None]) -> None:
        self._warn = warn
        self._holders: dict[str, int] = {}

    def disable(self, holder: str) -> None:
        """Let no CPU go or come until ``holder`` has enabled it as often."""
        self._holders[holder] = self._holders.get(holder, 0) + 1

    def enable(self, holder: str) -> None:
        """Take one ``disable`` back."""
        left = self._holders[holder] - 1
        if left:
            self._holders[holder] = left
        else:
            del self._holders[holder]

    def refusal(self, cpu: int, stays: str) -> int:
        """Return 0 if ``cpu`` may go or come now; else -EBUSY, and warn that it ``stays`` as it is."""
        if not self._holders:
            return 0
        holders = first_few(self._holders, _NAMED)
        self._warn("cpu-hotplug", f"CPU {cpu} stays {stays} (EBUSY): CPU hotplug is held off by {holders}")
        return -errno.EBUSY
