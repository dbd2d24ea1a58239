"""PCI: the one bus that has node code of its own, and virtual functions.

``pci_call_probe`` asks the placement where the driver's probe should run; what it says is the policy (today's kernels:
a per-CPU kworker on the first CPU of the node's mask, always the same one). A virtual function enabled inside its
physical function's probe is probed under it: on today's kernels then inline, because ``is_probed`` says so.

Source: ``drivers/pci/pci-driver.c`` (``pci_device_probe``, ``pci_call_probe``, ``local_pci_probe``,
``pci_device_can_probe``, ``pci_physfn_is_probed``), ``drivers/pci/bus.c`` (``pci_bus_add_device``),
``drivers/pci/iov.c`` (``sriov_enable``, ``sriov_numvfs_store``).
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from numaprobe.drivercore import Bus, Device
from numaprobe.errors import StateError

if TYPE_CHECKING:
    from numaprobe.drivercore import CoreForBuses

#: A routing id is bus (8 bits), device (5), function (3).
MAX_RID: Final = 1 << 16


@dataclass(eq=False, slots=True, kw_only=True, repr=False)
class PciDevice(Device):
    """A PCI function.

    Attributes:
        physfn: the physical function, if this is a virtual one.
        is_probed: its probe is under way (``pci_dev.is_probed``).
        sriov_drivers_autoprobe: of a physical function: whether drivers may take its virtual functions.
        virtfns: the virtual functions enabled now, in order.

    """

    physfn: PciDevice | None = None
    is_probed: bool = False
    sriov_drivers_autoprobe: bool = True
    virtfns: list[PciDevice] = field(default_factory=list)

    @property
    def is_virtfn(self) -> bool:
        """Whether this is a virtual function."""
        return self.physfn is not None


class PciBus(Bus):
    """``pci``."""

    own_keys = frozenset({"virtual_function"})

    def __init__(self, name: str = "pci") -> None:
        super().__init__(name)

    def make_device(
        self,
        *,
        name: str,
        parent: Device | None = None,
        virtual_function: bool = False,
        **fields: Any,  # noqa: ANN401  those of Device
    ) -> PciDevice:
        """Return a function; a ``virtual_function`` is one of its parent."""
        physfn = parent if virtual_function and isinstance(parent, PciDevice) else None
        return PciDevice(name=name, bus=self, parent=parent, physfn=physfn, **fields)

    async def attach_new(self, core: CoreForBuses, dev: Device) -> None:
        """Attach as ``pci_bus_add_device`` does: since 6.17 by ``device_initial_probe``, before that in the caller."""
        if core.machine.profile.hot_add_may_be_async:
            await core.device_initial_probe(dev)
        else:
            await core.device_attach(dev)

    async def probe(self, core: CoreForBuses, dev: Device) -> int:
        """Probe where the policy says (``pci_device_probe``)."""
        if not _can_probe(dev):
            return -errno.ENODEV
        under_parent = isinstance(dev, PciDevice) and dev.physfn is not None and dev.physfn.is_probed
        function = dev if isinstance(dev, PciDevice) else None
        if function is not None:
            function.is_probed = True
        try:
            return await core.bus_probe(dev, lambda: self._local_pci_probe(core, dev), under_parent=under_parent)
        finally:
            if function is not None:
                function.is_probed = False

    async def _local_pci_probe(self, core: CoreForBuses, dev: Device) -> int:
        """Run the driver's probe; a positive result is a driver's mistake and counts as success."""
        ret = await core.call_probe_body(dev)
        if ret > 0:
            core.machine.warn("pci", f"{dev.name}: probe unexpectedly returned {ret}; taken as success")
            return 0
        return ret

    async def enable(self, core: CoreForBuses, dev: Device, what: str, count: int) -> None:
        """Enable virtual functions (``vfs``) of ``dev``."""
        if what != "vfs" or not isinstance(dev, PciDevice):
            await super().enable(core, dev, what, count)
        else:
            await self.sriov_enable(core, dev, count)

    async def disable(self, core: CoreForBuses, dev: Device) -> None:
        """Disable the virtual functions of ``dev``."""
        if isinstance(dev, PciDevice):
            await self.sriov_disable(core, dev)

    async def sriov_enable(self, core: CoreForBuses, pf: PciDevice, count: int) -> list[PciDevice]:
        """Enable ``count`` virtual functions of ``pf``: each is added, and so probed, here (``sriov_enable``).

        They are named after the next function numbers of the bus and inherit compatible ids with ``-vf`` appended.

        Raises:
            StateError: some are enabled already, their names are taken, or their bus numbers would be above ff.

        """
        if pf.virtfns and count:
            raise StateError(f"{len(pf.virtfns)} virtual functions of {pf.name} are enabled already", pf.story())
        for index in range(count):
            vf = PciDevice(
                name=virtfn_name(pf.name, index), bus=self, parent=pf, physfn=pf, compatible=f"{pf.compatible}-vf"
            )
            pf.virtfns.append(vf)
            await core.device_add(vf)
        return list(pf.virtfns)

    async def store(self, core: CoreForBuses, dev: Device, file: str, value: int) -> int:
        """Write to a function's ``sriov_numvfs``."""
        if file == "sriov_numvfs" and isinstance(dev, PciDevice) and not dev.is_virtfn:
            return await self._sriov_numvfs_store(core, dev, value)
        return await super().store(core, dev, file, value)

    async def _sriov_numvfs_store(self, core: CoreForBuses, pf: PciDevice, count: int) -> int:
        """Have ``pf``'s driver enable or disable virtual functions, under ``pf``'s lock: 0 or a negative errno.

        The probe of ``pf`` is over, so that its virtual functions are placed as any other device. That its driver has
        ``sriov_configure``, and the device as many functions, is assumed.
        """
        async with core.locked(pf):
            if count == len(pf.virtfns):
                return 0
            if pf.driver is None:
                return -errno.ENOENT
            if count == 0:
                await self.sriov_disable(core, pf)
                return 0
            if pf.virtfns:
                return -errno.EBUSY
            try:
                virtfn_name(pf.name, count - 1)
            except StateError:
                return -errno.ENOMEM  # bus number out of range
            await self.sriov_enable(core, pf, count)
            return 0

    async def sriov_disable(self, core: CoreForBuses, pf: PciDevice) -> None:
        """Remove the virtual functions of ``pf``, last first (``sriov_disable``)."""
        while pf.virtfns:
            vf = pf.virtfns.pop()
            if not vf.p.dead:
                await core.device_del(vf)


def virtfn_name(pf_name: str, index: int) -> str:
    """Return the address of virtual function ``index``: routing id of the physical one + 1 + index.

    First offset and stride are taken as 1, which is what most devices have when nothing else is in the way.

    Raises:
        StateError: there is no bus number left for it.

    """
    domain_bus, _, devfn = pf_name.rpartition(":")
    slot, _, function = devfn.partition(".")
    domain, _, bus = domain_bus.rpartition(":")
    try:
        rid = (int(bus, 16) << 8 | int(slot, 16) << 3 | int(function, 16)) + 1 + index
    except ValueError:
        return f"{pf_name}-vf{index}"
    if rid >= MAX_RID:
        raise StateError(f"virtual function {index} of {pf_name} needs a bus number above ff; enable fewer")
    prefix = f"{domain}:" if domain else ""
    return f"{prefix}{rid >> 8:02x}:{rid >> 3 & 0x1F:02x}.{rid & 7}"


def _can_probe(dev: Device) -> bool:
    return not (isinstance(dev, PciDevice) and dev.physfn and not dev.physfn.sriov_drivers_autoprobe)
