"""Devices, drivers and links between devices as sysfs shows them, and the names of the files that may be written.

Everything about a device stands in its directory below ``/sys/devices``, whose path says what it hangs on: a disk's
directory lies below its controller's, that below its bridge's. So "below" is a matter of paths, on every bus. This file
makes the only names that are ever written to: a driver's ``bind`` and ``unbind``, a device's ``driver_override``; each
from names that were checked (``names.py``).

Sources: Documentation/ABI/testing/sysfs-bus-pci, sysfs-class-devlink, sysfs-kernel-iommu_groups; drivers/base/bus.c.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from numaprobe.bringup.names import check_device, check_name
from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.topology.systembuses import SYSTEM_BUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numaprobe.bringup.root import Root

#: What ``driver_override`` reads as where there is none.
_NO_OVERRIDE: Final = "(null)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SysfsDevice:
    """A device on a bus, as sysfs showed it at one moment."""

    #: its directory below ``/sys``: ``devices/pci0000:80/0000:80:01.0/0000:81:00.0``
    path: str
    bus: str
    name: str
    #: the driver it is bound to; None: none
    driver: str | None = None
    #: its bus knows ``driver_override``
    has_override: bool = False
    #: the only driver it may be bound to; None: any that matches
    override: str | None = None
    #: its node, or that of the nearest device above that has one; None: unknown
    node: int | None = None
    #: PCI or virtio: vendor and device id; None elsewhere
    vendor: int | None = None
    product: int | None = None
    #: PCI: the class, 24 bits; None elsewhere
    pci_class: int | None = None
    #: number of its IOMMU group; None: none
    iommu_group: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceLink:
    """A consumer that needs a supplier: ``/sys/class/devlink``. Both are paths below ``/sys``."""

    supplier: str
    consumer: str
    #: ``active``, ``dormant``, ``available``, ``consumer probing``, ``supplier unbinding``, ``not tracked``
    status: str


class Sysfs:
    """Reads devices, and names what may be written."""

    def __init__(self, root: Root) -> None:
        self.root = root

    # --- devices

    def buses(self) -> list[str]:
        """Return the buses whose devices are probed."""
        return [bus for bus in self.root.names("sys/bus") if bus not in SYSTEM_BUSES]

    def device_names(self, bus: str) -> list[str]:
        """Return the names of the devices on a bus."""
        return self.root.names(f"sys/bus/{check_name(bus, 'bus')}/devices")

    def devices(self, buses: Iterable[str] | None = None) -> Iterator[SysfsDevice]:
        """Yield the devices on these buses, or on all, by bus and name, that were there at the first look."""
        chosen = None if buses is None else set(buses)
        for path, (bus, name) in self.known_paths.items():
            found = self._read(path, bus, name) if chosen is None or bus in chosen else None
            if found is not None:
                yield found

    def device(self, bus: str, name: str) -> SysfsDevice | None:
        """Return a device by bus and name; None if it is not there (any more).

        Raises:
            InputError: a name that is none.

        """
        link = f"sys/bus/{check_name(bus, 'bus')}/devices/{check_name(name, 'device')}"
        target = self.root.target(link)
        if target is None or not target.startswith("sys/devices/"):
            return None
        return self._read(target.removeprefix("sys/"), bus, name)

    def at(self, path: str) -> SysfsDevice | None:
        """Return the device whose directory this is, below ``/sys``; None if it is none that is on a bus.

        Raises:
            InputError: no such path can be.

        """
        bus = self._name_of(f"sys/{check_device(path)}/subsystem", "sys/bus/")
        return None if bus is None else self._read(path, bus, path.rpartition("/")[2])

    @cached_property
    def known_paths(self) -> dict[str, tuple[str, str]]:
        """What ``read_paths`` returned first: for one command's choice of devices."""
        return self.read_paths()

    def read_paths(self) -> dict[str, tuple[str, str]]:
        """Return the directory of every device that is on a bus now, with its bus and name."""
        found = {}
        for bus in self.buses():
            for name in self.device_names(bus):
                target = self.root.target(f"sys/bus/{bus}/devices/{name}")
                if target is not None and target.startswith("sys/devices/"):
                    found[target.removeprefix("sys/")] = (bus, name)
        return found

    def modalias(self, path: str) -> str:
        """Return what the device in this directory says that it is; empty if it does not."""
        return self.root.attribute(f"sys/{path}/modalias") or ""

    def driver_of(self, path: str) -> str | None:
        """Return the driver that the device in this directory is bound to."""
        said = self.root.link(f"sys/{path}/driver")
        return None if said is None else posixpath.basename(said)

    def _read(self, path: str, bus: str, name: str) -> SysfsDevice | None:
        root, here = self.root, f"sys/{path}"
        if not root.is_dir(here):
            return None
        override = root.attribute(f"{here}/driver_override")
        is_pci = bus == "pci"
        has_ids = is_pci or bus == "virtio"
        return SysfsDevice(
            path=path,
            bus=bus,
            name=name,
            driver=self.driver_of(path),
            has_override=override is not None,
            override=None if override in (None, "", _NO_OVERRIDE) else override,
            node=self._node(path),
            vendor=root.number(f"{here}/vendor") if has_ids else None,
            product=root.number(f"{here}/device") if has_ids else None,
            pci_class=root.number(f"{here}/class") if is_pci else None,
            iommu_group=self._base(f"{here}/iommu_group"),
        )

    def _node(self, path: str) -> int | None:
        """Return what ``numa_node`` says here or at the nearest device above, as ``device_add`` hands it down."""
        while path.count("/") > 0:
            node = self.root.number(f"sys/{path}/numa_node")
            if node is not None:
                return node if node >= 0 else None
            path = path.rpartition("/")[0]
        return None

    def _base(self, link: str) -> str | None:
        said = self.root.link(link)
        return None if said is None else posixpath.basename(said)

    def _name_of(self, link: str, directory: str) -> str | None:
        target = self.root.target(link)
        return target.removeprefix(directory) if target is not None and target.startswith(directory) else None

    # --- drivers and nodes

    def has_driver(self, bus: str, driver: str) -> bool:
        """Return whether a driver is registered on a bus."""
        return self.root.is_dir(f"sys/bus/{check_name(bus, 'bus')}/drivers/{check_name(driver, 'driver')}")

    def drivers(self, bus: str) -> list[str]:
        """Return the drivers of a bus."""
        return self.root.names(f"sys/bus/{check_name(bus, 'bus')}/drivers")

    def node_cpus(self, node: int | None) -> CpuSet:
        """Return the online CPUs of a node; none for no node, or one that is not there."""
        text = None if node is None else self.root.text(f"sys/devices/system/node/node{node}/cpulist")
        try:
            return CpuSet.parse_list(text or "")
        except InputError:
            return CpuSet()

    def online_cpus(self) -> CpuSet:
        """Return the CPUs that are online; none if nobody tells."""
        try:
            return CpuSet.parse_list(self.root.text("sys/devices/system/cpu/online") or "")
        except InputError:
            return CpuSet()

    # --- what hangs together

    def links(self) -> list[DeviceLink]:
        """Return the links between consumers and suppliers; those that order ``sync_state`` alone are left out."""
        found = []
        for name in self.root.names("sys/class/devlink"):
            link = self._link(self.root.target(f"sys/class/devlink/{name}"))
            if link is not None:
                found.append(link)
        return found

    def _link(self, here: str | None) -> DeviceLink | None:
        if here is None or self.root.text(f"{here}/sync_state_only") == "1":
            return None
        ends = self._ends(here)
        if ends is None:
            return None
        supplier, consumer = ends
        status = self.root.text(f"{here}/status") or "unknown"
        return DeviceLink(supplier.removeprefix("sys/"), consumer.removeprefix("sys/"), status)

    def _ends(self, here: str) -> tuple[str, str] | None:
        """Return the directories of a link's supplier and consumer; None: a device is not there."""
        supplier, consumer = (self.root.target(f"{here}/{end}") for end in ("supplier", "consumer"))
        if supplier is not None and consumer is not None:
            return supplier, consumer
        # A consumer that was linked before it was registered: only the link's name has them, and names may have "--".
        name = posixpath.basename(here)
        for cut in re.finditer("(?=--)", name):
            supplier, consumer = self._end_named(name[: cut.start()]), self._end_named(name[cut.start() + 2 :])
            if supplier is not None and consumer is not None:
                return supplier, consumer
        return None

    def _end_named(self, end: str) -> str | None:
        """Return the directory of a device that is called ``BUS:NAME``."""
        bus, _, name = end.partition(":")
        return self.root.target(f"sys/bus/{bus}/devices/{name}") if bus and name else None

    def consumer_links(self, path: str) -> list[DeviceLink]:
        """Return the links from one supplier to its consumers, as they are now: its own directory's, and by name."""
        here = (f"sys/{path}/{name}" for name in self.root.names(f"sys/{path}") if name.startswith("consumer:"))
        named = f":{posixpath.basename(path)}--"
        there = (f"sys/class/devlink/{name}" for name in self.root.names("sys/class/devlink") if named in name)
        targets = dict.fromkeys(self.root.target(place) for place in (*here, *there))
        found = (self._link(target) for target in targets)
        return [link for link in found if link is not None and link.supplier == path]

    def group_members(self, group: str) -> list[str]:
        """Return the directories of the devices in an IOMMU group, below ``/sys``."""
        base = f"sys/kernel/iommu_groups/{check_name(group, 'IOMMU group')}/devices"
        targets = (self.root.target(f"{base}/{name}") for name in self.root.names(base))
        return [target.removeprefix("sys/") for target in targets if target is not None]

    def virtual_functions(self, path: str) -> list[str]:
        """Return the directories of a PCI function's enabled VFs, below ``/sys``."""
        if not self.root.number(f"sys/{path}/sriov_numvfs"):
            return []
        names = (name for name in self.root.names(f"sys/{path}") if name.startswith("virtfn"))
        targets = (self.root.target(f"sys/{path}/{name}") for name in names)
        return [target.removeprefix("sys/") for target in targets if target is not None]

    # --- what may be written: these names, and no others

    def bind_file(self, bus: str, driver: str) -> str:
        """Return the file that a device's name is written to, to bind it."""
        return self._driver_file(bus, driver, "bind")

    def unbind_file(self, bus: str, driver: str) -> str:
        """Return the file that a device's name is written to, to unbind it."""
        return self._driver_file(bus, driver, "unbind")

    def override_file(self, path: str) -> str:
        """Return the file that holds a device's ``driver_override``."""
        return self.root.at(f"sys/{check_device(path)}/driver_override")

    def _driver_file(self, bus: str, driver: str, file: str) -> str:
        return self.root.at(f"sys/bus/{check_name(bus, 'bus')}/drivers/{check_name(driver, 'driver')}/{file}")
