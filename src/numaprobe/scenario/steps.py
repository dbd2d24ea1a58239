"""Steps: what the caller does, one after the other, and the checks on it.

Each kind of step is one small function; the table at the end of the class is the whole list. A step that names another
task, CPU or a set of parallel steps runs in tasks of its own, as a shell with ``taskset`` would.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from numaprobe.cpuset import CpuSet
from numaprobe.drivercore import errno_name
from numaprobe.errors import InputError, RefusedError, UsageError
from numaprobe.scenario.plan import DeviceSpec, choose
from numaprobe.scenario.schema import STEP_KEYS, Busy, Scenario, Step
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from numaprobe.drivercore import Device
    from numaprobe.runtime import Machine, Task
    from numaprobe.scenario.world import World


#: Background tasks without a duration end with the last step, and after this at the latest: a run that hangs must end.
MAX_BUSY_NS: Final = 60 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The outcome of one check of a scenario."""

    #: what was checked, in the scenario's words
    check: str
    passed: bool
    #: the figure that decided
    detail: str


class Hotplug(Protocol):
    """What steps need of a machine beyond the protocol: the virtual machine has it."""

    async def cpu_down(self, cpu: int) -> None:
        """Take a CPU off line."""
        ...

    async def cpu_up(self, cpu: int) -> None:
        """Bring a CPU on line."""
        ...

    async def isolate(self, cpus: CpuSet) -> None:
        """Make these CPUs an isolated cpuset partition; the empty set dissolves it."""
        ...

    def add_load(self, cpus: CpuSet, tasks_per_cpu: int = 1, comm: str = "load", *, pinned: bool = True) -> None:
        """Start tasks that compete for these CPUs without end."""
        ...


def default_steps(scenario: Scenario) -> tuple[Step, ...]:
    """Return the steps of a scenario that gives none: all devices, then each driver; or the other way round."""
    add = [Step(add=("*",))] if scenario.devices else []
    load = [Step(load=(name,)) for name in dict.fromkeys(driver.name for driver in scenario.drivers)]
    return tuple([*load, *add] if scenario.order == "drivers-first" else [*add, *load])


class Steps:
    """Takes the steps of one run."""

    def __init__(self, world: World, hotplug: Hotplug | None) -> None:
        self._world = world
        self._core = world.core
        self._machine: Machine = world.machine
        self._hotplug = hotplug
        self._scenario = world.plan.scenario
        self.caller = self._scenario.caller
        self._specs: Mapping[str, list[DeviceSpec]] = _by_name(world.plan.devices)
        self._busy: list[Task] = []
        self._over = False
        self.checks: list[CheckResult] = []

    async def run(self) -> None:
        """Take all steps, then let the background tasks end."""
        self._world.start()
        try:
            for index, step in enumerate(self._scenario.steps or default_steps(self._scenario)):
                await self._take(step, f"steps[{index}]")
        finally:
            self._over = True
        for task in self._busy:
            await self._machine.join(task)

    async def _take(self, step: Step, where: str) -> None:
        """Take a step: here, or in a task of its own if it names one."""
        if step.cpu is None and step.comm is None:
            await self._perform(step, where)
        else:
            await self._machine.join(self._spawn(step, where))

    def _spawn(self, step: Step, where: str) -> Task:
        caller = self.caller
        cpu = caller.cpu if step.cpu is None else step.cpu
        # The caller's own CPU may have gone off line: what it starts has the mask that it was given then.
        place = None if step.cpu is None and cpu not in self._machine.online else cpu
        cpus = CpuSet.of([cpu]) if step.pinned and place is not None else None
        try:
            return self._machine.spawn(
                lambda: self._perform(step, where), comm=step.comm or caller.comm, cpus=cpus, cpu=place
            )
        except UsageError as error:
            raise InputError(f"{where}.cpu: {error}", self._scenario.where) from None

    async def _perform(self, step: Step, where: str) -> None:
        key = next(key for key in STEP_KEYS if _value(step, key) is not None)
        start = self._machine.now()
        try:
            await self._MEANING[key](self, step, where)
        except (InputError, UsageError, RefusedError) as error:
            if isinstance(error, InputError) and error.where:
                raise
            raise InputError(f"{where}.{key}: {error}", self._scenario.where) from None
        self._check_time(step, key, self._machine.now() - start)

    def _check_time(self, step: Step, key: str, took: int) -> None:
        name = step.check or f"{key} {' '.join(_names(step, key))}".strip()
        if step.at_most is not None:
            self._check(f"{name}: at most {format_time(step.at_most)}", took <= step.at_most, format_time(took))
        if step.at_least is not None:
            self._check(f"{name}: at least {format_time(step.at_least)}", took >= step.at_least, format_time(took))

    def _check(self, check: str, passed: bool, detail: str) -> None:
        self.checks.append(CheckResult(check=check, passed=passed, detail=detail))

    # ---- devices and drivers ---------------------------------------------------------------------------------------
    async def _add(self, step: Step, _: str) -> None:
        names = choose(step.add or (), self._specs)
        await self._world.add(spec for name in names for spec in self._specs[name])

    async def _remove(self, step: Step, _: str) -> None:
        here = self._here(step.remove or ())
        for name in choose(step.remove or (), here):
            if not here[name].p.dead:
                await self._core.device_del(here[name])

    async def _load(self, step: Step, _: str) -> None:
        drivers = [driver for name in step.load or () for driver in self._world.drivers(name)]
        await self._core.load_module(*drivers, async_probe=step.async_probe)

    async def _register(self, step: Step, _: str) -> None:
        for name in step.register_drivers or ():
            for driver in self._world.drivers(name):
                await self._core.driver_register(driver)

    async def _unregister(self, step: Step, _: str) -> None:
        for name in step.unregister or ():
            for driver in self._world.drivers(name):
                await self._core.driver_unregister(driver)

    # ---- what users write to sysfs ---------------------------------------------------------------------------------
    async def _bind(self, step: Step, _: str) -> None:
        here = self._here(step.bind or ())
        for name in choose(step.bind or (), here):
            bus = here[name].bus
            driver = step.driver or next((d.name for d in bus.drivers.values() if bus.match(here[name], d) > 0), "")
            self._tell("bind", name, await self._core.bind(bus.name, driver, name))

    async def _unbind(self, step: Step, _: str) -> None:
        here = self._here(step.unbind or ())
        for name in choose(step.unbind or (), here):
            bound = here[name].driver
            self._tell("unbind", name, await self._core.unbind(here[name].bus.name, bound.name if bound else "", name))

    async def _drivers_probe(self, step: Step, _: str) -> None:
        here = self._here(step.drivers_probe or ())
        for name in choose(step.drivers_probe or (), here):
            self._tell("drivers_probe", name, await self._core.drivers_probe(here[name].bus.name, name))

    def _here(self, patterns: Iterable[str]) -> Mapping[str, Device]:
        """Return devices to choose from by these names or patterns: all, unless each is the name of one."""
        named = {name: dev for name in patterns if (dev := self._world.find(name)) is not None}
        return named if all(name in named for name in patterns) else self._world.devices()

    def _tell(self, file: str, device: str, result: int) -> None:
        if result < 0:
            self._machine.warn(file, f"writing {device} to {file} failed: {errno_name(result)}")

    async def _autoprobe(self, step: Step, _: str) -> None:
        if step.autoprobe:
            self._core.bus(step.autoprobe.bus).drivers_autoprobe = step.autoprobe.on

    async def _authorized(self, step: Step, _: str) -> None:
        told = step.authorized
        if told is None:
            return
        here = self._here([told.device])
        for name in choose([told.device], here):
            value = int(told.on)
            result = await here[name].bus.store(self._core, here[name], "authorized", value)
            self._tell("authorized", f"{value} for {name}", result)

    async def _block_probing(self, step: Step, _: str) -> None:
        if step.block_probing:
            await self._core.device_block_probing()
        else:
            self._core.device_unblock_probing()

    # ---- tasks and CPUs --------------------------------------------------------------------------------------------
    async def _parallel(self, step: Step, where: str) -> None:
        inner = enumerate(step.parallel or ())
        tasks = [self._spawn(one, f"{where}.parallel[{index}]") for index, one in inner]
        for task in tasks:
            await self._machine.join(task)

    async def _sequence(self, step: Step, where: str) -> None:
        for index, inner in enumerate(step.sequence or ()):
            await self._take(inner, f"{where}.sequence[{index}]")

    async def _offline(self, step: Step, _: str) -> None:
        for cpu in step.offline or ():
            await self._machine_with_hotplug().cpu_down(cpu)

    async def _online(self, step: Step, _: str) -> None:
        for cpu in step.online or ():
            await self._machine_with_hotplug().cpu_up(cpu)

    async def _isolate(self, step: Step, _: str) -> None:
        await self._machine_with_hotplug().isolate(step.isolate or CpuSet())

    def _machine_with_hotplug(self) -> Hotplug:
        if self._hotplug is None:
            raise UsageError("this machine cannot take CPUs off line; run the scenario on the virtual machine")
        return self._hotplug

    async def _start_busy(self, step: Step, _: str) -> None:
        busy = step.busy
        if busy is None:
            return
        if busy.compute is None:
            self._machine_with_hotplug().add_load(busy.cpus, busy.tasks, pinned=not busy.floating)
            return
        for cpu in [cpu for cpu in busy.cpus & self._machine.online for _ in range(busy.tasks)]:
            allowed = busy.cpus if busy.floating else CpuSet.of([cpu])
            body = partial(self._keep_busy, busy, busy.compute)
            self._busy.append(self._machine.spawn(body, comm="load", cpus=allowed, cpu=cpu))

    async def _keep_busy(self, busy: Busy, compute: int) -> None:
        end = self._machine.now() + (MAX_BUSY_NS if busy.duration is None else busy.duration)
        while not self._over and self._machine.now() < end:
            await self._machine.compute(max(1, compute))
            if busy.sleep:
                await self._machine.sleep(busy.sleep)

    # ---- waiting and checking --------------------------------------------------------------------------------------
    async def _wait(self, step: Step, _: str) -> None:
        await self._machine.sleep(step.wait or 0)

    async def _settle(self, _step: Step, _: str) -> None:
        await self._core.wait_for_device_probe()

    async def _expect_bound(self, step: Step, _: str) -> None:
        here = self._here(step.expect_bound or ())
        names = choose(step.expect_bound or (), here)
        unbound = [name for name in names if not here[name].is_bound]
        shown = f"{len(names) - len(unbound)} of {len(names)} bound"
        detail = f"{shown}; not: {', '.join(unbound[:5])}" if unbound else shown
        self._check(step.check or f"bound: {' '.join(step.expect_bound or ())}", not unbound, detail)

    #: key of a step -> what it means
    _MEANING: ClassVar[dict[str, Callable[[Steps, Step, str], Awaitable[None]]]] = {
        "add": _add,
        "remove": _remove,
        "load": _load,
        "register": _register,
        "unregister": _unregister,
        "bind": _bind,
        "unbind": _unbind,
        "drivers_probe": _drivers_probe,
        "parallel": _parallel,
        "sequence": _sequence,
        "offline": _offline,
        "online": _online,
        "isolate": _isolate,
        "busy": _start_busy,
        "wait": _wait,
        "settle": _settle,
        "block_probing": _block_probing,
        "autoprobe": _autoprobe,
        "authorized": _authorized,
        "expect_bound": _expect_bound,
    }


def _by_name(specs: Iterable[DeviceSpec]) -> dict[str, list[DeviceSpec]]:
    found: dict[str, list[DeviceSpec]] = {}
    for spec in specs:
        found.setdefault(spec.name, []).append(spec)
    return found


def _value(step: Step, key: str) -> object:
    return getattr(step, "register_drivers" if key == "register" else key)


def _names(step: Step, key: str) -> tuple[str, ...]:
    value = _value(step, key)
    return value if isinstance(value, tuple) and all(isinstance(item, str) for item in value) else ()
