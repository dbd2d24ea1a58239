"""What is mounted and what is swapped to, in every mount namespace, and on which block devices it lies.

``/proc/PID/mountinfo`` numbers a file system by its device, where it has one; btrfs, bcachefs, ZFS, 9p, overlay and
file systems of other machines have a number of their own (major 0), and then their *source* says where they are:

=============  ====================================================================================
btrfs          all members of the volume: ``/sys/fs/btrfs/UUID/devices``
bcachefs       the source lists all members, with colons between
ZFS            the source is POOL/DATASET; a disk of the pool says POOL in its label
overlay        the folders it is made of, each on a mount of ours
9p, virtiofs   the source is a tag, and a virtio device has it
NFS, CIFS, …   another machine, over the network
=============  ====================================================================================

Sources: proc_pid_mountinfo(5), Documentation/ABI/testing/sysfs-fs-btrfs, fs/9p, fs/fuse/virtio_fs.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.bringup.nodes import DeviceNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.bringup.nodes import Nodes
    from numaprobe.bringup.root import Root

#: File systems that another machine keeps.
REMOTE: Final = frozenset(
    (
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "ceph",
        "glusterfs",
        "fuse.glusterfs",
        "fuse.sshfs",
        "lustre",
        "afs",
        "gfs2",
        "ocfs2",
    )
)
#: Mount points that the running system is made of.
SYSTEM_POINTS: Final = frozenset(("/", "/usr", "/etc", "/var", "/boot", "/boot/efi", "/efi", "/nix", "/nix/store"))
#: folders that an overlay is made of, in its options
_OVERLAY_OPTIONS: Final = ("lowerdir=", "lowerdir+=", "datadir+=", "upperdir=")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo."""

    number: str
    point: str
    kind: str
    source: str
    options: str
    #: a mount namespace; None: ours
    space: str | None


@dataclass(frozen=True, slots=True)
class Swap:
    """One line of ``/proc/swaps``."""

    file: str
    node: DeviceNode


class Mounts:
    """Mounts and swap at one moment, by what they lie on."""

    def __init__(self, root: Root, nodes: Nodes) -> None:
        """Read those of our mount namespace."""
        self._root, self._nodes = root, nodes
        self._btrfs = self._members("sys/fs/btrfs")
        self._spaces: dict[str | None, list[Mount]] = {}
        self.at: dict[DeviceNode, list[Mount]] = {}
        self.read_space("self", None)
        self.swaps = list(self._read_swaps())

    def read_space(self, pid: int | str, space: str | None) -> None:
        """Read the mounts of the namespace that a process is in, too."""
        mounts = list(self._lines(str(pid), space))
        self._spaces[space] = sorted(mounts, key=lambda mount: (len(mount.point), mount.point))
        for mount in mounts:
            for node in self.nodes_of(mount):
                self.at.setdefault(node, []).append(mount)

    @property
    def own(self) -> list[Mount]:
        """The mounts of our namespace."""
        return self.in_space(None)

    def in_space(self, space: str | None) -> list[Mount]:
        """Return the mounts of a namespace that was read; None: ours."""
        return self._spaces.get(space, [])

    def all(self) -> list[Mount]:
        """Return the mounts of every namespace that was read."""
        return [mount for mounts in self._spaces.values() for mount in mounts]

    def remote_points(self) -> tuple[str, ...]:
        """Return where file systems of other machines are mounted, with a slash at the end."""
        kinds = (*REMOTE, "fuse", "9p")
        return tuple(f"{mount.point.rstrip('/')}/" for mount in self.own if mount.kind in kinds and mount.point != "/")

    def holding(self, path: str, space: str | None = None) -> list[Mount]:
        """Return the mounts that a file lies on, as a namespace names it.

        Several where one is mounted over another: a file that was opened before may lie on the lower one.
        """
        found: list[Mount] = []
        for mount in reversed(self._spaces.get(space, [])):
            if found and mount.point != found[0].point:
                break
            if found or path == mount.point or path.startswith(mount.point.rstrip("/") + "/"):
                found.append(mount)
        return found

    def nodes_of_file(self, path: str) -> list[DeviceNode]:
        """Return the block devices that a file of ours lies on; a device node stands for itself."""
        if path.startswith("/dev/"):
            node = self._nodes.of_name(path)
            return [] if node is None else [node]
        mounts = self.holding(path.removesuffix(" (deleted)"))
        return list(dict.fromkeys(node for mount in mounts for node in self.nodes_of(mount)))

    def nodes_of(self, mount: Mount, depth: int = 4) -> list[DeviceNode]:
        """Return the block devices that a mount lies on; none for one that has none."""
        if mount.kind == "overlay" and depth:
            below = (one for folder in _overlay_folders(mount.options) for one in self.holding(folder) if one != mount)
            return list(dict.fromkeys(node for one in below for node in self.nodes_of(one, depth - 1)))
        if not mount.number.startswith("0:"):
            return self._with_members(DeviceNode("block", mount.number))
        named = (self._nodes.of_name(part) for part in mount.source.split(":") if part.startswith("/dev/"))
        return [node for one in named if one is not None for node in self._with_members(one)]

    def _with_members(self, node: DeviceNode) -> list[DeviceNode]:
        return self._btrfs.get(node, [node])

    def _members(self, base: str) -> dict[DeviceNode, list[DeviceNode]]:
        """Return each member of a volume of several devices, and all members of its volume."""
        found = {}
        for volume in self._root.names(base):
            names = self._root.names(f"{base}/{volume}/devices")
            numbers = (self._root.text(f"sys/class/block/{name}/dev") for name in names)
            members = [DeviceNode("block", number) for number in numbers if number]
            found.update(dict.fromkeys(members, members))
        return found

    def _lines(self, pid: str, space: str | None) -> Iterator[Mount]:
        for line in self._root.table(f"proc/{pid}/mountinfo"):
            before, _, after = line.partition(" - ")
            front, back = before.split(), after.split(" ")
            if len(front) > 4 and len(back) > 1:  # noqa: PLR2004  id, parent, number, root, point; kind, source
                options = back[2] if len(back) > 2 else ""  # noqa: PLR2004
                yield Mount(front[2], _plain(front[4]), back[0], _plain(back[1]), _plain(options), space)

    def _read_swaps(self) -> Iterator[Swap]:
        for line in self._root.table("proc/swaps")[1:]:
            file = _plain(line.split()[0]) if line.split() else ""
            for node in self.nodes_of_file(file):
                yield Swap(file, node)
                for lower in self._behind_zram(node):
                    yield Swap(f"{file}, which writes back to it", lower)

    def _behind_zram(self, node: DeviceNode) -> list[DeviceNode]:
        backing = self._root.text(f"sys/dev/{node.kind}/{node.number}/backing_dev")
        return self.nodes_of_file(backing) if backing and backing.startswith("/") else []


def _overlay_folders(options: str) -> Iterator[str]:
    for option in options.split(","):
        for name in _OVERLAY_OPTIONS:
            if option.startswith(name):
                yield from option.removeprefix(name).split(":")


def _plain(text: str) -> str:
    """Return a field of ``/proc`` without its escapes: blanks, tabs, newlines and backslashes are octal there."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text
