"""The devices, drivers and buses of a scenario, alive in one driver core.

A world is made for one run and thrown away with it. It turns the plan's descriptions into objects of the core when
the steps ask for them, and it is what the bodies of probes see of the run: shared locks, flags of bound devices, and
the way to register children.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.buses import make_bus
from numaprobe.drivercore import Driver, ProbeType
from numaprobe.errors import BodyError, UnknownNameError, UsageError
from numaprobe.scenario.cost import attributes_of, probe_body, remove_body
from numaprobe.scenario.phases.base import MILLION
from numaprobe.scenario.plan import DeviceSpec, expand_group
from numaprobe.scenario.readas import ReadAs
from numaprobe.scenario.tables import MAX_DEVICES
from numaprobe.scenario.turns import Resource, Share, turns_of
from numaprobe.scenario.waiting import LockBook, WatchedLock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.drivercore import Bus, Device, DriverCore
    from numaprobe.runtime import Event
    from numaprobe.scenario.phases import DeviceGroup, Phase
    from numaprobe.scenario.plan import RunPlan
    from numaprobe.scenario.schema import DriverModel

PROBE_TYPES: Final = {
    "default": ProbeType.DEFAULT,
    "async": ProbeType.PREFER_ASYNCHRONOUS,
    "sync": ProbeType.FORCE_SYNCHRONOUS,
}


class World:
    """Everything that a run's steps and bodies act on."""

    def __init__(self, plan: RunPlan, core: DriverCore, read_as: ReadAs = ReadAs.EXPECTED) -> None:
        self.plan = plan
        self.read_as = read_as
        self.turns = turns_of(len(plan.devices))
        self._shares: dict[str, tuple[Share, ...]] | None = None
        self.core = core
        self.machine = core.machine
        self._locks: dict[str, WatchedLock] = {}
        #: which probe waited for which
        self.book = LockBook()
        self._bound: dict[str, Event] = {}
        self._watched: dict[str, Event] = {}
        self._added = 0
        #: what a device's probe registered, in order
        self._children: dict[Device, list[Device]] = {}
        #: bus, name -> what probing this device does in place of its driver's phases
        self._own_phases: dict[tuple[str, str], tuple[Phase, ...]] = {}
        self._drivers: dict[str, list[Driver]] = {}
        self._buses = {bus.name: bus for bus in plan.scenario.buses}

    def start(self) -> None:
        """Register the buses: those of the file, and those that its devices and drivers name."""
        scenario = self.plan.scenario
        names = [*self._buses, *(d.bus for d in scenario.devices), *(d.bus for d in scenario.drivers)]
        for name in dict.fromkeys(names):
            self._bus(name)
        for model in scenario.drivers:
            self._drivers.setdefault(model.name, []).append(self._make_driver(model))

    def _bus(self, name: str) -> Bus:
        """Return the bus of this name, registered now if it was not."""
        if name in self.core.buses:
            return self.core.bus(name)
        model = self._buses.get(name)
        bus = self.core.bus_register(make_bus(name, model.kind if model else None))
        bus.drivers_autoprobe = model.autoprobe if model else True
        return bus

    # ---- for steps -------------------------------------------------------------------------------------------------
    def drivers(self, name: str) -> list[Driver]:
        """Return the drivers of this name, of every bus that has one: the same objects in every step.

        Raises:
            UnknownNameError: there is none.

        """
        try:
            return self._drivers[name]
        except KeyError:
            raise UnknownNameError("driver", name, self._drivers) from None

    def _make_driver(self, model: DriverModel) -> Driver:
        return Driver(
            name=model.name,
            bus=self.core.bus(model.bus),
            probe=probe_body(model, self, self.plan.scenario.seed),
            remove=remove_body(model, self),
            compatible=model.match or (model.name,),
            probe_type=PROBE_TYPES[model.probe_type],
            function=model.function or "",
            dev_attributes=attributes_of(model.attributes, self),
        )

    def devices(self) -> dict[str, Device]:
        """Return every device that is registered now, by name; of two with one name the first bus's."""
        return {dev.name: dev for bus in reversed(self.core.buses.values()) for dev in bus.devices.values()}

    def find(self, name: str) -> Device | None:
        """Return the device of this name that is registered now; of two with one name the first bus's."""
        return next((bus.devices[name] for bus in self.core.buses.values() if name in bus.devices), None)

    async def add(self, specs: Iterable[DeviceSpec]) -> None:
        """Register these devices, in order, by the way of their bus; one that is asynchronous is waited for."""
        waiting: dict[Bus, None] = {}
        for spec in specs:
            dev = self._make_device(spec, await self._parent(spec))
            await dev.bus.device_register(self.core, dev)
            waiting[dev.bus] = None
        for bus in waiting:
            await bus.synchronize(self.core)

    async def _parent(self, spec: DeviceSpec) -> Device | None:
        """Return the parent that a device of the file names, once its own asynchronous registration is over.

        Raises:
            UsageError: it is not registered.

        """
        if spec.parent is None:
            return None
        for bus in self.core.buses.values():
            await bus.synchronize(self.core)
        parent = self.find(spec.parent)
        if parent is None:
            raise UsageError(f"parent '{spec.parent}' of device '{spec.name}' is not registered; add it first")
        return parent

    def _make_device(self, spec: DeviceSpec, parent: Device | None) -> Device:
        if spec.phases is not None:
            self._own_phases[spec.bus, spec.name] = spec.phases
        return self._bus(spec.bus).make_device(
            name=spec.name,
            node=spec.node,
            parent=parent,
            compatible=spec.compatible,
            suppliers=spec.suppliers,
            attributes=attributes_of(spec.attributes, self),
            **spec.own,
        )

    # ---- for bodies (see cost.BodySurroundings) -------------------------------------------------------------------
    def lock(self, name: str) -> WatchedLock:
        """Return the lock that all bodies share by this name."""
        if name not in self._locks:
            self._locks[name] = self._watched_lock(name)
        return self._locks[name]

    def _watched_lock(self, name: str) -> WatchedLock:
        return WatchedLock(self.machine.lock(name), self.machine.now, self.book)

    def shares(self, driver: str) -> tuple[Share, ...]:
        """Return the parts that a probe of this driver has in shared resources."""
        if self._shares is None:
            self._shares = self._all_shares()
        return self._shares.get(driver, ())

    def _all_shares(self) -> dict[str, tuple[Share, ...]]:
        resources: dict[str, Resource] = {}
        found: dict[str, tuple[Share, ...]] = {}
        for model in self.plan.scenario.shared:
            hold, slowdown = model.hold_as(self.read_as), round(model.slowdown_as(self.read_as) * MILLION)
            if not (hold or slowdown):
                continue
            if model.lock not in resources:
                resources[model.lock] = Resource(self._watched_lock(model.lock))
            share = Share(resources[model.lock], hold, slowdown)
            for driver in model.drivers:
                found[driver] = (*found.get(driver, ()), share)
        return found

    def phases_of(self, dev: Device) -> tuple[Phase, ...] | None:
        """Return what probing this very device does; None: what its driver's phases say."""
        return self._own_phases.get((dev.bus.name, dev.name))

    def bound(self, device: str) -> Event:
        """Return the flag that is set while this device's driver has it."""
        if device not in self._bound:
            self._bound[device] = self.machine.event(f"{device} is bound")
        return self._bound[device]

    def watch(self, device: str) -> Event:
        """Return a flag that will be set while this device's probe runs."""
        if device not in self._watched:
            self._watched[device] = self.machine.event(f"{device} is probed")
        return self._watched[device]

    def watched(self, device: str) -> Event | None:
        """Return the flag to be set while this device's probe runs, if a step waits for that."""
        return self._watched.get(device)

    @property
    def deferred_timed_out(self) -> bool:
        """Whether ``deferred_probe_timeout`` is over: what asks for an optional supplier does without."""
        return self.core.deferred.timed_out

    async def register_children(self, parent: Device, groups: Iterable[DeviceGroup]) -> None:
        """Add the devices of these groups below ``parent``."""
        for group in groups:
            for spec in expand_group(group, self.plan.topology, parent.name):
                self._count()
                child = self._make_device(spec, parent)
                self._children.setdefault(parent, []).append(child)
                await child.bus.child_register(self.core, child)

    async def enable_vfs(self, parent: Device, count: int) -> None:
        """Enable virtual functions of ``parent``."""
        await parent.bus.enable(self.core, parent, "vfs", count)

    async def remove_children(self, parent: Device) -> None:
        """Take back what ``parent``'s probe registered, last first; what steps added below it stays."""
        await parent.bus.disable(self.core, parent)
        for child in self._children.pop(parent, [])[::-1]:
            if child.state != "new" and not child.p.dead:
                await self.core.device_del(child)

    def _count(self) -> None:
        """Bound what repeated binding can register; what one round registers was bounded before the run."""
        self._added += 1
        if self._added > 10 * MAX_DEVICES:
            raise BodyError(f"probes registered more than {10 * MAX_DEVICES} devices")
