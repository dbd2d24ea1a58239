"""What a scenario has, numbered, and what it is called in the guest.

The module knows things by numbers alone. Devices of plain buses keep their names, below a bus ``numaprobe-BUS``,
because the kernel has a platform and a virtio bus already. PCI functions stand on bus 0 of host bridges of the module's
own: one domain for each node, from 0x20000 on (another one where 256 functions are not enough), and a physical function
is followed by room for its virtual ones. A driver of a name that the kernel has on its PCI bus gets another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from numaprobe.buses.pci import virtfn_name
from numaprobe.errors import InputError
from numaprobe.scenario.inkernel.limits import bus_kind
from numaprobe.scenario.phases import RegisterChildren, with_inner
from numaprobe.scenario.plan import enabled_vfs, expand_group, make_plan
from numaprobe.scenario.steps import SriovNumvfs, all_steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numaprobe.scenario.phases import Phase
    from numaprobe.scenario.plan import DeviceSpec
    from numaprobe.scenario.schema import DriverModel, Scenario
    from numaprobe.topology import Topology

#: as ``LAB_DOMAIN``, ``LAB_DEVICES``, … of ``kernel/lab/module/lab.h``
_DOMAIN: Final = 0x20000
#: the last of each is kept for a mark (``plan.MARK``)
MAX_DEVICES: Final = 4095
MAX_DRIVERS: Final = 63
MAX_BUSES: Final = 15
MAX_MATCHES: Final = 16
MAX_LOCKS: Final = 64
_FUNCTIONS: Final = 256
_SLOT: Final = 8
#: the first number that stands for a ``compatible``: a PCI device ID
_FIRST_ID: Final = 0x100
#: drivers that a guest's kernel has on its PCI bus
_TAKEN: Final = frozenset(("virtio-pci", "pcieport"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedDevice:
    """A device in the guest."""

    number: int
    #: the scenario's name, and the guest's
    name: str
    guest_name: str
    bus: str
    node: int
    compatible: str
    #: name of the device above it
    parent: str | None = None
    #: which registration in its parent's probe brings it; -1: none does
    group: int = -1
    suppliers: tuple[str, ...] = ()
    phases: tuple[Phase, ...] | None = None
    #: of a PCI function: its bridge, where it stands there, how many virtual functions it has room for
    bridge: int = -1
    devfn: int = -1
    vfs: int = 0
    #: of a virtual function: the number of the physical one
    physical: int = -1


@dataclass(slots=True)
class Layout:
    """Everything that a scenario has on a machine; see ``lay_out``."""

    scenario: Scenario
    devices: list[PlacedDevice] = field(default_factory=list)
    #: node of each host bridge
    bridges: list[int] = field(default_factory=list)
    buses: dict[str, int] = field(default_factory=dict)
    compatibles: dict[str, int] = field(default_factory=dict)
    locks: dict[str, int] = field(default_factory=dict)
    #: id() of a phase that registers children -> its number
    groups: dict[int, int] = field(default_factory=dict)
    #: ``name`` and ``bus/name`` -> number, of two devices the first one's; and of how many devices it has them
    _numbers: dict[str, int] = field(default_factory=dict)
    _named: int = 0

    def compatible(self, text: str) -> int:
        """Return the number that stands for what drivers match."""
        return self.compatibles.setdefault(text, _FIRST_ID + len(self.compatibles))

    def lock(self, name: str) -> int:
        """Return the number of a lock."""
        return self.locks.setdefault(name, len(self.locks))

    def group(self, phase: Phase) -> int:
        """Return the number of a phase that registers children."""
        return self.groups.setdefault(id(phase), len(self.groups))

    def number(self, name: str) -> int:
        """Return the number of the device of this name, or of ``bus/name``; -1: there is none."""
        for device in self.devices[self._named :]:
            for known in (device.name, f"{device.bus}/{device.name}"):
                self._numbers.setdefault(known, device.number)
        self._named = len(self.devices)
        return self._numbers.get(name, -1)

    def drivers_of(self, bus: str, compatible: str) -> list[DriverModel]:
        """Return the drivers that match."""
        return [one for one in self.scenario.drivers if one.bus == bus and compatible in (one.match or (one.name,))]

    @property
    def names(self) -> dict[str, str]:
        """The guest's name of each of the scenario's devices."""
        return {device.name: device.guest_name for device in self.devices}


def guest_driver(driver: str, bus: str) -> str:
    """Return what a driver is called in the guest."""
    return f"{driver}.lab" if bus == "pci" and driver in _TAKEN else driver


def guest_bus(scenario: Scenario, bus: str) -> str:
    """Return what a bus is called in the guest."""
    return bus if bus_kind(scenario, bus) == "pci" else f"numaprobe-{bus}"


def lay_out(scenario: Scenario, topology: Topology) -> Layout:
    """Return what ``scenario`` has on ``topology``, numbered.

    Raises:
        InputError: more than the module takes.

    """
    layout = Layout(scenario)
    specs = make_plan(scenario, topology).devices
    named = [*(bus.name for bus in scenario.buses), *(spec.bus for spec in specs)]
    for bus in [*named, *(driver.bus for driver in scenario.drivers)]:
        layout.buses.setdefault(bus, len(layout.buses))
    places = _FunctionPlaces(layout, specs)
    for spec in specs:
        _place(layout, places, spec, topology)
    for what, count, most in (
        ("devices", len(layout.devices), MAX_DEVICES),
        ("drivers", len(scenario.drivers), MAX_DRIVERS),
        ("buses", len(layout.buses), MAX_BUSES),
        (
            "texts that one driver matches",
            max((len(one.match or ()) for one in scenario.drivers), default=0),
            MAX_MATCHES,
        ),
    ):
        if count > most:
            raise InputError(f"has {count} {what}; the lab's module takes at most {most}", scenario.where)
    return layout


class _FunctionPlaces:
    """Where PCI functions stand: node by node, in order, each at the beginning of a slot while there are slots."""

    def __init__(self, layout: Layout, specs: Iterable[DeviceSpec]) -> None:
        self._layout = layout
        #: node -> the number of its last bridge, and the first free function there
        self._free: dict[int, tuple[int, int]] = {}
        count: dict[int, int] = {}
        for spec in specs:
            count[spec.node] = count.get(spec.node, 0) + -(-(1 + vfs_of(layout, spec)) // _SLOT)
        self._aligned = {node for node, slots in count.items() if slots * _SLOT <= _FUNCTIONS}

    def take(self, node: int, functions: int) -> tuple[int, int]:
        """Return bridge and first function of so many functions of a node that stand in a row."""
        bridge, free = self._free.get(node, (-1, _FUNCTIONS))
        if node in self._aligned:
            free = -(-free // _SLOT) * _SLOT
        if bridge < 0 or free + functions > _FUNCTIONS:
            bridge, free = len(self._layout.bridges), 0
            self._layout.bridges.append(node)
        self._free[node] = bridge, free + functions
        return bridge, free


def vfs_of(layout: Layout, spec: DeviceSpec) -> int:
    """Return how many virtual functions a device is asked for: in its probe, or by a step."""
    scenario = layout.scenario
    if bus_kind(scenario, spec.bus) != "pci":
        return 0
    drivers = layout.drivers_of(spec.bus, spec.compatible)
    programs = [spec.phases] if spec.phases is not None else [driver.phases for driver in drivers]
    asked = [count for phases in programs for count in enabled_vfs(phases)]
    for _, step in all_steps(scenario.steps, "steps"):
        if isinstance(step, SriovNumvfs) and step.sriov_numvfs.device == spec.name:
            asked.append(step.sriov_numvfs.vfs)
    return max(asked, default=0)


def _place(layout: Layout, places: _FunctionPlaces, spec: DeviceSpec, topology: Topology, group: int = -1) -> None:
    """Number a device, its virtual functions, and what its probe registers."""
    if bus_kind(layout.scenario, spec.bus) == "pci":
        _place_function(layout, places, spec)
    else:
        layout.devices.append(_device(layout, spec, spec.name, group=group))
    drivers = layout.drivers_of(spec.bus, spec.compatible)
    for phases in [spec.phases] if spec.phases is not None else [driver.phases for driver in drivers]:
        for number, child in _children(layout, phases, spec.name, topology):
            _place(layout, places, child, topology, number)


def _children(
    layout: Layout, phases: Iterable[Phase], parent: str, topology: Topology
) -> Iterator[tuple[int, DeviceSpec]]:
    for phase in with_inner(phases):
        for group in phase.children if isinstance(phase, RegisterChildren) else ():
            for child in expand_group(group, topology, parent):
                yield layout.group(phase), child


def _place_function(layout: Layout, places: _FunctionPlaces, spec: DeviceSpec) -> None:
    vfs = vfs_of(layout, spec)
    if vfs >= _FUNCTIONS:
        raise InputError(f"device '{spec.name}': the lab's module has room for 255 virtual functions")
    bridge, devfn = places.take(spec.node, 1 + vfs)
    address = _address(bridge, devfn)
    physical = _device(layout, spec, address, bridge=bridge, devfn=devfn, vfs=vfs)
    layout.devices.append(physical)
    for index in range(vfs):
        layout.devices.append(
            PlacedDevice(
                number=len(layout.devices),
                name=virtfn_name(spec.name, index),
                guest_name=virtfn_name(address, index),
                bus=spec.bus,
                node=spec.node,
                compatible=f"{spec.compatible}-vf",
                parent=spec.name,
                bridge=bridge,
                devfn=devfn + 1 + index,
                physical=physical.number,
            )
        )


def _device(
    layout: Layout,
    spec: DeviceSpec,
    guest_name: str,
    *,
    group: int = -1,
    bridge: int = -1,
    devfn: int = -1,
    vfs: int = 0,
) -> PlacedDevice:
    return PlacedDevice(
        number=len(layout.devices),
        name=spec.name,
        guest_name=guest_name,
        bus=spec.bus,
        node=spec.node,
        compatible=spec.compatible,
        parent=spec.parent,
        group=group,
        suppliers=spec.suppliers,
        phases=spec.phases,
        bridge=bridge,
        devfn=devfn,
        vfs=vfs,
    )


def _address(bridge: int, devfn: int) -> str:
    return f"{_DOMAIN + bridge:04x}:00:{devfn >> 3:02x}.{devfn & 7}"
