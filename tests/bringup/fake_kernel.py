"""A machine in a folder: ``/sys``, ``/proc``, ``/dev``, ``/run``, and a kernel that takes writes; not a test.

What is built is what the kernel shows. ``write`` stands for the write of a real program: to ``bind``, ``unbind``,
``drivers_probe``, ``driver_override``, ``new_id``, ``remove_id`` and ``drivers_autoprobe`` it answers as
drivers/base/bus.c and drivers/pci/pci-sysfs.c do, with their errnos, and moves the links. Everything else is refused,
and stands in ``strays``. Every write stands in ``writes``, also one that fails.

What a driver makes (disks, links, character devices, devices on other buses) is there while its device is bound: give
it with ``block``, ``link``, ``char`` or ``device(above=…)``, and it goes and comes with the driver.

A probe may be made to fail (``fails[NAME] = errno``), to wait (``hooks[NAME] = function``), or to be hit by the
device's removal (``remove``). Writes may come from many threads.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numaprobe.bringup.root import Root
from numaprobe.bringup.sysfs import Sysfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

IDENTITY = "         0          0 4294967295\n"


@dataclass
class FakeDriver:
    bus: str
    name: str
    #: PCI or virtio ids that it matches; None: every device of its bus
    ids: set[tuple[int, int]] | None = None
    #: binds only where an override names it, as vfio-pci does
    only_override: bool = False


@dataclass
class FakeDevice:
    path: str
    bus: str
    name: str
    node: int | None
    ids: tuple[int, int] | None
    #: built when a driver binds: disks, links, further devices
    parts: list[Callable[[], None]] = field(default_factory=list)
    #: what was built, to be taken away in reverse
    built: list[str] = field(default_factory=list)
    driver: str | None = None
    override: str | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)


class FakeKernel:
    """Builds the tree below ``folder``, and takes writes."""

    def __init__(self, folder: Path, *, nodes: Mapping[int, str] | None = None) -> None:
        self.folder = folder
        self.root = Root(folder)
        self.sysfs = Sysfs(self.root)
        self.devices: dict[tuple[str, str], FakeDevice] = {}
        self.drivers: dict[tuple[str, str], FakeDriver] = {}
        self.autoprobe: dict[str, bool] = {}
        #: every write: file below ``/sys``, text
        self.writes: list[tuple[str, str]] = []
        #: writes to anything that is no file of a driver, bus or device
        self.strays: list[str] = []
        self.fails: dict[str, int] = {}
        self.hooks: dict[str, Callable[[], object]] = {}
        #: what no file shows: addresses of links, exclusive holders, what a probe of a disk says
        self.addresses: dict[str, list[str]] = {}
        self.claimed: set[str] = set()
        self.vsocks: set[tuple[int, str]] = set()
        self.signatures: dict[str, str] = {}
        #: files that may only grow from now on; None: all may be replaced
        self.kept: set[str] | None = None
        self._lock = threading.RLock()
        self._owner: FakeDevice | None = None
        self._mounts: list[str] = []
        nodes = nodes or {0: "0-3", 1: "4-7"}
        for node, cpus in nodes.items():
            self.put(f"sys/devices/system/node/node{node}/cpulist", cpus)
        for file in ("possible", "present", "online"):
            self.put(f"sys/devices/system/cpu/{file}", ",".join(nodes.values()))
        self.put("sys/devices/system/node/online", ",".join(map(str, nodes)))
        for name in ("sys/bus", "sys/class", "sys/kernel", "proc", "dev", "run/udev/data"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.put("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority")
        self.put("proc/sys/kernel/osrelease", "6.12.0-fake")
        self.process(1, "init")
        self.mount("0:1", "/", "tmpfs", "none")

    # --- files

    def put(self, path: str, text: str) -> None:
        place = self.folder / path
        if self.kept is not None:
            if path in self.kept and place.exists() and place.read_text().strip() not in text:
                raise FileExistsError(errno.EEXIST, "somebody else says something else there", path)
            self.kept.add(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text if text.endswith("\n") else f"{text}\n")
        self._note(path)

    def folder_at(self, path: str) -> None:
        (self.folder / path).mkdir(parents=True, exist_ok=True)
        self._note(path)

    def link_to(self, path: str, target: str) -> None:
        """Make a link of sysfs: relative, as the kernel's."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(os.path.relpath(self.folder / target, place.parent))
        self._note(path)

    def _note(self, path: str) -> None:
        if self._owner is not None:
            self._owner.built.append(path)

    def _drop(self, path: str) -> None:
        place = self.folder / path
        if place.is_symlink() or place.is_file():
            place.unlink()
        elif place.is_dir():
            shutil.rmtree(place)

    # --- devices and drivers

    def driver(
        self,
        bus: str,
        name: str,
        *,
        ids: Iterable[tuple[int, int]] | None = None,
        only_override: bool = False,
        module: str | None = None,
    ) -> None:
        """Register a driver; devices that are there stay as they are."""
        self._bus(bus)
        self.drivers[bus, name] = FakeDriver(bus, name, None if ids is None else set(ids), only_override)
        base = f"sys/bus/{bus}/drivers/{name}"
        for file in ("bind", "unbind", "uevent", *(("new_id", "remove_id") if bus == "pci" else ())):
            self.put(f"{base}/{file}", "")
        if module is not None:
            self.folder_at(f"sys/module/{module}")
            self.link_to(f"{base}/module", f"sys/module/{module}")

    def _bus(self, bus: str) -> None:
        if bus not in self.autoprobe:
            self.autoprobe[bus] = True
            self.put(f"sys/bus/{bus}/drivers_autoprobe", "1")
            self.put(f"sys/bus/{bus}/drivers_probe", "")
            (self.folder / f"sys/bus/{bus}/devices").mkdir(exist_ok=True)

    def device(
        self,
        bus: str,
        name: str,
        *,
        driver: str | None = None,
        node: int | None = None,
        above: str | None = None,
        ids: tuple[int, int] | None = None,
        pci_class: int = 0x010802,
        iommu_group: str | None = None,
        override: str | None = None,
        has_override: bool | None = None,
    ) -> str:
        """Add a device, bound to ``driver`` if one is given; return its directory below ``/sys``.

        Args:
            above: NAME of the device that it hangs on. If that one has a driver, this device comes and goes with it.
        """
        parent = self.find(above) if above is not None else None
        base = parent.path if parent else {"pci": f"devices/pci{name[:7]}"}.get(bus, f"devices/{bus}")
        made = FakeDevice(f"{base}/{name}", bus, name, node, ids or ((0x144D, 0xA808) if bus == "pci" else None))
        has = bus in ("pci", "platform") if has_override is None else has_override
        if driver is not None and (bus, driver) not in self.drivers:
            self.driver(bus, driver)

        def build() -> None:
            self._build(made, pci_class, iommu_group, override, has)
            if driver is not None:
                self._attach(made, driver)

        if parent is not None and parent.driver is not None:
            self._part(parent, build)
        else:
            build()
        return made.path

    def _build(self, made: FakeDevice, pci_class: int, group: str | None, override: str | None, has: bool) -> None:
        self._bus(made.bus)
        self.devices[made.bus, made.name] = made
        here = f"sys/{made.path}"
        self.folder_at(here)
        self.put(f"{here}/uevent", "")
        self.link_to(f"{here}/subsystem", f"sys/bus/{made.bus}")
        self.link_to(f"sys/bus/{made.bus}/devices/{made.name}", here)
        if made.node is not None:
            self.put(f"{here}/numa_node", str(made.node))
        if made.ids is not None:
            self.put(f"{here}/vendor", f"0x{made.ids[0]:04x}")
            self.put(f"{here}/device", f"0x{made.ids[1]:04x}")
        if made.bus == "pci":
            self.put(f"{here}/class", f"0x{pci_class:06x}")
            self.put(f"{here}/modalias", f"pci:v{made.ids[0]:08X}d{made.ids[1]:08X}" if made.ids else "pci:")
        if has:
            made.override = override
            self.put(f"{here}/driver_override", override or "(null)")
        if group is not None:
            self.folder_at(f"sys/kernel/iommu_groups/{group}/devices")
            self.link_to(f"sys/kernel/iommu_groups/{group}/devices/{made.name}", here)
            self.link_to(f"{here}/iommu_group", f"sys/kernel/iommu_groups/{group}")

    def find(self, name: str) -> FakeDevice:
        """Return a device by NAME or BUS/NAME."""
        bus, _, short = name.rpartition("/")
        return next(one for (on, called), one in self.devices.items() if called == short and bus in ("", on))

    def _part(self, device: FakeDevice, build: Callable[[], None]) -> None:
        device.parts.append(build)
        self._as_owner(device, build)

    def _as_owner(self, device: FakeDevice, build: Callable[[], None]) -> None:
        before, self._owner = self._owner, device
        try:
            build()
        finally:
            self._owner = before

    def _attach(self, device: FakeDevice, driver: str) -> None:
        before, self._owner = self._owner, None
        device.driver = driver
        self.link_to(f"sys/{device.path}/driver", f"sys/bus/{device.bus}/drivers/{driver}")
        self.link_to(f"sys/bus/{device.bus}/drivers/{driver}/{device.name}", f"sys/{device.path}")
        self._owner = before
        for build in device.parts:
            self._as_owner(device, build)

    def _detach(self, device: FakeDevice) -> None:
        for path in reversed(device.built):
            for child in [one for one in self.devices.values() if f"sys/{one.path}" == path]:
                self._forget(child)
            self._drop(path)
        device.built.clear()
        self._drop(f"sys/{device.path}/driver")
        self._drop(f"sys/bus/{device.bus}/drivers/{device.driver}/{device.name}")
        device.driver = None

    def _forget(self, device: FakeDevice) -> None:
        if device.driver is not None:
            self._detach(device)
        self.devices.pop((device.bus, device.name), None)

    def remove(self, name: str) -> None:
        """Take a device away, as hot-unplug does."""
        with self._lock:
            device = self.find(name)
            below = [one for one in self.devices.values() if one.path.startswith(f"{device.path}/")]
            for one in (*below, device):
                self._forget(one)
                self._drop(f"sys/bus/{one.bus}/devices/{one.name}")
            self._drop(f"sys/{device.path}")

    def driver_of(self, name: str) -> str | None:
        """Return the driver that a device is bound to, as the tree says."""
        device = self.find(name)
        return self.sysfs.driver_of(device.path)

    # --- what devices are used for

    def block(self, device: str, name: str, number: str, partitions: Mapping[str, str] | None = None) -> None:
        """Give a device a disk."""
        owner = self.find(device)

        def build() -> None:
            self._block(f"{owner.path}/block/{name}", name, number)
            for part, part_number in (partitions or {}).items():
                self._block(f"{owner.path}/block/{name}/{part}", part, part_number)
                self.put(f"sys/{owner.path}/block/{name}/{part}/partition", "1")

        self._part(owner, build)

    def virtual_block(self, name: str, number: str, on: Iterable[str] = (), **files: str) -> None:
        """Make a block device of others: MD, device mapper, bcache; ``files``: attributes, ``__`` for ``/``."""
        here = f"devices/virtual/block/{name}"
        self._block(here, name, number)
        for lower in on:
            target = self.root.target(f"sys/class/block/{lower}")
            assert target is not None
            self.link_to(f"{target}/holders/{name}", f"sys/{here}")
            self.link_to(f"sys/{here}/slaves/{lower}", target)
        for file, text in files.items():
            self.put(f"sys/{here}/{file.replace('__', '/')}", text)

    def _block(self, path: str, name: str, number: str) -> None:
        here = f"sys/{path}"
        self.folder_at(here)
        self.put(f"{here}/dev", number)
        major, minor = number.split(":")
        self.put(f"{here}/uevent", f"MAJOR={major}\nMINOR={minor}\nDEVNAME={name}")
        for folder in ("holders", "slaves"):
            self.folder_at(f"{here}/{folder}")
        self.link_to(f"{here}/subsystem", "sys/class/block")
        self.link_to(f"sys/class/block/{name}", here)
        self.link_to(f"sys/dev/block/{number}", here)
        self.put(f"dev/{name}", "")

    def char(self, device: str | None, kind: str, name: str, number: str, node: str | None = None) -> None:
        """Give a device (None: nobody) a character device of class ``kind``; ``node``: its name below ``/dev``."""
        owner = self.find(device) if device is not None else None
        here = f"sys/{owner.path if owner else 'devices/virtual'}/{kind}/{name}"

        def build() -> None:
            major, minor = number.split(":")
            self.folder_at(here)
            self.put(f"{here}/dev", number)
            self.put(f"{here}/uevent", f"MAJOR={major}\nMINOR={minor}\nDEVNAME={node or name}")
            self.link_to(f"{here}/subsystem", f"sys/class/{kind}")
            self.link_to(f"sys/class/{kind}/{name}", here)
            self.link_to(f"sys/dev/char/{number}", here)
            self.put(f"dev/{node or name}", "")

        if owner is None:
            build()
        else:
            self._part(owner, build)

    def link(
        self,
        device: str | None,
        name: str,
        *,
        up: bool = False,
        addresses: Iterable[str] = (),
        master: str | None = None,
        lower: Iterable[str] = (),
    ) -> None:
        """Give a device (None: nobody, as a bond) a network link."""
        owner = self.find(device) if device is not None else None
        here = f"sys/{owner.path if owner else 'devices/virtual'}/net/{name}"

        def build() -> None:
            self.folder_at(f"sys/{owner.path}/net" if owner else "sys/devices/virtual/net")
            self.put(f"{here}/flags", "0x1003" if up else "0x1002")
            self.put(f"{here}/operstate", "up" if up else "down")
            self.link_to(f"{here}/subsystem", "sys/class/net")
            self.link_to(f"sys/class/net/{name}", here)
            if master is not None:
                self.link_to(f"{here}/master", f"sys/devices/virtual/net/{master}")
            for below in lower:
                target = self.root.target(f"sys/class/net/{below}")
                assert target is not None
                self.link_to(f"{here}/lower_{below}", target)
                self.link_to(f"{target}/upper_{name}", here)

        if addresses:
            self.addresses[name] = list(addresses)
        if owner is None:
            build()
        else:
            self._part(owner, build)

    def holds(self, node: str, what: str) -> None:
        """Let a probe of a disk say what it holds."""
        if self.kept is not None and self.signatures.get(node, what) != what:
            raise FileExistsError(errno.EEXIST, "it holds something else", node)
        self.signatures[node] = what

    def mount(
        self, number: str, point: str, kind: str, source: str, options: str = "rw", pid: int | str = "self"
    ) -> None:
        """Mount a file system; ``number`` is what mountinfo shows, ``0:N`` for those without one device."""
        if pid == "self":
            line = f"{20 + len(self._mounts)} 1 {number} / {point} rw,relatime - {kind} {source} {options}"
            self._mounts.append(line)
            for place in ("self", "1"):
                self.put(f"proc/{place}/mountinfo", "\n".join(self._mounts))
        else:
            self.put(f"proc/{pid}/mountinfo", f"20 1 {number} / {point} rw - {kind} {source} {options}")

    def unmount(self, point: str) -> None:
        self._mounts = [line for line in self._mounts if line.split()[4] != point]
        for place in ("self", "1"):
            self.put(f"proc/{place}/mountinfo", "\n".join(self._mounts))

    def swap(self, file: str, kind: str = "partition") -> None:
        path = self.folder / "proc/swaps"
        path.write_text(f"{path.read_text()}{file}\t{kind}\t1048572\t0\t-2\n")

    def process(
        self,
        pid: int,
        name: str,
        *,
        fds: Iterable[str] = (),
        maps: Iterable[str] = (),
        exe: str | None = "/sbin/init",
        parent: int = 0,
        environ: Mapping[str, str] | None = None,
        mount_space: str = "mnt:[1]",
        net_space: str = "net:[1]",
        tty: int = 0,
    ) -> None:
        """Add a process; ``fds``: what its descriptors lead to, ``maps``: files that it has mapped."""
        here = f"proc/{pid}"
        for old in ("fd", "ns", "exe"):
            self._drop(f"{here}/{old}")
        self.put(f"{here}/comm", name)
        self.put(f"{here}/stat", f"{pid} ({name}) S {parent} {pid} {pid} {tty} -1 4194304 0 0")
        self.put(f"{here}/maps", "".join(f"7f0-7f1 rw-s 0 00:06 9 {' ' * 20}{file}\n" for file in maps))
        self.put(f"{here}/environ", "\0".join(f"{key}={value}" for key, value in (environ or {}).items()))
        self.folder_at(f"{here}/fd")
        for number, target in enumerate(fds):
            (self.folder / here / "fd" / str(number)).symlink_to(target)
        (self.folder / here / "ns").mkdir(exist_ok=True)
        (self.folder / here / "ns/mnt").symlink_to(mount_space)
        (self.folder / here / "ns/net").symlink_to(net_space)
        if exe is not None:
            (self.folder / here / "exe").symlink_to(exe)

    def end(self, pid: int) -> None:
        """End a process."""
        self._drop(f"proc/{pid}")

    def devlink(
        self,
        supplier: str,
        consumer: str,
        status: str = "active",
        *,
        sync_state_only: bool = False,
        early: bool = False,
    ) -> None:
        """Link a consumer to its supplier; early: before it was registered, when sysfs had no place for it."""
        ends = {"supplier": self.find(supplier), "consumer": self.find(consumer)}
        name = "--".join(f"{one.bus}:{one.name}" for one in ends.values())
        here = f"sys/devices/virtual/devlink/{name}"
        self.put(f"{here}/status", status)
        self.put(f"{here}/sync_state_only", str(int(sync_state_only)))
        self.link_to(f"sys/class/devlink/{name}", here)
        if early:
            return
        for end, one in ends.items():
            self.link_to(f"{here}/{end}", f"sys/{one.path}")
        for end, other in (("consumer", "supplier"), ("supplier", "consumer")):
            self.link_to(f"sys/{ends[other].path}/{end}:{ends[end].bus}:{ends[end].name}", here)

    def udev(self, number: str, **properties: str) -> None:
        """Put properties of a block device into udev's database."""
        lines = [f"E:{key}={value}" for key, value in properties.items()]
        self.put(f"run/udev/data/b{number}", "\n".join(lines))

    # --- writes

    def write(self, path: str | Path, text: str) -> None:
        """Write ``text`` to a file of sysfs, as a program would.

        Raises:
            OSError: with the errno that the kernel gives.

        """
        name = os.path.relpath(path, self.folder)
        with self._lock:
            self.writes.append((name.removeprefix("sys/"), text))
        parts = name.split("/")
        word = text.strip("\n")
        match parts:
            case ["sys", "bus", bus, "drivers", driver, ("bind" | "unbind" | "new_id" | "remove_id") as file]:
                if (bus, driver) not in self.drivers:
                    raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
                getattr(self, f"_write_{file}")(self.drivers[bus, driver], word)
            case ["sys", "bus", bus, "drivers_probe"] if bus in self.autoprobe:
                self._probe_any(self._named(bus, word))
            case ["sys", "bus", bus, "drivers_autoprobe"] if bus in self.autoprobe:
                self.autoprobe[bus] = not word.startswith("0")
                self.put(name, str(int(self.autoprobe[bus])))
            case ["sys", "devices", *_, "driver_override"] if (self.folder / name).exists():
                self._write_override(name, word)
            case _:
                self.strays.append(name)
                raise PermissionError(errno.EACCES, "no file of a driver or device", str(path))

    def _named(self, bus: str, name: str) -> FakeDevice:
        with self._lock:
            found = self.devices.get((bus, name))
        if found is None:
            raise OSError(errno.ENODEV, "No such device")
        return found

    def _matches(self, driver: FakeDriver, device: FakeDevice) -> bool:
        if device.override is not None:
            return device.override == driver.name
        return not driver.only_override and (driver.ids is None or device.ids in driver.ids)

    def _write_bind(self, driver: FakeDriver, name: str) -> None:
        device = self._named(driver.bus, name)
        with device.lock:
            if not self._matches(driver, device):
                raise OSError(errno.ENODEV, "No such device")
            if device.driver is not None:
                raise OSError(errno.EBUSY, "Device or resource busy")
            failed = self._probe(driver, device)
            if failed:
                raise OSError(failed, os.strerror(failed))

    def _write_unbind(self, driver: FakeDriver, name: str) -> None:
        device = self._named(driver.bus, name)
        with device.lock:
            if device.driver != driver.name:
                raise OSError(errno.ENODEV, "No such device")
            with self._lock:
                self._detach(device)

    def _probe_any(self, device: FakeDevice) -> None:
        with device.lock:
            for driver in list(self.drivers.values()):
                if device.driver is None and driver.bus == device.bus and self._matches(driver, device):
                    self._probe(driver, device)

    def _probe(self, driver: FakeDriver, device: FakeDevice) -> int:
        hook = self.hooks.get(device.name)
        if hook is not None:
            hook()
        failed = self.fails.get(f"{driver.name}/{device.name}", self.fails.get(device.name, 0))
        with self._lock:
            if (device.bus, device.name) not in self.devices:
                return errno.ENODEV
            if not failed:
                self._attach(device, driver.name)
        return failed

    def _write_override(self, name: str, word: str) -> None:
        path = name.removeprefix("sys/").removesuffix("/driver_override")
        device = next(one for one in self.devices.values() if one.path == path)
        with device.lock:
            device.override = word or None
            self.put(name, word or "(null)")

    def _write_new_id(self, driver: FakeDriver, word: str) -> None:
        driver.ids = (driver.ids or set()) | {self._ids(word)}
        for device in [one for one in self.devices.values() if one.bus == driver.bus and one.driver is None]:
            if self._matches(driver, device):
                self._probe(driver, device)

    def _write_remove_id(self, driver: FakeDriver, word: str) -> None:
        ids = self._ids(word)
        if ids not in (driver.ids or set()):
            raise OSError(errno.ENODEV, "No such device")
        driver.ids = (driver.ids or set()) - {ids}

    def _ids(self, word: str) -> tuple[int, int]:
        try:
            vendor, product = (int(part, 16) for part in word.split()[:2])
        except ValueError:
            raise OSError(errno.EINVAL, "Invalid argument") from None
        return vendor, product

    # --- what no file shows: numaprobe.bringup.senses.Senses

    def addresses_of(self, link: str) -> list[str]:
        return self.addresses.get(link, [])

    def is_claimed(self, node: str) -> bool:
        return node in self.claimed

    def is_vsock(self, pid: int, descriptor: str) -> bool:
        return (pid, descriptor) in self.vsocks

    def contents_of(self, nodes: Iterable[str]) -> dict[str, str | None]:
        return {node: self.signatures.get(node, "") for node in nodes}

    def snapshot(self) -> dict[str, Any]:
        """Return every device's driver and override: what must be as before after something was undone."""
        return {f"{bus}/{name}": (one.driver, one.override) for (bus, name), one in sorted(self.devices.items())}
