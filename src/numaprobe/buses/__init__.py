"""What a bus adds to the driver core: matching, how its devices come, PCI's node code, USB's authorization."""

from numaprobe.buses.catalogue import KINDS, make_bus
from numaprobe.buses.faux import FauxBus
from numaprobe.buses.nvdimm import NvdimmBus
from numaprobe.buses.pci import PciBus, PciDevice
from numaprobe.buses.platform import PlatformBus, VirtioBus
from numaprobe.buses.usb import UsbBus, UsbDevice, UsbInterface

__all__ = [
    "KINDS",
    "FauxBus",
    "NvdimmBus",
    "PciBus",
    "PciDevice",
    "PlatformBus",
    "UsbBus",
    "UsbDevice",
    "UsbInterface",
    "VirtioBus",
    "make_bus",
]
