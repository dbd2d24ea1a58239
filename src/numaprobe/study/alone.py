"""The smallest scenario that shows a difference alone: to be run again, in a kernel or on the virtual machine.

A difference that is explained (``study.deviation``) is one between two predictions: the one that was made, and the one
with the changes that explain the recording. Devices, drivers, steps, buses and kernel parameters are taken away one by
one, from both, as long as the two still differ in the same way (the same kind of difference, of the same driver) and a
guest could still take it. What is left cannot lose a thing more: delta debugging, one at a time (Zeller, Hildebrandt,
"Simplifying and isolating failure-inducing input", 2002, its last step).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from numaprobe.analysis.agreement import judge
from numaprobe.errors import NumaprobeError
from numaprobe.study.deviation import changed, deviations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numaprobe.scenario import Scenario
    from numaprobe.study.deviation import CaseChange, Deviation, PredictedCase

#: what may be taken away, in this order: steps name devices, devices have drivers
_LISTS = ("steps", "devices", "drivers", "buses")


class _TwoScenarios(NamedTuple):
    """The scenario of either prediction; they have the same steps, devices and drivers in the same places."""

    said: Scenario
    explained: Scenario

    def both(self, change: Callable[[Scenario], Scenario]) -> _TwoScenarios:
        return _TwoScenarios(change(self.said), change(self.explained))


def shown_alone(
    case: PredictedCase,
    changes: Sequence[CaseChange],
    found: Sequence[Deviation],
    fits: Callable[[Scenario], object],
) -> Scenario | None:
    """Return the smallest part of a scenario that shows the difference; None: the two predictions do not differ so.

    Args:
        case: what was predicted.
        changes: after which the prediction is as recorded.
        found: what differed.
        fits: raises a NumaprobeError for a scenario that no guest can take.

    """
    wanted = {(one.driver, one.kind) for one in found}
    other = changed(case, changes)

    def shows(two: _TwoScenarios) -> bool:
        try:
            fits(two.said)
            said = replace(case, scenario=two.said).run()
            explained = replace(other, scenario=two.explained).run()
        except NumaprobeError:
            return False
        differ = deviations(judge(said, explained, {}, case.topology))
        return any((one.driver, one.kind) in wanted for one in differ)

    two = _TwoScenarios(case.scenario, other.scenario)
    if not shows(two):
        return None
    smaller: _TwoScenarios | None = two
    while smaller is not None:
        two = smaller
        smaller = next((less for less in _less(two) if shows(less)), None)
    return two.said


def _less(two: _TwoScenarios) -> Iterator[_TwoScenarios]:
    """Yield everything that is one thing less."""
    for key in _LISTS:
        for index in reversed(range(len(getattr(two.said, key)))):
            yield two.both(lambda scenario, key=key, index=index: _without(scenario, key, index))  # type: ignore[misc]
    for index, group in enumerate(two.said.devices):
        if group.count != 1:
            yield two.both(lambda scenario, index=index: _with_one(scenario, index))  # type: ignore[misc]
    words = two.said.cmdline.split()
    for index in range(len(words)):
        rest = " ".join(words[:index] + words[index + 1 :])
        yield two.both(lambda scenario, rest=rest: scenario.model_copy(update={"cmdline": rest}))  # type: ignore[misc]


def _without(scenario: Scenario, key: str, index: int) -> Scenario:
    items = getattr(scenario, key)
    return scenario.model_copy(update={key: (*items[:index], *items[index + 1 :])})


def _with_one(scenario: Scenario, index: int) -> Scenario:
    groups = list(scenario.devices)
    groups[index] = groups[index].model_copy(update={"count": 1})
    return scenario.model_copy(update={"devices": tuple(groups)})
