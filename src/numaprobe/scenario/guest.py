"""A scenario as a guest of the lab: the machine, the devices, and the steps as shell lines.

A guest differs from a simulated machine in three ways, and what cannot be bridged is refused with its place in the
file. Its devices are there from the beginning (one that a scenario adds later is taken off the bus first and found
again by a rescan). Its drivers are the kernel's own, so only those that QEMU has a device for will do, and a driver may
ask for asynchronous probing whatever the scenario says: ``as_the_kernel_does`` returns the scenario that the guest will
really run. And its PCI addresses are the lab's: ``guest_names`` says which is which.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.kernel.lab.plan import KIND_OF_DRIVER, GuestDevice, GuestPlan, check_plan, place_devices
from numaprobe.scenario.guestlimits import check_doable
from numaprobe.scenario.plan import DeviceSpec, choose, make_plan
from numaprobe.scenario.schema import STEP_KEYS, DriverModel, Phase, Scenario, Step
from numaprobe.scenario.steps import default_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numaprobe.cpuset import CpuSet
    from numaprobe.records import Trace
    from numaprobe.topology import Topology

#: Drivers that set PROBE_PREFER_ASYNCHRONOUS, and since which release (``nvme``: drivers/nvme/host/pci.c).
PREFERS_ASYNC: Final[Mapping[str, tuple[int, int]]] = {"nvme": (6, 2)}

_SYSFS_BUS: Final = "/sys/bus"


def as_the_kernel_does(scenario: Scenario, version: tuple[int, int]) -> Scenario:
    """Return ``scenario`` with the probe types that the drivers have in a kernel of ``version``.

    A driver that asks for asynchronous probing cannot be kept from it. One that does not, and is asynchronous in the
    scenario, is named in ``driver_async_probe=`` (see ``guest_plan``): then it stays as the scenario has it.
    """
    drivers = tuple(
        driver.model_copy(update={"probe_type": "async"}) if prefers_async(driver.name, version) else driver
        for driver in scenario.drivers
    )
    return scenario.model_copy(update={"drivers": drivers})


def with_recorded_costs(scenario: Scenario, recorded: Trace) -> Scenario:
    """Return ``scenario`` with the CPU and sleeping time that a guest's probes had, as medians of each driver.

    What is left to predict is then where probes run, and how much they wait for a CPU and for each other. A driver
    whose recorded costs are not divided (no scheduler events) keeps the scenario's. The CPU part is put in the middle,
    as in the seeds' NVMe drive.
    """
    drivers = tuple(_with_cost(driver, recorded) for driver in scenario.drivers)
    measured = any(driver is not old for driver, old in zip(drivers, scenario.drivers, strict=True))
    devices = tuple(device.model_copy(update={"phases": None}) if measured else device for device in scenario.devices)
    return scenario.model_copy(update={"drivers": drivers, "devices": devices})


def _with_cost(driver: DriverModel, recorded: Trace) -> DriverModel:
    probes = [probe for probe in recorded.probes if probe.driver == driver.name]
    running = [probe.running_ns for probe in probes if probe.running_ns is not None]
    sleeping = [probe.sleeping_ns for probe in probes if probe.sleeping_ns is not None]
    if not running or not sleeping:
        return driver
    half = f"{int(median(sleeping)) // 2}ns"
    spans = [{"sleep": half}, {"compute": f"{int(median(running))}ns"}, {"sleep": half}]
    phases = tuple(Phase.model_validate(span) for span in spans)
    return driver.model_copy(update={"phases": phases})


def prefers_async(driver: str, version: tuple[int, int]) -> bool:
    """Tell whether this driver of a kernel of ``version`` asks for asynchronous probing."""
    return driver in PREFERS_ASYNC and version >= PREFERS_ASYNC[driver]


def guest_plan(scenario: Scenario, topology: Topology, version: tuple[int, int]) -> GuestPlan:
    """Return the guest that runs ``scenario`` on ``topology`` with a kernel of ``version``.

    Raises:
        InputError: a driver, device or step that the lab cannot have, or a machine that is too large for it.

    """
    specs = make_plan(scenario, topology).devices
    drivers = [_driver_of(spec, scenario) for spec in specs]
    wanted = ((spec.name, KIND_OF_DRIVER[drv.name], spec.node) for spec, drv in zip(specs, drivers, strict=True))
    devices = place_devices(wanted, topology)
    forced = [
        driver.name
        for driver in scenario.drivers
        if driver.probe_type == "async" and not prefers_async(driver.name, version)
    ]
    shell = _Shell(scenario, {device.name: _Known(device, drv) for device, drv in zip(devices, drivers, strict=True)})
    steps = tuple(shell.lines())
    plan = GuestPlan(
        topology=topology,
        devices=devices,
        cmdline=" ".join([scenario.cmdline, *([f"driver_async_probe={','.join(forced)}"] if forced else [])]).strip(),
        setup=tuple(shell.setup()),
        steps=steps,
    )
    check_plan(plan)
    check_doable(scenario)
    return plan


def guest_names(plan: GuestPlan, recorded: Trace) -> dict[str, str]:
    """Return the name in the guest of each of the scenario's devices.

    A virtio device has the name that the guest gave the one below its PCI address.
    """
    below: dict[str, str] = {}
    for device in recorded.machine.get("devices", ()):
        if device.get("bus") == "virtio" and device.get("parent"):
            below[device["parent"]] = device["name"]
    return {
        device.name: device.address if device.kind == "nvme" else below.get(device.address, device.address)
        for device in plan.devices
    }


def _driver_of(spec: DeviceSpec, scenario: Scenario) -> DriverModel:
    """Return the driver that will probe a device.

    Raises:
        InputError: there is none that the lab has a device for.

    """
    for driver in scenario.drivers:
        if driver.bus == spec.bus and spec.compatible in (driver.match or (driver.name,)):
            if driver.name not in KIND_OF_DRIVER:
                known = ", ".join(KIND_OF_DRIVER)
                raise InputError(f"the lab has no device for driver '{driver.name}'; it has: {known}", scenario.where)
            return driver
    raise InputError(f"device '{spec.name}' has no driver here, so there is nothing to record", scenario.where)


@dataclass(frozen=True, slots=True)
class _Known:
    """A device of the guest, and its driver."""

    device: GuestDevice
    driver: DriverModel

    @property
    def name(self) -> str:
        """Its name in the guest, as shell text: a virtio device is found below its PCI device."""
        pci = self.device.address
        if self.driver.bus != "virtio":
            return pci
        return f"$(basename {_SYSFS_BUS}/pci/devices/{pci}/virtio*)"


class _Shell:
    """Writes the steps of a scenario as shell lines."""

    def __init__(self, scenario: Scenario, known: Mapping[str, _Known]) -> None:
        self._scenario = scenario
        self._known = known
        self._later = self._added_later()

    def setup(self) -> Iterable[str]:
        """Return the lines before the recording."""
        off = [
            f"echo 0 > {_bus_file(bus.name, 'drivers_autoprobe')}" for bus in self._scenario.buses if not bus.autoprobe
        ]
        away = [f"echo 1 > {_SYSFS_BUS}/pci/devices/{self._known[name].device.address}/remove" for name in self._later]
        return (noted(line, f"setup[{index}]") for index, line in enumerate((*off, *away)))

    def lines(self) -> Iterable[str]:
        """Return the lines that are recorded."""
        for index, step in enumerate(self._scenario.steps or default_steps(self._scenario)):
            yield from self._taken(step, f"steps[{index}]")

    def _added_later(self) -> tuple[str, ...]:
        """Return the devices that are added after a driver was loaded.

        Raises:
            InputError: they are added in more than one step: a rescan finds all that are missing at once.

        """
        loaded, later = False, []
        for step in self._scenario.steps or default_steps(self._scenario):
            loaded = loaded or step.load is not None or step.register_drivers is not None
            if step.add is not None and loaded:
                later.append(tuple(choose(step.add, self._known)))
        if len(later) > 1:
            raise InputError("the lab can add devices to running drivers in one step only", self._scenario.where)
        return later[0] if later else ()

    def _taken(self, step: Step, where: str) -> Iterable[str]:
        key = next(key for key in STEP_KEYS if _value(step, key) is not None)
        write = _WRITERS.get(key)
        if write is None:
            raise InputError(
                f"{where}: the lab cannot take the step '{key}'; run it on the virtual machine", self._where
            )
        for line in write(self, step, where):
            if key in _NO_COMMAND:
                yield line
            else:
                yield noted(line if key in _NOT_A_TASK else self._pinned(line, step), where)

    @property
    def _where(self) -> str:
        return self._scenario.where

    def _pinned(self, line: str, step: Step) -> str:
        """Put a line into a task of its own on the step's CPU, or the caller's."""
        caller = self._scenario.caller
        cpu = caller.cpu if step.cpu is None else step.cpu
        pinned = step.pinned if step.cpu is not None else caller.pinned
        if not pinned:
            return line
        command = line if line.startswith("modprobe") else f"/bin/sh -c {shlex.quote(line)}"
        return f"taskset -c {cpu} {command}"

    # ---- one function for each kind of step ------------------------------------------------------------------------
    def _add(self, step: Step, _: str) -> Iterable[str]:
        if self._later and tuple(choose(step.add or (), self._known)) == self._later:
            yield f"echo 1 > {_SYSFS_BUS}/pci/rescan"

    def _remove(self, step: Step, _: str) -> Iterable[str]:
        for name in choose(step.remove or (), self._known):
            yield f"echo 1 > {_SYSFS_BUS}/pci/devices/{self._known[name].device.address}/remove"

    def _load(self, step: Step, _: str) -> Iterable[str]:
        parameter = "" if step.async_probe is None else f" async_probe={int(step.async_probe)}"
        for name in step.load or ():
            yield f"modprobe {_module(name)}{parameter}"

    def _register(self, step: Step, _: str) -> Iterable[str]:
        return (f"modprobe {_module(name)}" for name in step.register_drivers or ())

    def _unregister(self, step: Step, _: str) -> Iterable[str]:
        return (f"modprobe -r {_module(name)}" for name in step.unregister or ())

    def _bind(self, step: Step, _: str) -> Iterable[str]:
        return self._write("bind", step.bind or (), step.driver)

    def _unbind(self, step: Step, _: str) -> Iterable[str]:
        return self._write("unbind", step.unbind or (), None)

    def _write(self, file: str, names: Iterable[str], driver: str | None) -> Iterable[str]:
        for name in choose(names, self._known):
            known = self._known[name]
            place = _bus_file(known.driver.bus, f"drivers/{driver or known.driver.name}/{file}")
            yield f"echo {known.name} > {place}"

    def _drivers_probe(self, step: Step, _: str) -> Iterable[str]:
        for name in choose(step.drivers_probe or (), self._known):
            known = self._known[name]
            yield f"echo {known.name} > {_bus_file(known.driver.bus, 'drivers_probe')}"

    def _autoprobe(self, step: Step, _: str) -> Iterable[str]:
        if step.autoprobe is not None:
            yield f"echo {int(step.autoprobe.on)} > {_bus_file(step.autoprobe.bus, 'drivers_autoprobe')}"

    def _offline(self, step: Step, _: str) -> Iterable[str]:
        return _hotplug(step.offline, 0)

    def _online(self, step: Step, _: str) -> Iterable[str]:
        return _hotplug(step.online, 1)

    def _parallel(self, step: Step, where: str) -> Iterable[str]:
        for index, inner in enumerate(step.parallel or ()):
            lines = "; ".join(self._taken(inner, f"{where}.parallel[{index}]"))
            yield f"{{ {lines}; }} &"
        yield "wait"

    def _sequence(self, step: Step, where: str) -> Iterable[str]:
        for index, inner in enumerate(step.sequence or ()):
            yield from self._taken(inner, f"{where}.sequence[{index}]")

    def _wait(self, step: Step, _: str) -> Iterable[str]:
        yield f"sleep {(step.wait or 0) / 1e9:.3f}"

    def _settle(self, _step: Step, _where: str) -> Iterable[str]:
        yield "sleep 2"

    def _expect_bound(self, step: Step, _: str) -> Iterable[str]:
        for name in choose(step.expect_bound or (), self._known):
            known = self._known[name]
            bound = f"[ -e {_bus_file(known.driver.bus, 'devices')}/{known.name}/driver ]"
            yield f"{bound} || {{ echo {shlex.quote(f'{name} is not bound')} >&2; exit 1; }}"


def noted(line: str, place: str) -> str:
    """Return a shell line that notes its failure (``kernel/lab/steps.py``): a command without redirections."""
    command = line if line.startswith(("modprobe", "taskset")) else f"/bin/sh -c {shlex.quote(line)}"
    return f"step {shlex.quote(place)} {command}"


def _bus_file(bus: str, file: str) -> str:
    """Return a file of a bus as one word of a shell: buses and drivers have the names that a scenario gives them."""
    return shlex.quote(f"{_SYSFS_BUS}/{bus}/{file}")


def _module(name: str) -> str:
    """Return a driver's module as one word of a shell, and no option.

    Raises:
        InputError: no module can have this name.

    """
    if name.startswith("-"):
        raise InputError(f"'{name}' is no name of a module that a guest could load")
    return shlex.quote(name)


def _hotplug(cpus: CpuSet | None, value: int) -> Iterable[str]:
    return (f"echo {value} > /sys/devices/system/cpu/cpu{cpu}/online" for cpu in cpus or ())


def _value(step: Step, key: str) -> object:
    return getattr(step, "register_drivers" if key == "register" else key)


#: steps whose lines are no task of their own
_NOT_A_TASK: Final = frozenset({"autoprobe", "offline", "online", "expect_bound"})
#: steps whose lines cannot fail, or are made of steps
_NO_COMMAND: Final = frozenset({"parallel", "sequence", "wait", "settle"})

_WRITERS: Final[dict[str, Callable[[_Shell, Step, str], Iterable[str]]]] = {
    "add": _Shell._add,  # noqa: SLF001  this table is part of the class: what a key means in a shell
    "remove": _Shell._remove,  # noqa: SLF001
    "load": _Shell._load,  # noqa: SLF001
    "register": _Shell._register,  # noqa: SLF001
    "unregister": _Shell._unregister,  # noqa: SLF001
    "bind": _Shell._bind,  # noqa: SLF001
    "unbind": _Shell._unbind,  # noqa: SLF001
    "drivers_probe": _Shell._drivers_probe,  # noqa: SLF001
    "autoprobe": _Shell._autoprobe,  # noqa: SLF001
    "offline": _Shell._offline,  # noqa: SLF001
    "online": _Shell._online,  # noqa: SLF001
    "parallel": _Shell._parallel,  # noqa: SLF001
    "sequence": _Shell._sequence,  # noqa: SLF001
    "wait": _Shell._wait,  # noqa: SLF001
    "settle": _Shell._settle,  # noqa: SLF001
    "expect_bound": _Shell._expect_bound,  # noqa: SLF001
}
