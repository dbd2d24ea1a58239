"""The driver core as its users see it: devices, drivers and buses come, go, and are bound to each other.

One ``DriverCore`` is one kernel's driver core on one machine. The machine runs its coroutines so that code between two
awaits is atomic. Nothing is done in this file: it makes the parts, gives each what it needs, and is the one name under
which scenarios, the library and tests find them. What the core knows is in ``state.py``. What is done:

* ``devices.py``, ``drivers.py``, ``sysfs.py``, ``attributes.py``, ``waiting.py``: what can be asked for;
* ``binding.py``: which driver probes what; ``release.py``: letting go; ``deferred.py``: retries; ``asyncs.py``: async
  calls;
* ``body.py``: other people's code, and its records; ``chain.py``, ``deadlock.py``, ``locking.py``: which task may wait.

No part knows this file. To the rules of a bus (``model.Bus``) the core is what ``model.CoreForBuses`` says.

Source: ``drivers/base/core.c`` (``device_add``, ``device_del``), ``drivers/base/bus.c``, ``drivers/base/dd.c``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from numaprobe.drivercore.asyncs import AsyncCalls
from numaprobe.drivercore.attributes import DeviceFiles
from numaprobe.drivercore.binding import Binding
from numaprobe.drivercore.body import ProbeBodies
from numaprobe.drivercore.chain import Chains
from numaprobe.drivercore.deadlock import Deadlocks
from numaprobe.drivercore.deferred import DeferredProbes
from numaprobe.drivercore.devices import Devices
from numaprobe.drivercore.drivers import Drivers
from numaprobe.drivercore.locking import HeldDevice
from numaprobe.drivercore.model import Bus
from numaprobe.drivercore.options import CoreOptions
from numaprobe.drivercore.release import Releasing
from numaprobe.drivercore.state import CoreState
from numaprobe.drivercore.sysfs import SysfsFiles
from numaprobe.drivercore.validate import validate_core
from numaprobe.drivercore.waiting import Waiting
from numaprobe.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore.chain import Chain
    from numaprobe.drivercore.model import Device, Driver
    from numaprobe.drivercore.placement import Placing
    from numaprobe.records import ProbeRecord
    from numaprobe.runtime import Machine, Task

B = TypeVar("B", bound=Bus)


class DriverCore:
    """A driver core on a machine.

    Attributes:
        machine: what runs it.
        state: what it knows.
        buses: by name.
        records: one for each call of a probe body, in the order of their ends.

    """

    def __init__(self, machine: Machine, policy: Placing | None = None, options: CoreOptions | None = None) -> None:
        self.machine = machine
        self.state = state = CoreState(machine, options or CoreOptions())
        self.buses = state.buses
        self.asyncs = AsyncCalls(machine)
        chains = self._chains = Chains(machine)
        self.bodies = bodies = ProbeBodies(machine, chains, state.options)
        deadlocks = Deadlocks(chains, state.links, bodies)
        self.deferred = deferred = DeferredProbes(state, chains, self.device_initial_probe)
        self.attributes = DeviceFiles(state, chains, bodies)
        release = self._release = Releasing(state, chains, bodies, self.asyncs, self.attributes, self)
        self.binding = Binding(state, chains, bodies, release, deferred, self.asyncs, self.attributes, self)
        self._devices = Devices(state, chains, deadlocks, deferred, release, self.attributes, self)
        self._drivers = Drivers(state, deadlocks, deferred, self.binding, release, self.asyncs)
        self._sysfs = SysfsFiles(state, bodies, deadlocks, deferred, self.binding, release)
        self._waiting = Waiting(state, deadlocks, deferred, self.asyncs)
        if state.options.async_names_cut:
            machine.warn("driver-async-probe", "driver_async_probe= is too long; what is beyond 255 bytes is cut")
        if policy is not None:
            state.placement = policy.place(self)

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
        return self.state.bus(name)

    # ---- devices ---------------------------------------------------------------------------------------------------
    def device_add(self, dev: Device) -> Awaitable[None]:
        """Register a device and look for its driver; when this returns, sync drivers have been tried.

        Raises:
            StateError: it was added before, its name is taken, or its parent is not registered.

        """
        return self._devices.add(dev)

    def device_del(self, dev: Device) -> Awaitable[None]:
        """Remove a device: children first, then its driver is released, then it is gone.

        Raises:
            StateError: it is not registered, or somebody else removes it.
            DeadlockError: called from inside a body that it would wait for: the device's own, a child's, a consumer's.

        """
        return self._devices.remove(dev)

    def devm_add_action(self, dev: Device, name: str, release: Callable[[], Awaitable[None]]) -> None:
        """Have ``release`` awaited when the driver lets ``dev`` go, or when its probe fails; last added first.

        Raises:
            StateError: the device is neither being probed nor bound.

        """
        if dev.driver is None:
            raise StateError(f"device {dev.name} has no driver that could manage '{name}'", dev.story())
        dev.p.devres.append((name, release))

    # ---- drivers ---------------------------------------------------------------------------------------------------
    def driver_register(self, drv: Driver) -> Awaitable[None]:
        """Register a driver and offer it the devices of its bus; its async probes may be under way on return.

        Raises:
            StateError: the bus has a driver of this name, or one that is still letting its devices go.
            DeadlockError: called from inside a probe of a device that it matches.

        """
        return self._drivers.register(drv)

    def driver_unregister(self, drv: Driver) -> Awaitable[None]:
        """Take a driver away: it lets its devices go, last bound first.

        Raises:
            StateError: it is not registered.
            DeadlockError: called from inside a body that it would wait for: its own, a consumer's of its devices, and
                if it probes asynchronously any that an async worker runs.

        """
        return self._drivers.unregister(drv)

    def load_module(self, *drivers: Driver, name: str = "", async_probe: bool | None = None) -> Awaitable[None]:
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
        return self._drivers.load_module(drivers, name, async_probe=async_probe)

    def allows_async(self, drv: Driver) -> bool:
        """Tell whether a driver may be probed asynchronously (``driver_allows_async_probing``)."""
        return drv.allows_async(self.state.options)

    # ---- what users write to sysfs ---------------------------------------------------------------------------------
    def bind(self, bus: str, driver: str, device: str) -> Awaitable[int]:
        """Write a device's name to a driver's ``bind``: 0 or a negative errno."""
        return self._sysfs.bind(bus, driver, device)

    def unbind(self, bus: str, driver: str, device: str) -> Awaitable[int]:
        """Write a device's name to a driver's ``unbind``: 0, or -ENODEV if it is not the device's driver.

        While that driver probes the device, it waits for the end and lets go what was bound, as ``unbind_store`` does.
        """
        return self._sysfs.unbind(bus, driver, device)

    def drivers_probe(self, bus: str, device: str) -> Awaitable[int]:
        """Write a device's name to the bus's ``drivers_probe``: 0, -ENODEV, or -EINVAL if probing failed."""
        return self._sysfs.drivers_probe(bus, device)

    def read(self, bus: str, device: str, file: str) -> Awaitable[int]:
        """Read a file of a device (``Attribute``): what its function gave, -ENOENT if it is not there, or -EACCES.

        Who takes the file away meanwhile, as device or driver goes, waits for the end.
        """
        return self.attributes.call(bus, device, file, write=False)

    def write(self, bus: str, device: str, file: str) -> Awaitable[int]:
        """Write a file of a device; see ``read``."""
        return self.attributes.call(bus, device, file, write=True)

    # ---- waiting ---------------------------------------------------------------------------------------------------
    @property
    def probe_count(self) -> int:
        """Probes under way."""
        return int(self.state.probes)

    def wait_for_device_probe(self) -> Awaitable[None]:
        """Wait until deferred work, probes and async calls are over, in this order.

        So a retry that an asynchronous probe triggers may be left, as in the kernel; see ``settle``.

        Raises:
            DeadlockError: called from inside a probe.

        """
        return self._waiting.wait_for_device_probe()

    def settle(self) -> Awaitable[None]:
        """Wait for probes until nothing triggers a retry meanwhile: no probing is left then, whoever made it.

        The kernel has no such wait; what is left deferred waits for something new.

        Raises:
            DeadlockError: called from inside a probe.

        """
        return self._waiting.settle()

    def late_initcall(self) -> Awaitable[None]:
        """Come to the point of booting where deferrals are retried."""
        return self.deferred.late_initcall()

    def device_block_probing(self) -> Awaitable[None]:
        """Defer every probe from now on and wait for those under way.

        Raises:
            DeadlockError: called from inside a probe.

        """
        return self._waiting.block()

    def device_unblock_probing(self) -> None:
        """Probe again, deferred devices first."""
        self._waiting.unblock()

    # ---- for the rules of buses (``CoreForBuses``) -----------------------------------------------------------------
    def call_probe_body(self, dev: Device) -> Awaitable[int]:
        """Run ``dev.driver``'s own probe here and record it: 0 or what it returned."""
        return self.bodies.probe(dev)

    def call_remove_body(self, dev: Device) -> Awaitable[None]:
        """Run ``dev.driver``'s own remove here."""
        return self.bodies.remove(dev)

    def bus_probe(self, dev: Device, function: Callable[[], Awaitable[int]], *, under_parent: bool) -> Awaitable[int]:
        """Run a bus's own probe where the placement wants it."""
        return self.state.placement.bus_probe(dev, function, under_parent=under_parent)

    def device_initial_probe(self, dev: Device) -> Awaitable[None]:
        """Look for a driver as for a new device (``bus_probe_device``)."""
        return self.binding.device_initial_probe(dev)

    def device_attach(self, dev: Device) -> Awaitable[int]:
        """Look for a driver in the caller: 1 bound, 0 none, negative errno."""
        return self.binding.device_attach(dev)

    def device_release_driver(self, dev: Device) -> Awaitable[None]:
        """Have the driver of ``dev`` let it go, consumers first, without its parent's lock."""
        return self._release.device_release_driver(dev, parent=False)

    def locked(self, dev: Device, *, parent: bool = False) -> HeldDevice:
        """Hold a device's lock, and with ``parent`` its parent's too where the bus needs it (``async with``)."""
        return HeldDevice(self._chains, dev, parent=parent)

    def guarded(self, what: str, function: Callable[[], Awaitable[object]]) -> Awaitable[None]:
        """Await a call that must not keep the core from going on; an exception becomes a warning."""
        return self.bodies.guarded(what, function)

    # ---- what happens ----------------------------------------------------------------------------------------------
    @property
    def chains(self) -> dict[Task, Chain]:
        """Which devices' bodies each task is inside of now, outermost first."""
        return self._chains.all()

    # ---- what happened ---------------------------------------------------------------------------------------------
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
        validate_core(self.state, self.asyncs, quiescent=quiescent)
