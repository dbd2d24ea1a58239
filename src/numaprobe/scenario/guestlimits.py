"""What a scenario may say and a guest cannot do: refused with its place in the file, before anything is booted.

A guest has real drivers: how long their probes compute and sleep is recorded there and put into the prediction, so a
scenario's ``compute`` and ``sleep`` are estimates that the recording replaces. Whatever else a phase says would have
to be done by the driver, and is not: a prediction that does it would be compared with a guest that does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.errors import InputError
from numaprobe.scenario.steps import Add, Remove, all_steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numaprobe.scenario.phases import DeviceGroup, Phase
    from numaprobe.scenario.schema import Scenario
    from numaprobe.scenario.steps import Step


def check_doable(scenario: Scenario) -> None:
    """Return if a guest can do what the scenario says.

    Raises:
        InputError: the first thing that it cannot, with its place.

    """
    for place, what in _limits(scenario):
        raise InputError(f"{place}: {what}; take it out, or run it on the virtual machine alone", scenario.where)


def _limits(scenario: Scenario) -> Iterator[tuple[str, str]]:
    for index, driver in enumerate(scenario.drivers):
        yield from _of_phases(driver.phases, f"drivers[{index}].phases")
        yield from _of_phases(driver.remove, f"drivers[{index}].remove")
    for index, device in enumerate(scenario.devices):
        yield from _of_device(device, f"devices[{index}]")
    if scenario.caller.kind != "user":
        yield "caller.kind", "the steps of the lab are taken by a shell"
    yield from _of_steps(scenario.steps)
    if scenario.expect_async_on_node:
        yield "expect_async_on_node", "the lab does not judge it (--check compares each probe with its prediction)"


def _of_phases(phases: Iterable[Phase], place: str) -> Iterator[tuple[str, str]]:
    for index, phase in enumerate(phases):
        if not phase.measured:
            yield (
                f"{place}[{index}]",
                f"the lab cannot make a real driver do '{phase.key}' (--set '{place}=[]' leaves it alone)",
            )


def _of_device(device: DeviceGroup, place: str) -> Iterator[tuple[str, str]]:
    yield from _of_phases(device.phases or (), f"{place}.phases")
    for key in ("suppliers", "parent"):
        if getattr(device, key) is not None:
            yield f"{place}.{key}", f"the lab cannot give an emulated device '{key}'"


def _of_steps(steps: Iterable[Step]) -> Iterator[tuple[str, str]]:
    for place, step in all_steps(steps, "steps"):
        if step.during is not None:
            yield f"{place}.during", "the lab does not know when a real driver is in the middle of a probe"
        if step.kind not in (None, "user") and not (step.kind == "kthread" and isinstance(step, Add | Remove)):
            yield f"{place}.kind", "the steps of the lab are taken by a shell; a 'kthread' may add and remove (hotplug)"
        if step.kind == "kthread" and isinstance(step, Add | Remove) and step.cpu is not None:
            yield f"{place}.cpu", "a port's own thread plugs and pulls, on a CPU that nobody chooses"
        for key in ("at_most", "at_least"):
            if getattr(step, key) is not None:
                yield f"{place}.{key}", "the lab does not judge how long a step of an emulated machine takes"
