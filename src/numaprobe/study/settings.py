"""Settings out of whatever there is: a scenario's name or file, a recorded trace, this machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from numaprobe.errors import UsageError
from numaprobe.policies import make_policy
from numaprobe.records import Trace
from numaprobe.runtime import closest_profile
from numaprobe.scenario import (
    Scenario,
    change_scenario,
    cost_table,
    host_scenario,
    load_scenario,
    machine_scenario,
    parse_override,
    prepare,
    replay_scenario,
)
from numaprobe.scenario import learn as learn_from
from numaprobe.study.traces import is_trace, read_trace
from numaprobe.topology import load_topology

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numaprobe.policies import Policy
    from numaprobe.runtime import KernelProfile
    from numaprobe.scenario import CostTable, Setting
    from numaprobe.topology import Topology


def make_setting(
    source: str | Path | Scenario | Trace,
    *,
    machine: Topology | str | None = None,
    kernel: KernelProfile | str | None = None,
    cmdline: str | None = None,
    policy: Policy | str | None = None,
    devices: int | None = None,
    overrides: Sequence[str] | None = None,
    kprobes: Path | None = None,
    learn: Sequence[str | Path | Trace] = (),
    costs: Sequence[str | Path | Trace] = (),
) -> Setting:
    """Return what a run of ``source`` depends on; what is None comes from ``source``.

    Args:
        source: a scenario: its name (``host``: this machine's devices), its file, or the object; or a recorded trace,
            to happen once more: its file, ``-``, or the object.
        machine: topology, or any text that names one. Of ``host`` it is whose devices are meant; of a trace the one
            that it was recorded on.
        kernel: profile, or a release.
        cmdline: kernel parameters, in place of the scenario's.
        policy: a policy, or its name with options; None: that of a trace, else the one that the kernel itself follows.
        devices: so many in the scenario's first group.
        overrides: ``drivers[0].probe_type=sync``: put in place of what a file says before it is checked. An object is
            changed by ``vary``.
        kprobes: see ``read_trace``.
        learn: of a trace: further traces of its machine and kernel, files or objects, that teach what its probes share.
        costs: traces of any machine, files or objects, that tell what drivers' probes cost: for a trace whose costs
            are not divided, and for ``host``.

    Raises:
        InputError: a file, the machine, or the one on the other makes no sense.
        UsageError: a name or a release that is not known, or an argument that is not for such a source.

    """
    table = cost_table([_trace(one, None, None)[0] for one in costs]) if costs else None
    if isinstance(source, Trace) or is_trace(source):
        if devices is not None:
            raise UsageError("--devices is for scenarios; a replay has the devices of its trace")
        taught = [_trace(one, machine, kprobes)[0] for one in learn]
        return _replay(*_trace(source, machine, kprobes), (taught, table), kernel, cmdline, overrides or (), policy)
    if learn:
        raise UsageError(f"--learn is for recorded traces, and '{str(source)[:80]}' is none")
    if kprobes is not None:
        raise UsageError(f"--kprobes is for recorded traces, and '{str(source)[:80]}' is none")
    if costs and str(source) != "host":
        raise UsageError(f"--costs is for recorded traces and for host, and '{str(source)[:80]}' says its costs itself")
    scenario = scenario_of(source, overrides, devices=devices, machine=machine, costs=table)
    # the scenario of a host brings the machine along, with whatever is special about it
    whose = None if str(source) == "host" else machine
    return prepare(scenario, kernel=kernel, machine=whose, cmdline=cmdline, policy=policy)


def scenario_of(
    source: str | Path | Scenario,
    overrides: Sequence[str] | None = None,
    *,
    devices: int | None = None,
    machine: Topology | str | None = None,
    costs: CostTable | None = None,
) -> Scenario:
    """Return the scenario that ``make_setting`` would run; see there for the arguments and for what is raised."""
    changes = [*(overrides or ()), *([] if devices is None else [f"devices[0].count={devices}"])]
    if isinstance(source, Scenario):
        return change_scenario(source, dict(parse_override(text) for text in changes))
    if str(source) != "host":
        return load_scenario(str(source), changes)
    if machine is None or isinstance(machine, str):
        return host_scenario(changes, machine or "host", costs=costs)
    return machine_scenario(machine, changes, profile=closest_profile(machine.info.get("kernel")), costs=costs)


def _trace(
    source: str | Path | Scenario | Trace, machine: Topology | str | None, kprobes: Path | None
) -> tuple[Trace, Topology | None]:
    """Return the trace, and the machine if it is not the one that the trace says."""
    if not isinstance(source, Trace):
        return read_trace(str(source), machine=machine, kprobes=kprobes), None
    return source, load_topology(machine) if isinstance(machine, str) else machine


def _replay(
    trace: Trace,
    machine: Topology | None,
    told: tuple[Sequence[Trace], CostTable | None],
    kernel: KernelProfile | str | None,
    cmdline: str | None,
    overrides: Sequence[str],
    policy: Policy | str | None,
) -> Setting:
    name = kernel if kernel is None or isinstance(kernel, str) else kernel.name
    taught, costs = told
    lesson = learn_from(trace, taught, machine) if taught else None
    scenario = replay_scenario(trace, machine, name, overrides=overrides, lesson=lesson, costs=costs)
    setting = prepare(scenario, kernel=None if isinstance(kernel, str) else kernel, cmdline=cmdline, policy=policy)
    own = None if policy is not None else recorded_policy(trace)
    return setting if own is None else replace(setting, policy=own, follows_kernel=False)


def recorded_policy(trace: Trace) -> Policy | None:
    """Return the policy that a trace was recorded under; None: it does not tell, or tells one that is not known here.

    Then it is the kernel's own.
    """
    if trace.policy is None:
        return None
    try:
        return make_policy(trace.policy)
    except UsageError:
        return None
