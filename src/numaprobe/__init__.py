"""numaprobe: the Linux driver core's device probing, with every probe on its device's NUMA node.

The library's names are here: ``host``, ``driver``, ``DeviceDriver``, ``Defer``, ``ProbeType``, ``Device``, ``explore``.
They are loaded when first used, so that ``import numaprobe`` (and the command's ``--help``) costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numaprobe.version import __version__

if TYPE_CHECKING:
    from numaprobe.drivercore import CoreOptions, Device, ProbeType
    from numaprobe.library import AsyncCore, Core, Defer, DeviceDriver, DeviceView, driver, host
    from numaprobe.schedules import OrderError, explore

_LIBRARY = ("AsyncCore", "Core", "Defer", "DeviceDriver", "DeviceView", "driver", "host")
_SCHEDULES = ("OrderError", "explore")
_CORE = ("CoreOptions", "Device", "ProbeType")

__all__ = [
    "AsyncCore",
    "Core",
    "CoreOptions",
    "Defer",
    "Device",
    "DeviceDriver",
    "DeviceView",
    "OrderError",
    "ProbeType",
    "__version__",
    "driver",
    "explore",
    "host",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Load a name of the library when it is first used."""
    if name in _LIBRARY:
        import numaprobe.library as source
    elif name in _CORE:
        import numaprobe.drivercore as source  # type: ignore[no-redef]
    elif name in _SCHEDULES:
        import numaprobe.schedules as source  # type: ignore[no-redef]
    else:
        raise AttributeError(f"module 'numaprobe' has no attribute '{name}'")
    return getattr(source, name)
