"""A scenario as lines for the lab's module: what there is, and what probes do (``tell.c`` there says what each is)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from numaprobe.drivercore import EPROBE_DEFER, errno_value
from numaprobe.errors import InternalError
from numaprobe.records import NO_NODE
from numaprobe.scenario.inkernel.layout import guest_bus, guest_driver
from numaprobe.scenario.inkernel.limits import bus_kind
from numaprobe.scenario.phases import (
    AllocateMemory,
    Compute,
    EnableVfs,
    Fail,
    HoldLock,
    RegisterChildren,
    Sleep,
    WaitForDevice,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numaprobe.scenario.inkernel.layout import Layout, PlacedDevice
    from numaprobe.scenario.phases import Phase

#: where memory comes from, as the module's numbers (0 and up: a node)
_LOCAL: Final = -1
_OF_THE_DEVICE: Final = -2


def module_lines(layout: Layout) -> Iterator[str]:
    """Yield the lines that define a scenario, in an order that the module takes."""
    scenario = layout.scenario
    for bus, number in layout.buses.items():
        yield f"bus {number} {bus_kind(scenario, bus)} {guest_bus(scenario, bus)}"
    for number, node in enumerate(layout.bridges):
        yield f"bridge {number} {node}"
    for number, driver in enumerate(scenario.drivers):
        name = guest_driver(driver.name, driver.bus)
        yield f"driver {number} {layout.buses[driver.bus]} {driver.probe_type} {name}"
        for text in driver.match or (driver.name,):
            yield f"match {number} {layout.compatible(text)}"
    for device in layout.devices:
        yield from _device(layout, device)
    for device in layout.devices:
        yield from (f"supplier {device.number} {_supplier(layout, name)}" for name in device.suppliers)
    yield from _programs(layout)


def _programs(layout: Layout) -> Iterator[str]:
    for number, driver in enumerate(layout.scenario.drivers):
        yield from _program(layout, f"p{number}", driver.phases)
        yield from _program(layout, f"r{number}", driver.remove)
    for device in layout.devices:
        if device.phases is not None:
            yield f"own {device.number}"
            yield from _program(layout, f"d{device.number}", device.phases)


def _supplier(layout: Layout, name: str) -> int:
    """Return the number of a supplier; of one that never comes, one that no device has."""
    number = layout.number(name)
    return number if number >= 0 else len(layout.devices)


def _device(layout: Layout, device: PlacedDevice) -> Iterator[str]:
    bus, compatible = layout.buses[device.bus], layout.compatible(device.compatible)
    if device.physical >= 0:
        yield f"virtual {device.number} {bus} {device.bridge} {device.devfn} {device.physical}"
    elif device.bridge >= 0:
        functions = f"{device.vfs} {layout.compatible(f'{device.compatible}-vf') if device.vfs else 0}"
        yield f"function {device.number} {bus} {device.bridge} {device.devfn} {compatible} {functions}"
    else:
        parent = -1 if device.parent is None else layout.number(device.parent)
        place = f"{device.node} {parent} {device.group}"
        yield f"device {device.number} {bus} {place} {compatible} {device.guest_name}"


def _program(layout: Layout, whose: str, phases: Iterable[Phase]) -> Iterator[str]:
    for phase in phases:
        for verb, a, b, c in _operations(layout, phase):
            yield f"do {whose} {verb} {a} {b} {c}"


def _operations(layout: Layout, phase: Phase) -> Iterator[tuple[str, int, int, int]]:
    match phase:
        case Compute():
            yield "compute", phase.ns, 0, 0
        case Sleep():
            yield "sleep", phase.ns, 0, 0
        case HoldLock():
            number = layout.lock(phase.hold.lock)
            yield "lock", number, 0, 0
            for inner in phase.hold.phases:
                yield from _operations(layout, inner)
            yield "unlock", number, 0, 0
        case AllocateMemory():
            yield "allocate", phase.allocate.size, _where(phase.allocate.where), 0
        case RegisterChildren():
            yield "register", layout.group(phase), 0, 0
        case EnableVfs():
            yield "vfs", phase.enable_vfs, 0, 0
        case WaitForDevice():
            wait = phase.wait
            error = errno.ETIMEDOUT if wait.device else EPROBE_DEFER
            timeout = NO_NODE if wait.timeout is None else wait.timeout
            yield "wait", layout.number(wait.device or wait.supplier or ""), timeout, error
        case Fail():
            yield "fail", errno_value(phase.fail), -1 if phase.attempts is None else phase.attempts, 0
        case _:
            raise InternalError(f"phase '{phase.key}' has no line for the lab's module")


def _where(where: str | int) -> int:
    return where if isinstance(where, int) else _OF_THE_DEVICE if where == "device" else _LOCAL
