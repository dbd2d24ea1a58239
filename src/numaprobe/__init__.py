"""numaprobe: the Linux driver core's device probing, with every probe on its device's NUMA node.

The library's names are here: ``host``, ``driver``, ``DeviceDriver``, ``Defer``, ``ProbeType``, ``Device``. They are
loaded when first used, so that ``import numaprobe`` (and the command's ``--help``) costs nothing.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numaprobe.drivercore import CoreOptions, Device, ProbeType
    from numaprobe.library import AsyncCore, Core, Defer, DeviceDriver, DeviceView, driver, host

__version__ = "0.1.0"

_LIBRARY = ("AsyncCore", "Core", "Defer", "DeviceDriver", "DeviceView", "driver")
_CORE = ("CoreOptions", "Device", "ProbeType")

__all__ = [
    "AsyncCore",
    "Core",
    "CoreOptions",
    "Defer",
    "Device",
    "DeviceDriver",
    "DeviceView",
    "ProbeType",
    "driver",
    "host",
]


class _Root(ModuleType):
    """This package. ``numaprobe.host`` is a function, though there is a package of that name too.

    Importing a subpackage sets an attribute of its name on its parent; this one is a property that ignores it.
    """

    @property
    def host(self) -> Any:  # noqa: ANN401  the type checker sees the import above
        """See ``numaprobe.library.host``."""
        from numaprobe.library import host

        return host

    @host.setter
    def host(self, package: ModuleType) -> None:
        """Keep the function."""


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Load a name of the library when it is first used."""
    if name in _LIBRARY:
        import numaprobe.library as source
    elif name in _CORE:
        import numaprobe.drivercore as source  # type: ignore[no-redef]
    else:
        raise AttributeError(f"module 'numaprobe' has no attribute '{name}'")
    return getattr(source, name)


sys.modules[__name__].__class__ = _Root
