"""Device links: a consumer is probed only while all its suppliers are bound.

Suppliers are named, not held, because they may come later. A name is looked up on every bus; ``bus/name`` says which.
When a supplier binds, consumers that are not bound are put on the deferred list (the firmware-made links of
``fw_devlink`` carry ``DL_FLAG_AUTOPROBE_CONSUMER``); before a supplier lets its driver go, its consumers are released.

Source: ``device_links_check_suppliers``, ``device_links_driver_bound``, ``device_links_unbind_consumers``
(``drivers/base/core.c``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.drivercore.states import DeviceState

if TYPE_CHECKING:
    from numaprobe.drivercore.model import Device


class DeviceLinks:
    """Which device supplies which, over all buses of a core."""

    def __init__(self) -> None:
        self._by_name: dict[str, list[Device]] = {}
        self._consumers: dict[str, dict[tuple[str, str], Device]] = {}

    def add(self, dev: Device) -> None:
        """Make a registered device findable as supplier, and remember what it consumes."""
        self._by_name.setdefault(dev.name, []).append(dev)
        for name in dev.suppliers:
            self._consumers.setdefault(name, {})[dev.key] = dev

    def remove(self, dev: Device) -> None:
        """Forget a device."""
        same_name = self._by_name[dev.name]
        same_name.remove(dev)
        if not same_name:
            del self._by_name[dev.name]
        for name in dev.suppliers:
            self._consumers[name].pop(dev.key, None)

    def missing(self, dev: Device) -> str | None:
        """Return the name of the first supplier that is not bound; None if all are."""
        return next((name for name in dev.suppliers if not self._supplied(name)), None)

    def fate(self, name: str) -> str:
        """Say what became of a supplier that is not bound: is not there, failed, waits itself, or nobody probed it."""
        named = self._named(name)
        if not named:
            return "is not there"
        failures = dict.fromkeys(dev.p.failure for dev in named if dev.p.failure)
        if failures:
            return f"was probed and failed: {', '.join(failures)}"
        return "is deferred too" if any(dev.p.deferred_reason for dev in named) else "no driver has bound"

    def _supplied(self, name: str) -> bool:
        return any(dev.is_bound for dev in self._named(name))

    def _named(self, name: str) -> list[Device]:
        bus, slash, rest = name.partition("/")
        if slash:
            return [dev for dev in self._by_name.get(rest, ()) if dev.bus.name == bus]
        return self._by_name.get(name, [])

    def consumers(self, dev: Device) -> list[Device]:
        """Return the registered devices that name ``dev`` as supplier."""
        if not self._consumers:
            return []
        names = dev.name, f"{dev.bus.name}/{dev.name}"
        return [one for name in names for one in self._consumers.get(name, {}).values()]

    def busy_consumers(self, dev: Device) -> list[Device]:
        """Return the consumers that are bound, being probed or still letting go, last added first."""
        busy = (DeviceState.BOUND, DeviceState.PROBING, DeviceState.RELEASING)
        return [one for one in self.consumers(dev) if one.state in busy][::-1]
