"""Block devices made of block devices, from the hardware upwards: what, in the end, uses a disk.

``holders`` names what MD, device mapper and bcache made of a disk (``bd_link_disk_holder``, block/holder.c). Two links
are missing there and are added: a loop device lies on the file system that its file is on, and a disk that is exported
over NVMe-oF is opened without a claim (drivers/nvme/target/io-cmd-bdev.c). Whatever uses the top of such a chain uses
the disk at its bottom, and the sentence names every step: ``nvme0n1p1 > md0 (raid1) > dm-0 (vg-srv, LVM)``.
"""

from __future__ import annotations

import posixpath
from functools import cached_property
from typing import TYPE_CHECKING, Final

from numaprobe.bringup.nodes import DeviceNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.bringup.mounts import Mounts
    from numaprobe.bringup.nodes import Nodes
    from numaprobe.bringup.root import Root

#: beginning of ``dm/uuid`` -> what made it
_DM_KINDS: Final = {
    "LVM-": "LVM",
    "CRYPT-": "dm-crypt",
    "mpath-": "multipath",
    "part": "partition of a multipath device",
}
_NVMET: Final = "sys/kernel/config/nvmet/subsystems"


class Blocks:
    """Chains of block devices at one moment."""

    def __init__(self, root: Root, nodes: Nodes, mounts: Mounts) -> None:
        self._root, self._nodes, self._mounts = root, nodes, mounts

    def chains(self, node: DeviceNode) -> list[tuple[DeviceNode, str]]:
        """Return a block device and all that is made of it, each with the way from the one to the other as text."""
        found: dict[DeviceNode, str] = {}
        self._climb(node, "", found)
        return list(found.items())

    def _climb(self, node: DeviceNode, way: str, found: dict[DeviceNode, str]) -> None:
        if node in found:
            return
        found[node] = f"{way}{' > ' if way else ''}{self.describe(node)}"
        for upper in (*self._holders(node), *self._loops.get(node, ())):
            self._climb(upper, found[node], found)

    def _holders(self, node: DeviceNode) -> Iterator[DeviceNode]:
        for name in self._root.names(f"sys/dev/block/{node.number}/holders"):
            number = self._root.attribute(f"sys/class/block/{name}/dev")
            if number:
                yield DeviceNode("block", number)

    @cached_property
    def _loops(self) -> dict[DeviceNode, list[DeviceNode]]:
        found: dict[DeviceNode, list[DeviceNode]] = {}
        for name in self._root.names("sys/class/block"):
            file = self._root.text(f"sys/class/block/{name}/loop/backing_file") if name.startswith("loop") else None
            number = self._root.attribute(f"sys/class/block/{name}/dev") if file else None
            for below in self._mounts.nodes_of_file(file) if file and number else ():
                found.setdefault(below, []).append(DeviceNode("block", number or ""))
        return found

    def exports(self, node: DeviceNode) -> list[str]:
        """Return the names of the NVMe-oF subsystems that a block device is exported by."""
        return self._exports.get(node, [])

    @cached_property
    def _exports(self) -> dict[DeviceNode, list[str]]:
        found: dict[DeviceNode, list[str]] = {}
        for name in self._root.names(_NVMET):
            for number in self._root.names(f"{_NVMET}/{name}/namespaces"):
                here = f"{_NVMET}/{name}/namespaces/{number}"
                file = self._root.text(f"{here}/device_path")
                if file and self._root.text(f"{here}/enable") == "1":
                    for node in self._mounts.nodes_of_file(file):
                        found.setdefault(node, []).append(name)
        return found

    def name(self, node: DeviceNode) -> str:
        """Return a block device's name: ``nvme0n1p1``."""
        return posixpath.basename(self._nodes.path_of(node) or node.number)

    def describe(self, node: DeviceNode) -> str:
        """Return a block device's name, and what made it: ``dm-0 (vg-srv, LVM)``."""
        name, here = self.name(node), f"sys/dev/block/{node.number}"
        mapped = self._root.attribute(f"{here}/dm/name") if name.startswith("dm-") else None
        if mapped:
            uuid = self._root.attribute(f"{here}/dm/uuid") or ""
            kind = next((kind for prefix, kind in _DM_KINDS.items() if uuid.startswith(prefix)), "device mapper")
            return f"{name} ({mapped}, {kind})"
        if name.startswith("md"):
            level = self._root.attribute(f"{here}/md/level")
            return f"{name} ({level})" if level else name
        return name
