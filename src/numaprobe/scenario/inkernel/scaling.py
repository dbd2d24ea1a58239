"""A scenario whose probes take longer, so that what an emulated machine needs for a step does not decide an order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from numaprobe.scenario.phases import HoldLock, RegisterChildren, UndividedCost, WaitForDevice, spans_of
from numaprobe.scenario.phases.costs import Span
from numaprobe.scenario.readas import ReadAs
from numaprobe.scenario.steps import Parallel, Pause, Sequence
from numaprobe.scenario.tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.scenario.phases import DeviceGroup, Phase
    from numaprobe.scenario.schema import DriverModel, Scenario
    from numaprobe.scenario.steps import Step

Timed = TypeVar("Timed", bound=Table)

#: how many times as long everything takes, unless a probe would then take longer than ``_LONGEST_NS``
USUAL_FACTOR: Final = 10
_LONGEST_NS: Final = 5 * 10**9


def fitting_factor(scenario: Scenario) -> int:
    """Return how many times as long a scenario's probes should take in an emulated machine."""
    programs = [driver.phases for driver in scenario.drivers]
    programs += [group.phases for group in scenario.devices if group.phases is not None]
    longest = max((sum(spans_of(phases, ReadAs.EXPECTED)) for phases in programs), default=0)
    return max(1, min(USUAL_FACTOR, _LONGEST_NS // max(1, longest)))


def scaled_scenario(scenario: Scenario, factor: int) -> Scenario:
    """Return ``scenario`` with everything that takes time ``factor`` times as long, and nothing in doubt.

    What is ``undivided`` is taken as expected, and neither jitter nor spread is left: the kernel and its prediction do
    the same. Checks on how long a step takes go: nobody judges times here.
    """
    changes = {
        "drivers": tuple(_driver(driver, factor) for driver in scenario.drivers),
        "devices": tuple(_group(group, factor) for group in scenario.devices),
        "steps": tuple(_step(step, factor) for step in scenario.steps),
        "expect_async_on_node": False,
    }
    return scenario.model_copy(update=changes)


def _driver(driver: DriverModel, factor: int) -> DriverModel:
    phases, remove = _phases(driver.phases, factor), _phases(driver.remove, factor)
    return driver.model_copy(update={"phases": phases, "remove": remove, "jitter": 0.0, "spread": (1.0, 1.0)})


def _group(group: DeviceGroup, factor: int) -> DeviceGroup:
    return group.model_copy(update={"phases": None if group.phases is None else _phases(group.phases, factor)})


def _phases(phases: Iterable[Phase], factor: int) -> tuple[Phase, ...]:
    return tuple(one for phase in phases for one in _phase(phase, factor))


def _phase(phase: Phase, factor: int) -> tuple[Phase, ...]:
    match phase:
        case Span():
            return (type(phase).lasting(phase.ns * factor),)
        case UndividedCost():
            return _phases(phase.undivided.read(ReadAs.EXPECTED), factor)
        case HoldLock():
            inside = phase.hold.model_copy(update={"phases": _phases(phase.hold.phases, factor)})
            return (phase.model_copy(update={"hold": inside}),)
        case RegisterChildren():
            return (phase.model_copy(update={"children": tuple(_group(child, factor) for child in phase.children)}),)
        case WaitForDevice() if phase.wait.timeout is not None:
            return (phase.model_copy(update={"wait": _longer(phase.wait, "timeout", factor)}),)
        case _:
            return (phase,)


def _step(step: Step, factor: int) -> Step:
    changes: dict[str, object] = {"at_most": None, "at_least": None}
    if step.during is not None:
        changes["during"] = _longer(step.during, "after", factor)
    if isinstance(step, Pause):
        changes["wait"] = step.wait * factor
    elif isinstance(step, Parallel | Sequence):
        changes[step.key] = tuple(_step(inner, factor) for inner in step.inside())
    return step.model_copy(update=changes)


def _longer(table: Timed, key: str, factor: int) -> Timed:
    return table.model_copy(update={key: getattr(table, key) * factor})
