"""Device numbers: what a file of ``/dev`` or an open descriptor leads to.

On the running machine the kernel is asked (``stat``): a node may have any name, and a container's nodes are others. In
a tree that stands for a machine the names are looked up, as udev names nodes: ``DEVNAME`` in the device's ``uevent``.
"""

from __future__ import annotations

import os
import stat
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from numaprobe.bringup.root import Root


class DeviceNode(NamedTuple):
    """A device as the kernel numbers it."""

    #: ``block`` or ``char``
    kind: str
    #: ``MAJOR:MINOR``
    number: str


class Nodes:
    """Finds device numbers."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._paths: dict[DeviceNode, str | None] = {}

    def of_name(self, name: str) -> DeviceNode | None:
        """Return the device behind ``/dev/…``; None if there is none."""
        if not name.startswith("/"):
            return None
        return self._ask(name) if self._root.is_live else self._by_name.get(name)

    def of_link(self, path: str, said: str) -> DeviceNode | None:
        """Return the device behind a link of ``/proc`` (``proc/1/fd/3``), which says ``said``."""
        return self._ask(self._root.at(path)) if self._root.is_live else self._by_name.get(said)

    def path_of(self, node: DeviceNode) -> str | None:
        """Return a device's directory, below ``/sys``: ``devices/…/block/nvme0n1``."""
        if node not in self._paths:
            target = self._root.target(f"sys/dev/{node.kind}/{node.number}")
            self._paths[node] = None if target is None else target.removeprefix("sys/")
        return self._paths[node]

    def _ask(self, path: str) -> DeviceNode | None:
        try:
            found = os.stat(path)  # noqa: PTH116  called for every open file of the machine
        except (OSError, ValueError):
            return None
        if not (stat.S_ISBLK(found.st_mode) or stat.S_ISCHR(found.st_mode)):
            return None
        kind = "block" if stat.S_ISBLK(found.st_mode) else "char"
        return DeviceNode(kind, f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}")

    @cached_property
    def _by_name(self) -> dict[str, DeviceNode]:
        found = {}
        for kind in ("block", "char"):
            for number in self._root.names(f"sys/dev/{kind}"):
                for line in (self._root.attribute(f"sys/dev/{kind}/{number}/uevent") or "").split("\n"):
                    if line.startswith("DEVNAME="):
                        found[f"/dev/{line.removeprefix('DEVNAME=')}"] = DeviceNode(kind, number)
        return found
