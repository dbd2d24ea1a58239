"""The faux bus: devices that exist only so that something can be bound to them. The example to read first.

A faux device needs no match and no driver of its own: creating one registers it with the bus's only driver, which
probes at once, in the caller, never asynchronously. If the probe fails the device is gone again and the caller gets
None; so whoever holds a faux device holds a bound one.

This file is a whole bus: a bus, its driver, a way to create devices and a way to destroy them.

    >>> bus = await FauxBus.register(core)                          # once
    >>> dev = await bus.device_create("reg-dummy", probe=body)      # each time

Source: ``drivers/base/faux.c`` (kernel 6.14).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numaprobe.drivercore import Bus, Device, Driver, ProbeType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import DriverCore

    Body = Callable[[Device], Awaitable[int | None]]
    Release = Callable[[Device], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class FauxOps:
    """What the creator of a faux device wants done (``struct faux_device_ops``)."""

    probe: Body | None = None
    remove: Release | None = None


class FauxBus(Bus):
    """A bus with one driver that takes every device."""

    def __init__(self, core: DriverCore) -> None:
        super().__init__("faux")
        self._core = core

    @classmethod
    async def register(cls, core: DriverCore) -> FauxBus:
        """Register the bus and its driver with ``core`` (``faux_bus_init``)."""
        bus = core.bus_register(cls(core))
        driver = Driver(
            name="faux_driver",
            bus=bus,
            probe=_probe,
            remove=_remove,
            match=lambda _dev: 1,
            probe_type=ProbeType.FORCE_SYNCHRONOUS,
        )
        await core.driver_register(driver)
        return bus

    async def device_create(
        self, name: str, *, probe: Body | None = None, remove: Release | None = None, parent: Device | None = None
    ) -> Device | None:
        """Create a device and probe it in the caller; None if its probe failed (``faux_device_create_with_groups``).

        Raises:
            StateError: the name is taken.

        """
        dev = Device(name=name, bus=self, parent=parent, platform_data=FauxOps(probe, remove))
        await self._core.device_add(dev)
        if dev.is_bound:
            return dev
        await self._core.device_del(dev)
        return None

    async def device_destroy(self, dev: Device) -> None:
        """Remove a device that ``device_create`` gave."""
        await self._core.device_del(dev)


async def _probe(dev: Device) -> int | None:
    ops: FauxOps = dev.platform_data
    return await ops.probe(dev) if ops.probe else 0


async def _remove(dev: Device) -> None:
    ops: FauxOps = dev.platform_data
    if ops.remove:
        await ops.remove(dev)
