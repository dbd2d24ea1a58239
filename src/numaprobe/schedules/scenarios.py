"""A setting as what is explored: the scenario's steps, the driver core and the policy, in any order.

What two runs are compared by (``outcome``): which driver each device has in the end or why it has none, what the last
probe of each device by each driver returned, the scenario's checks but those on times, writes to sysfs that failed.
Not: times, CPUs, workers, how often a probe was deferred on the way.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from numaprobe.drivercore.asyncs import ASYNC_WORK_NAME
from numaprobe.errors import BodyError, InputError, InternalError, PolicyError, UsageError
from numaprobe.records import RunWarning
from numaprobe.runtime.choice import ChosenFlag
from numaprobe.scenario.run import run_on
from numaprobe.scenario.steps.base import all_steps
from numaprobe.scenario.steps.cpus import StartBusy
from numaprobe.scenario.write import to_data
from numaprobe.schedules.conductor import Conductor, Repeat, Stopped
from numaprobe.schedules.model import ChosenRun, Ending, Verdict
from numaprobe.schedules.replay import asked_besides, digest_of, faults_of, patience_of, read_schedule
from numaprobe.schedules.waits import EndedBy, WaitGraph, hang
from numaprobe.topology import to_json
from numaprobe.virtual.choosing import ChoosingMachine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.drivercore import Device, DriverCore
    from numaprobe.runtime import Task
    from numaprobe.scenario import Outcome, Setting

#: What the core says where a body waits for itself: a kernel would hang there.
_WAITS_FOR_ITSELF: Final = "which waits until that body is over"
#: Keys of a scenario that change nothing of its runs, or of which a setting holds what came of them.
_NOT_RUN: Final = frozenset({"name", "summary", "description", "schedule", "kernel", "cmdline"})
#: How the active references of a file of sysfs are called.
_ACTIVE: Final = "kn->active"
#: Kinds of warnings that are part of an outcome: a read of sysfs failed, or a write.
_WRITES: Final = frozenset({"bind", "unbind", "drivers_probe", "sriov_numvfs", "authorized", "cpumask", "attribute"})


@dataclass(frozen=True, eq=False)
class ScenarioSubject:
    """A setting, run in the order that a conductor wants.

    Args:
        setting: what to run; its policy is the one that is explored.
        faults: kinds of choices that are no order, which are offered too: see ``FAULTS``.
        patience: how many steps a task may be passed over; see ``Conductor``.

    Raises:
        InputError: its scenario has background load, of which an order of steps says nothing.

    """

    setting: Setting
    faults: tuple[str, ...] = ()
    patience: int | None = None

    #: the driver core's own fields are touched by nearly every step, and no machine sees them
    opaque = True

    def __post_init__(self) -> None:
        scenario = self.setting.scenario
        for where, step in all_steps(scenario.steps, "steps"):
            if isinstance(step, StartBusy):
                text = (
                    f"{where}: background load has no order that could be chosen: take 'busy' out to explore the rest"
                )
                raise InputError(text, scenario.where)
        for fault in self.faults:
            if fault not in FAULTS:
                raise UsageError(f"unknown choice '{fault[:40]}': known: {', '.join(FAULTS)}")

    @property
    def name(self) -> str:
        """Scenario, policy and kernel."""
        return f"{self.setting.scenario.name} under {self.setting.policy.label} on {self.setting.profile.name}"

    @cached_property
    def digest(self) -> str:
        """Of all that a run depends on, with what is asked for besides the order."""
        scenario = {key: value for key, value in to_data(self.setting.scenario).items() if key not in _NOT_RUN}
        machine = {**to_json(self.setting.plan.topology), "info": None}
        parts = [scenario, machine, self.setting.cmdline, self.setting.profile.name, self.setting.policy.label]
        digest = digest_of([json.dumps(parts, sort_keys=True, default=str)])
        return digest + asked_besides(self.faults, self.patience)

    def run(self, conductor: Conductor) -> Ending:
        """Run it once."""
        return self.traced(conductor)[0]

    def traced(self, conductor: Conductor) -> tuple[Ending, Outcome | None]:
        """Run it once, and return what was recorded too; None where the run was stopped by a finding."""
        machine = ChoosingMachine(self.setting.plan.topology, self.setting.profile, chooser=conductor)
        watched = _WatchedOrder(machine, self.faults)
        conductor.watch = watched.look
        conductor.labels, conductor.class_of = machine.actors.labels, watched.class_of
        try:
            outcome = run_on(
                machine,
                self.setting,
                None,
                hotplug=machine,
                source="virtual",
                made=watched.made,
                pause=machine.pause,
                may=lambda what: machine.decide(what, 2) == 1,
            )
        except Stopped as stopped:
            if stopped.ending is None:
                raise
            return stopped.ending, None
        except (InputError, UsageError, BodyError, PolicyError) as error:
            if not any(step.index for step in conductor.steps):
                raise  # in the machine's own order too: it is no scenario that could be explored
            key = f"error: {type(error).__name__}"
            return Ending(verdict=Verdict.ERROR, key=f"{key}: {error}", text=str(error)), None
        return watched.ending(outcome), outcome


def no_room(machine: ChoosingMachine, core: DriverCore) -> None:
    """Let every async call find no memory, or the limit of 32,768 calls reached, if it is so chosen."""
    core.asyncs.has_room = lambda: machine.decide("no room for an async call", 2) == 0


def full_queue(machine: ChoosingMachine, _core: DriverCore) -> None:
    """Let other works, which never end, have all places of one queue but one, if it is so chosen, and of which."""
    for wq in machine.workqueues.workqueues:
        if machine.decide(f"queue {wq.name} has one place left", 2):
            machine.workqueues.fill_but_one(wq)
            return


#: name on the command line -> how a core on a machine is made to offer the choice
FAULTS: Final = {"no-room": no_room, "full-queue": full_queue}


class _WatchedOrder:
    """One run of a driver core on a choosing machine, as the search sees it."""

    def __init__(self, machine: ChoosingMachine, faults: tuple[str, ...]) -> None:
        self._machine = machine
        self._faults = faults
        self._core: DriverCore | None = None
        self._graph = WaitGraph(machine, self._known, self._story)
        self._waiting: dict[Any, object] = {}
        self._classes: dict[str, str] = {}

    def made(self, core: DriverCore) -> None:
        """Take the core that the run has made."""
        self._core = core
        core.attributes.watch = self._machine.chooser.note
        for fault in self._faults:
            FAULTS[fault](self._machine, core)

    def look(self, blocked: Any) -> Ending | None:  # noqa: ANN401  tasks and what they wait for
        """Return how the run ends if something is wrong after this step."""
        self._waiting = blocked
        for dev in self._inside():
            if (text := self._over(dev)) is not None:
                return Ending(verdict=Verdict.USE_AFTER_END, key=f"use-after-end: {text}", text=text)
        return self._graph(blocked)

    def _over(self, dev: Device) -> str | None:
        """Return what is used after its end by a body for ``dev``."""
        if dev.p.dead and dev.state == "probing":
            return f"{dev.name} is probed after its removal began"
        driver = dev.driver
        if self._core is None or driver is None or (dev.bus.name, driver.name) in self._core.state.driver_names:
            return None
        return f"{dev.name} is in a function of {driver.name}, which has gone"

    def class_of(self, lock: str) -> str:
        """Return the class of a lock: of a device's by bus and level below the root, as no lockdep has it.

        The active references of a file of sysfs are one class in all devices, as they are of one attribute.
        """
        kind, _, name = lock.partition(" ")
        if kind == _ACTIVE:
            return f"{_ACTIVE} {name.rpartition('/')[2]}"
        bus, _, name = name.partition("/")
        dev = None if kind != "device" or self._core is None else self._core.buses[bus].devices.get(name)
        if dev is None:
            return self._classes.get(lock, lock)
        level = 0
        above = dev.parent
        while above is not None:
            above, level = above.parent, level + 1
        self._classes[lock] = f"&dev->mutex {bus} level {level}"
        return self._classes[lock]

    def _chains(self) -> dict[Any, tuple[Device, ...]]:
        return {} if self._core is None else self._core.chains

    def _inside(self) -> Iterator[Device]:
        return (chain[-1] for chain in self._chains().values())

    def _story(self, task: Task) -> tuple[str, ...]:
        chain = self._chains().get(task)
        return chain[-1].story() if chain else ()

    def _known(self, _task: Task, why: object) -> EndedBy | None:
        """Say who ends the core's own waits: for async calls the workers that execute one, for probes those inside."""
        if not isinstance(why, ChosenFlag) or self._core is None:
            return None
        if why.name.startswith("async cookie"):
            return EndedBy(tuple(self._async_workers(why.name.rpartition(" ")[2])))
        if why.name.startswith(f"{_ACTIVE} "):
            return EndedBy(self._core.attributes.inside(why.name))
        if why.name == "no probe under way":
            return EndedBy(tuple(self._chains()))
        return None

    def _async_workers(self, before: str) -> Iterator[Task]:
        for worker in self._machine.workqueues.workers():
            work = None if worker.item is None else worker.item.work
            if work is not None and work.name == ASYNC_WORK_NAME:
                cookie = getattr(work.function, "args", (0,))[0]
                if before == "max" or cookie < int(before):
                    yield worker.task

    # ---- how it ended ----------------------------------------------------------------------------------------------
    def ending(self, outcome: Outcome) -> Ending:
        """Return how a run ended that nothing stopped."""
        warnings = outcome.trace.warnings
        if outcome.deadlock is not None:
            return hang(self._waiting)
        for warning in warnings:
            if _WAITS_FOR_ITSELF in warning.message:
                return Ending(verdict=Verdict.DEADLOCK, key=f"itself: {warning.message}", text=warning.message)
            if warning.kind == "deferral-loop":
                return Ending(verdict=Verdict.LIVELOCK, key=f"deferral-loop: {warning.message}", text=warning.message)
        try:
            if self._core is not None:
                self._core.validate()
            self._machine.validate()
        except InternalError as error:
            return Ending(verdict=Verdict.INVARIANT, key=f"invariant: {error}", text=str(error))
        lines = tuple(self._outcome(outcome))
        return Ending(verdict=Verdict.DONE, key="done: " + " | ".join(lines), text="nothing is wrong", outcome=lines)

    def _outcome(self, outcome: Outcome) -> Iterator[str]:
        last = {
            (one.device, one.driver): one.result for one in sorted(outcome.trace.probes, key=lambda p: p.attempt or 0)
        }
        for dev in () if self._core is None else sorted(self._core.state.devices(), key=lambda one: one.key):
            driver = dev.driver.name if dev.driver is not None and dev.is_bound else None
            why = f"unbound{f', deferred: {dev.p.deferred_reason}' if dev.p.deferred_reason else ''}"
            yield f"{dev.name}: {driver or why}"
        for (device, driver), result in sorted(last.items()):
            if result != "0":
                yield f"{device}: probe by {driver} returned {result}"
        for check in outcome.checks:
            if ": at most " not in check.check and ": at least " not in check.check:
                yield f"check {check.check}: {'passed' if check.passed else f'FAILED ({check.detail})'}"
        for warning in outcome.trace.warnings:
            if warning.kind in _WRITES:
                yield warning.message


def repeat(setting: Setting, schedule: str) -> tuple[ChosenRun, Outcome]:
    """Run a setting once more by a schedule; what it found is among the warnings of the trace, as is the schedule.

    Raises:
        InputError: the schedule is none, or of something else; or the run ended as no trace can hold.

    """
    subject = ScenarioSubject(setting, faults_of(schedule), patience_of(schedule))
    strategy = Repeat(read_schedule(schedule, subject.digest))
    conductor = Conductor(strategy, opaque=subject.opaque, patience=subject.patience, keeps_going=True, repeats=True)
    ending, outcome = subject.traced(conductor)
    length = len(conductor.steps)
    if conductor.found:
        ending, length = conductor.found[0]
    if strategy.left:
        raise InputError(f"schedule {schedule[:40]}: {strategy.left} of its choices never came: explore again")
    if outcome is None:
        raise InputError(f"schedule {schedule[:40]}: {ending.text}", setting.scenario.where)
    told = [RunWarning(kind="schedule", message=f"steps in the order of schedule {schedule}; times say nothing")]
    deadlock = f"{ending.verdict}: {ending.text}" if ending.wrong else outcome.deadlock
    told += [RunWarning(kind="deadlock", message=deadlock)] if deadlock else []
    others = [warning for warning in outcome.trace.warnings if warning.kind != "deadlock"]
    trace = replace(outcome.trace, warnings=(*told, *others))
    return ChosenRun(conductor.steps[:length], ending, dict(conductor.labels)), replace(
        outcome, trace=trace, deadlock=deadlock
    )
