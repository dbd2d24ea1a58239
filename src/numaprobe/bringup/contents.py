"""What disks hold: what udev noted when they appeared, or what ``blkid -p`` reads now.

udev's database costs nothing, and may be old: a disk that was formatted without udev noticing looks empty there. So
``status`` takes its word and has only those disks read that it does not know; whoever is about to act has every disk
read, and falls back to udev's word where there is no blkid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.bringup.senses import describe_contents

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.bringup.nodes import DeviceNode
    from numaprobe.bringup.root import Root
    from numaprobe.bringup.senses import Senses

#: bytes of a record of udev's database: as many as it ever has, most have one or two thousand
_RECORD: Final = 2**16


class Contents:
    """What disks hold, each looked at once."""

    def __init__(self, root: Root, senses: Senses, *, read: bool) -> None:
        """Remember nothing yet.

        Args:
            root: where udev's database is.
            senses: reads disks.
            read: read every disk that is asked for, and do not take udev's word.

        """
        self._root, self._senses, self._read = root, senses, read
        self._known: dict[str, str | None] = {}

    def look(self, disks: Iterable[tuple[DeviceNode, str]]) -> None:
        """Find out about many disks at once."""
        noted = {name: self._noted(node) for node, name in disks if name not in self._known}
        asked = [name for name, said in noted.items() if self._read or said is None]
        self._known |= noted
        for name, said in self._senses.contents_of(asked).items():
            self._known[name] = noted[name] if said is None else said

    def of(self, disk: tuple[DeviceNode, str]) -> str | None:
        """Return what a disk holds; empty: nothing that anybody knows; None: nobody could look."""
        if disk[1] not in self._known:
            self.look([disk])
        return self._known[disk[1]]

    def is_claimed(self, name: str) -> bool:
        """Return whether the kernel is known to hold a disk exclusively."""
        return bool(self._senses.is_claimed(name))

    def _noted(self, node: DeviceNode) -> str | None:
        text = self._root.attribute(f"run/udev/data/b{node.number}", _RECORD)
        if text is None:
            return None
        return describe_contents(line[2:] for line in text.splitlines() if line.startswith("E:"))
