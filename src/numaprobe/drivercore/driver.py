"""A driver: what it matches, how it probes, and whether it may do so asynchronously.

Source: ``struct device_driver`` (``include/linux/device/driver.h``), ``driver_allows_async_probing`` (``dd.c``),
``struct module`` (``async_probe_requested``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore.bus import Bus
    from numaprobe.drivercore.device import Device
    from numaprobe.runtime import Event


class ProbeType(StrEnum):
    """``enum probe_type``: the driver's own wish; the command line decides only for DEFAULT."""

    DEFAULT = "default"
    PREFER_ASYNCHRONOUS = "prefer-asynchronous"
    FORCE_SYNCHRONOUS = "force-synchronous"


@dataclass(eq=False, slots=True, kw_only=True)
class Driver:
    """A driver of one bus.

    Attributes:
        name: unique on its bus.
        bus: the bus whose devices it drives.
        probe: the body: an ``async def`` of the device that returns 0 (or None) or a negative errno.
        remove: called when the driver lets a device go; None if there is nothing to do.
        compatible: match keys; how they are compared is the bus's business.
        match: if given, decides instead of the bus: truth, or a negative errno.
        probe_type: its own wish about asynchronous probing.
        function: name of the probe function, for records; ``NAME_probe`` if not given.
        async_requested: its module was loaded with ``async_probe`` (``module_requested_async_probing``).
        devices: the devices bound to it, in the order of binding.

    """

    name: str
    bus: Bus
    probe: Callable[[Device], Awaitable[int | None]]
    remove: Callable[[Device], Awaitable[None]] | None = None
    compatible: tuple[str, ...] = ()
    match: Callable[[Device], int] | None = None
    probe_type: ProbeType = ProbeType.DEFAULT
    function: str = ""
    async_requested: bool = False
    devices: dict[tuple[str, str], Device] = field(default_factory=dict)
    registered: bool = False
    #: calls that use the driver now; unregistering waits for them (klist_remove, kernfs drain)
    users: int = 0
    idle: Event | None = None

    def __post_init__(self) -> None:
        if not self.function:
            self.function = f"{self.name.replace('-', '_')}_probe"

    def __repr__(self) -> str:
        return f"<Driver {self.bus.name}/{self.name}>"
