"""The steps of a scenario as shell lines of a guest of the lab.

Each kind of step writes its own lines (``steps.Step.shell``). Here is what they need to know of the guest, which task
takes a line, and that its failure is noted with its place in the scenario (``kernel/lab/steps.py``).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.scenario.choice import choose
from numaprobe.scenario.steps import Add, Load, Register, Remove, all_steps
from numaprobe.scenario.taking import steps_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numaprobe.scenario.schema import DriverModel, Scenario
    from numaprobe.scenario.steps import Busy, Step

_SYSFS_BUS: Final = "/sys/bus"


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device of the guest: its PCI address there, and its driver."""

    address: str
    driver: DriverModel

    @property
    def name(self) -> str:
        """Its name in the guest, as shell text: a virtio device is found below its PCI device."""
        if self.driver.bus != "virtio":
            return self.address
        return f"$(basename {_SYSFS_BUS}/pci/devices/{self.address}/virtio*)"


class GuestShell:
    """Writes the steps of a scenario as shell lines; what kinds of steps see of it is ``steps.Shell``."""

    def __init__(self, scenario: Scenario, known: Mapping[str, KnownDevice], built_in: Collection[str] = ()) -> None:
        self._scenario = scenario
        self.known = known
        #: drivers that the kernel registered while it booted
        self._built_in = built_in
        self._later = self._added_later()

    @property
    def later(self) -> tuple[str, ...]:
        """The devices that are added after a driver was loaded."""
        return self._later

    def setup(self) -> Iterable[str]:
        """Return the lines before the recording."""
        off = [
            f"echo 0 > {self.bus_file(bus.name, 'drivers_autoprobe')}"
            for bus in self._scenario.buses
            if not bus.autoprobe
        ]
        unasked = {bus.name for bus in self._scenario.buses if not bus.autoprobe}
        bound = [
            self.write(name, "drivers/{driver}/unbind")
            for name, device in self.known.items()
            if device.driver.name in self._built_in and device.driver.bus in unasked and name not in self._later
        ]
        away = [f"echo 1 > {self.pci_file(name, 'remove')}" for name in self._later]
        return (noted(line, f"setup[{index}]") for index, line in enumerate((*off, *bound, *away)))

    def lines(self) -> Iterable[str]:
        """Return the lines that are recorded."""
        for index, step in enumerate(steps_of(self._scenario)):
            yield from self.taken(step, f"steps[{index}]")

    @property
    def plugged(self) -> tuple[str, ...]:
        """The devices that a step plugs into their slots: they are not there before."""
        steps = (step for _, step in all_steps(steps_of(self._scenario), "steps"))
        found = (step for step in steps if isinstance(step, Add) and step.kind == "kthread")
        return tuple(dict.fromkeys(name for step in found for name in choose(step.add, self.known)))

    @property
    def hotplug(self) -> bool:
        """Whether a step plugs or pulls a device."""
        steps = (step for _, step in all_steps(steps_of(self._scenario), "steps"))
        return any(isinstance(step, Add | Remove) and step.kind == "kthread" for step in steps)

    def _added_later(self) -> tuple[str, ...]:
        """Return the devices that are added after a driver was loaded, and found by a rescan.

        Raises:
            InputError: they are added in more than one step: a rescan finds all that are missing at once.

        """
        loaded, later = False, []
        for step in steps_of(self._scenario):
            loaded = loaded or isinstance(step, Load | Register)
            if isinstance(step, Add) and loaded and step.kind != "kthread":
                later.append(tuple(choose(step.add, self.known)))
        if len(later) > 1:
            raise InputError("the lab can add devices to running drivers in one step only", self._scenario.where)
        return later[0] if later else ()

    # ---- what takes a line ------------------------------------------------------------------------------------------
    def taken(self, step: Step, where: str) -> Iterable[str]:
        """Return the lines of a step, by the task it wants, failures noted.

        Raises:
            InputError: a guest cannot take it.

        """
        try:
            lines = list(step.shell(self, where))
        except InputError as error:
            raise error if error.where else InputError(error.what, self._scenario.where) from None
        if step.shell_form == "compound":
            return lines
        by_task = step.shell_form == "task"
        return [noted(self._pinned(line, step) if by_task else line, where) for line in lines]

    def _pinned(self, line: str, step: Step) -> str:
        """Put a line into a task of its own on the step's CPU, or the caller's; what is plugged in the port's does."""
        if line.startswith(("plug ", "pull ")):
            return line
        caller = self._scenario.caller
        cpu = caller.cpu if step.cpu is None else step.cpu
        pinned = step.pinned if step.cpu is not None else caller.pinned
        if not pinned:
            return line
        command = line if line.startswith("modprobe") else f"/bin/sh -c {shlex.quote(line)}"
        return f"taskset -c {cpu} {command}"

    # ---- what kinds of steps see (``steps.Shell``) -----------------------------------------------------------------
    def added(self, names: Sequence[str], *, plugged: bool = False) -> Iterable[str]:
        """Return the rescan that finds devices which were taken off the bus before the steps; none for others."""
        if plugged:
            return [f"plug {self._slot(name)}" for name in names]
        late = bool(self._later) and tuple(names) == self._later
        return [f"echo 1 > {self.bus_file('pci', 'rescan')}"] if late else []

    def removed(self, names: Sequence[str], *, pulled: bool = False) -> Iterable[str]:
        """Return the writes to their PCI functions' ``remove``, or what pulls them."""
        if pulled:
            return [f"pull {self._slot(name)}" for name in names]
        return [f"echo 1 > {self.pci_file(name, 'remove')}" for name in names]

    def loaded(self, drivers: Sequence[str], *, async_probe: bool | None) -> Iterable[str]:
        """Return the lines that load their modules; none for a driver that is built in."""
        parameter = "" if async_probe is None else f" async_probe={int(async_probe)}"
        return [f"modprobe {self.module(name)}{parameter}" for name in drivers if name not in self._built_in]

    def registered(self, drivers: Sequence[str]) -> Iterable[str]:
        """Return the lines that load their modules."""
        return self.loaded(drivers, async_probe=None)

    def unregistered(self, drivers: Sequence[str]) -> Iterable[str]:
        """Return the lines that unload their modules."""
        return [f"modprobe -r {self.module(name)}" for name in drivers]

    def _slot(self, name: str) -> str:
        """Return a device's number in the guest's plan, and its PCI address."""
        return f"{list(self.known).index(name)} {self.known[name].address}"

    def numvfs(self, device: str, count: int, where: str) -> Iterable[str]:  # noqa: ARG002  those of ``steps.Shell``
        """Refuse: no device of the lab has virtual functions.

        Raises:
            InputError: always.

        """
        raise InputError(f"{where}: no device of the lab has virtual functions; run it on the virtual machine")

    def busy(self, busy: Busy, where: str) -> Iterable[str]:  # noqa: ARG002  those of ``steps.Shell``
        """Refuse: the lab's own guests have no such tasks.

        Raises:
            InputError: always.

        """
        raise InputError(f"{where}: the lab cannot take the step 'busy'; run it on the virtual machine")

    def settled(self, where: str) -> Iterable[str]:  # noqa: ARG002  one of ``steps.Shell``
        """Sleep long enough: a guest has nothing to wait for."""
        return ["sleep 2"]

    def pci_file(self, device: str, file: str) -> str:
        """Return a file of a device's PCI function."""
        return f"{_SYSFS_BUS}/pci/devices/{self.known[device].address}/{file}"

    def bus_file(self, bus: str, file: str) -> str:
        """Return a file of a bus as one word of a shell: buses and drivers have the names that a scenario gives."""
        return shlex.quote(f"{_SYSFS_BUS}/{bus}/{file}")

    def write(self, device: str, file: str, driver: str | None = None) -> str:
        """Return the line that writes a device's name to a file of its bus; ``{driver}`` in it: its driver's name."""
        known = self.known[device]
        place = file.replace("{driver}", driver or known.driver.name)
        return f"echo {known.name} > {self.bus_file(known.driver.bus, place)}"

    def module(self, name: str) -> str:
        """Return a driver's module as one word of a shell, and no option.

        Raises:
            InputError: no module can have this name.

        """
        if name.startswith("-"):
            raise InputError(f"'{name}' is no name of a module that a guest could load")
        return shlex.quote(name)

    def bound(self, device: str) -> str:
        """Return the line that fails unless a device is bound."""
        known = self.known[device]
        there = f"[ -e {self.bus_file(known.driver.bus, 'devices')}/{known.name}/driver ]"
        return f"{there} || {{ echo {shlex.quote(f'{device} is not bound')} >&2; exit 1; }}"


def noted(line: str, place: str) -> str:
    """Return a shell line that notes its failure (``kernel/lab/steps.py``): a command without redirections."""
    command = (
        line
        if line.startswith(("modprobe", "taskset", "tell ", "plug ", "pull ", "isolate "))
        else f"/bin/sh -c {shlex.quote(line)}"
    )
    return f"step {shlex.quote(place)} {command}"
