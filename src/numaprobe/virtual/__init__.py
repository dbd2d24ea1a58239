"""The virtual machine: virtual time, run queues, workqueues, hotplug."""

from numaprobe.virtual.cpu import CpuModel
from numaprobe.virtual.machine import VirtualMachine

__all__ = ["CpuModel", "VirtualMachine"]
