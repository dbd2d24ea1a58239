"""The kinds of buses: what a bus of this kind, or of this name, behaves like. A new bus is a file here and a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.buses.nvdimm import NvdimmBus
from numaprobe.buses.pci import PciBus
from numaprobe.buses.platform import PlatformBus, VirtioBus
from numaprobe.buses.usb import UsbBus

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.drivercore import Bus

KINDS: Final[dict[str, Callable[[str], Bus]]] = {
    "platform": PlatformBus,
    "pci": PciBus,
    "nd": NvdimmBus,
    "nvdimm": NvdimmBus,
    "virtio": VirtioBus,
    "usb": UsbBus,
}


def make_bus(name: str, kind: str | None = None) -> Bus:
    """Return a bus of a kind; without one it is what its name says, and like platform if that says nothing."""
    return KINDS.get(kind or name, PlatformBus)(name)
