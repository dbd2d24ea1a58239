"""What of a scenario no module can do in a real kernel, with its place in the file and the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.scenario.phases import AllocateMemory, HoldLock, RegisterChildren, WaitForDevice, with_inner
from numaprobe.scenario.steps import (
    BlockProbing,
    LateInitcall,
    OnFile,
    WriteAuthorized,
    all_steps,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numaprobe.scenario.phases import DeviceGroup, Phase
    from numaprobe.scenario.schema import Scenario
    from numaprobe.scenario.steps import Step

#: as ``LAB_MEMORY`` and ``LAB_HELD`` of ``kernel/lab/module/lab.h``
MAX_ALLOCATIONS: Final = 8
MAX_HELD: Final = 8
#: steps that only the kernel itself can take, and why
_STEPS: Final[dict[type[Step], str]] = {
    BlockProbing: "device_block_probing() is not exported: the kernel calls it when it suspends",
    LateInitcall: "a module is loaded when the kernel has booted",
    WriteAuthorized: "USB devices have a road of their own, which the module does not have",
    OnFile: "the module's devices have no files of their own",
}


def inexpressible(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Yield what cannot be done: its place, and why."""
    if scenario.booting:
        yield "booting", "a module is loaded when the kernel has booted"
    if scenario.shared:
        yield "shared", "what probes share is in the hardware, and the module has none (write 'hold' phases)"
    yield from _buses(scenario)
    for index, driver in enumerate(scenario.drivers):
        yield from _phases((*driver.phases, *driver.remove), f"drivers[{index}]", scenario)
    for index, group in enumerate(scenario.devices):
        yield from _group(group, f"devices[{index}]", scenario)
    for place, step in all_steps(scenario.steps, "steps"):
        for kind, why in _STEPS.items():
            if isinstance(step, kind):
                yield place, why


def bus_kind(scenario: Scenario, bus: str) -> str:
    """Return what a bus behaves like: ``pci``, ``nd``, ``usb``, or ``plain``."""
    kind = next((one.kind for one in scenario.buses if one.name == bus and one.kind), None) or bus
    return {"pci": "pci", "nd": "nd", "nvdimm": "nd", "usb": "usb"}.get(kind, "plain")


def _buses(scenario: Scenario) -> Iterator[tuple[str, str]]:
    named = [(f"drivers[{index}].bus", driver.bus) for index, driver in enumerate(scenario.drivers)]
    named += [(f"devices[{index}].bus", group.bus) for index, group in enumerate(scenario.devices)]
    for place, bus in named:
        kind = bus_kind(scenario, bus)
        if kind == "usb":
            yield place, "USB devices have a road of their own, which the module does not have"
        elif kind == "pci" and bus != "pci":
            yield place, "a kernel has one PCI bus, and it is called pci"


def _group(group: DeviceGroup, place: str, scenario: Scenario) -> Iterator[tuple[str, str]]:
    if bus_kind(scenario, group.bus) == "pci":
        if group.parent is not None:
            yield f"{place}.parent", "the module's PCI functions stand below its host bridges"
        if group.virtual_function:
            yield f"{place}.virtual_function", "the kernel makes virtual functions itself (enable_vfs, sriov_numvfs)"
    yield from _phases(group.phases or (), place, scenario)


def _phases(phases: Iterable[Phase], place: str, scenario: Scenario) -> Iterator[tuple[str, str]]:
    phases = tuple(phases)
    if sum(isinstance(phase, AllocateMemory) for phase in with_inner(phases)) > MAX_ALLOCATIONS:
        yield f"{place}.phases", f"the module keeps {MAX_ALLOCATIONS} pieces of memory for a device"
    if _depth(phases) > MAX_HELD:
        yield f"{place}.phases", f"the module holds {MAX_HELD} locks at a time"
    for phase in with_inner(phases):
        if isinstance(phase, WaitForDevice) and phase.wait.optional:
            yield f"{place}.phases", "driver_deferred_probe_check_state() is for the kernel's own code ('optional')"
        for child in phase.children if isinstance(phase, RegisterChildren) else ():
            if bus_kind(scenario, child.bus) == "pci":
                yield f"{place}.register", "a PCI function comes from its bus, not from a probe"
            else:
                yield from _group(child, f"{place}.register", scenario)


def _depth(phases: Iterable[Phase]) -> int:
    """Return how many locks these phases hold at a time."""
    return max((_depth(phase.inside()) + isinstance(phase, HoldLock) for phase in phases), default=0)
