"""Why a device is refused: one table of codes, and who may override which.

A reason says what uses which device, and the flag that would override it: ``--allow DEVICE=CODE``, for that device and
that reason alone. What the running system, its swap and the login one works from need has no flag.

A device is also refused for what hangs on it: what is below it (a bridge, a virtio device's PCI function), its active
consumers, its VFs. Such a reason keeps the name of the device that is in use, and so its flag: allowing the bridge
never allows a disk behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: code -> what it stands for, one line, as ``status --reasons`` and the documents list it
CODES: Final[dict[str, str]] = {
    "system": "holds /, /usr, /boot or a program that runs",
    "swap": "the system swaps to it",
    "login": "the login that this command comes from, or another one over the network, comes through it",
    "memory": "its memory is the system's own",
    "mounted": "a file system on it is mounted",
    "holder": "another block device is made of it: MD, LVM, dm-crypt, multipath, bcache, loop",
    "claimed": "the kernel holds it exclusively, and no table says for whom: ZFS, DRBD and others",
    "open": "a process has it open, or its memory mapped",
    "unseen": "some process may not be looked into, and nobody knows whether it has the device open",
    "data": "nothing uses it, and it holds valid data: a file system, a partition table, a member of a volume",
    "unknown-data": "nobody could say what it holds",
    "link-up": "its network link is up",
    "address": "its network link has an address",
    "route": "a route leads over its network link",
    "master": "its network link is part of a bond, bridge, team or VLAN",
    "namespace": "its network link is in another network namespace",
    "console": "the kernel's console is on it",
    "dma": "a client of the kernel's uses its DMA channels",
    "consumers": "devices that need it are bound and not in the plan",
    "vfs": "its virtual functions would be taken away",
    "iommu-group": "other devices of its IOMMU group are bound, and not in the plan",
}
#: These have no flag.
FINAL: Final = frozenset(("system", "swap", "login", "memory"))


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a device is refused.

    Attributes:
        code: one of ``CODES``, or a code of the planner's for a device that is passed over without being refused.
        sentence: what uses which device, for people.
        device: ``BUS/NAME`` of the device that is in use; the refused one, or one that hangs on it.
        flag: what would override it; None: nothing does.

    """

    code: str
    sentence: str
    device: str
    flag: str | None = None


def make_reason(code: str, sentence: str, bus: str, name: str) -> Reason:
    """Return the reason with its flag, if there is one for this code."""
    return Reason(code, sentence, f"{bus}/{name}", None if code in FINAL else f"--allow {name}={code}")
