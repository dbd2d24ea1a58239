"""Devices, drivers, binding, deferred and async probing: the rules of ``drivers/base``, over any machine."""

from numaprobe.drivercore.asyncs import AsyncCalls, AsyncDomain
from numaprobe.drivercore.bus import Bus
from numaprobe.drivercore.core import DriverCore
from numaprobe.drivercore.device import Device, DeviceState
from numaprobe.drivercore.driver import Driver, ProbeType
from numaprobe.drivercore.options import CoreOptions
from numaprobe.drivercore.placement import Placement, Placing
from numaprobe.drivercore.results import EPROBE_DEFER, errno_name, errno_value

__all__ = [
    "EPROBE_DEFER",
    "AsyncCalls",
    "AsyncDomain",
    "Bus",
    "CoreOptions",
    "Device",
    "DeviceState",
    "Driver",
    "DriverCore",
    "Placement",
    "Placing",
    "ProbeType",
    "errno_name",
    "errno_value",
]
