"""Run a scenario under a policy: the one place that joins driver core, policy and machine.

What differs between two runs of one scenario is the policy alone: the machine, the kernel profile, the costs and the
order of events are the same, and the virtual machine is repeatable to the byte.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from numaprobe.drivercore import CoreOptions, DriverCore
from numaprobe.errors import DeadlockError, InputError
from numaprobe.policies import Policy, make_policy
from numaprobe.records import RunWarning, Trace
from numaprobe.records.ranges import fits
from numaprobe.runtime import DEFAULT_PROFILE, AffinityScope, KernelProfile, kernel_profile
from numaprobe.scenario.doubts import doubts
from numaprobe.scenario.plan import Plan, make_plan
from numaprobe.scenario.steps import CheckResult, Hotplug, Steps
from numaprobe.scenario.world import World
from numaprobe.topology import CommandLine, Topology, apply_cmdline, load_topology, to_json
from numaprobe.virtual import VirtualMachine

if TYPE_CHECKING:
    from numaprobe.records.model import Source
    from numaprobe.runtime import Machine
    from numaprobe.scenario.schema import Scenario

#: Parameters that replace what the machine itself says about isolation.
ISOLATION = ("isolcpus", "nohz_full", "workqueue.unbound_cpus")
#: ``workqueue.cache_shard_size=``: no LLC has more cores.
_MAX_SHARD = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one run."""

    trace: Trace
    #: the checks that the scenario asks for, in order
    checks: tuple[CheckResult, ...] = ()
    #: who waits for whom, if the run ended in a deadlock; the trace then holds the probes that were done
    deadlock: str | None = None

    @property
    def passed(self) -> bool:
        """Whether no check failed and nothing hung."""
        return self.deadlock is None and all(check.passed for check in self.checks)

    @property
    def failures(self) -> list[str]:
        """What did not pass, one line each: the trace's warnings of these kinds."""
        return [warning.message for warning in self.trace.warnings if warning.kind in {"check", "deadlock"}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A scenario on a booted machine, before a policy is chosen: made once for all policies of a comparison."""

    plan: Plan
    profile: KernelProfile
    options: CoreOptions
    warnings: tuple[RunWarning, ...] = ()
    #: CPU time to have a page in memory; 0 = part of what bodies compute (see ``VirtualMachine``)
    page_ns: int = 0


def prepare(
    scenario: Scenario,
    *,
    kernel: KernelProfile | str | None = None,
    machine: Topology | str | None = None,
    cmdline: str | None = None,
) -> Setting:
    """Return ``scenario`` on its machine; what is None comes from the scenario.

    Args:
        scenario: what happens.
        kernel: profile, or its name.
        machine: topology, or any text that names one.
        cmdline: kernel parameters, in place of the scenario's.

    Raises:
        InputError: the machine, the parameters or the scenario on this machine make no sense.
        UsageError: no release, or one that is older than anything known.

    """
    profile = (
        kernel if isinstance(kernel, KernelProfile) else kernel_profile(kernel or scenario.kernel or DEFAULT_PROFILE)
    )
    topology = machine if isinstance(machine, Topology) else _topology(scenario, machine)
    parameters = CommandLine.parse(scenario.cmdline if cmdline is None else cmdline)
    warnings = [*scenario.warnings, *(RunWarning(kind="machine", message=line) for line in topology.warnings)]
    warnings += [RunWarning(kind="kernel-profile", message=line) for line in profile.assumptions]
    if any(name in parameters for name in ISOLATION):
        topology = apply_cmdline(
            topology, parameters, lambda line: warnings.append(RunWarning(kind="cmdline", message=line))
        )
    profile = _with_parameters(profile, parameters)
    plan = make_plan(scenario, _as_booted(topology, profile, parameters))
    return Setting(
        plan=plan,
        profile=profile,
        options=CoreOptions.from_parameters(parameters.parameters),
        warnings=(*warnings, *doubts(plan, parameters)),
    )


def _as_booted(topology: Topology, profile: KernelProfile, parameters: CommandLine) -> Topology:
    """Return the machine with what its kernel would show of its settings, so that no reader of a trace has to guess."""
    shown = profile.settings
    if cmdline := str(parameters):
        shown["cmdline"] = cmdline
    return replace(topology, info={**topology.info, **shown})


def _topology(scenario: Scenario, machine: str | None) -> Topology:
    if machine is None and scenario.topology is not None:
        return scenario.topology
    try:
        return load_topology(machine or scenario.machine)
    except InputError as error:
        if machine is not None or error.where:
            raise
        raise InputError(f"machine: {error.what}", scenario.where) from None


def _with_parameters(profile: KernelProfile, parameters: CommandLine) -> KernelProfile:
    """Return the profile with what the command line says about unbound workqueues."""
    scope = parameters.get("workqueue.default_affinity_scope")
    if scope is not None:
        if scope not in tuple(AffinityScope):
            text = f"workqueue.default_affinity_scope={scope[:40]}: use one of {', '.join(AffinityScope)}"
            raise InputError(text)
        profile = replace(profile, default_scope=AffinityScope(scope))
    size = parameters.get("workqueue.cache_shard_size")
    if size is not None:
        if not (size.isascii() and size.isdigit() and 0 < int(size[:9]) <= _MAX_SHARD):
            raise InputError(f"workqueue.cache_shard_size={size[:40]}: write a number from 1 to {_MAX_SHARD}")
        profile = replace(profile, cache_shard_size=int(size))
    return profile


def run_setting(setting: Setting, policy: Policy | str, *, timeline: bool = False) -> Outcome:
    """Run a prepared scenario under one policy.

    Args:
        setting: see ``prepare``.
        policy: a policy, or its name with options.
        timeline: keep each probe's stretches of running, waiting and sleeping.

    Raises:
        UnknownNameError: no such policy.
        InputError: a step names what is not there at that moment.

    """
    machine = VirtualMachine(setting.plan.topology, setting.profile, timeline=timeline, page_ns=setting.page_ns)
    return run_on(machine, setting, policy, hotplug=machine, source="virtual")


def run_on(machine: Machine, setting: Setting, policy: Policy | str, *, hotplug: Hotplug, source: Source) -> Outcome:
    """Run a prepared scenario under one policy on a fresh machine.

    Args:
        machine: of the setting's topology and profile.
        setting: see ``prepare``.
        policy: a policy, or its name with options.
        hotplug: what the machine can do beyond the protocol.
        source: what the trace says where it comes from.

    Raises:
        UnknownNameError: no such policy.
        InputError: a step names what is not there at that moment.

    """
    chosen = make_policy(policy) if isinstance(policy, str) else policy
    scenario = setting.plan.scenario
    core = DriverCore(machine, chosen, setting.options)
    steps = Steps(World(setting.plan, core), hotplug)
    deadlock = None
    try:
        caller = scenario.caller
        if caller.pinned:
            machine.run(steps.run, comm=caller.comm, cpu=caller.cpu)
        else:
            machine.run(lambda: _unpinned(machine, steps), comm=caller.comm)
    except DeadlockError as error:
        deadlock = str(error)
    return _outcome(setting, core, chosen.label, tuple(steps.checks), deadlock, source)


async def _unpinned(machine: Machine, steps: Steps) -> None:
    caller = steps.caller
    await machine.join(machine.spawn(steps.run, comm=caller.comm, cpu=caller.cpu))


def _outcome(
    setting: Setting,
    core: DriverCore,
    label: str,
    checks: tuple[CheckResult, ...],
    deadlock: str | None,
    source: Source,
) -> Outcome:
    scenario = setting.plan.scenario
    # Records come in the order of their ends; a probe that starts inside another one at once comes after that.
    probes = tuple(sorted(core.records, key=lambda record: (record.start_ns or 0, bool(record.nested))))
    if (odd := next((record for record in probes if not fits(record)), None)) is not None:
        text = f"the probe of {odd.device} ends after 146 years or takes 4 EiB: more than a record can hold"
        raise InputError(text, scenario.where)
    if scenario.expect_async_on_node:
        away = [r for r in probes if r.asynchronous and r.local is False]
        shown = f"{len(away)} elsewhere" + (f", first {away[0].device} on CPU {away[0].cpu}" if away else "")
        check = "asynchronous probes start on their device's node"
        checks = (*checks, CheckResult(check=check, passed=not away, detail=shown))
    failed = [RunWarning(kind="check", message=f"check failed: {c.check} ({c.detail})") for c in checks if not c.passed]
    hung = [RunWarning(kind="deadlock", message=deadlock)] if deadlock else []
    waiting = [RunWarning(kind="deferred", message=f"still deferred: {line}") for line in core.deferred.unfinished()]
    trace = Trace(
        source=source,
        probes=probes,
        kernel=setting.profile.name,
        policy=label,
        scenario=scenario.name,
        machine=to_json(setting.plan.topology),
        warnings=(*setting.warnings, *core.machine.warnings, *waiting, *hung, *failed),
    )
    return Outcome(trace=trace, checks=checks, deadlock=deadlock)


def run_scenario(
    scenario: Scenario,
    policy: Policy | str,
    *,
    kernel: KernelProfile | str | None = None,
    machine: Topology | str | None = None,
    cmdline: str | None = None,
    timeline: bool = False,
) -> Trace:
    """Run ``scenario`` under ``policy`` on the virtual machine and return its trace.

    Failed checks are warnings of the trace (``check``); see ``prepare`` for the arguments and for what is raised.

    Raises:
        DeadlockError: the run hung; the text says who waits for whom.

    """
    setting = prepare(scenario, kernel=kernel, machine=machine, cmdline=cmdline)
    outcome = run_setting(setting, policy, timeline=timeline)
    if outcome.deadlock is not None:
        raise DeadlockError([outcome.deadlock.removeprefix("deadlock: ")])
    return outcome.trace
