"""Devices, drivers, binding, deferred and async probing: the rules of ``drivers/base``, over any machine."""

from numaprobe.drivercore.asyncs import AsyncCalls, AsyncDomain
from numaprobe.drivercore.core import DriverCore
from numaprobe.drivercore.model import Attribute, Bus, CoreForBuses, Device, Driver, ProbeType
from numaprobe.drivercore.options import CoreOptions
from numaprobe.drivercore.placement import HasMachine, Placement, Placing
from numaprobe.drivercore.results import EPROBE_DEFER, errno_name, errno_value
from numaprobe.drivercore.states import DeviceState

__all__ = [
    "EPROBE_DEFER",
    "AsyncCalls",
    "AsyncDomain",
    "Attribute",
    "Bus",
    "CoreForBuses",
    "CoreOptions",
    "Device",
    "DeviceState",
    "Driver",
    "DriverCore",
    "HasMachine",
    "Placement",
    "Placing",
    "ProbeType",
    "errno_name",
    "errno_value",
]
