"""A prediction beside what was measured: placement probe by probe, and each figure with its error.

The error is ``(predicted - measured) / measured``, of the median of the runs: +10 % says that the prediction was too
long by a tenth. A prediction with something in doubt carries a range; it is right if the measured median lies in it.
One without a range is shown to be off if it lies outside of the interval of the measured median, which takes six runs.

================== ===================================================================================================
``incomplete``     a recording lost something
``elsewhere``      some probes did not run as predicted
``outside-range``  all did, and the measured makespan lies outside of the predicted range
``off``            the makespan is shown to be another one than predicted
``too-few``        fewer than six runs, without a range: the error is told, and whether it is chance is not
``as-predicted``   places agree, and the makespan lies in the range, or is not shown to differ
================== ===================================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.statistics import Sample
from numaprobe.analysis.verify.figures import FigureKey, figures_of, rounded, sample_to_json
from numaprobe.analysis.verify.verdict import VerdictCode, VerifyVerdict, incomplete, percent_text
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numaprobe.analysis.verify.places import Places
    from numaprobe.records import Trace

#: Probes that the sentence names.
_NAMED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedFigure:
    """One figure, predicted and measured, in ns."""

    key: FigureKey
    predicted: float
    #: the least and the largest that the prediction allows; None: it has no range
    range: tuple[int, int] | None
    measured: Sample

    @property
    def error(self) -> float | None:
        """(predicted - measured) / measured, in percent; None: nothing was measured to take time."""
        return _error(self.predicted, self.measured.median)

    @property
    def inside(self) -> bool | None:
        """Whether the measured median lies in the range; None: there is none."""
        return None if self.range is None else self.range[0] <= self.measured.median <= self.range[1]

    @property
    def off(self) -> bool | None:
        """Whether the prediction is shown to be off; None: too few runs."""
        interval = self.measured.interval
        return None if interval is None else not interval[0] <= self.predicted <= interval[1]

    def beyond(self, percent: float) -> bool | None:
        """Tell whether the error is shown to be larger than ``percent``; None: too few runs."""
        interval = self.measured.interval
        if interval is None:
            return None
        errors = [_error(self.predicted, end) for end in interval]
        return bool(self.off) and all(error is None or abs(error) > percent for error in errors)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            **self.key.to_dict(),
            "predicted_ns": round(self.predicted),
            "range_ns": None if self.range is None else list(self.range),
            "measured": sample_to_json(self.measured),
            "error_percent": rounded(self.error),
            "inside": self.inside,
            "off": self.off,
        }


def compare_prediction(predicted: Trace, measured: Sequence[Trace]) -> list[PredictedFigure]:
    """Return the figures that both have: those of whole runs, then the probes in the order of the prediction."""
    mine, theirs = figures_of([predicted]), figures_of(measured)
    ranges: Mapping[FigureKey, tuple[int, int] | None] = {
        FigureKey("makespan"): predicted.makespan_range_ns,
        FigureKey("worst"): predicted.worst_range_ns,
    }
    return [
        PredictedFigure(key=key, predicted=values[0], range=ranges.get(key), measured=Sample(tuple(theirs[key])))
        for key, values in mine.items()
        if key in theirs
    ]


def judge_prediction(
    figures: Sequence[PredictedFigure], places: Places, *, lost: Sequence[str] = (), gate: float | None = None
) -> VerifyVerdict:
    """Return the verdict on a prediction.

    Args:
        figures: the headline first; at least one.
        places: where probes ran, and were predicted to.
        lost: what recordings lost.
        gate: an error of the makespan beyond so many percent does not pass; nor does a probe that ran elsewhere, or a
            makespan outside of its range.

    """
    if lost:
        return VerifyVerdict(code=VerdictCode.INCOMPLETE, text=incomplete(lost))
    headline = figures[0]
    code = _code(headline, places)
    text = f"{_places_text(places)}; {_figure_text(headline)}"
    if code is VerdictCode.TOO_FEW:
        text += f"; whether that is chance, {headline.measured.size} of the 6 runs that it takes do not say"
    if gate is None:
        return VerifyVerdict(code=code, text=text)
    return VerifyVerdict(code=code, text=text, passed=_passed(headline, code, gate))


def _code(headline: PredictedFigure, places: Places) -> VerdictCode:
    if places.differing:
        return VerdictCode.ELSEWHERE
    if headline.inside is not None:
        return VerdictCode.AS_PREDICTED if headline.inside else VerdictCode.OUTSIDE_RANGE
    if headline.off is None:
        return VerdictCode.TOO_FEW
    return VerdictCode.OFF if headline.off else VerdictCode.AS_PREDICTED


def _passed(headline: PredictedFigure, code: VerdictCode, gate: float) -> bool | None:
    if code in {VerdictCode.ELSEWHERE, VerdictCode.OUTSIDE_RANGE}:
        return False
    if headline.inside:
        return True
    beyond = headline.beyond(gate)
    return None if beyond is None else not beyond


def _places_text(places: Places) -> str:
    differing = places.differing
    if not differing:
        return f"{places.probes} of {places.probes} probes ran as predicted"
    shown = ", ".join(differing[:_NAMED]) + (" …" if len(differing) > _NAMED else "")
    return f"{len(differing)} of {places.probes + len(places.unexpected)} probes did not run as predicted ({shown})"


def _figure_text(figure: PredictedFigure) -> str:
    measured = f"measured {format_time(round(figure.measured.median))} (n={figure.measured.size})"
    error = "" if figure.error is None else f", error {percent_text(figure.error)}"
    if figure.range is None:
        return f"{figure.key} predicted {format_time(round(figure.predicted))}, {measured}{error}"
    low, high = (format_time(end) for end in figure.range)
    inside = "inside" if figure.inside else "outside"
    return f"{figure.key} predicted {low} to {high}, {measured}: {inside}"


def _error(predicted: float, measured: float) -> float | None:
    return 100 * (predicted - measured) / measured if measured else None
