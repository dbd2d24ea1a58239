"""The driver core: devices, drivers and buses come, go, and are bound to each other.

One ``DriverCore`` is one kernel's driver core on one machine. It owns all state; the machine runs its coroutines so
that code between two awaits is atomic. What users (scenarios, the library, tests) call is here; who probes what is in
``binding.py``, retries in ``deferred.py``, async calls in ``asyncs.py``.

A *chain* is the list of devices whose probe (or removal) bodies the running task is inside of, the workers that a
policy put in between included. It tells nested probes, and it names at once the deadlock of a body that waits for its
own device, which in the kernel would hang: removing it, unregistering its driver, waiting for all probes.

Source: ``drivers/base/core.c`` (``device_add``, ``device_del``), ``drivers/base/bus.c``, ``drivers/base/dd.c``.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from numaprobe.drivercore.asyncs import AsyncCalls
from numaprobe.drivercore.binding import Binding
from numaprobe.drivercore.body import ProbeBodies
from numaprobe.drivercore.deadlock import refuse_async_wait, refuse_register, refuse_release, refuse_remove, refuse_wait
from numaprobe.drivercore.deferred import DeferredProbes
from numaprobe.drivercore.driver import ProbeType
from numaprobe.drivercore.links import DeviceLinks
from numaprobe.drivercore.locking import HeldDevice
from numaprobe.drivercore.options import CoreOptions
from numaprobe.drivercore.placement import Placement
from numaprobe.drivercore.validate import validate_core
from numaprobe.errors import StateError, UnknownNameError, describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from numaprobe.drivercore.bus import Bus
    from numaprobe.drivercore.device import Device
    from numaprobe.drivercore.driver import Driver
    from numaprobe.drivercore.placement import Placing
    from numaprobe.records import ProbeRecord
    from numaprobe.runtime import Event, Machine

B = TypeVar("B", bound="Bus")


class DriverCore:
    """A driver core on a machine.

    Attributes:
        machine: what runs it.
        placement: what the policy gave for this core; it is asked where each probe goes.
        options: what the command line said.
        buses: by name.
        records: one for each call of a probe body, in the order of their ends.

    """

    def __init__(self, machine: Machine, policy: Placing | None = None, options: CoreOptions | None = None) -> None:
        self.machine = machine
        self.options = options or CoreOptions()
        self.buses: dict[str, Bus] = {}
        self.links = DeviceLinks()
        self.asyncs = AsyncCalls(machine)
        self.deferred = DeferredProbes(self)
        self.binding = Binding(self)
        self.bodies = ProbeBodies(self)
        #: devices whose names are taken: until the very end of their removal, as their folders in sysfs
        self._names: set[tuple[str, str]] = set()
        #: drivers likewise: until they have let go all their devices
        self._driver_names: set[tuple[str, str]] = set()
        self._probe_count = 0
        #: made by the first who waits for it
        self._probe_idle: Event | None = None
        if self.options.async_names_cut:
            machine.warn("driver-async-probe", "driver_async_probe= is too long; what is beyond 255 bytes is cut")
        self.placement = policy.place(self) if policy is not None else Placement(self)

    # ---- buses -----------------------------------------------------------------------------------------------------
    def bus_register(self, bus: B) -> B:
        """Make a bus known; return it.

        Raises:
            StateError: there is one of this name.

        """
        if bus.name in self.buses:
            raise StateError(f"bus {bus.name} is registered already")
        self.buses[bus.name] = bus
        return bus

    def bus(self, name: str) -> Bus:
        """Return the bus of this name.

        Raises:
            UnknownNameError: there is none.

        """
        try:
            return self.buses[name]
        except KeyError:
            raise UnknownNameError("bus", name, self.buses) from None

    # ---- devices ---------------------------------------------------------------------------------------------------
    async def device_add(self, dev: Device) -> None:
        """Register a device and look for its driver; when this returns, sync drivers have been tried.

        Raises:
            StateError: it was added before, its name is taken, or its parent is not registered.

        """
        self._check_add(dev)
        self.deferred.note_request()
        if dev.node < 0 and dev.parent is not None:
            dev.node = dev.parent.node
        dev._lock = self.machine.lock(f"device {dev.bus.name}/{dev.name}")  # noqa: SLF001  the core's part of it
        dev._story_kept = self.options.keep_story  # noqa: SLF001
        dev.step("add", self.machine.now(), f"node {dev.node}")
        self._names.add(dev.key)
        dev.bus.devices[dev.name] = dev
        self.links.add(dev)
        if dev.parent is not None:
            dev.parent.children[dev.key] = dev
        async with self.locked(dev):
            dev.step("ready", self.machine.now())
        await dev.bus.attach_new(self, dev)

    def _check_add(self, dev: Device) -> None:
        if dev.key in self._names:
            raise StateError(f"device {dev.name} is on bus {dev.bus.name} already", dev.story())
        if self.buses.get(dev.bus.name) is not dev.bus:
            raise StateError(f"bus {dev.bus.name} of device {dev.name} is not registered; call bus_register first")
        parent = dev.parent
        if parent is not None and (parent.p.dead or parent.state in ("new", "removed")):
            raise StateError(f"parent {parent.name} of device {dev.name} is {parent.state}", parent.story())
        if dev.state != "new":
            raise StateError(f"device {dev.name} is {dev.state}: a device is added once", dev.story())

    async def device_del(self, dev: Device) -> None:
        """Remove a device: children first, then its driver is released, then it is gone.

        Raises:
            StateError: it is not registered, or somebody else removes it.
            DeadlockError: called from inside a body that it would wait for: the device's own, a child's, a consumer's.

        """
        if dev.state in ("new", "removed"):
            raise StateError(f"device {dev.name} is {dev.state}: it cannot be removed", dev.story())
        refuse_remove(self, dev)
        if not await self._device_del(dev):
            raise StateError(f"device {dev.name} is being removed already", dev.story())

    async def _device_del(self, dev: Device) -> bool:
        """Remove a device; False, and nothing done, if somebody else does."""
        async with self.locked(dev):
            if dev.p.dead:
                return False
            dev.p.dead = True
        for child in tuple(dev.children.values())[::-1]:
            await self._device_del(child)
        del dev.bus.devices[dev.name]
        await self.binding.device_release_driver(dev, parent=False)
        self.deferred.discard(dev)
        self.links.remove(dev)
        dev.step("remove", self.machine.now())
        self._names.remove(dev.key)
        if dev.parent is not None:
            dev.parent.children.pop(dev.key, None)
        return True

    def devm_add_action(self, dev: Device, name: str, release: Callable[[], Awaitable[None]]) -> None:
        """Have ``release`` awaited when the driver lets ``dev`` go, or when its probe fails; last added first.

        Raises:
            StateError: the device is neither being probed nor bound.

        """
        if dev.driver is None:
            raise StateError(f"device {dev.name} has no driver that could manage '{name}'", dev.story())
        dev.p.devres.append((name, release))

    # ---- drivers ---------------------------------------------------------------------------------------------------
    async def driver_register(self, drv: Driver) -> None:
        """Register a driver and offer it the devices of its bus; its async probes may be under way on return.

        Raises:
            StateError: the bus has a driver of this name, or one that is still letting its devices go.
            DeadlockError: called from inside a probe of a device that it matches.

        """
        key = drv.bus.name, drv.name
        if key in self._driver_names:
            raise StateError(f"driver {drv.name} is registered on bus {drv.bus.name} already")
        refuse_register(self, drv)
        self.deferred.note_request()
        self._driver_names.add(key)
        drv.idle = self.machine.event(f"driver {drv.name} unused")
        drv.registered = True
        drv.bus.drivers[drv.name] = drv
        if drv.bus.drivers_autoprobe:
            with self.using(drv):
                await self.binding.driver_attach(drv)
        self.deferred.extend_timeout()

    async def driver_unregister(self, drv: Driver) -> None:
        """Take a driver away: it lets its devices go, last bound first.

        Raises:
            StateError: it is not registered.
            DeadlockError: called from inside a body that it would wait for: its own, a consumer's of its devices, and
                if it probes asynchronously any that an async worker runs.

        """
        if not drv.registered:
            raise StateError(f"driver {drv.name} is not registered")
        what = f"unregisters driver {drv.name}"
        self.bodies.refuse_inside(lambda dev: dev.driver is drv, what)
        refuse_release(self, drv.devices.values(), what)
        if self.allows_async(drv):
            refuse_async_wait(self, what)
        drv.registered = False
        del drv.bus.drivers[drv.name]
        while drv.users and drv.idle is not None:
            await drv.idle.wait()
        await self.binding.driver_detach(drv)
        self._driver_names.remove((drv.bus.name, drv.name))

    async def load_module(self, *drivers: Driver, name: str = "", async_probe: bool | None = None) -> None:
        """Load a module: register its drivers, then wait for async calls unless it asked for ``async_probe``.

        Args:
            drivers: what the module registers, in this order.
            name: the module's, for ``<module>.async_probe``; the first driver's if empty.
            async_probe: its load-time parameter; None = what the command line says.

        Raises:
            StateError: a driver's name is taken; those before it stay.
            DeadlockError: called from inside an async probe, which it would wait for.

        Source: ``do_init_module`` (``kernel/module/main.c``).

        """
        module = name or (drivers[0].name if drivers else "")
        wanted = self.options.module_async(module) if async_probe is None else async_probe
        if not wanted:
            refuse_async_wait(self, f"loads module {module}")
        for drv in drivers:
            drv.async_requested = wanted
            await self.driver_register(drv)
        if not wanted:
            await self.asyncs.synchronize_full()

    def allows_async(self, drv: Driver) -> bool:
        """Tell whether a driver may be probed asynchronously (``driver_allows_async_probing``)."""
        if drv.probe_type is not ProbeType.DEFAULT:
            return drv.probe_type is ProbeType.PREFER_ASYNCHRONOUS
        return drv.async_requested or self.options.requested_async(drv.name)

    @contextmanager
    def using(self, drv: Driver) -> Iterator[None]:
        """Keep a driver from being unregistered meanwhile."""
        drv.users += 1
        if drv.idle is not None:
            drv.idle.clear()
        try:
            yield
        finally:
            drv.users -= 1
            if drv.users == 0 and drv.idle is not None:
                drv.idle.set()

    # ---- what users write to sysfs ---------------------------------------------------------------------------------
    async def bind(self, bus: str, driver: str, device: str) -> int:
        """Write a device's name to a driver's ``bind``: 0 or a negative errno."""
        drv, dev = self.bus(bus).drivers.get(driver), self.bus(bus).devices.get(device)
        if drv is None or dev is None:
            return -errno.ENODEV
        self.deferred.note_request()
        with self.using(drv):
            if self.bodies.match(dev, drv) == 0:  # an error counts as a match here, as in bind_store
                return -errno.ENODEV
            return await self.binding.device_driver_attach(drv, dev)

    async def unbind(self, bus: str, driver: str, device: str) -> int:
        """Write a device's name to a driver's ``unbind``: 0, or -ENODEV if it is not the device's driver.

        While that driver probes the device, it waits for the end and lets go what was bound, as ``unbind_store`` does.
        """
        dev = self.bus(bus).devices.get(device)
        if dev is None or dev.driver is None or dev.driver.name != driver:
            return -errno.ENODEV
        refuse_release(self, [dev], f"unbinds {device}")
        await self.binding.device_release_driver(dev)
        return 0

    async def drivers_probe(self, bus: str, device: str) -> int:
        """Write a device's name to the bus's ``drivers_probe``: 0, -ENODEV, or -EINVAL if probing failed."""
        dev = self.bus(bus).devices.get(device)
        if dev is None:
            return -errno.ENODEV
        if dev.driver is not None:
            return 0
        self.deferred.note_request()
        return -errno.EINVAL if await self.binding.device_attach(dev, parent=True) < 0 else 0

    # ---- waiting ---------------------------------------------------------------------------------------------------
    def probe_started(self) -> None:
        """Count a probe (``probe_count``)."""
        self._probe_count += 1

    def probe_ended(self) -> None:
        """Uncount a probe and wake who waits for none to be left."""
        self._probe_count -= 1
        if self._probe_count == 0 and self._probe_idle is not None:
            self._probe_idle.set()
            self._probe_idle = None

    @property
    def probe_count(self) -> int:
        """Probes under way."""
        return self._probe_count

    async def wait_for_device_probe(self) -> None:
        """Wait until deferred work, probes and async calls are over.

        Raises:
            DeadlockError: called from inside a probe.

        """
        refuse_wait(self)
        await self.deferred.flush()
        while self._probe_count:
            self._probe_idle = self._probe_idle or self.machine.event("no probe under way")
            await self._probe_idle.wait()
        await self.asyncs.synchronize_full()

    async def late_initcall(self) -> None:
        """Come to the point of booting where deferrals are retried."""
        await self.deferred.late_initcall()

    async def device_block_probing(self) -> None:
        """Defer every probe from now on and wait for those under way."""
        await self.deferred.block()

    def device_unblock_probing(self) -> None:
        """Probe again, deferred devices first."""
        self.deferred.unblock()

    # ---- for the parts of the core and the buses -------------------------------------------------------------------
    def locked(self, dev: Device, *, parent: bool = False) -> HeldDevice:
        """Hold a device's lock, and with ``parent`` its parent's too where the bus needs it (``async with``)."""
        return HeldDevice(self, dev, parent=parent)

    def call_probe_body(self, dev: Device) -> Awaitable[int]:
        """Run ``dev.driver``'s own probe here and record it: 0 or what it returned."""
        return self.bodies.probe(dev)

    async def call_remove_body(self, dev: Device) -> None:
        """Run ``dev.driver``'s own remove here."""
        await self.bodies.remove(dev)

    async def guarded(self, what: str, function: Callable[[], Awaitable[object]]) -> None:
        """Await a call that must not keep the core from going on; an exception becomes a warning."""
        try:
            await function()
        except BaseException as error:  # other people's code: whatever it raises, the release goes on
            if self.bodies.is_the_end(error):
                raise
            self.machine.warn("raised", f"{what} raised {describe(error)}")

    def deferral_reason(self, dev: Device) -> str:
        """Say why a device that asks to be deferred does so."""
        if self.deferred.blocked:
            return "probing is blocked"
        missing = self.links.missing(dev)
        return f"waiting for supplier {missing}" if missing else "its probe asked for a later try"

    @property
    def records(self) -> list[ProbeRecord]:
        """The records so far, or the last ``CoreOptions.keep_records`` of them: each reading adds what is new."""
        return self.bodies.recorder.records

    @property
    def records_dropped(self) -> int:
        """How many records were made and not kept."""
        return self.bodies.recorder.dropped

    def story(self, dev: Device) -> tuple[str, ...]:
        """Return all that happened to a device, oldest first, one line each."""
        return dev.story()

    def validate(self, *, quiescent: bool = True) -> None:
        """Hold every cross-promise of the core; with ``quiescent`` also that nothing is under way.

        Raises:
            InternalError: one is broken.

        """
        validate_core(self, quiescent=quiescent)
