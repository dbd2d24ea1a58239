"""A scenario on a machine: every device by name, every node and CPU checked.

A file can be right by itself and wrong for the machine it is run on: a node that is not there, a CPU that is not there,
more devices than anybody has, suppliers that wait for each other. All of that is found here, before anything runs, and
told with the place in the file.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numaprobe.buses import make_bus
from numaprobe.errors import InputError
from numaprobe.records import NO_NODE
from numaprobe.scenario.choice import near
from numaprobe.scenario.phases import RegisterChildren, with_inner
from numaprobe.scenario.quantities import expand_name, may_expand_to
from numaprobe.scenario.schema import BUS_KINDS
from numaprobe.scenario.steps import OnFile, all_steps
from numaprobe.scenario.tables import MAX_DEVICES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numaprobe.scenario.phases import AttributeModel, DeviceGroup, Phase
    from numaprobe.scenario.schema import DriverModel, Scenario
    from numaprobe.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """One device to be added."""

    name: str
    bus: str
    #: -1: none of its own
    node: int
    parent: str | None
    compatible: str
    suppliers: tuple[str, ...]
    #: what its probe does, in place of its driver's phases
    phases: tuple[Phase, ...] | None = None
    #: its own files in sysfs
    attributes: tuple[AttributeModel, ...] = ()
    #: what devices of its bus take besides (``Bus.own_keys``)
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """A scenario, a machine, and the devices that the one has on the other."""

    scenario: Scenario
    topology: Topology
    devices: tuple[DeviceSpec, ...]


def make_plan(scenario: Scenario, topology: Topology) -> RunPlan:
    """Return the devices that ``scenario`` has on ``topology``.

    Raises:
        InputError: a node, CPU, bus, parent or driver that is not there; names used twice; suppliers in a circle; too
            many devices.

    """
    check_size(scenario, topology)
    devices: list[DeviceSpec] = []
    for index, group in enumerate(scenario.devices):
        try:
            devices.extend(expand_group(group, topology))
        except InputError as error:
            raise InputError(f"devices[{index}].{error.what}", scenario.where) from None
    _check_cpus(scenario, topology)
    _check_buses(scenario)
    _check_own_keys(scenario)
    _check_names(scenario, devices)
    _check_supplier_cycle(scenario, devices)
    _check_files(scenario)
    return RunPlan(scenario=scenario, topology=topology, devices=tuple(devices))


# ---- devices -------------------------------------------------------------------------------------------------------
def group_size(group: DeviceGroup, topology: Topology) -> int:
    """Return how many devices a group has on this machine."""
    return len(topology.online) if group.count == "cpus" else int(group.count)


def expand_group(group: DeviceGroup, topology: Topology, parent: str = "") -> Iterator[DeviceSpec]:
    """Return the devices of a group, in order.

    Args:
        group: the group.
        topology: for ``spread``, ``cpu`` and to check nodes.
        parent: name of the device whose probe registers them; empty for devices of the file itself.

    Raises:
        InputError: a node that is not there.

    """
    nodes = _nodes(group, topology)
    for index, node in zip(range(group.first, group.first + group_size(group, topology)), nodes, strict=False):
        yield DeviceSpec(
            name=expand_name(group.name, index, parent),
            bus=group.bus,
            node=node,
            parent=expand_name(group.parent, index, parent) if group.parent else parent or None,
            compatible=expand_name(group.compatible, index, parent) if group.compatible else "",
            suppliers=tuple(expand_name(name, index, parent) for name in group.suppliers or ()),
            phases=group.phases,
            attributes=group.attributes,
            own=group.own,
        )


def _nodes(group: DeviceGroup, topology: Topology) -> Iterator[int]:
    choice = group.node
    if choice is None or choice in ("none", NO_NODE):
        return itertools.repeat(NO_NODE)
    if choice == "cpu":
        return itertools.cycle([topology.node_of(cpu) for cpu in topology.online])
    if choice == "spread":
        return itertools.cycle([node.id for node in topology.nodes if node.online] or [NO_NODE])
    wanted = [choice] if isinstance(choice, int) else [int(node) for node in choice]
    for node in wanted:
        if topology.node(node) is None:
            there = ", ".join(str(node.id) for node in topology.nodes)
            raise InputError(f"node: node {node} does not exist on machine '{topology.name}'; it has {there}")
    return itertools.cycle(wanted)


def _check_buses(scenario: Scenario) -> None:
    """Refuse the name of a bus that behaves by its name, in other letters: ``PCI`` would be one more plain bus."""
    said = {bus.name for bus in scenario.buses if bus.kind is not None}
    named = [
        *((f"buses[{index}].name", bus.name) for index, bus in enumerate(scenario.buses)),
        *((f"drivers[{index}].bus", driver.bus) for index, driver in enumerate(scenario.drivers)),
        *((f"devices[{index}].bus", group.bus) for index, group in enumerate(scenario.devices)),
        *(("register: bus", group.bus) for group in registered_groups(all_phases(scenario))),
    ]
    for where, bus in named:
        if bus not in said and bus not in BUS_KINDS and bus.lower() in BUS_KINDS:
            raise InputError(f"{where}: '{bus}' is no bus that is known; did you mean '{bus.lower()}'?", scenario.where)


def _check_own_keys(scenario: Scenario) -> None:
    """Refuse what devices of another bus take."""
    kinds = {bus.name: bus.kind for bus in scenario.buses}
    groups = [
        *((f"devices[{index}]", group) for index, group in enumerate(scenario.devices)),
        *(("register", group) for group in registered_groups(all_phases(scenario))),
    ]
    for where, group in groups:
        for key in group.own:
            if key not in make_bus(group.bus, kinds.get(group.bus)).own_keys:
                theirs = next(kind for kind in BUS_KINDS if key in make_bus(kind).own_keys)
                text = f"{where}.{key}: bus '{group.bus}' has none; it belongs to a device of bus '{theirs}'"
                raise InputError(text, scenario.where)


def _check_names(scenario: Scenario, devices: Iterable[DeviceSpec]) -> None:
    seen: set[tuple[str, str]] = set()
    names: set[str] = set()
    for device in devices:
        if (device.bus, device.name) in seen:
            text = f"device '{device.name}' is there twice on bus {device.bus}; use {{i}} in the name of a group"
            raise InputError(text, scenario.where)
        if device.parent and device.parent not in names:
            text = f"device '{device.name}': its parent '{device.parent}' is not a device above it"
            raise InputError(text + near(device.parent, names), scenario.where)
        seen.add((device.bus, device.name))
        names.add(device.name)
    drivers = [(driver.bus, driver.name) for driver in scenario.drivers]
    for index, key in enumerate(drivers):
        if key in drivers[:index]:
            raise InputError(f"drivers[{index}].name: driver '{key[1]}' is there twice on bus {key[0]}", scenario.where)


def _check_supplier_cycle(scenario: Scenario, devices: Iterable[DeviceSpec]) -> None:
    needs = {device.name: device.suppliers for device in devices if device.suppliers}
    done: set[str] = set()
    for start in needs:
        circle = _circle(start, needs, done)
        if circle:
            shown = circle if len(circle) <= 8 else [*circle[:6], "…", circle[-1]]  # noqa: PLR2004  one line
            text = f"suppliers form a circle, none of them can ever be probed: {' -> '.join(shown)}"
            raise InputError(text, scenario.where)


def _circle(start: str, needs: Mapping[str, tuple[str, ...]], done: set[str]) -> list[str]:
    """Return the circle that can be reached from ``start``, first name repeated at its end; empty if there is none."""
    path: dict[str, Iterator[str]] = {}
    if start not in done:
        path[start] = iter(needs[start])
    while path:
        name = next(reversed(path))
        for supplier in path[name]:
            if supplier in path:
                names = list(path)
                return [*names[names.index(supplier) :], supplier]
            if supplier in needs and supplier not in done:
                path[supplier] = iter(needs[supplier])
                break
        else:
            done.add(name)
            del path[name]
    return []


def _check_files(scenario: Scenario) -> None:
    """Refuse a step that reads or writes a file of sysfs which no device can have."""
    groups = (*scenario.devices, *registered_groups(all_phases(scenario)))
    known = {file.name for driver in scenario.drivers for file in driver.attributes}
    known |= {file.name for group in groups for file in group.attributes}
    for where, step in all_steps(scenario.steps, "steps"):
        if isinstance(step, OnFile) and step.file not in known:
            text = f"{where}.{step.key}.file: no driver or device has '{step.file}' among its 'attributes'"
            raise InputError(text + near(step.file, known), scenario.where)


def _check_cpus(scenario: Scenario, topology: Topology) -> None:
    """Refuse a CPU that the machine cannot have, wherever the scenario names one."""
    _check_cpu(scenario, topology, "caller.cpu", scenario.caller.cpu)
    for where, step in all_steps(scenario.steps, "steps"):
        if step.cpu is not None:
            _check_cpu(scenario, topology, f"{where}.cpu", step.cpu)
        key, cpus = step.names_cpus()
        _check_cpu(scenario, topology, f"{where}.{key}", cpus.last)


def _check_cpu(scenario: Scenario, topology: Topology, where: str, cpu: int | None) -> None:
    if cpu is not None and cpu not in topology.possible:
        text = f"{where}: CPU {cpu} does not exist on machine '{topology.name}'; it has {topology.possible}"
        raise InputError(text, scenario.where)


# ---- how many ------------------------------------------------------------------------------------------------------
def check_size(scenario: Scenario, topology: Topology) -> None:
    """Refuse a scenario of more than ``MAX_DEVICES`` devices, those included that probes register.

    Raises:
        InputError: too many, or a driver that registers devices which it (or a child's driver) registers again.

    """
    count = _Count(scenario, topology)
    total = sum(count.devices(group) for group in scenario.devices)
    if total > MAX_DEVICES:
        raise InputError(f"has {total} devices; at most {MAX_DEVICES} are simulated", scenario.where)


class _Count:
    """How many devices there will be, those included that probes register; each driver is counted once."""

    def __init__(self, scenario: Scenario, topology: Topology) -> None:
        self._scenario = scenario
        self._topology = topology
        self._registered: dict[int, int | None] = {}

    def devices(self, group: DeviceGroup) -> int:
        size = group_size(group, self._topology)
        if group.phases is None:
            return self._with_children(group.bus, group.compatible) * size
        return (1 + self._led_to(group.phases, group.bus, group.compatible)) * size

    def _led_to(self, phases: Iterable[Phase], bus: str, compatible: str | None) -> int:
        """Return how many devices these phases lead to, of a device of this bus that matches ``compatible``."""
        phases = tuple(phases)
        functions = sum(enabled_vfs(phases))
        below = functions * self._with_children(bus, f"{compatible}-vf") if functions else 0
        return below + sum(self.devices(child) for child in registered_groups(phases))

    def _with_children(self, bus: str, compatible: str | None) -> int:
        drivers = enumerate(self._scenario.drivers)
        return 1 + sum(self._children(index, compatible) for index, drv in drivers if _may_match(drv, bus, compatible))

    def _children(self, index: int, compatible: str | None) -> int:
        """Return how many devices one probe of this driver leads to."""
        driver = self._scenario.drivers[index]
        known = self._registered.get(index, 0)
        if known is None:
            text = f"drivers[{index}]: '{driver.name}' registers devices whose probe leads to itself again, without end"
            raise InputError(text, self._scenario.where)
        if index not in self._registered:
            self._registered[index] = None
            known = self._led_to(driver.phases, driver.bus, compatible)
            self._registered[index] = known
        return known


def _may_match(driver: DriverModel, bus: str, compatible: str | None) -> bool:
    if driver.bus != bus or compatible is None:
        return False
    return may_expand_to(compatible, driver.match or (driver.name,))


def all_phases(scenario: Scenario) -> Iterator[Phase]:
    """Return the phases of every driver and of every group that has its own."""
    for driver in scenario.drivers:
        yield from driver.phases
    for group in scenario.devices:
        yield from group.phases or ()


def enabled_vfs(phases: Iterable[Phase]) -> Iterator[int]:
    """Return how many virtual functions each of these phases enables, those under a lock included."""
    return (phase.vfs() for phase in with_inner(phases))


def registered_groups(phases: Iterable[Phase]) -> Iterator[DeviceGroup]:
    """Return the groups of devices that these phases register, those under a lock included."""
    for phase in with_inner(phases):
        if isinstance(phase, RegisterChildren):
            yield from phase.children
