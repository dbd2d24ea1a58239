"""Before anything is written: where each probe will run, and how long it will take.

The plan is taken as a scenario of the virtual machine: this machine's nodes and CPUs, this kernel's rules, a writer
for each of the plan's jobs, pinned to its device's node, and the costs that somebody measured or an assumption. So the
forecast knows what the rules imply: a stock kernel queues a PCI probe to its node's first CPU, whatever the writer is
pinned to, and there the drives take turns; on every other bus, and where no node is known, the probe runs in the
writer's own thread.

What it does not know: what unbinding costs, what the devices do beyond the table of costs, and what else is busy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numaprobe.runtime import closest_profile
from numaprobe.scenario import parse_scenario, run_scenario
from numaprobe.scenario.costtable import built_in_costs
from numaprobe.scenario.host import NAME, PARAMETERS
from numaprobe.topology import CommandLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numaprobe.bringup.plan import Change, Plan
    from numaprobe.records import ProbeRecord, Trace
    from numaprobe.topology import Topology

#: What a writer's thread is called.
WRITER: Final = "numaprobe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What will happen, as far as anybody can say."""

    #: the run on the virtual machine; its warnings say what was assumed
    trace: Trace
    #: (bus, name) -> its probe; a device that is only unbound has none
    probes: Mapping[tuple[str, str], ProbeRecord]
    #: first start to last end of all probes, ns; None: nothing is probed
    makespan_ns: int | None
    #: drivers whose cost nobody measured
    assumed: tuple[str, ...]
    #: drivers whose cost was measured on emulated hardware
    emulated: tuple[str, ...]

    def writes_itself(self, change: Change) -> bool | None:
        """Return whether a device is probed in the writer's own thread, so that its pin decides; None: no probe."""
        record = self.probes.get((change.bus, change.name))
        return None if record is None or record.comm is None else record.comm.startswith(WRITER)


def forecast(plan: Plan, machine: Topology) -> Forecast:
    """Return what the binds of a plan will do on this machine.

    Args:
        plan: what will be done.
        machine: its nodes and CPUs, as they are now, and what its kernel was booted with.

    Raises:
        InputError: the machine cannot be simulated.

    """
    profile = closest_profile(plan.kernel)
    binds = [change for change in plan.changes if change.driver_after is not None and NAME.fullmatch(change.name)]
    costs = built_in_costs()
    scenario = parse_scenario(_scenario(binds, plan, machine, costs), "plan")
    cmdline = CommandLine.parse(machine.info.get("cmdline", "")).only(PARAMETERS)
    trace = run_scenario(scenario, profile.pci_policy, kernel=profile, machine=machine, cmdline=str(cmdline))
    probes = {(record.bus or "", record.device): record for record in trace.probes}
    times = [(one.start_ns, one.end_ns) for one in trace.probes if one.start_ns is not None and one.end_ns is not None]
    makespan = max(end for _, end in times) - min(start for start, _ in times) if times else None
    drivers = sorted({change.driver_after or "" for change in binds})
    entries = {driver: costs["drivers"].get(driver, {"kind": "assumed"})["kind"] for driver in drivers}
    return Forecast(
        trace=trace,
        probes=probes,
        makespan_ns=makespan,
        assumed=tuple(driver for driver, kind in entries.items() if kind == "assumed"),
        emulated=tuple(driver for driver, kind in entries.items() if kind == "emulated"),
    )


def _scenario(binds: Sequence[Change], plan: Plan, machine: Topology, costs: Mapping[str, Any]) -> dict[str, Any]:
    buses = sorted({change.bus for change in binds})
    drivers = sorted({(change.bus, change.driver_after or "") for change in binds})
    steps: list[dict[str, Any]] = [{"add": "*"}, {"load": [name for _, name in drivers]}] if binds else []
    for wave in sorted({change.wave for change in binds}):
        lanes = _lanes([change for change in binds if change.wave == wave], plan.jobs)
        steps.append({"parallel": [{"sequence": list(_writes(*one, machine))} for one in enumerate(lanes)]})
    return {
        "name": "plan",
        "machine": "host",
        "caller": {"comm": WRITER, "cpu": machine.online.first or 0},
        "buses": [{"name": name, "autoprobe": False} for name in buses],
        "drivers": [_driver(bus, name, costs) for bus, name in drivers],
        "devices": [_device(change, machine) for change in binds],
        "steps": steps,
    }


def _driver(bus: str, name: str, costs: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "bus": bus, "phases": costs["drivers"].get(name, costs["assumed"])["phases"]}


def _device(change: Change, machine: Topology) -> dict[str, Any]:
    found: dict[str, Any] = {"name": change.name, "bus": change.bus, "compatible": change.driver_after}
    if change.node is not None and machine.node(change.node) is not None:
        found["node"] = change.node
    return found


def _lanes(changes: Sequence[Change], jobs: int) -> list[list[Change]]:
    """Return what each task writes: exclusive changes of a driver one after the other, the others as jobs take them."""
    alone: dict[str, list[Change]] = {}
    free: list[list[Change]] = []
    for change in changes:
        if change.exclusive:
            alone.setdefault(change.driver_after or "", []).append(change)
        else:
            free.append([change])
    lanes: list[list[Change]] = [[] for _ in range(min(jobs, len(alone) + len(free)))]
    for piece in sorted((*alone.values(), *free), key=len, reverse=True):
        min(lanes, key=len).extend(piece)
    return lanes


def _writes(index: int, lane: Iterable[Change], machine: Topology) -> Iterator[dict[str, Any]]:
    """Yield a writer's steps; each writer has another CPU of the node, as idle ones would find it."""
    for change in lane:
        near = list((change.cpus & machine.online) or machine.online)
        yield {"bind": change.name, "driver": change.driver_after, "cpu": near[index % len(near)], "comm": WRITER}
