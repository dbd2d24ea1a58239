"""The PCI rescan lock in sriov_numvfs_store, as it was proposed in 2026, on the driver core: two users, two writes.

One writes ``sriov_numvfs``, whose store runs under the device lock; the other writes ``remove``, whose store takes
``pci_rescan_remove_lock`` and then, to release the driver, the device lock. Nothing keeps the first from adding
virtual functions below a device that the second removes (``base``). The patch takes the rescan lock in the first store
too, under the device lock (``patched``). ``outside`` takes it before the device lock.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from numaprobe.buses import PciBus
from numaprobe.drivercore import Driver, DriverCore

if TYPE_CHECKING:
    from numaprobe.drivercore import CoreForBuses, Device
    from numaprobe.runtime import Machine


class RescanLockPci(PciBus):
    """``pci`` with the rescan lock, which ``remove`` has always taken; ``where`` says how ``sriov_numvfs`` takes it."""

    def __init__(self, machine: Machine, where: str) -> None:
        super().__init__("pci")
        self.rescan_remove_lock = machine.lock("pci_rescan_remove_lock")
        self.where = where

    async def store(self, core: CoreForBuses, dev: Device, file: str, value: int) -> int:
        """``sriov_numvfs_store``."""
        if file != "sriov_numvfs":
            return await super().store(core, dev, file, value)
        if self.where == "outside":
            async with self.rescan_remove_lock, core.locked(dev):
                return await self._enable(core, dev, value)
        async with core.locked(dev):
            if self.where == "base":
                return await self._enable(core, dev, value)
            async with self.rescan_remove_lock:
                return await self._enable(core, dev, value)

    async def _enable(self, core: CoreForBuses, dev: Device, value: int) -> int:
        if dev.driver is None:
            return -errno.ENOENT
        await self.enable(core, dev, "vfs", value)
        return 0

    async def remove_store(self, core: CoreForBuses, dev: Device) -> None:
        """``pci_stop_and_remove_bus_device_locked``."""
        async with self.rescan_remove_lock:
            await core.device_del(dev)


async def _two_writes(machine: Machine, where: str) -> None:
    core = DriverCore(machine)
    pci = core.bus_register(RescanLockPci(machine, where))

    async def probe(_: Device) -> int:
        return 0

    async def remove(dev: Device) -> None:
        await pci.disable(core, dev)

    await core.driver_register(Driver(name="nic", bus=pci, probe=probe, remove=remove, compatible=("nic",)))
    pf = pci.make_device(name="0000:41:00.0", compatible="nic")
    await core.device_add(pf)
    writes: list[tuple[str, Any]] = [("echo numvfs", lambda: pci.store(core, pf, "sriov_numvfs", 1))]
    writes.append(("echo remove", lambda: pci.remove_store(core, pf)))
    for task in [machine.spawn(write, comm=comm) for comm, write in writes]:
        await machine.join(task)


async def base(machine: Machine) -> None:
    """Before the patch."""
    await _two_writes(machine, "base")


async def patched(machine: Machine) -> None:
    """With the patch."""
    await _two_writes(machine, "inside")


async def outside(machine: Machine) -> None:
    """With the rescan lock taken first."""
    await _two_writes(machine, "outside")
