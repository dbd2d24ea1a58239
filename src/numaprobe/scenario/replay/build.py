"""Any recorded trace as a scenario: the same devices, drivers, costs and order of events, ready for another policy.

It does not matter whether the kernel, the host machine or the virtual machine recorded it. What a trace does not tell
is assumed, and every assumption is a warning of the scenario, and so of each trace that comes of it.

``docs/replay.md`` says how well replays of real kernels' traces agree with them, and what cannot be replayed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from numaprobe.errors import InputError
from numaprobe.records import NO_NODE
from numaprobe.records.boot import RETRIES_DEFERRED
from numaprobe.runtime import closest_profile
from numaprobe.scenario.phases import DeviceGroup
from numaprobe.scenario.reader import describe, made_scenario
from numaprobe.scenario.replay.boot import KERNEL_INIT, boot_history, boot_steps
from numaprobe.scenario.replay.collected import ReplayWarnings
from numaprobe.scenario.replay.events import history
from numaprobe.scenario.replay.fit import find_growth, makespan_of, recorded_makespan, slowed
from numaprobe.scenario.replay.lessons import sharing_of
from numaprobe.scenario.replay.nodes import ImpliedNodes
from numaprobe.scenario.replay.phases import device_phases, first_to_differ
from numaprobe.scenario.replay.probes import ready
from numaprobe.scenario.replay.steps import first_caller, steps_of
from numaprobe.scenario.schema import DriverModel
from numaprobe.topology import SETTINGS, CommandLine, from_json, load_topology

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.records import Trace
    from numaprobe.runtime import KernelProfile
    from numaprobe.scenario.costtable import CostTable
    from numaprobe.scenario.replay.events import TraceHistory
    from numaprobe.scenario.replay.lessons import Lesson, Sharing
    from numaprobe.scenario.replay.probes import Key, TracedProbe
    from numaprobe.scenario.schema import Scenario
    from numaprobe.topology import DeviceInfo, Topology

#: Where a boot is replayed whose log tells no machine: enough CPUs, as such a log's costs are all sleep.
BOOT_MACHINE: Final = "1 node x 8 cores"
#: Phases of a device, and of all devices together: what a scenario takes, and what memory takes.
MAX_PHASES: Final = 960
MAX_PHASES_TOGETHER: Final = 200_000
_FEWEST_PHASES: Final = 6
#: A trace with more probes is not replayed to find out what company added.
LARGEST_FIT: Final = 200
#: Parameters of the recorded kernel that bear on placement and are not in the records already.
_PARAMETERS: Final = (*SETTINGS, "deferred_probe_timeout")


def replay_scenario(
    trace: Trace,
    topology: Topology | None = None,
    kernel: str | None = None,
    *,
    overrides: Sequence[str] = (),
    lesson: Lesson | None = None,
    costs: CostTable | None = None,
) -> Scenario:
    """Return the scenario that repeats ``trace``.

    Args:
        trace: any recorded trace.
        topology: the machine it was recorded on; None: the one that the trace holds.
        kernel: kernel profile; None: that of the trace's kernel, else the default.
        overrides: values put in place, as for a file.
        lesson: what other traces of this machine taught (``learn``); None: nothing, so figures are ranges.
        costs: what drivers' probes cost elsewhere, for costs that the trace does not divide; None: the built-in table.

    Raises:
        InputError: the machine is not known, nothing can be replayed, or a figure is absurd.
        UsageError: an override is none.

    """
    where = trace.scenario or "trace"
    warnings = ReplayWarnings()
    machine = topology or _machine(trace, where, warnings)
    seen = ready(trace.probes, machine, warnings)
    at_once = {one.record.driver for one in seen if one.asynchronous}
    sharing = sharing_of(trace, [one.record for one in seen], lesson, costs, at_once=at_once)
    for kind, text, device in sharing.said:
        warnings.say(kind, text, device)
    boots = bool(trace.initcalls)
    past = boot_history(seen, trace.initcalls, warnings) if boots else history(seen, machine, warnings)
    if not past.probes:
        raise InputError("none of its probes ran in an initcall of kernel_init, so there is no boot to repeat", where)
    caller = KERNEL_INIT if boots else first_caller(past.events)
    recorded = closest_profile(trace.kernel or machine.info.get("kernel"))
    try:
        data = {
            "name": f"{where} (replay)",
            "summary": f"Replay of {len(seen)} recorded probes",
            "machine": "replayed",
            "kernel": kernel or _profile(recorded, warnings),
            "cmdline": _cmdline(machine, recorded),
            "caller": caller,
            "drivers": _drivers(seen, sharing),
            "devices": _Devices(past, machine, warnings, sharing).top(),
            "shared": sharing.shared,
            "steps": boot_steps(past, trace.initcalls, trace.milestones) if boots else steps_of(past, caller),
            "booting": any(one.function == RETRIES_DEFERRED for one in trace.initcalls),
        }
    except ValidationError as error:
        raise InputError(describe(error), where) from None
    if lesson is None and len(seen) <= LARGEST_FIT and any(table.evidence == "seen" for table in sharing.shared):
        again = made_scenario(data, where).with_origin(where, machine)
        data["shared"] = slowed(sharing.shared, _growth(again, trace))
    scenario = made_scenario(data, where, overrides=overrides)
    return scenario.with_origin(where, machine, warnings.all())


def _growth(scenario: Scenario, trace: Trace) -> float:
    """Return what company added to the probes of a trace beyond the waits that were seen."""

    def makespan(growth: float) -> int:
        shared = tuple(slowed(scenario.shared, growth))
        return makespan_of(scenario.model_copy(update={"shared": shared}).with_origin_of(scenario), trace)

    return find_growth(makespan, recorded_makespan(trace))


def _machine(trace: Trace, where: str, warnings: ReplayWarnings) -> Topology:
    if not trace.machine and trace.initcalls:
        text = f"the log does not say on which machine it booted; replayed on {BOOT_MACHINE} (--machine tells it)"
        warnings.say("assumed-machine", text)
        return load_topology(BOOT_MACHINE)
    if not trace.machine:
        text = (
            "does not say on which machine it was recorded, and a replay needs one: pass --machine MACHINE "
            "(--machine host if it was this one)"
        )
        raise InputError(text, where)
    try:
        return from_json(trace.machine)
    except InputError as error:
        raise InputError(error.what, f"{where}: {error.where or 'machine'}") from None


def _profile(recorded: KernelProfile, warnings: ReplayWarnings) -> str:
    for line in recorded.assumptions:
        warnings.say("kernel-profile", line)
    return recorded.name


def _cmdline(topology: Topology, recorded: KernelProfile) -> str:
    """Return the parameters that bear on placement: as the command line has them, else as the kernel showed them."""
    parsed = CommandLine.parse(topology.info.get("cmdline", ""))
    shown = [(name, topology.info[name]) for name in SETTINGS if topology.info.get(name) and name not in parsed]
    unusual = (pair for pair in shown if pair[1] != recorded.settings[pair[0]])
    return str(CommandLine((*parsed.only(_PARAMETERS).parameters, *unusual)))


def _drivers(seen: Iterable[TracedProbe], sharing: Sharing) -> list[DriverModel]:
    found: dict[Key, dict[str, Any]] = {}
    for one in seen:
        bus, name = one.driver
        entry = found.setdefault(one.driver, {"name": name, "bus": bus})
        if name in sharing.spread:
            entry["spread"] = sharing.spread[name]
        if one.asynchronous:
            entry["probe_type"] = "async"
        if one.record.function and one.record.function != f"{name}_probe":
            entry.setdefault("function", one.record.function)
    return [DriverModel.of(**entry) for entry in found.values()]


class _Devices:
    """The devices of a replay as groups of one."""

    def __init__(self, past: TraceHistory, topology: Topology, warnings: ReplayWarnings, sharing: Sharing) -> None:
        self._sharing = sharing
        self._past = past
        self._topology = topology
        self._warnings = warnings
        self._limit = max(_FEWEST_PHASES, min(MAX_PHASES, MAX_PHASES_TOGETHER // len(past.probes)))
        self._known: dict[str, DeviceInfo] = {device.name: device for device in reversed(topology.devices)}
        self._nodes = ImpliedNodes(topology, self._known, warnings)

    def top(self) -> list[DeviceGroup]:
        """Return the devices that no other probe registered, those of their children inside of them."""
        return [self._group(key, None) for key in self._past.probes if key not in self._past.children]

    def _group(self, key: Key, parent: TracedProbe | None) -> DeviceGroup:
        probes = self._past.probes[key]
        one = first_to_differ(probes)[1]
        node = self._nodes.of(one, parent)
        inner = {child.key: child for child in one.children if child.key in self._past.children}
        groups = [(child, self._group(child.key, one)) for child in inner.values()]
        bus, name = key
        group: dict[str, Any] = {"name": name, "bus": bus, "compatible": one.record.driver}
        if node != NO_NODE:
            group["node"] = node
        if parent is not None and self._is_virtual_function(one, parent):
            group["virtual_function"] = True
        try:
            scale = self._sharing.scale_of(one.record)
            group["phases"] = device_phases(probes, groups, self._topology, self._warnings, self._limit, scale)
        except ValidationError as error:
            raise InputError(f"the probe of {name}: {describe(error)}") from None
        return DeviceGroup.of(**group)

    def _is_virtual_function(self, one: TracedProbe, parent: TracedProbe) -> bool:
        """Tell a virtual function: the machine says so, or it does not know and a PCI probe registered it on PCI."""
        info = self._known.get(one.record.device)
        if info is not None:
            return info.physfn is not None
        return one.bus == parent.bus == "pci"
