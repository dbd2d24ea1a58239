"""Letting go: a driver releases a device, consumers first; what it managed goes in reverse.

Source: ``device_release_driver``, ``__device_release_driver``, ``device_unbind_cleanup``, ``driver_detach``
(``drivers/base/dd.c``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.drivercore.locking import HeldDevice

if TYPE_CHECKING:
    from numaprobe.drivercore.asyncs import AsyncCalls
    from numaprobe.drivercore.attributes import DeviceFiles
    from numaprobe.drivercore.body import ProbeBodies
    from numaprobe.drivercore.chain import Chains
    from numaprobe.drivercore.model import CoreForBuses, Device, Driver
    from numaprobe.drivercore.state import CoreState


class Releasing:
    """``dd.c`` from bound to unbound, for one core.

    Args:
        state: what the core knows.
        chains: for the locks, which refuse a task that would wait for itself.
        bodies: runs removes and releases.
        asyncs: waited for before a driver goes whose probes are asynchronous.
        attributes: a driver's files go before it lets go.
        for_buses: what the rules of a bus are handed.

    """

    def __init__(
        self,
        state: CoreState,
        chains: Chains,
        bodies: ProbeBodies,
        asyncs: AsyncCalls,
        attributes: DeviceFiles,
        for_buses: CoreForBuses,
    ) -> None:
        self._machine = state.machine
        self._options = state.options
        self._links = state.links
        self._chains = chains
        self._bodies = bodies
        self._asyncs = asyncs
        self._attributes = attributes
        self._for_buses = for_buses

    async def device_release_driver(self, dev: Device, drv: Driver | None = None, *, parent: bool = True) -> None:
        """Release the device's driver, if it is ``drv`` (None: whichever), consumers first.

        ``parent``: under the parent's lock too where the bus needs it; not when the device itself goes
        (``bus_remove_device``), because a hub removes what hangs from it while its own lock is held.
        """
        while True:
            async with HeldDevice(self._chains, dev, parent=parent):
                if not dev.is_bound or (drv is not None and dev.driver is not drv):
                    return
                busy = self._links.busy_consumers(dev)
                if not busy:
                    await self._device_release_driver(dev)
                    return
            for consumer in busy:
                await self.device_release_driver(consumer)

    async def _device_release_driver(self, dev: Device) -> None:
        drv = dev.driver
        dev.step("release", self._machine.now(), f"from {drv.name if drv else '?'}")
        if drv is not None and drv.dev_attributes:
            await self._attributes.remove(dev, drv.dev_attributes)
        await dev.bus.remove(self._for_buses, dev)
        await self.unbind_cleanup(dev)
        if drv is not None:
            del drv.devices[dev.key]
        dev.step("released", self._machine.now())

    async def unbind_cleanup(self, dev: Device) -> None:
        """Release managed resources in reverse, then forget the driver (``device_unbind_cleanup``)."""
        while dev.p.devres:
            name, release = dev.p.devres.pop()
            await self._bodies.let_go(dev, f"{dev.name}: release of {name}", release)
        dev.driver = None
        dev.drvdata = None

    async def driver_detach(self, drv: Driver) -> None:
        """Release all devices of a driver, last bound first, after its async probes are over."""
        if drv.allows_async(self._options):
            await self._asyncs.synchronize_full()
        while drv.devices:
            dev = next(reversed(drv.devices.values()))
            await self.device_release_driver(dev, drv)
