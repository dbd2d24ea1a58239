"""A scenario as a guest of the lab: the machine, the devices, and the steps as shell lines.

A guest differs from a simulated machine in three ways, and what cannot be bridged is refused with its place in the
file. Its devices are there from the beginning (one that a scenario adds later is taken off the bus first and found
again by a rescan). Its drivers are the kernel's own, so only those that QEMU has a device for will do, and a driver may
ask for asynchronous probing whatever the scenario says: ``as_the_kernel_does`` returns the scenario that the guest will
really run. And its PCI addresses are the lab's: ``guest_names`` says which is which.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from numaprobe.errors import InputError
from numaprobe.kernel.lab.plan import KIND_OF_DRIVER, GuestPlan, check_plan, place_devices
from numaprobe.runtime.facts import OLDEST
from numaprobe.runtime.profile import release_profile
from numaprobe.scenario.guestbuiltin import as_built_in, built_in_drivers, built_in_notes
from numaprobe.scenario.guestlimits import check_doable
from numaprobe.scenario.phases import Compute, Sleep
from numaprobe.scenario.plan import make_plan
from numaprobe.scenario.shell import GuestShell, KnownDevice
from numaprobe.scenario.steps import Register
from numaprobe.scenario.taking import steps_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numaprobe.records import Trace
    from numaprobe.runtime.release import Release
    from numaprobe.scenario.plan import DeviceSpec
    from numaprobe.scenario.schema import DriverModel, Scenario
    from numaprobe.topology import Topology


def as_the_kernel_does(scenario: Scenario, version: Release, built_in: Collection[str] = ()) -> Scenario:
    """Return ``scenario`` with the probe types that the drivers have in a kernel of ``version``.

    Args:
        scenario: what is to happen.
        version: of the kernel.
        built_in: drivers that are in the kernel itself (``guestbuiltin.as_built_in``).

    Raises:
        InputError: a step that a built-in driver cannot take.

    A driver that asks for asynchronous probing cannot be kept from it. One that does not, and is asynchronous in the
    scenario, is named in ``driver_async_probe=`` (see ``guest_plan``): then it stays as the scenario has it.
    """
    drivers = tuple(
        driver.model_copy(update={"probe_type": "async"}) if prefers_async(driver.name, version) else driver
        for driver in scenario.drivers
    )
    return as_built_in(scenario.model_copy(update={"drivers": drivers}), built_in)


def with_recorded_costs(scenario: Scenario, recorded: Trace) -> Scenario:
    """Return ``scenario`` with the CPU and sleeping time that a guest's probes had, as medians of each driver.

    What is left to predict is then where probes run, and how much they wait for a CPU and for each other. A driver
    whose recorded costs are not divided (no scheduler events) keeps the scenario's. The CPU part is put in the middle,
    as in the measured NVMe drive (nvme-epyc).
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
    half = Sleep.lasting(int(median(sleeping)) // 2)
    return driver.model_copy(update={"phases": (half, Compute.lasting(int(median(running))), half)})


def prefers_async(driver: str, version: Release) -> bool:
    """Tell whether this driver of a kernel of ``version`` asks for asynchronous probing."""
    return driver in release_profile(max(version, OLDEST)).async_drivers


def guest_plan(scenario: Scenario, topology: Topology, version: Release, built_in: Collection[str] = ()) -> GuestPlan:
    """Return the guest that runs ``scenario`` on ``topology`` with a kernel of ``version``.

    Args:
        scenario: as ``as_the_kernel_does`` returns it.
        topology: the guest's machine.
        version: of the kernel.
        built_in: drivers that are in the kernel itself.

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
    known = {device.name: KnownDevice(device.address, drv) for device, drv in zip(devices, drivers, strict=True)}
    mine = built_in_drivers(scenario, built_in)
    shell = GuestShell(scenario, known, mine)
    steps = tuple(shell.lines())
    at_boot, later = _at_boot(scenario, shell, mine)
    plan = GuestPlan(
        topology=topology,
        devices=tuple(replace(one, plugged=one.name in shell.plugged) for one in devices),
        hotplug=shell.hotplug,
        cmdline=" ".join([scenario.cmdline, *([f"driver_async_probe={','.join(forced)}"] if forced else [])]).strip(),
        setup=tuple(shell.setup()),
        steps=steps,
        at_boot=at_boot,
        notes=tuple(built_in_notes(scenario, mine, at_boot, later)),
    )
    check_plan(plan)
    check_doable(scenario)
    return plan


def _at_boot(scenario: Scenario, shell: GuestShell, mine: Sequence[str]) -> tuple[tuple[str, ...], set[str]]:
    """Return the drivers whose probes at boot are the scenario's, and those of which devices are added later.

    Raises:
        InputError: a driver that is built in has devices of both kinds.

    """
    unasked = {bus.name for bus in scenario.buses if not bus.autoprobe}
    registered = {name for step in steps_of(scenario) if isinstance(step, Register) for name in step.names}
    absent = {*shell.later, *shell.plugged}
    later = {shell.known[name].driver.name for name in absent}
    there = {device.driver.name for name, device in shell.known.items() if name not in absent}
    mixed = next((name for name in mine if name in later & there & registered), None)
    if mixed is not None:
        raise InputError(
            f"{mixed} is built into this kernel, and some of its devices are added later: the lab tells only "
            "probes of the boot, or those of a rescan",
            scenario.where,
        )
    asking = {one.driver.name for one in shell.known.values() if one.driver.bus not in unasked}
    return tuple(name for name in mine if name in registered & there & asking), later


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
