"""Who loads which driver, and from where: the CPU of whoever runs ``modprobe``.

A synchronous probe of a bus without node code runs where the caller is, and a module's ``modprobe`` can be told where
to run (``taskset``, ``numactl --cpunodebind=``): of all that decides where a probe runs this is what an administrator
can set without a reboot. Loads by kernel threads and workers are the kernel's own, and nobody sends them anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numaprobe.errors import InputError
from numaprobe.scenario.change import change_scenario
from numaprobe.scenario.choice import near
from numaprobe.scenario.replay.steps import folded
from numaprobe.scenario.steps import Autoprobe, Bind, Load, Parallel, Sequence, Step, WriteAutoprobe
from numaprobe.scenario.taking import steps_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numaprobe.scenario.schema import Scenario


@dataclass(frozen=True, slots=True)
class Loading:
    """A module that a program loads."""

    #: the drivers that it registers; the first one's name is taken for the module's
    drivers: tuple[str, ...]
    #: the CPU of the program that loads it
    cpu: int
    comm: str
    #: the ``async_probe`` that it is loaded with; None: what the command line says
    async_probe: bool | None


def loadings(scenario: Scenario) -> list[Loading]:
    """Return the modules that programs load, in the order of the steps."""
    caller = scenario.caller
    return [
        Loading(step.load, caller.cpu if cpu is None else cpu, comm or caller.comm, step.async_probe)
        for step, cpu, comm in _loads(steps_of(scenario), scenario, None, None)
    ]


def with_loads_from(scenario: Scenario, cpu: int, driver: str | None = None) -> Scenario:
    """Return the scenario with modules loaded by a program that is pinned to a CPU.

    Args:
        scenario: it stays as it is.
        cpu: of that program.
        driver: load the module with this driver from there; None: every one.

    Raises:
        InputError: no program loads it.

    """
    known = [name for loading in loadings(scenario) for name in loading.drivers]
    if driver not in known and (driver is not None or not known):
        what = "a module" if driver is None else f"'{driver}'"
        raise InputError(f"no program loads {what} here{near(driver or '', known)}", scenario.where)
    return change_loads(scenario, driver, {"cpu": cpu, "pinned": True})


def change_loads(scenario: Scenario, driver: str | None, values: dict[str, Any]) -> Scenario:
    """Return the scenario with other values of the steps in which programs load a module.

    Args:
        scenario: it stays as it is.
        driver: of the module with this driver; None: of every one.
        values: fields of ``Load``.

    """

    def changed(step: Load) -> Step:
        return step.model_copy(update=values) if driver is None or driver in step.load else step

    return change_scenario(scenario, {"steps": _mapped(steps_of(scenario), scenario, changed)})


def with_binds(scenario: Scenario, driver: str, devices: Mapping[str, tuple[str, int]], *, together: bool) -> Scenario:
    """Return the scenario with a driver loaded while its buses do not probe, and its devices then bound one by one.

    Args:
        scenario: it stays as it is.
        driver: loaded so wherever a program loads it.
        devices: name -> its bus, and the CPU from which its name is written to ``bind``.
        together: all at the same time, each by a task of its own; else one after the other.

    """
    buses = sorted({bus for bus, _ in devices.values()})

    def changed(step: Load) -> Step:
        if driver not in step.load:
            return step
        off, on = ([WriteAutoprobe(autoprobe=Autoprobe(bus=bus, on=value)) for bus in buses] for value in (False, True))
        binds = [Bind.on([name], driver=driver, cpu=cpu, comm="numaprobe") for name, (_, cpu) in devices.items()]
        bound = [Parallel.on(binds)] if together and len(binds) > 1 else binds
        return Sequence.on(folded([*off, step, *on, *bound]))

    return change_scenario(scenario, {"steps": _mapped(steps_of(scenario), scenario, changed)})


def _loads(
    steps: Iterable[Step], scenario: Scenario, cpu: int | None, comm: str | None
) -> Iterator[tuple[Load, int | None, str | None]]:
    """Yield each load by a program, with the CPU and name that the steps around it give it."""
    for step in steps:
        here = (cpu, comm) if step.cpu is None and step.comm is None else (step.cpu, step.comm)
        if isinstance(step, Load) and _by_a_program(step, scenario):
            yield step, *here
        yield from _loads(step.inside(), scenario, *here)


def _mapped(steps: Iterable[Step], scenario: Scenario, change: Callable[[Load], Step]) -> list[Step]:
    found: list[Step] = []
    for step in steps:
        if isinstance(step, Load) and _by_a_program(step, scenario):
            found.append(change(step))
        elif step.inside():
            inner = tuple(_mapped(step.inside(), scenario, change))
            found.append(step.model_copy(update={step.field: inner}))
        else:
            found.append(step)
    return found


def _by_a_program(step: Step, scenario: Scenario) -> bool:
    return (step.kind or scenario.caller.kind) == "user"
