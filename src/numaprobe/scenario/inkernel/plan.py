"""A scenario as a guest with the lab's module takes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.kernel.lab.plan import GuestPlan, check_plan
from numaprobe.scenario.inkernel.layout import MAX_LOCKS, guest_driver, lay_out
from numaprobe.scenario.inkernel.limits import inexpressible
from numaprobe.scenario.inkernel.scaling import scaled_scenario
from numaprobe.scenario.inkernel.shell import TELL, ModuleShell
from numaprobe.scenario.inkernel.text import module_lines
from numaprobe.scenario.shell import noted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numaprobe.records import Trace
    from numaprobe.scenario.schema import Scenario
    from numaprobe.topology import Topology

#: files of the folder that the guest shares: ``$NUMAPROBE_SHARED`` there
MODULE_FILE: Final = "numaprobe_lab.ko"
SCENARIO_FILE: Final = "scenario.txt"
#: the function with which the module's PCI drivers probe
PCI_BODY: Final = "lab_function_probe"
_SETUP: Final = (
    f'insmod "$NUMAPROBE_SHARED/{MODULE_FILE}"',
    (
        f'while IFS= read -r line; do echo "$line" > {TELL} || {{ echo "refused: $line" >&2; exit 1; }}; done '
        f'< "$NUMAPROBE_SHARED/{SCENARIO_FILE}"'
    ),
)
#: A device of the module's own that is probed when a scenario is over, so that a recording of several can be parted.
MARK: Final = "numaprobe_mark"
_MARK_LINES: Final = (
    f"bus 15 plain {MARK}",
    f"driver 63 15 sync {MARK}",
    "match 63 1",
    f"device 4095 15 -1 -1 -1 1 {MARK}",
)
#: CPUs that went offline come back; what was written to files of the kernel's is the scenario's to put back
_AFTER: Final = (
    "for cpu in /sys/devices/system/cpu/cpu*/online; do echo 1 > $cpu; done",
    "rmmod numaprobe_lab",
    "isolate ''",
    "taskset -cp $(cat /sys/devices/system/cpu/online) $$ >/dev/null",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModulePlan:
    """See ``module_plan``."""

    #: the scenario that the guest runs: its times scaled
    scenario: Scenario
    guest: GuestPlan
    #: the guest's name of each device
    names: Mapping[str, str]
    #: guest's name -> the scenario's, of drivers that had to get another
    drivers: Mapping[str, str]

    @property
    def pci_drivers(self) -> tuple[str, ...]:
        """The guest's names of drivers of PCI functions."""
        return tuple(guest_driver(one.name, one.bus) for one in self.scenario.drivers if one.bus == "pci")

    def with_module(self, module: bytes) -> ModulePlan:
        """Return the same plan with the module that the guest loads."""
        return replace(self, guest=replace(self.guest, files={**self.guest.files, MODULE_FILE: module}))

    def with_mark(self) -> ModulePlan:
        """Return the same plan with a mark in the recording when it is over: a probe of ``MARK``."""
        text = self.guest.files[SCENARIO_FILE] + "".join(f"{line}\n" for line in _MARK_LINES).encode()
        steps = (*self.guest.steps, "tell settle", "tell register 63", "tell add 4095")
        return replace(self, guest=replace(self.guest, steps=steps, files={**self.guest.files, SCENARIO_FILE: text}))

    def as_named(self, trace: Trace) -> Trace:
        """Return a guest's trace with the scenario's names of drivers."""
        probes = tuple(
            replace(probe, driver=self.drivers[probe.driver]) if probe.driver in self.drivers else probe
            for probe in trace.probes
        )
        return replace(trace, probes=probes)


def module_plan(scenario: Scenario, topology: Topology, *, factor: int = 1) -> ModulePlan:
    """Return the guest that runs ``scenario`` on ``topology`` with devices and drivers of the module's.

    Args:
        scenario: what happens.
        topology: the guest's machine.
        factor: how many times as long everything takes.

    Raises:
        InputError: something that no module can do, or a machine that is too large for the lab.

    """
    for place, why in inexpressible(scenario):
        raise InputError(f"{place}: {why}; take it out, or run it on the virtual machine alone", scenario.where)
    scenario = scaled_scenario(scenario, factor)
    layout = lay_out(scenario, topology)
    shell = ModuleShell(layout, topology)
    off = [f"echo 0 > {shell.bus_file(bus.name, 'drivers_autoprobe')}" for bus in scenario.buses if not bus.autoprobe]
    steps = tuple(shell.lines())
    lines = tuple(module_lines(layout))
    if len(layout.locks) > MAX_LOCKS:
        raise InputError(f"has {len(layout.locks)} locks; the lab's module takes at most {MAX_LOCKS}", scenario.where)
    guest = GuestPlan(
        topology=topology,
        devices=(),
        cmdline=scenario.cmdline,
        setup=tuple(noted(line, f"setup[{index}]") for index, line in enumerate((*_SETUP, *off))),
        steps=steps,
        after=(*(line.replace("echo 0", "echo 1") for line in off if "/pci/" in line), *_AFTER),
        files={SCENARIO_FILE: "".join(f"{line}\n" for line in lines).encode()},
    )
    check_plan(guest)
    renamed = {guest_driver(driver.name, driver.bus): driver.name for driver in scenario.drivers}
    return ModulePlan(
        scenario=scenario,
        guest=guest,
        names=layout.names,
        drivers={new: old for new, old in renamed.items() if new != old},
    )
