"""A scenario on a booted machine, under a policy: everything that a run depends on, as one value.

A setting is frozen, survives pickling and compares equal. It keeps what it was made of (the machine and the kernel as
they were chosen, the command line) beside what came of it, so that another one can be made of it with one thing
changed, without reading or checking again what stays (``like``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from numaprobe.drivercore import CoreOptions
from numaprobe.errors import InputError
from numaprobe.policies import Policy, make_policy
from numaprobe.records import RunWarning
from numaprobe.runtime import DEFAULT_PROFILE, KernelProfile, kernel_profile
from numaprobe.scenario.doubts import OF_A_PLAN, doubts_of_parameters, doubts_of_plan
from numaprobe.scenario.plan import RunPlan, make_plan
from numaprobe.topology import SETTINGS, CommandLine, Topology, apply_cmdline, load_topology

if TYPE_CHECKING:
    from numaprobe.scenario.schema import Scenario

#: Parameters that replace what the machine itself says about isolation.
ISOLATION = ("isolcpus", "nohz_full", "workqueue.unbound_cpus")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a run depends on. Any number of runs of one setting give the same trace in virtual time."""

    #: the scenario, and its devices on the machine as it is after boot (``plan.topology``)
    plan: RunPlan
    #: what the kernel does, with what its command line says of unbound workqueues
    profile: KernelProfile
    #: what the command line says to the driver core
    options: CoreOptions
    policy: Policy
    #: nobody chose the policy: it is the kernel's own, and another kernel brings another one
    follows_kernel: bool = False
    #: the kernel and the machine as they were chosen, before the command line
    kernel: KernelProfile
    machine: Topology
    cmdline: str
    #: what of the command line and the scenario nothing will act on
    doubts: tuple[RunWarning, ...] = ()
    #: CPU time to have a page in memory; 0 = part of what bodies compute (see ``VirtualMachine``)
    page_ns: int = 0

    @property
    def scenario(self) -> Scenario:
        """What happens."""
        return self.plan.scenario

    @property
    def warnings(self) -> tuple[RunWarning, ...]:
        """What every trace of this setting says: what is assumed, and what will not be acted on."""
        return (
            *self.scenario.warnings,
            *(RunWarning(kind="machine", message=line) for line in self.machine.warnings),
            *(RunWarning(kind="kernel-profile", message=line) for line in self.kernel.assumptions),
            *self.doubts,
        )


def prepare(
    scenario: Scenario,
    *,
    kernel: KernelProfile | str | None = None,
    machine: Topology | str | None = None,
    cmdline: str | None = None,
    policy: Policy | str | None = None,
    like: Setting | None = None,
) -> Setting:
    """Return ``scenario`` on its machine; what is None comes from the scenario.

    Args:
        scenario: what happens.
        kernel: profile, or its name.
        machine: topology, or any text that names one.
        cmdline: kernel parameters, in place of the scenario's.
        policy: a policy, or its name with options; None: the one that the kernel's own PCI core follows.
        like: a setting whose plan is taken where scenario and machine are the same objects, and isolation is the same.

    Raises:
        InputError: the machine, the parameters or the scenario on this machine make no sense.
        UsageError: no release, or one that is older than anything known; no such policy.

    """
    name = kernel or scenario.kernel or DEFAULT_PROFILE
    profile = name if isinstance(name, KernelProfile) else kernel_profile(name)
    topology = machine if isinstance(machine, Topology) else _topology(scenario, machine)
    text = scenario.cmdline if cmdline is None else cmdline
    parameters = CommandLine.parse(text)
    settled, unknown = _with_parameters(profile, parameters)
    isolated, ignored = _isolated(topology, parameters)
    same = like is not None and like.scenario is scenario and like.machine is topology
    if same and like is not None and like.plan.topology.housekeeping == isolated.housekeeping:
        plan, found = like.plan, [one for one in like.doubts if one.kind in OF_A_PLAN]
    else:
        plan = make_plan(scenario, isolated)
        found = doubts_of_plan(plan)
    chosen = profile.pci_policy if policy is None else policy
    return Setting(
        plan=replace(plan, topology=_as_booted(plan.topology, topology, settled, parameters)),
        profile=settled,
        options=CoreOptions.from_parameters(parameters.parameters, booted=not scenario.booting),
        policy=make_policy(chosen) if isinstance(chosen, str) else chosen,
        follows_kernel=policy is None,
        kernel=profile,
        machine=topology,
        cmdline=text,
        doubts=(*ignored, *doubts_of_parameters(parameters), *found, *unknown),
    )


def _as_booted(topology: Topology, machine: Topology, profile: KernelProfile, parameters: CommandLine) -> Topology:
    """Return the machine with what its kernel would show of its settings, so that no reader of a trace has to guess."""
    shown = profile.settings
    if cmdline := str(parameters):
        shown["cmdline"] = cmdline
    return replace(topology, info={**machine.info, **shown})


def _topology(scenario: Scenario, machine: str | None) -> Topology:
    if machine is None and scenario.topology is not None:
        return scenario.topology
    try:
        return load_topology(machine or scenario.machine)
    except InputError as error:
        if machine is not None or error.where:
            raise
        raise InputError(f"machine: {error.what}", scenario.where) from None


def _isolated(machine: Topology, parameters: CommandLine) -> tuple[Topology, list[RunWarning]]:
    """Return the machine as these parameters isolate it, and what of them the kernel would skip."""
    ignored: list[str] = []
    if any(name in parameters for name in ISOLATION):
        machine = apply_cmdline(machine, parameters, ignored.append)
    return machine, [RunWarning(kind="cmdline", message=line) for line in ignored]


def _with_parameters(profile: KernelProfile, parameters: CommandLine) -> tuple[KernelProfile, list[RunWarning]]:
    """Return the profile with what the command line says about unbound workqueues, and what this kernel ignores."""
    scope, _ = SETTINGS
    ignored: list[RunWarning] = []
    for name in SETTINGS:
        if (value := parameters.get(name)) is None:
            continue
        changed = profile.with_setting(name, value)
        if name == scope and value not in profile.affinity_scopes:
            known = f"only {', '.join(profile.affinity_scopes)}" if profile.affinity_scopes else "no affinity scopes"
            text = f"{scope}={value}: kernel {profile.name} has {known}, and nothing is done about it"
            ignored.append(RunWarning(kind="kernel-parameter", message=text))
        else:
            profile = changed
    return profile, ignored
