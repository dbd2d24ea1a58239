"""An nvdimm-like bus: devices are themselves registered asynchronously, near their node.

Registering a region queues its ``device_add`` as an async call of the bus's own domain; whoever needs the devices
waits for that domain. With 32 GB regions whose probe clears the memory map, this is where per-device asynchronous
probing was first worth its while (2018).

Source: ``nd_device_register``, ``nd_async_device_register``, ``nd_synchronize`` (``drivers/nvdimm/bus.c``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.drivercore import AsyncDomain, Bus

if TYPE_CHECKING:
    from numaprobe.drivercore import CoreForBuses, Device


class NvdimmBus(Bus):
    """``nd``: regions and namespaces."""

    def __init__(self, name: str = "nd") -> None:
        super().__init__(name)
        #: ``nd_async_domain``: exclusive, so ``async_synchronize_full`` does not see it
        self.domain = AsyncDomain("nd_async_domain", registered=False)

    async def device_register(self, core: CoreForBuses, dev: Device) -> None:
        """Add a device from a worker near its node; it is there after ``synchronize``, or a warning says why not."""
        what = f"{dev.name}: nd_async_device_register"
        await core.asyncs.schedule_node(lambda: core.guarded(what, lambda: core.device_add(dev)), dev.node, self.domain)

    async def synchronize(self, core: CoreForBuses) -> None:
        """Wait until all devices registered so far are added, and sync drivers have been tried."""
        await core.asyncs.synchronize_cookie(None, self.domain)
