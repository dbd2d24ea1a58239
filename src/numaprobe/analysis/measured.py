"""Predictions beside what was measured on this computer.

Each policy has a prediction (one trace of the virtual machine: it is the same every time) and measurements (traces of
the host machine: they are not). A measured figure is the median of the runs. The *error* of a prediction is its
distance from that median in percent *of the measured figure*: +10 % says that the prediction was too long by a tenth.

Other programs make measured times longer and never shorter; their share of the CPUs is told beside the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from numaprobe.analysis.compare import Comparison, compare, percent
from numaprobe.analysis.summary import Summary, summarize
from numaprobe.errors import UsageError
from numaprobe.records import probe_to_json, warning_to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.analysis.compare import ComparedTrace
    from numaprobe.records import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure, predicted and measured, in ns; None = no run tells."""

    predicted_ns: int | None
    #: the median of ``runs_ns``
    measured_ns: int | None
    #: every run, in the order of running
    runs_ns: tuple[int, ...]

    @property
    def error_percent(self) -> float | None:
        """(predicted - measured) / measured; negative: the prediction was too short."""
        return percent(self.predicted_ns, self.measured_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One policy's runs on the host machine, beside its prediction."""

    entry: ComparedTrace
    #: in the order of running
    traces: tuple[Trace, ...]
    makespan: Figure
    worst: Figure
    mean: Figure
    #: the run whose makespan is the median (of an even number: the shorter one of the middle), and its summary
    typical: Trace
    summary: Summary

    def to_dict(self) -> dict[str, Any]:
        """Return the ``measured`` block of a policy in ``numaprobe.compare/1``."""
        figures = {"makespan": self.makespan, "worst": self.worst, "mean": self.mean}
        warnings = {(one.kind, one.message): one for trace in self.traces for one in trace.warnings}
        return {
            "source": self.typical.source,
            **{f"{name}_ns": figure.measured_ns for name, figure in figures.items()},
            "error": {f"{name}_percent": figure.error_percent for name, figure in figures.items()},
            "runs": {f"{name}_ns": list(figure.runs_ns) for name, figure in figures.items()},
            "local_share": self.summary.local_share,
            "cpus": list(self.summary.cpus),
            "probes": [probe_to_json(record) for record in self.typical.probes],
            "warnings": [warning_to_json(warning) for warning in warnings.values()],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Policies, each predicted and measured."""

    #: the predictions, beside each other as usual
    comparison: Comparison
    #: in the order of the comparison's entries
    measured: tuple[Measured, ...]
    #: runs of each policy
    repeat: int
    #: how busy the computer was with other things; None if it does not say
    others_share: float | None
    load_average: float

    def to_dict(self) -> dict[str, Any]:
        """Return the ``numaprobe.compare/1`` object, with what was measured added."""
        result = self.comparison.to_dict()
        result["measurement"] = {
            "repeat": self.repeat,
            "others_share": self.others_share,
            "load_average": self.load_average,
        }
        for policy, measured in zip(result["policies"], self.measured, strict=True):
            policy["measured"] = measured.to_dict()
        return result


def validate(
    predicted: Sequence[Trace],
    measured: Sequence[Sequence[Trace]],
    baseline: str | None = None,
    *,
    others_share: float | None = None,
    load_average: float = 0.0,
) -> Validation:
    """Put predictions beside measurements.

    Args:
        predicted: one trace per policy.
        measured: for each of these, the traces of its runs.
        baseline: see ``compare``.
        others_share: share of the CPUs that other programs used meanwhile, 0 to 1.
        load_average: of the last minute.

    Raises:
        UsageError: nothing was predicted, or a policy was not measured.

    """
    if len(predicted) != len(measured) or not all(measured):
        raise UsageError("each prediction needs at least one measured run to be held against")
    comparison = compare(predicted, baseline)
    return Validation(
        comparison=comparison,
        measured=tuple(_measured(*pair) for pair in zip(comparison.entries, measured, strict=True)),
        repeat=len(measured[0]),
        others_share=others_share,
        load_average=load_average,
    )


def _measured(entry: ComparedTrace, traces: Sequence[Trace]) -> Measured:
    predicted = entry.summary
    runs: list[Summary] = [summarize(trace) for trace in traces]
    ordered = sorted(zip(traces, runs, strict=True), key=lambda run: run[1].makespan_ns or 0)
    typical, summary = ordered[(len(ordered) - 1) // 2]
    return Measured(
        entry=entry,
        traces=tuple(traces),
        makespan=_figure(predicted.makespan_ns, (run.makespan_ns for run in runs)),
        worst=_figure(predicted.worst_ns, (run.worst_ns for run in runs)),
        mean=_figure(predicted.mean_ns, (run.mean_ns for run in runs)),
        typical=typical,
        summary=summary,
    )


def _figure(predicted_ns: int | None, runs: Iterable[int | None]) -> Figure:
    known = tuple(run for run in runs if run is not None)
    return Figure(predicted_ns=predicted_ns, measured_ns=round(median(known)) if known else None, runs_ns=known)
