"""Two sides of runs, from the first doubt to the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.verify.figures import VerifiedFigure, compare_figures
from numaprobe.analysis.verify.places import Places, compare_places
from numaprobe.analysis.verify.prediction import PredictedFigure, compare_prediction, judge_prediction
from numaprobe.analysis.verify.sides import VerifiedSide, common_topology, limits, losses
from numaprobe.analysis.verify.verdict import VerifyVerdict, judge_change
from numaprobe.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Version of ``numaprobe verify --json``.
VERIFY_SCHEMA: Final = "numaprobe.verify/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What two sides of runs say about each other."""

    verdict: VerifyVerdict
    #: before and after, or the prediction and what was measured
    first: VerifiedSide
    second: VerifiedSide
    figures: tuple[VerifiedFigure | PredictedFigure, ...]
    places: Places
    #: the first side's state, recorded once more, beside it
    control: tuple[VerifiedFigure, ...] = ()
    #: percent
    gate: float | None = None
    #: what limits the answer, one line each
    limits: tuple[str, ...] = ()

    @property
    def mode(self) -> str:
        """``prediction``, ``exact`` (no chance is involved) or ``change``."""
        if self.first.exact != self.second.exact:
            return "prediction"
        return "exact" if self.first.exact else "change"

    def to_dict(self) -> dict[str, Any]:
        """Return the ``numaprobe.verify/1`` object."""
        return {
            "schema": VERIFY_SCHEMA,
            "mode": self.mode,
            "verdict": {"code": str(self.verdict.code), "text": self.verdict.text, "passed": self.verdict.passed},
            "gate_percent": self.gate,
            "sides": [self.first.to_dict(), self.second.to_dict()],
            "figures": [figure.to_dict() for figure in self.figures],
            "places": self.places.to_dict(),
            "control": [figure.to_dict() for figure in self.control],
            "limits": list(self.limits),
        }


def verify(
    first: VerifiedSide, second: VerifiedSide, *, control: VerifiedSide | None = None, gate: float | None = None
) -> Verification:
    """Hold ``second`` against ``first``.

    One of them of virtual time alone is a prediction; both, and they are compared exactly.

    Args:
        first: before, or a prediction.
        second: after, or what was measured.
        control: the state of ``first``, recorded once more.
        gate: percent; see ``judge_change`` and ``judge_prediction``.

    Raises:
        InputError: they are of different machines, or have no probe in common, or one side is partly a prediction.
        UsageError: a control, and nothing that is left to chance.

    """
    if first.exact != second.exact:
        return _prediction(*((first, second) if first.exact else (second, first)), control, gate)
    return _change(first, second, control, gate)


def _change(
    first: VerifiedSide, second: VerifiedSide, control: VerifiedSide | None, gate: float | None
) -> Verification:
    if first.exact and control is not None:
        raise UsageError("a control is for what is left to chance, and a run in virtual time is the same every time")
    sides = [first, second, *([] if control is None else [control])]
    topology = common_topology(sides)
    for side in sides:
        _refuse_mixture(side)
    figures = compare_figures(first.traces, second.traces, exact=first.exact)
    again = () if control is None else compare_figures(first.traces, control.traces, exact=False)
    _refuse_strangers(first, second, any(figure.key.device is not None for figure in figures))
    return Verification(
        verdict=judge_change(figures, lost=losses(sides), control=again, gate=gate),
        first=first,
        second=second,
        figures=tuple(figures),
        places=compare_places(first.traces, second.traces, topology, predicted=False),
        control=tuple(again),
        gate=gate,
        limits=tuple(limits(sides)),
    )


def _prediction(
    predicted: VerifiedSide, measured: VerifiedSide, control: VerifiedSide | None, gate: float | None
) -> Verification:
    if control is not None:
        raise UsageError("a control is for runs before and after; a prediction is held against one set of runs")
    topology = common_topology((predicted, measured))
    _refuse_mixture(predicted)
    _refuse_mixture(measured)
    figures = compare_prediction(predicted.traces[0], measured.traces)
    _refuse_strangers(predicted, measured, any(figure.key.device is not None for figure in figures))
    places = compare_places(predicted.traces[:1], measured.traces, topology, predicted=True)
    return Verification(
        verdict=judge_prediction(figures, places, lost=losses((measured,)), gate=gate),
        first=predicted,
        second=measured,
        figures=tuple(figures),
        places=places,
        gate=gate,
        limits=tuple(limits((predicted, measured))),
    )


def _refuse_mixture(side: VerifiedSide) -> None:
    """Refuse a side that is no repetition of one state: partly predicted, or predictions that differ."""
    if side.exact:
        _refuse_different(side.names, [trace.probes for trace in side.traces])
    elif any(trace.source == "virtual" for trace in side.traces):
        name = next(name for name, trace in zip(side.names, side.traces, strict=True) if trace.source == "virtual")
        raise InputError(f"{side.label} mixes measurements with a prediction: {name} was run in virtual time")


def _refuse_different(names: Sequence[str], runs: Sequence[object]) -> None:
    for name, run in zip(names, runs, strict=True):
        if run != runs[0]:
            text = f"{names[0]} and {name} are no repetitions of one run: in virtual time these are equal"
            raise InputError(f"{text}; give one of them")


def _refuse_strangers(first: VerifiedSide, second: VerifiedSide, paired: bool) -> None:
    if not paired:
        why = "no device is probed by the same driver in both (numaprobe lab --check knows the names of a guest)"
        raise InputError(f"{first.label} and {second.label} have no probe in common: {why}")
