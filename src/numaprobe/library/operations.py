"""What a user of the library can ask for, once, as coroutines that run in the core.

``facade.py`` offers each of them twice: to plain code, which waits, and to async code, which awaits.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import errno
from typing import TYPE_CHECKING, Any, Final

from numaprobe.buses import KINDS
from numaprobe.drivercore import Bus, Device, DeviceState, DriverCore
from numaprobe.errors import StateError, UnknownNameError
from numaprobe.kernel.identity import this_machine
from numaprobe.library.checks import check_device, check_driver, check_name, check_new_device
from numaprobe.library.driver import bind_driver
from numaprobe.listing import first_few
from numaprobe.records import NO_NODE, Trace
from numaprobe.topology import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numaprobe.drivercore import CoreOptions, Driver
    from numaprobe.hostmachine import HostMachine
    from numaprobe.library.driver import DeviceDriver
    from numaprobe.policies import Policy
    from numaprobe.topology import DeviceInfo


#: The buses that the kernel has code of their own for; any other name is a bus with nothing of its own.
_BUSES: Final = {name: KINDS[name] for name in ("nd", "pci", "platform", "virtio")}
#: How many devices a sentence names before it counts.
_NAMED: Final = 4


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
        self._nodes = tuple(node.id for node in machine.topology.nodes)
        self._drivers: list[Driver] = []
        self._devices: dict[Device, None] = {}
        #: buses whose probes the policy has no say on, and that were named
        self._told: set[str] = set()
        #: consumers and suppliers that were named as missing
        self._named: set[tuple[Device, str]] = set()
        self.bus("platform")  # where everything is that names no bus

    def bus(self, name: str) -> Bus:
        """Return the bus of this name; it is made when first used."""
        if name not in self.core.buses:
            kind = _BUSES.get(check_name("bus", name))
            self.core.bus_register(kind(name) if kind is not None else Bus(name))
        return self.core.buses[name]

    def _say_if_nothing_is_placed(self, bus: Bus) -> None:
        """Say that a policy which speaks in a bus's node code only has no say on this one, as in its kernel."""
        only_there = self.policy.places == {"bus_probe"} and type(bus).probe is Bus.probe
        if only_there and bus.name not in self._told:
            self._told.add(bus.name)
            name, what = self.policy.label, "places only what a bus's own node code (pci) probes"
            text = f"policy {name} {what}; on bus {bus.name} a synchronous probe runs where its caller is"
            self.machine.warn("policy-bus", f"{text}: choose another policy, or put the devices on bus='pci'")

    # ---- drivers ---------------------------------------------------------------------------------------------------
    async def register(self, source: DeviceDriver) -> None:
        """Register a driver; when this returns its synchronous probes are done."""
        check_driver(source)
        driver = bind_driver(self.machine, self.bus(source.bus), source)
        await self.core.driver_register(driver)
        self._drivers.append(driver)

    async def unregister(self, source: DeviceDriver) -> None:
        """Take a driver away: it lets its devices go, last bound first."""
        name = check_driver(source).name or type(source).__name__
        bus = self.core.bus(source.bus)
        driver = bus.drivers.get(name)
        if driver is None:
            raise UnknownNameError("driver", name, bus.drivers or ("none",))
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
        check_new_device(name, node, self._nodes, parent, compatible, suppliers)
        on = self.bus(bus)
        if not on.devices:
            self._say_if_nothing_is_placed(on)
        dev = on.make_device(
            name=name,
            node=node,
            parent=parent,
            compatible=compatible,
            suppliers=tuple(suppliers),
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
                node=self.node_here(one.name, one.node),
                bus=bus.name,
                parent=added.get(one.parent or ""),
                data=one,
            )

    def node_here(self, device: str, node: int) -> int:
        """Return a node that was read somewhere (another machine's perhaps); -1, and a warning, if it is not here."""
        if node == NO_NODE or node in self._nodes:
            return node
        self.machine.warn("node", f"{device}: its node {node} is not on this machine; it counts as without a node")
        return NO_NODE

    async def remove(self, dev: Device) -> None:
        """Remove a device: its children first, then its driver lets it go."""
        check_device(dev, "remove")
        await self.core.device_del(dev)
        self._forget_removed()

    def _forget_removed(self) -> None:
        self._devices = {dev: None for dev in self._devices if dev.state != "removed"}
        self._named = {(dev, supplier) for dev, supplier in self._named if dev in self._devices}

    def device(self, name: str, bus: str = "platform") -> Device:
        """Return a device by name.

        Raises:
            UnknownNameError: there is none.

        """
        found = self.core.bus(check_name("bus", bus))
        dev = found.devices.get(check_name("device", name))
        if dev is None:
            raise UnknownNameError("device", name, self.names(bus) or ("none",))
        return dev

    def names(self, bus: str) -> tuple[str, ...]:
        """Return the names of the devices on a bus, in the order of adding; none if there is no such bus.

        Any thread may ask while the core adds and removes: what is gone through is a copy, which is made at once.
        """
        found = self.core.buses.get(bus)
        return () if found is None else tuple(found.devices.copy())

    async def bind(self, device: str, driver: str, bus: str = "platform") -> int:
        """Bind by name, as a write to ``bind``: 0 or a negative errno."""
        self._check_names(device, driver, bus)
        return await self.core.bind(bus, driver, device)

    async def unbind(self, device: str, driver: str, bus: str = "platform") -> int:
        """Unbind by name, as a write to ``unbind``: 0 or a negative errno."""
        self._check_names(device, driver, bus)
        return await self.core.unbind(bus, driver, device)

    def _check_names(self, device: str, driver: str, bus: str) -> None:
        for what, name in (("device", device), ("driver", driver), ("bus", bus)):
            check_name(what, name)

    async def wait(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  it says what is left
        """Wait until all probes, asynchronous ones and the retries that they make too, are over.

        Raises:
            TimeoutError: ``timeout`` (seconds) passed first; it says what is still under way, and that goes on.

        """
        try:
            async with asyncio.timeout(timeout):
                await self.core.settle()
        except TimeoutError:
            late = f"core.wait: after {timeout:g} s {self._under_way()}"
            raise TimeoutError(errno.ETIMEDOUT, late) from None
        self._name_missing_suppliers()

    def _under_way(self) -> str:
        """Say what is being probed now."""
        buses = tuple(self.core.buses.values())
        probing = [dev for bus in buses for dev in bus.devices.values() if dev.state is DeviceState.PROBING]
        names = [f"{dev.name} (by {dev.driver.name if dev.driver is not None else '?'})" for dev in probing]
        return f"still probing: {first_few(names, _NAMED) or 'nothing, but probes are queued'}; they go on"

    def _name_missing_suppliers(self) -> None:
        """Name the suppliers that nobody has added, once each: a name that is mistyped would be waited for for ever."""
        links = self.core.state.links
        for dev in self._devices:
            supplier = links.missing(dev) if dev.suppliers and not dev.is_bound else None
            if supplier is None or (dev, supplier) in self._named or links.fate(supplier) != "is not there":
                continue
            self._named.add((dev, supplier))
            near = difflib.get_close_matches(supplier, [other.name for other in self._devices if other is not dev], n=1)
            hint = f"did you mean '{near[0]}'?" if near else "add it, or leave it out"
            self.machine.warn("supplier", f"{dev.name} waits for its supplier '{supplier}', which is no device: {hint}")

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
            identity=this_machine(),
            machine=to_json(self.machine.topology),
            warnings=self.machine.warnings,
        )
