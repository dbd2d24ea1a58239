"""What probes take by themselves, from all traces of one machine together, and what repeated probes differ by.

A probe that was alone shows it. One in company does too, once what company made it compute longer (the *slowdown*) is
taken out; its sleep does not, as it holds the waits. A figure is the median of what a device showed. What is left
between one probe and another is the *spread*: it belongs to every prediction, whatever was learnt. It is the range in
which nine in ten further probes would lie if their logarithms were normal; from few probes that is wider than what
they themselves showed (Student, 1908).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import fmean, median
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numaprobe.analysis.sharing.company import Met

    #: driver and device
    Device = tuple[str, str]

#: From so many values on a range leaves out the outermost twentieth on each side.
MANY: Final = 20
#: From so many traces on it is known what one trace differs by from another, and not only one probe from another.
FEW_TRACES: Final = 4
#: One-sided 5 % points of Student's distribution for 1, 2, … degrees of freedom; the normal distribution's beyond.
_STUDENT: Final = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812)
_NORMAL: Final = 1.645
#: No spread is more than this factor: with two probes chance alone could make it a thousand.
_MOST: Final = 4.0


@dataclass(frozen=True, slots=True)
class OwnCost:
    """What a probe takes by itself, in ns."""

    running_ns: int
    sleeping_ns: int

    @property
    def cost_ns(self) -> int:
        """Both."""
        return self.running_ns + self.sleeping_ns


@dataclass(frozen=True, slots=True)
class Own:
    """What the probes of some traces take by themselves."""

    #: driver and device -> its own cost; driver and "" -> that of the driver's devices in the middle
    costs: Mapping[Device, OwnCost]
    #: driver -> how many times its own cost a probe took, at least and at most
    spread: Mapping[str, tuple[float, float]]
    #: driver -> by which share its probes computed longer in company; of all, and the least and most of one trace
    slowdown: Mapping[str, tuple[float, float, float]]

    def scaled(self, factor: float, drivers: Iterable[str]) -> Own:
        """Return the same with the own costs of some drivers' probes multiplied."""
        chosen = set(drivers)
        costs = {
            (driver, device): OwnCost(round(cost.running_ns * factor), round(cost.sleeping_ns * factor))
            if driver in chosen
            else cost
            for (driver, device), cost in self.costs.items()
        }
        return Own(costs, self.spread, self.slowdown)

    def cost_of(self, met: Met) -> OwnCost | None:
        """Return the own cost of a probe's device, else of its driver's devices; None: none of them was alone."""
        return self.costs.get(met.device) or self.costs.get((met.driver, ""))


class _Sample(NamedTuple):
    """What one probe showed of its own cost."""

    trace: int
    device: Device
    running_ns: int
    sleeping_ns: int


def own_costs(traces: Sequence[Sequence[Met]]) -> Own:
    """Return what the probes of these traces take by themselves."""
    probes = [(index, met) for index, trace in enumerate(traces) for met in trace]
    samples = [_Sample(index, met.device, met.running_ns, met.sleeping_ns) for index, met in probes if met.alone]
    alone = _medians(samples)
    slowdown = _slowdowns(traces, alone)
    samples += [
        _in_company(index, met, alone, slowdown) for index, met in probes if not met.alone and _tells(met, alone)
    ]
    costs = _medians(samples)
    return Own(costs, _spreads(samples, costs), slowdown)


def _tells(met: Met, alone: Mapping[Device, OwnCost]) -> bool:
    """Tell whether it is known which part of a probe's sleep was its own."""
    return (met.driver, "") in alone or met.record.waits is not None


def _in_company(
    index: int, met: Met, alone: Mapping[Device, OwnCost], slowdown: Mapping[str, tuple[float, float, float]]
) -> _Sample:
    known = alone.get(met.device) or alone.get((met.driver, ""))
    sleeping = met.sleeping_ns - met.waited_ns if known is None else known.sleeping_ns
    running = round(met.running_ns / (1 + slowdown.get(met.driver, (0.0,))[0]))
    return _Sample(index, met.device, running, sleeping)


def _medians(samples: Iterable[_Sample]) -> dict[Device, OwnCost]:
    groups: dict[Device, list[_Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.device].append(sample)
        groups[sample.device[0], ""].append(sample)
    return {
        key: OwnCost(round(median(one.running_ns for one in group)), round(median(one.sleeping_ns for one in group)))
        for key, group in groups.items()
    }


def _slowdowns(
    traces: Iterable[Iterable[Met]], alone: Mapping[Device, OwnCost]
) -> dict[str, tuple[float, float, float]]:
    sums: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for trace in traces:
        here: dict[str, tuple[int, int]] = {}
        for met in trace:
            known = alone.get(met.device) or alone.get((met.driver, ""))
            if not met.alone and known is not None:
                ran, own = here.get(met.driver, (0, 0))
                here[met.driver] = ran + met.running_ns, own + known.running_ns
        for driver, pair in here.items():
            sums[driver].append(pair)
    found = {}
    for driver, pairs in sums.items():
        each = [_share(ran, own) for ran, own in pairs]
        found[driver] = _share(sum(ran for ran, _ in pairs), sum(own for _, own in pairs)), min(each), max(each)
    return found


def _share(ran: int, own: int) -> float:
    return round(max(0.0, ran / max(1, own) - 1), 4)


def _spreads(samples: Iterable[_Sample], costs: Mapping[Device, OwnCost]) -> dict[str, tuple[float, float]]:
    by_driver: dict[str, list[_Sample]] = defaultdict(list)
    for sample in samples:
        by_driver[sample.device[0]].append(sample)
    return {driver: _spread(found, costs) for driver, found in by_driver.items()}


def _spread(samples: Sequence[_Sample], costs: Mapping[Device, OwnCost]) -> tuple[float, float]:
    """Return the factors of one driver: from trace to trace where there are some, else from probe to probe."""
    by_trace: dict[int, list[float]] = defaultdict(list)
    by_device: dict[Device, list[float]] = defaultdict(list)
    for sample in samples:
        value = log(max(1, sample.running_ns + sample.sleeping_ns) / max(1, costs[sample.device].cost_ns))
        by_trace[sample.trace].append(value)
        by_device[sample.device].append(value)
    if len(by_trace) >= FEW_TRACES:
        groups: Iterable[Sequence[float]] = [[fmean(values) for values in by_trace.values()]]
    else:
        groups = by_device.values()
    return _nine_in_ten(list(groups))


def _nine_in_ten(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return the factors between which nine in ten further values lie, from groups of logarithms around their means."""
    freedom = sum(len(group) - 1 for group in groups)
    if freedom <= 0:
        return 1.0, 1.0
    squares = sum((value - fmean(group)) ** 2 for group in groups for value in group)
    student = _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else _NORMAL
    factor = min(_MOST, exp(student * sqrt(squares / freedom)))
    return round(1 / factor, 4), round(factor, 4)


def alike(probes: Iterable[Met]) -> dict[str, tuple[float, float]]:
    """Return what the devices of each driver differ by, as factors: nine in ten further ones would lie between them.

    It is the best guess at what a repeat would differ by, where there is none.
    """
    costs: dict[str, list[float]] = defaultdict(list)
    for met in probes:
        costs[met.driver].append(log(max(1, met.running_ns + met.sleeping_ns)))
    return {driver: _nine_in_ten([values]) for driver, values in costs.items() if len(values) > 1}


def middle_range(values: Iterable[float]) -> tuple[float, float]:
    """Return between which values nearly all of these lie."""
    ordered = sorted(values)
    cut = len(ordered) // MANY
    return round(ordered[cut], 4), round(ordered[-1 - cut], 4)
