"""What users write to the sysfs files of a bus and its drivers: a device's name; back comes 0 or a negative errno.

Source: ``bind_store``, ``unbind_store``, ``drivers_probe_store`` (``drivers/base/bus.c``).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numaprobe.drivercore.binding import Binding
    from numaprobe.drivercore.body import ProbeBodies
    from numaprobe.drivercore.deadlock import Deadlocks
    from numaprobe.drivercore.deferred import DeferredProbes
    from numaprobe.drivercore.release import Releasing
    from numaprobe.drivercore.state import CoreState


class SysfsFiles:
    """The files of one core.

    Args:
        state: buses, drivers and devices.
        bodies: says what matches.
        deadlocks: refuses what would never end.
        deferred: what a user writes is news.
        binding: binds.
        release: unbinds.

    """

    def __init__(
        self,
        state: CoreState,
        bodies: ProbeBodies,
        deadlocks: Deadlocks,
        deferred: DeferredProbes,
        binding: Binding,
        release: Releasing,
    ) -> None:
        self._state = state
        self._bodies = bodies
        self._deadlocks = deadlocks
        self._deferred = deferred
        self._binding = binding
        self._release = release

    async def bind(self, bus: str, driver: str, device: str) -> int:
        """Write to a driver's ``bind``."""
        found = self._state.bus(bus)
        drv, dev = found.drivers.get(driver), found.devices.get(device)
        if drv is None or dev is None:
            return -errno.ENODEV
        self._deferred.note_request()
        with drv.used():
            if self._bodies.match(dev, drv) == 0:  # an error counts as a match here, as in bind_store
                return -errno.ENODEV
            return await self._binding.device_driver_attach(drv, dev)

    async def unbind(self, bus: str, driver: str, device: str) -> int:
        """Write to a driver's ``unbind``."""
        dev = self._state.bus(bus).devices.get(device)
        if dev is None or dev.driver is None or dev.driver.name != driver:
            return -errno.ENODEV
        self._deadlocks.refuse_release([dev], f"unbinds {device}")
        await self._release.device_release_driver(dev)
        return 0

    async def drivers_probe(self, bus: str, device: str) -> int:
        """Write to a bus's ``drivers_probe``."""
        dev = self._state.bus(bus).devices.get(device)
        if dev is None:
            return -errno.ENODEV
        if dev.driver is not None:
            return 0
        self._deferred.note_request()
        return -errno.EINVAL if await self._binding.device_attach(dev, parent=True) < 0 else 0
