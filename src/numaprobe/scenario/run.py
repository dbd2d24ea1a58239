"""Run a scenario under a policy: the one place that joins driver core, policy and machine.

What differs between two runs of one scenario is the policy alone: the machine, the kernel profile, the costs and the
order of events are the same, and the virtual machine is repeatable to the byte.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from numaprobe.analysis.summary import makespan
from numaprobe.drivercore import DriverCore
from numaprobe.errors import BodyError, DeadlockError, InputError
from numaprobe.policies import make_policy
from numaprobe.records import Identity, Reading, RunWarning, Trace
from numaprobe.records.ranges import fits
from numaprobe.scenario.readas import ReadAs
from numaprobe.scenario.schema import differs
from numaprobe.scenario.setting import Setting, prepare
from numaprobe.scenario.taking import CheckResult, Steps
from numaprobe.scenario.waiting import LockBook, Waiter
from numaprobe.scenario.world import World
from numaprobe.topology import to_json
from numaprobe.version import __version__
from numaprobe.virtual import VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.policies import Policy
    from numaprobe.records import ProbeRecord
    from numaprobe.records.model import Source
    from numaprobe.runtime import KernelProfile, Machine
    from numaprobe.scenario.schema import Scenario
    from numaprobe.scenario.steps import MachineChanges
    from numaprobe.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one run."""

    trace: Trace
    #: the checks that the scenario asks for, in order
    checks: tuple[CheckResult, ...] = ()
    #: which task waits for which, if the run ended in a deadlock; the trace then holds the probes that were done
    deadlock: str | None = None

    @property
    def passed(self) -> bool:
        """Whether no check failed and nothing hung."""
        return self.deadlock is None and all(check.passed for check in self.checks)

    @property
    def failures(self) -> list[str]:
        """What did not pass, one line each: the trace's warnings of these kinds."""
        return [warning.message for warning in self.trace.warnings if warning.kind in {"check", "deadlock"}]


def run_setting(
    setting: Setting,
    policy: Policy | str | None = None,
    *,
    timeline: bool = False,
    readings: bool = True,
    told: Callable[[int], object] | None = None,
) -> Outcome:
    """Run a setting in virtual time; where something is in doubt, once for each reading of it.

    Args:
        setting: see ``prepare``.
        policy: in place of the setting's: a policy, or its name with options.
        timeline: keep each probe's stretches of running, waiting and sleeping.
        readings: give the trace the figures under each reading; else it is run once, as expected.
        told: called now and then with the number of probes that are over.

    Raises:
        UnknownNameError: no such policy.
        InputError: a step names what is not there at that moment.

    """
    outcome = read_setting(setting, policy, timeline=timeline, told=told)
    others = [read for read in ReadAs if readings and differs(setting.scenario, read)]
    if not others:
        return outcome
    figures = [figures_of(outcome.trace, ReadAs.EXPECTED)]
    for read in others:
        with suppress(InputError, DeadlockError, BodyError):  # times decide what is there, and when: it has no figures
            run = read_setting(setting, policy, read)
            figures += [figures_of(run.trace, read)] if run.deadlock is None else []
    return replace(outcome, trace=replace(outcome.trace, readings=tuple(figures)))


def read_setting(
    setting: Setting,
    policy: Policy | str | None = None,
    read: ReadAs = ReadAs.EXPECTED,
    *,
    timeline: bool = False,
    told: Callable[[int], object] | None = None,
) -> Outcome:
    """Run a setting once in virtual time, what is in doubt read so; see ``run_setting``."""
    machine = VirtualMachine(setting.plan.topology, setting.profile, timeline=timeline, page_ns=setting.page_ns)
    return run_on(machine, setting, policy, hotplug=machine, source="virtual", read=read, told=told)


def figures_of(trace: Trace, read: ReadAs) -> Reading:
    """Return the figures of a run that was read so: makespan, and the worst cost of a probe that was not sent away."""
    costs = (record.cost_ns for record in trace.probes if not record.deferred)
    return Reading(read, makespan(trace.probes), max(costs, default=None))


def run_on(
    machine: Machine,
    setting: Setting,
    policy: Policy | str | None,
    *,
    hotplug: MachineChanges,
    source: Source,
    read: ReadAs = ReadAs.EXPECTED,
    told: Callable[[int], object] | None = None,
    made: Callable[[DriverCore], object] | None = None,
    pause: Callable[[int], Awaitable[None]] | None = None,
    may: Callable[[str], bool] | None = None,
) -> Outcome:
    """Run a setting on a fresh machine.

    Args:
        machine: of the setting's topology and profile.
        setting: see ``prepare``.
        policy: in place of the setting's; None: the setting's.
        hotplug: what the machine can do beyond the protocol.
        source: what the trace says where it comes from.
        read: how what is in doubt is read.
        told: see ``run_setting``.
        pause: how time passes in a step ``wait``; None: by the machine's sleep.
        may: whether a step ``maybe`` is taken; None: never.
        made: called with the driver core before the first step.

    Raises:
        UnknownNameError: no such policy.
        InputError: a step names what is not there at that moment.

    """
    chosen = make_policy(policy) if isinstance(policy, str) else policy or setting.policy
    core = DriverCore(machine, chosen, setting.options)
    core.bodies.recorder.told = told
    if made is not None:
        made(core)
    world = World(setting.plan, core, read)
    steps = Steps(world, hotplug, pause, may)
    deadlock = None
    try:
        steps.run()
    except DeadlockError as error:
        deadlock = str(error)
    return _outcome(setting, core, chosen.label, steps, deadlock, source, world.book)


def _outcome(
    setting: Setting,
    core: DriverCore,
    label: str,
    steps: Steps,
    deadlock: str | None,
    source: Source,
    book: LockBook,
) -> Outcome:
    scenario, checks = setting.plan.scenario, tuple(steps.checks)
    # Records come in the order of their ends; a probe that starts inside another one at once comes after that.
    probes = tuple(sorted(core.records, key=lambda record: (record.start_ns or 0, bool(record.nested))))
    if (odd := next((record for record in probes if not fits(record)), None)) is not None:
        text = f"the probe of {odd.device} ends after 146 years or takes 4 EiB: more than a record can hold"
        raise InputError(text, scenario.where)
    shared = tuple(model.as_record() for model in scenario.shared if model.hold)
    if book.used:
        probes = tuple(_with_waits(record, book) for record in probes)
        known = {hold.resource for hold in shared}
        seen = book.shared({_waiter(record): record.driver for record in probes})
        shared += tuple(hold for hold in seen if hold.resource not in known)
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
        identity=Identity(numaprobe=__version__),
        machine=to_json(setting.plan.topology),
        warnings=(*setting.warnings, *core.machine.warnings, *waiting, *hung, *failed),
        shared=shared,
        milestones=tuple(steps.milestones),
    )
    return Outcome(trace=trace, checks=checks, deadlock=deadlock)


def _waiter(record: ProbeRecord) -> Waiter:
    return Waiter(record.bus or "", record.device, record.start_ns or 0)


def _with_waits(record: ProbeRecord, book: LockBook) -> ProbeRecord:
    """Return a record with what its probe waited for."""
    waits = book.of(_waiter(record))
    return replace(record, waits=waits, lock_wait_ns=sum(wait.wait_ns for wait in waits))


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
        DeadlockError: the run hung; the text says which task waits for which.

    """
    setting = prepare(scenario, kernel=kernel, machine=machine, cmdline=cmdline, policy=policy)
    outcome = run_setting(setting, timeline=timeline)
    if outcome.deadlock is not None:
        raise DeadlockError([outcome.deadlock.removeprefix("deadlock: ")])
    return outcome.trace
