"""Devices come and go.

Source: ``device_add``, ``device_del`` (``drivers/base/core.c``), ``devm_add_action`` (``drivers/base/devres.c``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.drivercore.locking import HeldDevice
from numaprobe.errors import StateError

if TYPE_CHECKING:
    from numaprobe.drivercore.attributes import DeviceFiles
    from numaprobe.drivercore.chain import Chains
    from numaprobe.drivercore.deadlock import Deadlocks
    from numaprobe.drivercore.deferred import DeferredProbes
    from numaprobe.drivercore.model import CoreForBuses, Device
    from numaprobe.drivercore.release import Releasing
    from numaprobe.drivercore.state import CoreState


class Devices:
    """Adds devices to one core, and removes them.

    Args:
        state: where they are kept.
        chains: for the locks, which refuse a task that would wait for itself.
        deadlocks: refuses removals that would never end.
        deferred: a device is news; one that goes waits no more.
        release: takes its driver from a device that goes.
        attributes: its files come and go with it.
        for_buses: what the rules of a bus are handed.

    """

    def __init__(
        self,
        state: CoreState,
        chains: Chains,
        deadlocks: Deadlocks,
        deferred: DeferredProbes,
        release: Releasing,
        attributes: DeviceFiles,
        for_buses: CoreForBuses,
    ) -> None:
        self._state = state
        self._machine = state.machine
        self._chains = chains
        self._deadlocks = deadlocks
        self._deferred = deferred
        self._release = release
        self._attributes = attributes
        self._for_buses = for_buses

    async def add(self, dev: Device) -> None:
        """See ``DriverCore.device_add``."""
        self._check_add(dev)
        self._deferred.note_request()
        if dev.node < 0 and dev.parent is not None:
            dev.node = dev.parent.node
        dev._lock = self._machine.lock(f"device {dev.bus.name}/{dev.name}")  # noqa: SLF001  the core's part of it
        dev._story_kept = self._state.options.keep_story  # noqa: SLF001
        dev.step("add", self._machine.now(), f"node {dev.node}")
        self._state.device_names.add(dev.key)
        dev.bus.devices[dev.name] = dev
        self._state.links.add(dev)
        if dev.attributes:
            self._attributes.create(dev, dev.attributes)
        if dev.parent is not None:
            dev.parent.children[dev.key] = dev
        async with HeldDevice(self._chains, dev):
            dev.step("ready", self._machine.now())
        await dev.bus.attach_new(self._for_buses, dev)

    def _check_add(self, dev: Device) -> None:
        if dev.key in self._state.device_names:
            raise StateError(f"device {dev.name} is on bus {dev.bus.name} already", dev.story())
        if self._state.buses.get(dev.bus.name) is not dev.bus:
            raise StateError(f"bus {dev.bus.name} of device {dev.name} is not registered; call bus_register first")
        parent = dev.parent
        if parent is not None and (parent.p.dead or parent.state in ("new", "removed")):
            state = "being removed" if parent.p.dead and parent.state != "removed" else parent.state
            raise StateError(f"parent {parent.name} of device {dev.name} is {state}", parent.story())
        if dev.state != "new":
            raise StateError(f"device {dev.name} is {dev.state}: a device is added once", dev.story())

    async def remove(self, dev: Device) -> None:
        """See ``DriverCore.device_del``."""
        if dev.state in ("new", "removed"):
            raise StateError(f"device {dev.name} is {dev.state}: it cannot be removed", dev.story())
        self._deadlocks.refuse_remove(dev)
        if not await self._device_del(dev):
            raise StateError(f"device {dev.name} is being removed already", dev.story())

    async def _device_del(self, dev: Device) -> bool:
        """Remove a device; False, and nothing done, if somebody else does."""
        async with HeldDevice(self._chains, dev):
            if dev.p.dead:
                return False
            dev.p.dead = True
        for child in tuple(dev.children.values())[::-1]:
            await self._device_del(child)
        if dev.attributes:
            await self._attributes.remove(dev, dev.attributes)
        del dev.bus.devices[dev.name]
        await self._release.device_release_driver(dev, parent=False)
        self._deferred.discard(dev)
        self._state.links.remove(dev)
        dev.step("remove", self._machine.now())
        self._state.device_names.remove(dev.key)
        if dev.parent is not None:
            dev.parent.children.pop(dev.key, None)
        return True
