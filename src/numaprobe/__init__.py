"""numaprobe: the Linux driver core's device probing, with every probe on its device's NUMA node."""

__version__ = "0.1.0"
