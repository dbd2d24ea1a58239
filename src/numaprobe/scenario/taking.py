"""The steps of one run, taken one after the other, and the checks on them.

What a kind of step does is said where it is defined (``steps``). Here is which task takes it and when, and how long it
took: a step that names another task, CPU or kind of task is taken by a task of its own; one with ``during`` by a task
that waits for the probe while the other steps go on.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from numaprobe.cpuset import CpuSet
from numaprobe.drivercore import errno_name
from numaprobe.errors import InputError, RefusedError, UsageError
from numaprobe.records import Milestone
from numaprobe.runtime import HkType
from numaprobe.scenario.choice import choose
from numaprobe.scenario.steps import Add, Load
from numaprobe.units import format_time
from numaprobe.workqueue import work_on_cpu

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from numaprobe.drivercore import Device, Driver
    from numaprobe.runtime import Event, Machine, Task
    from numaprobe.scenario.plan import DeviceSpec
    from numaprobe.scenario.schema import Caller, Scenario
    from numaprobe.scenario.steps import During, MachineChanges, Step
    from numaprobe.scenario.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The outcome of one check of a scenario."""

    #: what was checked, in the scenario's words
    check: str
    passed: bool
    #: the figure that decided
    detail: str


def steps_of(scenario: Scenario) -> tuple[Step, ...]:
    """Return a scenario's steps; of one that gives none: all devices, then each driver, or the other way round."""
    if scenario.steps:
        return scenario.steps
    add = [Add.on("*")] if scenario.devices else []
    load = [Load.on(name) for name in dict.fromkeys(driver.name for driver in scenario.drivers)]
    return tuple([*load, *add] if scenario.order == "drivers-first" else [*add, *load])


class Steps:
    """Takes the steps of one run; what they see of it is ``steps.Run``."""

    def __init__(
        self,
        world: World,
        hotplug: MachineChanges | None,
        pause: Callable[[int], Awaitable[None]] | None = None,
        may: Callable[[str], bool] | None = None,
    ) -> None:
        self._world = world
        self.core = world.core
        self.machine: Machine = world.machine
        self._hotplug = hotplug
        self._pause = pause or world.machine.sleep
        self._may = may
        self._scenario = world.plan.scenario
        self._caller = self._scenario.caller
        self._specs: Mapping[str, list[DeviceSpec]] = _by_name(world.plan.devices)
        self._background: list[Task] = []
        self._meanwhile: list[_Meanwhile] = []
        self.over = False
        self.checks: list[CheckResult] = []
        self.milestones: list[Milestone] = []

    # ---- all of them -----------------------------------------------------------------------------------------------
    def run(self) -> None:
        """Run the machine until all steps are taken, and until nothing is left to run."""
        caller = self._caller
        if caller.kind == "user" and caller.pinned:
            self.machine.run(self._take_all, comm=caller.comm, cpu=caller.cpu)
        else:
            self.machine.run(self._by_the_caller, comm=caller.comm)

    async def _by_the_caller(self) -> None:
        caller = self._caller
        cpus = CpuSet.of([caller.cpu]) if caller.kind != "user" and _is_pinned(caller, caller.kind) else None
        await self.machine.join(
            self._spawn(self._take_all, kind=caller.kind, comm=caller.comm, cpus=cpus, cpu=caller.cpu)
        )

    async def _take_all(self) -> None:
        self._world.start()
        try:
            for index, step in enumerate(steps_of(self._scenario)):
                await self.take(step, f"steps[{index}]")
        finally:
            self.over = True
        await self._end_waiting()
        for task in self._background:
            await self.machine.join(task)

    # ---- one of them -----------------------------------------------------------------------------------------------
    async def take(self, step: Step, where: str) -> None:
        """Take a step: here, or by a task of its own if it wants one."""
        if step.during is not None:
            self._arm(step, step.during, where)
        elif step.cpu is None and step.comm is None and step.kind is None:
            await self._perform(step, where)
        else:
            await self.machine.join(self.start(step, where))

    def start(self, step: Step, where: str) -> Task:
        """Take a step by a task of its own, which is returned at once."""
        caller = self._caller
        cpu = caller.cpu if step.cpu is None else step.cpu
        # The caller's own CPU may have gone offline: what it starts has the mask that it was given then.
        place = None if step.cpu is None and cpu not in self.machine.online else cpu
        kind = step.kind or caller.kind
        cpus = CpuSet.of([cpu]) if place is not None and _is_pinned(step, kind) else None
        try:
            return self._spawn(
                lambda: self._perform(step, where),
                kind=kind,
                comm=step.comm or caller.comm,
                cpus=cpus,
                cpu=place,
            )
        except UsageError as error:
            raise InputError(f"{where}.cpu: {error}", self._scenario.where) from None

    def _spawn(
        self, function: Callable[[], Awaitable[object]], *, kind: str, comm: str, cpus: CpuSet | None, cpu: int | None
    ) -> Task:
        """Start a task of this kind. One that is to be a kworker queues a work and flushes it."""
        machine = self.machine
        if kind == "kworker":
            target = machine.current.cpu if cpu is None else cpu
            wq = machine.system_percpu_wq if cpus is not None else machine.system_dfl_wq
            as_work = partial(work_on_cpu, machine, target, function, wq=wq, name="steps")
            return machine.spawn(as_work, comm=comm, cpus=None, cpu=None)
        if kind == "kthread" and cpus is None:
            # kthreadd's own CPUs: HK_TYPE_KTHREAD, which nohz_full= takes away and isolcpus= does not
            cpus = machine.housekeeping(HkType.WQ) & machine.online or None
            cpu = cpu if cpus is not None and cpu in cpus else None
        return machine.spawn(function, comm=comm, cpus=cpus, cpu=cpu)

    async def _perform(self, step: Step, where: str) -> None:
        start = self.machine.now()
        try:
            await step.do(self, where)
        except (InputError, UsageError, RefusedError) as error:
            if isinstance(error, InputError) and error.where:
                raise
            raise InputError(f"{where}.{step.key}: {error}", self._scenario.where) from None
        self._check_time(step, self.machine.now() - start)

    def _check_time(self, step: Step, took: int) -> None:
        name = step.check or step.what
        if step.at_most is not None:
            text = f"{name}: at most {format_time(step.at_most)}"
            self.check(text, passed=took <= step.at_most, detail=format_time(took))
        if step.at_least is not None:
            text = f"{name}: at least {format_time(step.at_least)}"
            self.check(text, passed=took >= step.at_least, detail=format_time(took))

    # ---- in the middle of a probe ----------------------------------------------------------------------------------
    def _arm(self, step: Step, during: During, where: str) -> None:
        """Have a step taken in the middle of a probe: by a task that may run anywhere, unless it says where."""
        meanwhile = _Meanwhile(step, during, where, self._world.watch(during.probe))
        kind = step.kind or self._caller.kind
        cpus = CpuSet.of([step.cpu]) if step.cpu is not None and _is_pinned(step, kind) else None
        comm = step.comm or self._caller.comm
        task = self._spawn(partial(self._in_the_middle, meanwhile), kind=kind, comm=comm, cpus=cpus, cpu=step.cpu)
        self._meanwhile.append(meanwhile)
        self._background.append(task)

    async def _in_the_middle(self, meanwhile: _Meanwhile) -> None:
        """Wait for the first probe that lasts long enough, and take the step."""
        while not meanwhile.given_up:
            await meanwhile.probed.wait()
            meanwhile.begun = True
            await self.machine.sleep(meanwhile.during.after)
            if meanwhile.probed.is_set and not meanwhile.given_up:
                meanwhile.taken = True
                await self._perform(meanwhile.step, meanwhile.where)
                return

    async def _end_waiting(self) -> None:
        """Let all probing come to an end, and those that wait for a probe that did not come go."""
        if self._meanwhile:
            await self.core.settle()
        for one in self._meanwhile:
            if not one.taken:
                detail = "it never lasted so long" if one.begun else "it was not probed"
                after = format_time(one.during.after)
                name = f"{one.where}: {one.step.what} {after} into the probe of {one.during.probe}"
                self.check(one.step.check or name, passed=False, detail=detail)
                one.given_up = True
                one.probed.set()

    # ---- what steps see (``steps.Run``) ----------------------------------------------------------------------------
    @property
    def hotplug(self) -> MachineChanges:
        """What the machine can do beyond the protocol.

        Raises:
            UsageError: nothing.

        """
        if self._hotplug is None:
            raise UsageError("this machine cannot take CPUs offline; run the scenario on the virtual machine")
        return self._hotplug

    async def pause(self, ns: int) -> None:
        """Let time pass in the task that takes the step."""
        await self._pause(ns)

    async def add(self, patterns: Iterable[str]) -> None:
        """Register the devices of the scenario that these names or patterns choose."""
        names = choose(patterns, self._specs)
        await self._world.add(spec for name in names for spec in self._specs[name])

    def here(self, patterns: Iterable[str]) -> Mapping[str, Device]:
        """Return devices to choose from by these names or patterns: all, unless each is the name of one."""
        named = {name: dev for name in patterns if (dev := self._world.find(name)) is not None}
        return named if all(name in named for name in patterns) else self._world.devices()

    def drivers(self, names: Iterable[str]) -> list[Driver]:
        """Return the drivers of these names, of every bus that has one."""
        return [driver for name in names for driver in self._world.drivers(name)]

    def may(self, what: str) -> bool:
        """Tell whether something happens now that does not happen in a normal run."""
        return self._may is not None and self._may(what)

    def aside(self, steps: Sequence[Step], where: str) -> None:
        """Take steps by a task of its own, which the run's end waits for; what they name may be gone."""

        async def take() -> None:
            for index, step in enumerate(steps):
                with suppress(InputError):
                    await self.take(step, f"{where}[{index}]")

        self._background.append(self.machine.spawn(take, comm=self._caller.comm))

    def keep(self, function: Callable[[], Awaitable[object]], *, cpus: CpuSet, cpu: int) -> None:
        """Start a background task that ends with the run."""
        self._background.append(self.machine.spawn(function, comm="load", cpus=cpus, cpu=cpu))

    def check(self, name: str, *, passed: bool, detail: str) -> None:
        """Note the outcome of a check."""
        self.checks.append(CheckResult(check=name, passed=passed, detail=detail))

    def reached(self, name: str) -> None:
        """Note that a milestone is reached."""
        self.milestones.append(Milestone(name, self.machine.now()))

    def told(self, kind: str, doing: str, result: int) -> None:
        """Note what reading or writing a file of sysfs returned, if it failed: a warning of this kind."""
        if result < 0:
            self.machine.warn(kind, f"{doing} failed: {errno_name(result)}")


@dataclass(slots=True, eq=False)
class _Meanwhile:
    """A step that waits for a probe."""

    step: Step
    during: During
    where: str
    #: set while the probe runs
    probed: Event
    taken: bool = False
    #: there was a probe, though it may not have lasted long enough
    begun: bool = False
    given_up: bool = False


def _is_pinned(told: Caller | Step, kind: str) -> bool:
    """Tell whether a task stays on its CPU: a kernel thread that is no worker does only if it is said so."""
    return told.pinned and (kind != "kthread" or "pinned" in told.model_fields_set)


def _by_name(specs: Iterable[DeviceSpec]) -> dict[str, list[DeviceSpec]]:
    found: dict[str, list[DeviceSpec]] = {}
    for spec in specs:
        found.setdefault(spec.name, []).append(spec)
    return found
