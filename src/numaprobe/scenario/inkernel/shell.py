"""The steps of a scenario as shell lines of a guest with the lab's module.

Most are a line to the module, carried out by the task that writes it: the shell itself, another one on the step's CPU,
or, where the scenario says so, a kernel thread or a worker of the module's (``kernel/lab/module/task.c``). What users
write to sysfs goes to sysfs. The shell is put on the caller's CPU once, at its beginning.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.scenario.inkernel.layout import guest_bus, guest_driver
from numaprobe.scenario.inkernel.limits import bus_kind
from numaprobe.scenario.schema import DriverModel
from numaprobe.scenario.shell import GuestShell, KnownDevice, noted
from numaprobe.scenario.taking import steps_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.scenario.inkernel.layout import Layout, PlacedDevice
    from numaprobe.scenario.steps import Busy, Step
    from numaprobe.topology import Topology

TELL: Final = "/sys/kernel/numaprobe/tell"
_COMM: Final = 15
#: numbers in a line to the module: it takes a page
_CHUNK: Final = 400


class ModuleShell(GuestShell):
    """Writes the steps of a scenario as lines for a guest with the module."""

    def __init__(self, layout: Layout, topology: Topology) -> None:
        self._layout = layout
        self._topology = topology
        self._devices = {device.name: device for device in layout.devices}
        #: what stands before a line that another task than the writer carries out
        self._by = ""
        known = {device.name: KnownDevice(device.guest_name, self._driver(device)) for device in layout.devices}
        super().__init__(layout.scenario, known)

    def _driver(self, device: PlacedDevice) -> DriverModel:
        """Return the driver that sysfs is asked for; of a device that none matches, one that nobody has."""
        drivers = self._layout.drivers_of(device.bus, device.compatible)
        return drivers[0] if drivers else DriverModel(name="none", bus=device.bus)

    def _added_later(self) -> tuple[str, ...]:
        """Return none: the module's devices come when they are told to."""
        return ()

    def lines(self) -> Iterable[str]:
        """Return the lines that are recorded."""
        caller = self._scenario.caller
        yield f'tell() {{ echo "$*" > {TELL}; }}'
        if caller.kind == "user" and caller.pinned:
            yield f"taskset -cp {caller.cpu} $$ >/dev/null"
        armed = [step for step in steps_of(self._scenario) if step.during is not None]
        if armed:
            yield "armed="
        yield from super().lines()
        if armed:
            yield "step settle tell settle; kill $armed 2>/dev/null; wait"

    # ---- what takes a line ------------------------------------------------------------------------------------------
    def taken(self, step: Step, where: str) -> Iterable[str]:
        """Return the lines of a step, by the task it wants, failures noted."""
        before, self._by = self._by, self._task(step)
        try:
            lines = list(super().taken(step, where))
        finally:
            self._by = before
        if step.during is None:
            return lines
        device = self._layout.number(step.during.probe)
        if device < 0:
            raise InputError(f"{where}.during: no device '{step.during.probe}'", self._scenario.where)
        inner = "; ".join(lines)
        waiting = noted(f"tell await {device} {step.during.after}", where)
        return [f'{{ {waiting} && {{ {inner}; }}; }} & armed="$armed $!"']

    def _task(self, step: Step) -> str:
        """Return what a line to the module begins with, for a task of the step's kind."""
        kind = step.kind or self._scenario.caller.kind
        own = step if "pinned" in step.model_fields_set or step.cpu is not None else self._scenario.caller
        cpu = self._scenario.caller.cpu if step.cpu is None else step.cpu
        if kind == "kthread":
            pinned = own.pinned and "pinned" in own.model_fields_set
            comm = (step.comm or self._scenario.caller.comm).replace(" ", "_")[:_COMM]
            return f"kthread {cpu if pinned else -1} {comm} "
        if kind == "kworker":
            return f"worker {cpu} {int(own.pinned)} "
        return ""

    def _pinned(self, line: str, step: Step) -> str:
        """Put a line into a task of its own on the step's CPU; the shell is on the caller's."""
        if self._by or (step.cpu is None and step.pinned):
            return line
        cpus = f"{step.cpu}" if step.pinned else f"{self._topology.online}"
        command = f"echo {shlex.quote(line.removeprefix('tell '))} > {TELL}" if line.startswith("tell ") else line
        return f"taskset -c {cpus} /bin/sh -c {shlex.quote(command)}"

    def _tell(self, verb: str, numbers: Sequence[int]) -> list[str]:
        chunks = [numbers[start : start + _CHUNK] for start in range(0, len(numbers), _CHUNK)]
        return [f"tell {self._by}{verb} {' '.join(map(str, chunk))}" for chunk in chunks]

    # ---- what kinds of steps see (``steps.Shell``) -----------------------------------------------------------------
    def added(self, names: Sequence[str], *, plugged: bool = False) -> Iterable[str]:
        """Return the lines with which these devices come, those that others bring left out; the task says who does."""
        del plugged
        mine = [self._devices[name] for name in names]
        mine = [device for device in mine if device.group < 0 and device.physical < 0]
        nd = any(bus_kind(self._scenario, device.bus) == "nd" for device in mine)
        lines = self._tell("add", [device.number for device in mine])
        return [*lines, *([f"tell {self._by}sync"] if nd else [])]

    def removed(self, names: Sequence[str], *, pulled: bool = False) -> Iterable[str]:
        """Return the lines with which these devices go; the task says who takes them."""
        del pulled
        return self._tell("remove", [self._devices[name].number for name in names])

    def loaded(self, drivers: Sequence[str], *, async_probe: bool | None) -> Iterable[str]:
        """Return the line that registers these drivers, and waits as the end of loading a module does."""
        return self._tell("load-async" if async_probe else "load", self._numbers(drivers))

    def registered(self, drivers: Sequence[str]) -> Iterable[str]:
        """Return the line that registers these drivers."""
        return self._tell("register", self._numbers(drivers))

    def unregistered(self, drivers: Sequence[str]) -> Iterable[str]:
        """Return the line that unregisters these drivers."""
        return self._tell("unregister", self._numbers(drivers))

    def _numbers(self, names: Sequence[str]) -> list[int]:
        """Return the numbers of all drivers of these names.

        Raises:
            InputError: there is none.

        """
        found = []
        for name in names:
            numbers = [index for index, driver in enumerate(self._scenario.drivers) if driver.name == name]
            if not numbers:
                raise InputError(f"there is no driver '{name}'")
            found += numbers
        return found

    def numvfs(self, device: str, count: int, where: str) -> Iterable[str]:
        """Return the write to the function's ``sriov_numvfs``."""
        self._only_users(where)
        return [f"echo {count} > {self.pci_file(device, 'sriov_numvfs')}"]

    def busy(self, busy: Busy, where: str) -> Iterable[str]:  # noqa: ARG002  one of ``steps.Shell``
        """Return the line that keeps CPUs busy."""
        numbers = (busy.tasks, int(busy.floating), -1 if busy.compute is None else busy.compute, busy.sleep)
        duration = -1 if busy.duration is None else busy.duration
        return [f"tell busy {' '.join(map(str, numbers))} {duration} {busy.cpus}"]

    def settled(self, where: str) -> Iterable[str]:
        """Return the line that waits until no probe is under way."""
        return [noted(f"tell {self._by}settle", where)]

    def bus_file(self, bus: str, file: str) -> str:
        """Return a file of a bus as one word of a shell, by its name in the guest."""
        return super().bus_file(guest_bus(self._scenario, bus), file)

    def write(self, device: str, file: str, driver: str | None = None) -> str:
        """Return the line that writes a device's name to a file of its bus."""
        placed = self._devices[device]
        name = driver or self.known[device].driver.name
        self._only_users("bind")
        place = self.bus_file(placed.bus, file.replace("{driver}", guest_driver(name, placed.bus)))
        return f"echo {shlex.quote(placed.guest_name)} > {place}"

    def bound(self, device: str) -> str:
        """Return the line that fails unless a device is bound."""
        placed = self._devices[device]
        there = f"[ -e {self.bus_file(placed.bus, f'devices/{placed.guest_name}/driver')} ]"
        return f"{there} || {{ echo {shlex.quote(f'{device} is not bound')} >&2; exit 1; }}"

    def _only_users(self, where: str) -> None:
        if self._by:
            raise InputError(f"{where}: a kernel thread does not write to sysfs", self._scenario.where)
