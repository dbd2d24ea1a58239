"""A scenario out of a machine's own devices: what would its probes do under each policy?

Taken from sysfs: every device that has a driver now, its bus, its node, its parent. Taken from the table of costs
(``costtable.py``): what its probe costs, if somebody measured it; else an assumption, and then the trace says so for
that device.

What this is not: a replay of this machine's boot. Devices are there first and drivers come one after the other, those
of parents before those of children; a bus that registers its devices inside a probe (virtio) is flattened.
"""

from __future__ import annotations

import platform
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import InputError
from numaprobe.records import RunWarning
from numaprobe.runtime import closest_profile
from numaprobe.scenario.costtable import CostTable, built_in_costs
from numaprobe.scenario.reader import parse_scenario
from numaprobe.scenario.tables import MAX_DEVICES
from numaprobe.topology import SETTINGS, CommandLine, load_topology

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numaprobe.runtime import KernelProfile
    from numaprobe.scenario.schema import Scenario
    from numaprobe.topology import DeviceInfo, Topology

HOST_SUMMARY: Final = "This machine's devices and drivers as sysfs shows them, with measured or assumed costs"

#: Parameters of the running kernel that bear on probing and are not in sysfs already.
PARAMETERS: Final = ("driver_async_probe", "deferred_probe_timeout", "module.async_probe", *SETTINGS)
#: What is said of costs that nobody measured on hardware.
_NOT_MEASURED: Final = {
    "assumed-cost": "have a cost that nobody measured, and are assumed to compute 1 ms",
    "emulated-cost": "have a cost from emulated hardware",
}
#: Drivers that a warning names.
_NAMED: Final = 4
NAME: Final = re.compile(r"[!-.0-z|~](?:[ -.0-z|~]{0,126}[!-.0-z|~])?")


def host_scenario(overrides: Sequence[str] = (), machine: str = "host", *, costs: CostTable | None = None) -> Scenario:
    """Return the scenario of this machine, or of another one whose devices are known.

    Args:
        overrides: values put in place, as for a file.
        machine: ``host``, a sysfs tree, an hwloc XML or JSON file with devices.
        costs: what drivers' probes cost; None: the built-in table.

    Raises:
        InputError: the machine cannot be read, or no device of it has a driver.

    """
    topology = load_topology(machine)
    local = machine == "host"
    profile = closest_profile(platform.release() if local else topology.info.get("kernel"))
    cmdline = CommandLine.parse(topology.info.get("cmdline", "") if local else "").only(PARAMETERS)
    return machine_scenario(topology, overrides, profile=profile, cmdline=str(cmdline), costs=costs)


def machine_scenario(
    topology: Topology,
    overrides: Sequence[str] = (),
    *,
    profile: KernelProfile | None = None,
    cmdline: str = "",
    costs: CostTable | None = None,
) -> Scenario:
    """Return a scenario of the devices that ``topology`` lists with a driver.

    Args:
        topology: the machine.
        overrides: values put in place, as for a file.
        profile: the kernel's, with what was assumed of it; None: the default one.
        cmdline: kernel parameters.
        costs: what drivers' probes cost; None: the built-in table.

    Raises:
        InputError: there is none, or there are too many.

    """
    bound = [device for device in topology.devices if device.driver and NAME.fullmatch(device.name)]
    if not bound:
        raise InputError("no device of this machine is bound to a driver, so there is nothing to probe", topology.name)
    if len(bound) > MAX_DEVICES:
        raise InputError(f"has {len(bound)} devices; at most {MAX_DEVICES} are simulated", topology.name)
    ordered = _parents_first(bound)
    entries = _entries(ordered, costs or CostTable(), profile or closest_profile(topology.info.get("kernel")))
    data: dict[str, Any] = {
        "name": "host",
        "summary": HOST_SUMMARY,
        "machine": "host",
        "cmdline": cmdline,
        "devices": [_device(device, topology, {one.name for one in bound}) for device in ordered],
        "drivers": _drivers(ordered, entries),
    }
    assumed = [*_assumptions(ordered, entries)]
    if profile is not None:
        data["kernel"] = profile.name
        assumed += [RunWarning(kind="kernel-profile", message=line) for line in profile.assumptions]
    scenario = parse_scenario(data, "host", overrides=overrides)
    return scenario.with_origin("host", topology, tuple(assumed))


def _entries(devices: Iterable[DeviceInfo], costs: CostTable, profile: KernelProfile) -> dict[str, Mapping[str, Any]]:
    """Return the entry of each driver whose cost is known."""
    found = {name: costs.entry(name, profile.name) for name in {device.driver or "" for device in devices}}
    return {name: entry for name, entry in found.items() if entry is not None}


def _parents_first(devices: Iterable[DeviceInfo]) -> list[DeviceInfo]:
    """Return the devices so that a parent comes before its children, otherwise as they were."""
    devices = list(devices)
    by_name: dict[str, DeviceInfo] = {}
    for device in devices:
        by_name.setdefault(device.name, device)
    depth = {id(device): _depth(device, by_name) for device in devices}
    return sorted(devices, key=lambda device: depth[id(device)])


def _depth(device: DeviceInfo, by_name: Mapping[str, DeviceInfo]) -> int:
    seen = {id(device)}
    above = by_name.get(device.parent or "")
    while above is not None and id(above) not in seen:
        seen.add(id(above))
        above = by_name.get(above.parent or "")
    return len(seen)


def _device(device: DeviceInfo, topology: Topology, known: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"name": device.name, "bus": device.bus or "platform", "compatible": device.driver}
    if topology.node(device.node) is not None:
        found["node"] = device.node
    if device.parent in known and device.parent != device.name:
        found["parent"] = device.parent
    return found


def _drivers(devices: Iterable[DeviceInfo], entries: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    assumed = built_in_costs()["assumed"]
    for device in devices:
        name, bus = device.driver or "", device.bus or "platform"
        entry = entries.get(name, assumed)
        found[bus, name] = {"name": name, "bus": bus, "phases": entry["phases"]}
        if "probe_type" in entry:
            found[bus, name]["probe_type"] = entry["probe_type"]
    return list(found.values())


def _assumptions(devices: Sequence[DeviceInfo], entries: Mapping[str, Mapping[str, Any]]) -> Iterable[RunWarning]:
    """Say which costs are no measurement: one warning for those of emulated hardware, one for mere assumptions."""
    groups: dict[str, list[DeviceInfo]] = {}
    for device in devices:
        entry = entries.get(device.driver or "")
        kind = "assumed-cost" if entry is None else "" if entry["kind"] == "measured" else "emulated-cost"
        groups.setdefault(kind, []).append(device)
    for kind, text in _NOT_MEASURED.items():
        if here := groups.get(kind):
            drivers = Counter(device.driver or "" for device in here).most_common()
            named = ", ".join(f"{name} {count}" for name, count in drivers[:_NAMED])
            more = f" and {len(drivers) - _NAMED} more drivers" if len(drivers) > _NAMED else ""
            message = f"{len(here)} of {len(devices)} probes {text}: {named}{more}"
            yield RunWarning(kind=kind, message=message, devices=tuple(device.name for device in here))
