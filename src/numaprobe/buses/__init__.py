"""What a bus adds to the driver core: matching, and for PCI virtual functions and node code of its own."""

from numaprobe.buses.faux import FauxBus
from numaprobe.buses.nvdimm import NvdimmBus
from numaprobe.buses.pci import PciBus, PciDevice
from numaprobe.buses.platform import PlatformBus, VirtioBus

__all__ = ["FauxBus", "NvdimmBus", "PciBus", "PciDevice", "PlatformBus", "VirtioBus"]
