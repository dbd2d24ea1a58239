"""Buses without code of their own: platform and virtio.

A synchronous probe on them runs wherever its caller is, today; only a policy of the driver core can change that.

Source: ``drivers/base/platform.c`` (``platform_match``: driver_override, compatible, id table, then the bare names);
``drivers/virtio/virtio.c``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.drivercore import Bus

if TYPE_CHECKING:
    from numaprobe.drivercore import Device, Driver


class PlatformBus(Bus):
    """``platform``: matches by compatible string, then by name (``NAME`` or ``NAME.3``)."""

    def __init__(self, name: str = "platform") -> None:
        super().__init__(name)

    def match(self, dev: Device, drv: Driver) -> int:
        """Match as ``platform_match`` does."""
        if drv.match is not None:
            return drv.match(dev)
        return int(dev.compatible in drv.compatible or dev.name.partition(".")[0] == drv.name)


class VirtioBus(Bus):
    """``virtio``: matches by device id; its devices hang from PCI functions and inherit their node."""

    def __init__(self, name: str = "virtio") -> None:
        super().__init__(name)
