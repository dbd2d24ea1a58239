"""One moment of the machine: everything that says what uses what, but for the devices themselves.

It is read as a whole, in one pass over ``/proc`` and some lists, and then only asked. A check right before a write
needs a moment that began after the check was asked for; many threads that ask at once share one (``Moments``), as a
journal shares its fsync.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Final

from numaprobe.bringup.blocks import Blocks
from numaprobe.bringup.logins import read_logins
from numaprobe.bringup.mounts import REMOTE, SYSTEM_POINTS, Mount, Mounts
from numaprobe.bringup.network import Network
from numaprobe.bringup.nodes import DeviceNode, Nodes
from numaprobe.bringup.processes import read_processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.bringup.processes import OpenFile, Process
    from numaprobe.bringup.senses import Senses
    from numaprobe.bringup.sysfs import Sysfs

#: Disks of other machines: an iSCSI session, NVMe over fabrics, a network block device.
_OVER_NETWORK: Final = ("/session", "/nvme-fabrics/", "/virtual/block/nbd", "/virtual/block/rbd", "/virtual/block/drbd")


class Moment:
    """Who uses what, at one moment."""

    def __init__(self, sysfs: Sysfs, senses: Senses) -> None:
        self.sysfs, self.root = sysfs, sysfs.root
        self.nodes = Nodes(self.root)
        self.mounts = Mounts(self.root, self.nodes)
        self.processes = read_processes(self.root, self.nodes, self.mounts.remote_points())
        self._read_spaces()
        self.blocks = Blocks(self.root, self.nodes, self.mounts)
        self.network = Network(self.root, senses)
        self._senses = senses
        self.logins = read_logins(self.root, self.processes)

    def _read_spaces(self) -> None:
        own = self.root.link("proc/self/ns/mnt") or (self.processes[1].mount_space if 1 in self.processes else None)
        spaces = {one.mount_space: pid for pid, one in self.processes.items() if one.mount_space not in (None, own)}
        for space, pid in spaces.items():
            self.mounts.read_space(pid, space)
        self._own_space = own

    @cached_property
    def denied(self) -> list[Process]:
        """The processes whose descriptors may not be seen: other users', and to root those that have more rights."""
        return [process for process in self.processes.values() if process.denied]

    @cached_property
    def opened(self) -> dict[DeviceNode, list[tuple[Process, OpenFile]]]:
        """Who has which device open."""
        found: dict[DeviceNode, list[tuple[Process, OpenFile]]] = {}
        for process in self.processes.values():
            for file in process.files:
                found.setdefault(file.node, []).append((process, file))
        return found

    # --- what the running system needs

    @cached_property
    def essential(self) -> dict[DeviceNode, str]:
        """Block devices that the running system needs, and what for."""
        found: dict[DeviceNode, str] = {}
        for mount, why in self._system_mounts():
            for node in self.mounts.nodes_of(mount):
                found.setdefault(node, why)
        return found

    def _system_mounts(self) -> Iterator[tuple[Mount, str]]:
        for mount in self._system_points():
            yield mount, f"holds {mount.point}"
        for process in self.processes.values():
            space = None if process.mount_space == self._own_space else process.mount_space
            for held in self.mounts.holding(process.exe, space) if process.exe else ():
                yield held, f"holds {process.exe}, which runs (pid {process.pid})"

    def _system_points(self) -> list[Mount]:
        init = self.processes[1].mount_space if 1 in self.processes else None
        ours = [mount for mount in self.mounts.own if mount.point in SYSTEM_POINTS]
        if init in (None, self._own_space):
            return ours
        return ours + [mount for mount in self.mounts.in_space(init) if mount.point in SYSTEM_POINTS]

    @cached_property
    def tags(self) -> dict[str, dict[str, str]]:
        """Tags of shared folders that are mounted, by kind (``9p``, ``virtiofs``): tag -> what for."""
        found: dict[str, dict[str, str]] = {"9p": {}, "virtiofs": {}}
        needed = {mount: why for mount, why in self._system_mounts() if mount.kind in found}
        for mount in self.mounts.all():
            if mount.kind in found:
                found[mount.kind].setdefault(mount.source, f"is mounted on {mount.point}")
        for mount, why in needed.items():
            found[mount.kind][mount.source] = f"{why}{_NEEDED}"
        return found

    @cached_property
    def pools(self) -> dict[str, tuple[str, bool]]:
        """ZFS pools with a mounted dataset: where, and whether the running system needs it."""
        needed = {mount for mount, _ in self._system_mounts()}
        found: dict[str, tuple[str, bool]] = {}
        for mount in self.mounts.all():
            if mount.kind == "zfs":
                pool = mount.source.partition("/")[0]
                point, is_system = found.get(pool, (mount.point, False))
                found[pool] = (point, is_system or mount in needed)
        return found

    @cached_property
    def cxl_memory(self) -> list[str]:
        """DAX devices that are memory of the system and lie in a CXL region: which devices that spans is not told."""
        base = "sys/bus/dax/drivers/kmem"
        targets = {name: self.root.target(f"{base}/{name}") for name in self.root.names(base)}
        return [name for name, target in targets.items() if target is not None and "/region" in target]

    @cached_property
    def login_links(self) -> set[str]:
        """Links that somebody's login needs."""
        return self.logins.links(self.network)

    @cached_property
    def system_links(self) -> set[str]:
        """Links that the running system needs, because a part of it lies on another machine."""
        kinds = {mount.kind for mount, _ in self._system_mounts()}
        paths = [
            self.nodes.path_of(node) or "" for node in (*self.essential, *(swap.node for swap in self.mounts.swaps))
        ]
        if not kinds & REMOTE and not any(mark in path for path in paths for mark in _OVER_NETWORK):
            return set()
        return {route.link for route in self.network.routes}

    @cached_property
    def vsock_users(self) -> list[tuple[Process, bool]]:
        """Processes with a socket from this guest to its host, and whether somebody's login depends on each."""
        users = [one for one in self.processes.values() if self._has_vsock(one)]
        return [(one, one.pid in self.logins.pids) for one in users]

    def _has_vsock(self, process: Process) -> bool:
        return any(self._senses.is_vsock(process.pid, descriptor) for descriptor in process.sockets.values())

    # --- consoles

    @cached_property
    def consoles(self) -> set[str]:
        """Names of the terminals that the kernel's messages go to; ``fb`` if frame buffers have a console."""
        found = set((self.root.text("sys/class/tty/console/active") or "").split())
        for name in self.root.names("sys/class/vtconsole"):
            here = f"sys/class/vtconsole/{name}"
            if self.root.text(f"{here}/bind") == "1" and "frame buffer" in (self.root.text(f"{here}/name") or ""):
                found.add("fb")
        return found


#: Ends the reason of a shared folder that the running system needs.
_NEEDED: Final = " (the running system)"


def is_needed(why: str) -> bool:
    """Return whether a reason of ``Moment.tags`` is one of the running system's."""
    return why.endswith(_NEEDED)


class Moments:
    """Gives moments that began after they were asked for; one serves everybody who asked before it began."""

    def __init__(self, sysfs: Sysfs, senses: Senses) -> None:
        self._sysfs, self._senses = sysfs, senses
        self._count = threading.Lock()
        self._reading = threading.Lock()
        self._begun = 0
        self._latest: tuple[int, Moment | None] = (0, None)

    def fresh(self) -> Moment:
        """Return a moment that began after this call did."""
        with self._count:
            wanted = self._begun + 1
        with self._reading:
            number, moment = self._latest
            if moment is None or number < wanted:
                with self._count:
                    self._begun += 1
                    number = self._begun
                moment = Moment(self._sysfs, self._senses)
                self._latest = (number, moment)
            return moment
