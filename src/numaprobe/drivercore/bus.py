"""A bus: its devices, its drivers, and how the two are matched.

The base class is a complete bus (``platform`` is little more). What a bus may add: its own match, its own ``probe``
around the driver's (PCI), its own way to attach a new device, and ``need_parent_lock`` (USB).

Source: ``struct bus_type`` (``include/linux/device/bus.h``), ``drivers/base/bus.c``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from numaprobe.drivercore.core import DriverCore
    from numaprobe.drivercore.device import Device
    from numaprobe.drivercore.driver import Driver


class Bus:
    """A bus.

    Attributes:
        name: ``pci``, ``platform``, …
        need_parent_lock: probing and releasing also hold the parent's lock.
        drivers_autoprobe: whether new devices and drivers are matched without being asked; also gates hot-added and
            deferred devices. Written through ``/sys/bus/NAME/drivers_autoprobe``.
        devices: by name, in the order of adding.
        drivers: by name, in the order of registration.

    """

    need_parent_lock: bool = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.drivers_autoprobe = True
        self.devices: dict[str, Device] = {}
        self.drivers: dict[str, Driver] = {}

    def match(self, dev: Device, drv: Driver) -> int:
        """Return positive if ``drv`` can drive ``dev``, 0 if not, or a negative errno (``-EPROBE_DEFER``: not yet)."""
        if drv.match is not None:
            return drv.match(dev)
        return int(dev.compatible in drv.compatible)

    async def attach_new(self, core: DriverCore, dev: Device) -> None:
        """Find a driver for a device that was just added (``bus_probe_device``)."""
        await core.binding.device_initial_probe(dev)

    def probe(self, core: DriverCore, dev: Device) -> Awaitable[int]:
        """Probe ``dev`` with ``dev.driver``: here the driver's own function and nothing else."""
        return core.call_probe_body(dev)

    async def remove(self, core: DriverCore, dev: Device) -> None:
        """Let ``dev`` go: here the driver's own function and nothing else."""
        await core.call_remove_body(dev)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"
