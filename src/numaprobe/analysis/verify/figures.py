"""What is compared: makespan, worst and mean cost of each run, and every probe's cost, paired by driver and device.

A probe that was sent away (``EPROBE_DEFER``) is an outcome, and no cost to compare. Where a driver probed a device more
than once, the first is paired with the first.

The permitted chance of a false claim, 5 % for the whole report, is divided by Holm's weighted rule: the makespan has
``HEADLINE_SHARE`` of it, so that few boots can show it beside any number of probes; all others share the rest.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.statistics import SIGNIFICANCE, FigureChange, Sample, compare_runs, holm
from numaprobe.analysis.summary import summarize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numaprobe.records import Trace

#: Our choice: with it four boots a side (p = 0.029) are enough for the makespan.
HEADLINE_SHARE: Final = 0.6
#: Figures of a whole run, the one that matters most first.
OVERALL: Final = ("makespan", "worst", "mean")


@dataclass(frozen=True, slots=True)
class FigureKey:
    """A figure of a run as a whole, or one probe's cost."""

    #: one of ``OVERALL``; the driver's name
    name: str
    #: None: of the run as a whole
    device: str | None = None
    #: the how manieth probe of this device by this driver
    number: int = 1

    def __str__(self) -> str:
        again = f" (#{self.number})" if self.number > 1 else ""
        return self.name if self.device is None else f"{self.name} {self.device}{again}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        if self.device is None:
            return {"figure": self.name}
        return {"driver": self.name, "device": self.device, "number": self.number}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedFigure:
    """One figure on both sides, in ns."""

    key: FigureKey
    change: FigureChange
    #: what ``change.p_value`` is worth among all the figures; None: both sides are exact, and no chance is involved
    adjusted_p: float | None

    @property
    def shown(self) -> bool:
        """Whether the two sides are shown to differ."""
        if self.adjusted_p is None:
            return self.change.base.median != self.change.runs.median
        return self.adjusted_p <= SIGNIFICANCE

    @property
    def slower(self) -> bool:
        """Whether it is shown to take longer."""
        return self.shown and self.change.shift.estimate > 0

    @property
    def faster(self) -> bool:
        """Whether it is shown to take less."""
        return self.shown and self.change.shift.estimate < 0

    def beyond(self, percent: float) -> bool:
        """Tell whether it is shown to be slower by more than ``percent``."""
        interval, change = self.change.percent_interval, self.change.percent
        if self.adjusted_p is None:
            return self.slower and (change is None or change > percent)
        return self.slower and interval is not None and interval[0] > percent

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        interval = self.change.percent_interval if self.adjusted_p is not None else None
        return {
            **self.key.to_dict(),
            "before": sample_to_json(self.change.base),
            "after": sample_to_json(self.change.runs),
            "change_percent": rounded(self.change.percent),
            "change_percent_interval": None if interval is None else [rounded(end) for end in interval],
            "shift_ns": round(self.change.shift.estimate),
            "p": None if self.adjusted_p is None else self.change.p_value,
            "adjusted_p": self.adjusted_p,
            "shown": self.shown,
        }


def sample_to_json(sample: Sample) -> dict[str, Any]:
    """Return repeated measurements in ns as JSON."""
    interval = sample.interval
    return {
        "median_ns": round(sample.median),
        "interval_ns": None if interval is None else [round(end) for end in interval],
        "runs_ns": [round(value) for value in sample.values],
    }


def compare_figures(before: Sequence[Trace], after: Sequence[Trace], *, exact: bool) -> list[VerifiedFigure]:
    """Return the figures that both sides have: those of whole runs, then the probes in the order of ``before``."""
    first, second = figures_of(before), figures_of(after)
    keys = [key for key in first if key in second]
    changes = [compare_runs(first[key], second[key]) for key in keys]
    adjusted: Sequence[float | None] = [None] * len(keys)
    if not exact:
        adjusted = holm([change.p_value for change in changes], shares(len(keys)))
    return [
        VerifiedFigure(key=key, change=change, adjusted_p=p)
        for key, change, p in zip(keys, changes, adjusted, strict=True)
    ]


def shares(count: int) -> list[float]:
    """Return how much of the permitted chance each of so many figures has; the first is the headline."""
    others = count - 1
    return [1.0] * count if others <= 0 else [HEADLINE_SHARE, *[(1 - HEADLINE_SHARE) / others] * others]


def figures_of(traces: Iterable[Trace]) -> dict[FigureKey, list[float]]:
    """Return each figure's values, one of each run that has it."""
    found: dict[FigureKey, list[float]] = defaultdict(list)
    overall = [{key: value for key, value in _overall(trace).items() if value is not None} for trace in traces]
    for key in (FigureKey(name) for name in OVERALL):
        if all(key in values for values in overall):
            found[key] = [values[key] for values in overall]
    for trace in traces:
        for key, cost in _probes(trace).items():
            found[key].append(cost)
    return dict(found)


def _overall(trace: Trace) -> Mapping[FigureKey, int | None]:
    summary = summarize(trace)
    values = (summary.makespan_ns, summary.worst_ns, summary.mean_ns)
    return {FigureKey(name): value for name, value in zip(OVERALL, values, strict=True)}


def _probes(trace: Trace) -> dict[FigureKey, int]:
    seen: Counter[tuple[str, str]] = Counter()
    costs = {}
    for record in trace.probes:
        if not record.deferred:
            seen[record.driver, record.device] += 1
            costs[FigureKey(record.driver, record.device, seen[record.driver, record.device])] = record.cost_ns
    return costs


def rounded(value: float | None) -> float | None:
    """Return a percentage to 0.01, as JSON gives it."""
    return None if value is None else round(value, 2)
