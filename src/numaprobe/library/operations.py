"""What a user of the library can ask for, once, as coroutines that run in the core.

``facade.py`` offers each of them twice: to plain code, which waits, and to async code, which awaits.
"""

from __future__ import annotations

import contextlib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from numaprobe.drivercore import Bus, Device, DriverCore
from numaprobe.errors import StateError, UnknownNameError
from numaprobe.library.driver import bind_driver
from numaprobe.records import Trace
from numaprobe.topology import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numaprobe.drivercore import CoreOptions, Driver
    from numaprobe.host import HostMachine
    from numaprobe.library.driver import DeviceDriver
    from numaprobe.policies import Policy
    from numaprobe.topology import DeviceInfo


class PatternBus(Bus):
    """A bus whose drivers may name their devices by pattern, as modaliases are."""

    def match(self, dev: Device, drv: Driver) -> int:
        """Match by the driver's own function, else by its patterns."""
        if drv.match is not None:
            return drv.match(dev)
        return int(any(fnmatchcase(dev.compatible, pattern) for pattern in drv.compatible))


class Operations:
    """A driver core on a host machine, and what users do with it.

    Args:
        machine: a running machine.
        policy: where probes run.
        options: of the driver core.

    """

    def __init__(self, machine: HostMachine, policy: Policy, options: CoreOptions) -> None:
        self.machine = machine
        self.policy = policy
        self.core = DriverCore(machine, policy, options)
        #: called when the end begins, before anything is removed
        self.before_end: list[Callable[[], None]] = []
        self._drivers: list[Driver] = []
        self._devices: dict[Device, None] = {}
        self.bus("platform")  # where everything is that names no bus

    def bus(self, name: str) -> Bus:
        """Return the bus of this name; it is made when first used."""
        if name not in self.core.buses:
            self.core.bus_register(PatternBus(name))
        return self.core.buses[name]

    # ---- drivers ---------------------------------------------------------------------------------------------------
    async def register(self, source: DeviceDriver) -> None:
        """Register a driver; when this returns its synchronous probes are done."""
        driver = bind_driver(self.machine, self.bus(source.bus), source)
        await self.core.driver_register(driver)
        self._drivers.append(driver)

    async def unregister(self, source: DeviceDriver) -> None:
        """Take a driver away: it lets its devices go, last bound first."""
        name = source.name or type(source).__name__
        driver = self.bus(source.bus).drivers.get(name)
        if driver is None:
            raise UnknownNameError("driver", name, self.bus(source.bus).drivers)
        await self.core.driver_unregister(driver)
        self._drivers.remove(driver)

    # ---- devices ---------------------------------------------------------------------------------------------------
    async def add(
        self,
        name: str,
        *,
        compatible: str = "",
        node: int = -1,
        bus: str = "platform",
        parent: Device | None = None,
        suppliers: tuple[str, ...] = (),
        data: Any = None,  # noqa: ANN401  whatever the driver wants
    ) -> Device:
        """Add a device; when this returns its synchronous drivers have been tried."""
        dev = Device(
            name=name,
            bus=self.bus(bus),
            node=node,
            parent=parent,
            compatible=compatible,
            suppliers=suppliers,
            platform_data=data,
        )
        self._devices[dev] = None
        try:
            await self.core.device_add(dev)
        except BaseException:
            if dev.state == "new":
                del self._devices[dev]
            raise
        return dev

    async def add_known(self, devices: Iterable[DeviceInfo]) -> tuple[Device, ...]:
        """Add devices that sysfs (or a recorded machine) shows, parents first; those that are there already stay."""
        known = {info.name: info for info in devices}
        added: dict[str, Device] = {}
        for info in known.values():
            await self._add_known(info, known, added)
        return tuple(added.values())

    async def _add_known(self, info: DeviceInfo, known: dict[str, DeviceInfo], added: dict[str, Device]) -> None:
        line = [info]
        while (above := known.get(line[-1].parent or "")) is not None and above not in line:
            line.append(above)
        for one in reversed(line):
            bus = self.bus(one.bus or "platform")
            if one.name in added or one.name in bus.devices:
                continue
            added[one.name] = await self.add(
                one.name,
                compatible=one.modalias or "",
                node=one.node,
                bus=bus.name,
                parent=added.get(one.parent or ""),
                data=one,
            )

    async def remove(self, dev: Device) -> None:
        """Remove a device: its children first, then its driver lets it go."""
        await self.core.device_del(dev)
        self._forget_removed()

    def _forget_removed(self) -> None:
        self._devices = {dev: None for dev in self._devices if dev.state != "removed"}

    def device(self, name: str, bus: str = "platform") -> Device:
        """Return a device by name.

        Raises:
            UnknownNameError: there is none.

        """
        found = self.core.buses.get(bus)
        dev = None if found is None else found.devices.get(name)
        if dev is None:
            raise UnknownNameError("device", name, self.names(bus))
        return dev

    def names(self, bus: str) -> tuple[str, ...]:
        """Return the names of the devices on a bus, in the order of adding; none if there is no such bus.

        Any thread may ask while the core adds and removes: what is gone through is a copy, which is made at once.
        """
        found = self.core.buses.get(bus)
        return () if found is None else tuple(found.devices.copy())

    async def bind(self, device: str, driver: str, bus: str = "platform") -> int:
        """Bind by name, as a write to ``bind``: 0 or a negative errno."""
        return await self.core.bind(bus, driver, device)

    async def unbind(self, device: str, driver: str, bus: str = "platform") -> int:
        """Unbind by name, as a write to ``unbind``: 0 or a negative errno."""
        return await self.core.unbind(bus, driver, device)

    async def wait(self) -> None:
        """Wait until all probes, deferred and asynchronous ones too, are over."""
        await self.core.wait_for_device_probe()

    # ---- the end ---------------------------------------------------------------------------------------------------
    async def shut_down(self) -> None:
        """Stop probing, remove the devices (last added first), then the drivers (last registered first)."""
        await self.core.device_block_probing()
        while self._devices:
            dev = next(reversed(self._devices))
            del self._devices[dev]
            if dev.state not in ("new", "removed"):
                with contextlib.suppress(StateError):  # somebody else removes it
                    await self.core.device_del(dev)
        while self._drivers:
            await self.core.driver_unregister(self._drivers.pop())

    def trace(self) -> Trace:
        """Return all records so far."""
        return Trace(
            source="host",
            probes=tuple(sorted(self.core.records, key=lambda record: record.start_ns or 0)),
            kernel=self.machine.profile.name,
            policy=self.policy.label,
            machine=to_json(self.machine.topology),
            warnings=self.machine.warnings,
        )
