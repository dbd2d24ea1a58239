"""What a device gives to others: disks, character devices, network links, DMA channels.

A driver makes them below its device's directory, so they are found by walking it, down to the next device on a bus:
that one has its own. Two ways lead to the same: ``walk`` for one device (a check right before a write), ``Index`` for
all of them (``status`` of 10,000 devices), which reads the lists of ``/sys/dev`` and ``/sys/class`` once.

Two kinds lie elsewhere. NVMe with several paths shows one disk for all of them, below ``nvme-subsystem``; it belongs
to each controller of its subsystem (drivers/nvme/host/multipath.c). A VFIO group belongs to each device of its IOMMU
group.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

from numaprobe.bringup.nodes import DeviceNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.bringup.sysfs import DeviceLink, Sysfs, SysfsDevice

#: Directories below a device that hold attributes of what is there, and no further devices.
_ATTRIBUTES: Final = frozenset(
    (
        "power",
        "queue",
        "queues",
        "mq",
        "integrity",
        "trace",
        "holders",
        "slaves",
        "msi_irqs",
        "statistics",
        "link",
        "wakeup",
    )
)


@dataclass(slots=True)
class Things:
    """What one device gives."""

    #: block devices, partitions too: node and name
    blocks: list[tuple[DeviceNode, str]] = field(default_factory=list)
    chars: list[tuple[DeviceNode, str]] = field(default_factory=list)
    #: network links of our namespace
    links: list[str] = field(default_factory=list)
    #: it has a network link that is in another namespace
    hidden_link: bool = False
    #: DMA channels: directories below ``/sys``
    channels: list[str] = field(default_factory=list)
    #: devices on a bus right below it: directories below ``/sys``
    children: list[str] = field(default_factory=list)


class Finder(Protocol):
    """Finds what a device gives, in one of the two ways."""

    def things_of(self, device: SysfsDevice) -> Things:
        """Return what a device gives, without that of the devices below it."""

    def consumers_of(self, path: str) -> list[DeviceLink]:
        """Return the links from a supplier to its consumers."""


class Walker:
    """Finds it by walking the device's directory: as it is now."""

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs, self._root = sysfs, sysfs.root

    def things_of(self, device: SysfsDevice) -> Things:
        """Return what a device gives, without that of the devices below it."""
        found, controllers = Things(), list[str]()
        self._walk(device.path, found, controllers)
        for controller in controllers:
            found.blocks += shared_disks(self._sysfs, controller)
        found.chars += vfio_groups(self._sysfs, device)
        return found

    def consumers_of(self, path: str) -> list[DeviceLink]:
        """Return the links from a supplier to its consumers."""
        return self._sysfs.consumer_links(path)

    def _walk(self, path: str, found: Things, controllers: list[str]) -> None:
        for name in self._root.folders(f"sys/{path}")[1]:
            if name in _ATTRIBUTES:
                continue
            below = f"{path}/{name}"
            subsystem = self._root.target(f"sys/{below}/subsystem") or ""
            if subsystem.startswith("sys/bus/"):
                found.children.append(below)
                continue
            self._note(below, name, posixpath.basename(subsystem), found, controllers)
            self._walk(below, found, controllers)

    def _note(self, path: str, name: str, kind: str, found: Things, controllers: list[str]) -> None:
        number = self._root.attribute(f"sys/{path}/dev") if kind else None
        if number:
            place = found.blocks if kind == "block" else found.chars
            place.append((DeviceNode("block" if kind == "block" else "char", number), name))
        if kind == "net":
            found.links.append(name)
        elif kind == "dma":
            found.channels.append(path)
        elif kind == "nvme":
            controllers.append(path)
        elif name == "net" and not kind:
            found.hidden_link |= not self._root.folders(f"sys/{path}")[1]


class Index:
    """Finds it in lists that were read once: as it was when this was made."""

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs, self._root = sysfs, sysfs.root
        self._things: dict[str, Things] = {path: Things() for path in sysfs.read_paths()}
        self._consumers: dict[str, list[DeviceLink]] = {}
        for link in sysfs.links():
            self._consumers.setdefault(link.supplier, []).append(link)
        for kind in ("block", "char"):
            for number in self._root.names(f"sys/dev/{kind}"):
                self._add_node(DeviceNode(kind, number))
        for name, path in self._class("net"):
            self._owner(path).links.append(name)
        for _, path in self._class("dma"):
            self._owner(path).channels.append(path)
        for _, path in self._class("nvme"):
            self._owner(path).blocks += shared_disks(self._sysfs, path)
        for path in self._things:
            above = self._device_at(path.rpartition("/")[0])
            if above is not None:
                self._things[above].children.append(path)

    def things_of(self, device: SysfsDevice) -> Things:
        """Return what a device gives, without that of the devices below it."""
        found = self._things.get(device.path, Things())
        net = f"sys/{device.path}/net"
        hidden = not found.links and self._root.is_dir(net) and not self._root.names(net)
        chars = [*found.chars, *(vfio_groups(self._sysfs, device) if self._has_vfio else ())]
        return Things(found.blocks, chars, found.links, hidden, found.channels, found.children)

    @cached_property
    def _has_vfio(self) -> bool:
        return bool(self._root.names("sys/class/vfio"))

    def consumers_of(self, path: str) -> list[DeviceLink]:
        """Return the links from a supplier to its consumers."""
        return self._consumers.get(path, [])

    def _device_at(self, path: str) -> str | None:
        """Return the nearest directory at or above ``path`` that is a device on a bus."""
        while path.count("/") > 1:
            if path in self._things:
                return path
            path = path.rpartition("/")[0]
        return None

    def _owner(self, path: str) -> Things:
        above = self._device_at(path)
        return Things() if above is None else self._things[above]

    def _add_node(self, node: DeviceNode) -> None:
        target = self._root.target(f"sys/dev/{node.kind}/{node.number}")
        if target is not None:
            owner = self._owner(target.removeprefix("sys/"))
            (owner.blocks if node.kind == "block" else owner.chars).append((node, posixpath.basename(target)))

    def _class(self, kind: str) -> Iterator[tuple[str, str]]:
        for name in self._root.names(f"sys/class/{kind}"):
            target = self._root.target(f"sys/class/{kind}/{name}")
            if target is not None:
                yield name, target.removeprefix("sys/")


def shared_disks(sysfs: Sysfs, controller: str) -> list[tuple[DeviceNode, str]]:
    """Return the disks that an NVMe controller shares with the others of its subsystem, and their partitions."""
    subsystem = _subsystem_of(sysfs, controller)
    return [] if subsystem is None else list(_disks_below(sysfs, subsystem))


def _subsystem_of(sysfs: Sysfs, controller: str) -> str | None:
    name = posixpath.basename(controller)
    for subsystem in sysfs.root.names("sys/class/nvme-subsystem"):
        target = sysfs.root.target(f"sys/class/nvme-subsystem/{subsystem}")
        if target is not None and sysfs.root.target(f"{target}/{name}") == f"sys/{controller}":
            return target
    return None


def _disks_below(sysfs: Sysfs, path: str) -> Iterator[tuple[DeviceNode, str]]:
    for name in sysfs.root.folders(path)[1]:
        number = sysfs.root.attribute(f"{path}/{name}/dev") if name not in _ATTRIBUTES else None
        if number:
            yield DeviceNode("block", number), name
            yield from _disks_below(sysfs, f"{path}/{name}")


def vfio_groups(sysfs: Sysfs, device: SysfsDevice) -> list[tuple[DeviceNode, str]]:
    """Return the character device of a device's VFIO group, also of one without an IOMMU; none if there is none."""
    group = device.iommu_group
    names = () if group is None else (group, f"noiommu-{group}")
    numbers = ((name, sysfs.root.attribute(f"sys/class/vfio/{name}/dev")) for name in names)
    return [(DeviceNode("char", number), f"vfio/{name}") for name, number in numbers if number]
