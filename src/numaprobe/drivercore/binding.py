"""Binding devices and drivers: the part of ``drivers/base/dd.c`` that decides what is probed, and in which order.

Theory of operation
===================

Four roads lead to a probe:

===========================  ===========================================================================================
``device_initial_probe``     a device came (or is retried): scan the drivers; sync ones now, async ones by a helper
``device_attach``            a user asked for a rescan: scan the drivers, all of them now
``driver_attach``            a driver came: visit the devices; now, or by one helper per device
``device_driver_attach``     a user wrote to ``bind``: this driver, this device, now
===========================  ===========================================================================================

All end in ``__driver_probe_device`` under the device lock (and the parent's, if the bus needs it). The async helpers
are scheduled only after the device lock was dropped, because where scheduling fails their inline form would take it
again (commit b232b02bf3c2). Methods keep the kernel's names; one leading underscore stands for its two.

Which task holds the lock and which one runs the probe may differ: the placement (a policy) decides at its three
places, see ``placement.py``.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from numaprobe.drivercore.deferred import CANNOT_MATCH
from numaprobe.drivercore.locking import HeldDevice
from numaprobe.drivercore.results import EPROBE_DEFER, errno_name, is_deferral
from numaprobe.drivercore.states import DeviceState

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from numaprobe.drivercore.asyncs import AsyncCalls
    from numaprobe.drivercore.attributes import DeviceFiles
    from numaprobe.drivercore.body import ProbeBodies
    from numaprobe.drivercore.chain import Chains
    from numaprobe.drivercore.deferred import DeferredProbes
    from numaprobe.drivercore.model import CoreForBuses, Device, Driver
    from numaprobe.drivercore.release import Releasing
    from numaprobe.drivercore.state import CoreState

#: ``__device_attach``: bound; nothing bound; an async helper could not be queued (7.3).
BOUND: Final = 1
NOT_BOUND: Final = 0
RETRY_SYNC: Final = 2


class Binding:
    """``dd.c`` for one core.

    Args:
        state: what the core knows.
        chains: for the locks, which refuse a task that would wait for itself.
        bodies: runs matches and probes.
        release: undoes a probe that failed.
        deferred: keeps the devices whose probes ask for a later try.
        asyncs: gets the asynchronous helpers.
        attributes: a driver's files come when a device is bound.
        for_buses: what the rules of a bus are handed.

    """

    def __init__(
        self,
        state: CoreState,
        chains: Chains,
        bodies: ProbeBodies,
        release: Releasing,
        deferred: DeferredProbes,
        asyncs: AsyncCalls,
        attributes: DeviceFiles,
        for_buses: CoreForBuses,
    ) -> None:
        self._state = state
        self._machine = state.machine
        self._options = state.options
        self._links = state.links
        self._lists = state.deferred
        self._probes = state.probes
        self._chains = chains
        self._bodies = bodies
        self._release = release
        self._deferred = deferred
        self._asyncs = asyncs
        self._attributes = attributes
        self._for_buses = for_buses

    # ---- a device looks for a driver -------------------------------------------------------------------------------
    async def device_initial_probe(self, dev: Device) -> None:
        """Probe a new or retried device, if its bus does so by itself."""
        if not dev.bus.drivers_autoprobe:
            return
        if await self._device_attach(dev, allow_async=True) == RETRY_SYNC:
            await self._device_attach(dev, allow_async=False)

    async def device_attach(self, dev: Device, *, parent: bool = False) -> int:
        """Probe a device now, with any driver: 1 bound, 0 none, negative errno.

        ``parent``: under the parent's lock too where the bus needs it, as a rescan (``bus_rescan_devices_helper``).
        """
        return await self._device_attach(dev, allow_async=False, parent=parent)

    async def _device_attach(self, dev: Device, *, allow_async: bool, parent: bool = False) -> int:
        have_async = False
        async with HeldDevice(self._chains, dev, parent=parent):
            if dev.p.dead:
                return NOT_BOUND
            if dev.driver is not None:
                return BOUND if dev.is_bound else self._bind_preset(dev)
            dev.p.path = "device_attach"
            ret, have_async = await self._state.placement.call_site(
                dev, lambda: self._scan(dev, check_async=allow_async, want_async=False)
            )
        if ret == NOT_BOUND and allow_async and have_async:
            queued = self._asyncs.schedule_node_nocall(lambda: self._device_attach_async_helper(dev), dev.node)
            return NOT_BOUND if queued else RETRY_SYNC
        return ret

    def _bind_preset(self, dev: Device) -> int:
        """Bind a device that came with its driver already named (``device_bind_driver``)."""
        if dev.driver is None or not dev.driver.registered:
            dev.driver = None
            return NOT_BOUND
        now = self._machine.now()
        dev.step("probe", now, "preset driver")
        self._driver_bound(dev, dev.driver)
        return BOUND

    async def _device_attach_async_helper(self, dev: Device) -> None:
        async with HeldDevice(self._chains, dev):
            if dev.p.dead or dev.driver is not None:
                return
            dev.p.path = "device_attach_async"
            await self._scan(dev, check_async=True, want_async=True)

    async def _scan(self, dev: Device, *, check_async: bool, want_async: bool) -> tuple[int, bool]:
        """Try the bus's drivers in order: (result, an async driver matched)."""
        have_async = False
        for drv in tuple(dev.bus.drivers.values()):
            if not drv.registered:
                continue
            with drv.used():
                ret = self._match(dev, drv)
                if ret > 0:
                    allowed = drv.allows_async(self._options)
                    have_async |= allowed
                    if check_async and allowed != want_async:
                        continue
                    result = await self.driver_probe_device(drv, dev, is_async=want_async)
                    ret = min(result, 0) or int(result == 0)
            if ret != 0:
                return ret, have_async
        return NOT_BOUND, have_async

    def _match(self, dev: Device, drv: Driver) -> int:
        """Match; a driver that cannot tell yet puts the device on the deferred list."""
        ret = self._bodies.match(dev, drv)
        if ret == -EPROBE_DEFER:
            dev.p.can_match = True
            self._deferred.add(dev, f"{drv.name} {CANNOT_MATCH}")
        return ret

    # ---- a driver looks for devices --------------------------------------------------------------------------------
    async def driver_attach(self, drv: Driver) -> None:
        """Offer a driver every device of its bus."""
        devices = drv.bus.devices
        for dev in tuple(devices.values()):
            if devices.get(dev.name) is dev and drv.registered and self._match(dev, drv) > 0:
                await self._driver_attach(drv, dev)

    async def _driver_attach(self, drv: Driver, dev: Device) -> None:
        if drv.allows_async(self._options):
            if dev.lock.owner is None:  # free, and nothing is awaited under it: as good as held
                claimed = _claim(drv, dev)
            else:
                async with HeldDevice(self._chains, dev):
                    claimed = _claim(drv, dev)
            if claimed:
                await self._asyncs.schedule_node(lambda: self._driver_attach_async_helper(dev), dev.node)
            return
        async with HeldDevice(self._chains, dev, parent=True):
            dev.p.path = "driver_attach_sync"
            await self._state.placement.call_site(dev, lambda: self.driver_probe_device(drv, dev, is_async=False))

    async def _driver_attach_async_helper(self, dev: Device) -> None:
        async with HeldDevice(self._chains, dev, parent=True):
            drv, dev.p.async_driver = dev.p.async_driver, None
            if drv is not None:
                dev.p.path = "driver_attach_async"
                await self.driver_probe_device(drv, dev, is_async=True)

    async def device_driver_attach(self, drv: Driver, dev: Device) -> int:
        """Bind this device to this driver (``bind`` in sysfs): 0 or a negative errno; a deferral is -EAGAIN."""
        async with HeldDevice(self._chains, dev, parent=True):
            dev.p.path = "device_driver_attach"
            dev.p.probing_async = False
            ret = await self._state.placement.call_site(
                dev, lambda: self._driver_probe_device_node(drv, dev, is_async=False)
            )
        ret = -abs(ret)
        return -errno.EAGAIN if ret == -EPROBE_DEFER else ret

    # ---- one device, one driver; the device lock is held -----------------------------------------------------------
    async def driver_probe_device(self, drv: Driver, dev: Device, *, is_async: bool) -> int:
        """Probe, and see to it that a deferral is not lost: 0, negative (could not try), positive (body's errno)."""
        lists = self._lists
        triggers = lists.trigger_count
        self._probes.started()
        try:
            dev.p.probing_async = is_async
            ret = await self._driver_probe_device_node(drv, dev, is_async=is_async)
            if ret and is_deferral(ret):
                self._deferred.add(dev, self._deferred.reason(dev))
                if triggers != lists.trigger_count and not lists.blocked:
                    self._deferred.retrigger(dev)
        finally:
            self._probes.ended()
        return ret

    def _driver_probe_device_node(self, drv: Driver, dev: Device, *, is_async: bool) -> Awaitable[int]:
        return self._state.placement.probe_device(dev, lambda: self._driver_probe_device(drv, dev), is_async=is_async)

    async def _driver_probe_device(self, drv: Driver, dev: Device) -> int:
        """``__driver_probe_device`` and ``really_probe``: one coroutine, as every probe comes here."""
        refusal = self._refusal(dev)
        if refusal:
            return refusal
        dev.step("probe", self._machine.now(), f"by {drv.name}")
        dev.driver = drv
        try:
            ret = await dev.bus.probe(self._for_buses, dev)
        except Exception as error:  # the policy's or the machine's: bodies do not raise
            await self._probe_failed(dev, type(error).__name__)
            raise
        except BaseException:  # cut short with the machine: nothing can be awaited any more
            dev.driver = None
            dev.step("fail", self._machine.now(), "cut short: the machine ends")
            raise
        if ret:
            await self._probe_failed(dev, errno_name(ret))
            return -ret
        self._driver_bound(dev, drv)
        return 0

    def _refusal(self, dev: Device) -> int:
        """Return 0 if ``dev`` can be probed now, else a negative errno."""
        if dev.p.dead or dev.state is DeviceState.REMOVED:
            return -errno.ENODEV
        if dev.driver is not None:
            return -errno.EBUSY
        if dev.state is DeviceState.REGISTERED:
            return -EPROBE_DEFER  # device_add is not done: it will scan by itself, and must not be listed twice
        dev.p.can_match = True
        if self._lists.blocked or (dev.suppliers and self._links.missing(dev) is not None):
            return -EPROBE_DEFER
        if dev.p.devres:
            names = ", ".join(name for name, _ in dev.p.devres)
            self._machine.warn("devres", f"{dev.name}: managed resources before probing: {names}")
            return -errno.EBUSY
        return 0

    async def _probe_failed(self, dev: Device, why: str) -> None:
        await self._release.unbind_cleanup(dev)
        dev.p.failure = why
        dev.step("fail", self._machine.now(), why)

    def _driver_bound(self, dev: Device, drv: Driver) -> None:
        dev.step("bind", self._machine.now(), f"to {drv.name}")
        dev.p.failure = ""
        drv.devices[dev.key] = dev
        if drv.dev_attributes:
            self._attributes.create(dev, drv.dev_attributes)
        for consumer in self._links.consumers(dev):
            if consumer.driver is None and not consumer.p.dead:
                self._deferred.add(consumer, f"supplier {dev.name} came")
        self._deferred.discard(dev)
        self._deferred.bound(dev)


def _claim(drv: Driver, dev: Device) -> bool:
    """Make ``drv`` the one whose async helper will probe ``dev``; False if that is not to be."""
    if dev.driver is not None or dev.p.async_driver is not None or dev.p.dead:
        return False
    dev.p.async_driver = drv
    return True
