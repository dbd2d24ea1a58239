"""The verdict on a change, in one sentence: a code, decided in a fixed order, and what shows it.

The order is that in which a careful reader asks (after Intel's and Mozilla's performance tools): can these runs be
compared at all; could they ever show anything; does the same state differ from itself; and only then, what is shown.

================== ===================================================================================================
``incomplete``     a recording lost something
``too-few``        so few runs can never show a difference
``control``        the same state, recorded twice, differs from itself by more than chance
``regression``     the makespan is longer; or it is not shown to have changed, and some probes are slower, none faster
``improvement``    the makespan is shorter; or likewise
``mixed``          the makespan is not shown to have changed, and some probes are slower, others faster
``negligible``     a difference is shown, of less than 1 % of the makespan
``no-change``      nothing is shown, and a change of the gate's size (else of 5 %) can be excluded
``too-noisy``      nothing is shown, and it cannot
``identical``      both sides are exact, and no figure differs
================== ===================================================================================================

The first three are refusals: there is no verdict, and the sentence says what would make one possible.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from numaprobe.analysis.statistics import SIGNIFICANCE, smallest_p
from numaprobe.analysis.verify.figures import HEADLINE_SHARE
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.analysis.statistics import Sample
    from numaprobe.analysis.verify.figures import VerifiedFigure

#: Our choices, in percent: what is not worth a word, and what must be excluded to say that nothing changed.
NEGLIGIBLE: Final = 1.0
EXCLUDED: Final = 5.0
#: No more runs a side than this are asked for.
_MOST_RUNS: Final = 50


class VerdictCode(StrEnum):
    """What a verdict says; see the module's text, and ``prediction.py`` for those in the middle."""

    INCOMPLETE = "incomplete"
    TOO_FEW = "too-few"
    CONTROL = "control"
    ELSEWHERE = "elsewhere"
    OUTSIDE_RANGE = "outside-range"
    OFF = "off"
    AS_PREDICTED = "as-predicted"
    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    MIXED = "mixed"
    NEGLIGIBLE = "negligible"
    NO_CHANGE = "no-change"
    TOO_NOISY = "too-noisy"
    IDENTICAL = "identical"

    @property
    def refused(self) -> bool:
        """Whether there is no verdict."""
        return self in {VerdictCode.INCOMPLETE, VerdictCode.TOO_FEW, VerdictCode.CONTROL}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyVerdict:
    """What is to be said in one sentence."""

    code: VerdictCode
    text: str
    #: whether the gate lets it pass; None: there is no gate, or no verdict
    passed: bool | None = None


def judge_change(
    figures: Sequence[VerifiedFigure],
    *,
    lost: Sequence[str] = (),
    control: Sequence[VerifiedFigure] | None = None,
    gate: float | None = None,
) -> VerifyVerdict:
    """Return the verdict on a change.

    Args:
        figures: of both sides, the headline first; at least one.
        lost: what recordings lost.
        control: figures of the same state, recorded twice.
        gate: a regression beyond so many percent does not pass.

    """
    refused = _refusal(figures, lost, control)
    if refused is not None:
        return refused
    code, text = _answer(figures, gate)
    if gate is None or code not in {VerdictCode.REGRESSION, VerdictCode.MIXED}:
        return VerifyVerdict(code=code, text=text, passed=None if gate is None else True)
    beyond = [figure for figure in figures if figure.beyond(gate)]
    if beyond:
        return VerifyVerdict(code=code, text=f"{text}; {beyond[0].key} is beyond the gate of {gate:g} %", passed=False)
    return VerifyVerdict(code=code, text=f"{text}; that it is beyond the gate of {gate:g} % is not shown", passed=True)


# ---- refusals --------------------------------------------------------------------------------------------------------
def _refusal(
    figures: Sequence[VerifiedFigure], lost: Sequence[str], control: Sequence[VerifiedFigure] | None
) -> VerifyVerdict | None:
    if lost:
        return VerifyVerdict(code=VerdictCode.INCOMPLETE, text=incomplete(lost))
    headline = figures[0]
    if headline.adjusted_p is None:
        return None
    few = too_few(headline.change.base.size, headline.change.runs.size, len(figures))
    if few is not None:
        return VerifyVerdict(code=VerdictCode.TOO_FEW, text=few)
    differing = [figure for figure in control or () if figure.shown]
    if differing:
        text = f"no verdict: the same state, recorded twice, already differs: {change_text(differing[0])}"
        return VerifyVerdict(code=VerdictCode.CONTROL, text=f"{text}; something else than the change moves it")
    return None


def incomplete(lost: Sequence[str]) -> str:
    """Return why recordings that lost something give no verdict."""
    more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
    return f"no verdict: {lost[0]}{more}; record again, or leave it out"


def too_few(first: int, second: int, figures: int) -> str | None:
    """Return why so many runs of each side can never show a difference of the headline; None: they can."""
    allowed = SIGNIFICANCE * (HEADLINE_SHARE if figures > 1 else 1)
    if min(first, second) > 1 and smallest_p(first, second) <= allowed:
        return None
    ask = f"record {_enough(allowed)} or more of each side"
    if min(first, second) == 1:
        return f"no verdict: one run of a side says nothing of chance; {ask}"
    never = f"{first} against {second} runs can never be significant at {SIGNIFICANCE}"
    return f"no verdict: {never}: the smallest p is {p_text(smallest_p(first, second))}; {ask}"


def _enough(allowed: float) -> int:
    """Return how many runs of each side can show a difference at this level."""
    return next(size for size in range(2, _MOST_RUNS) if smallest_p(size, size) <= allowed)


# ---- answers ---------------------------------------------------------------------------------------------------------
def _answer(figures: Sequence[VerifiedFigure], gate: float | None) -> tuple[VerdictCode, str]:
    headline, others = figures[0], figures[1:]
    slower, faster = [one for one in others if one.slower], [one for one in others if one.faster]
    tail = _tail(headline, others)
    if headline.shown:
        if abs(headline.change.percent or 0) < NEGLIGIBLE and headline.change.percent is not None:
            return VerdictCode.NEGLIGIBLE, f"{change_text(headline)}{tail}"
        code = VerdictCode.REGRESSION if headline.slower else VerdictCode.IMPROVEMENT
        return code, f"{change_text(headline)}{tail}"
    if slower or faster:
        code = VerdictCode.MIXED if slower and faster else VerdictCode.REGRESSION if slower else VerdictCode.IMPROVEMENT
        first = max([*slower, *faster], key=lambda one: abs(one.change.percent or 0))
        return code, f"{change_text(first)}{tail}; {_not_shown(headline)}"
    if headline.adjusted_p is None:
        return (
            VerdictCode.IDENTICAL,
            f"every figure is the same: {headline.key} {format_time(round(headline.change.base.median))}",
        )
    return _nothing_shown(headline, EXCLUDED if gate is None else gate, tail)


def _nothing_shown(headline: VerifiedFigure, limit: float, tail: str) -> tuple[VerdictCode, str]:
    interval = headline.change.percent_interval
    if interval is not None and -limit < interval[0] and interval[1] < limit:
        return VerdictCode.NO_CHANGE, f"{_not_shown(headline)}{tail}"
    text = f"{_not_shown(headline)}{tail}; a change of {limit:g} % cannot be excluded"
    return VerdictCode.TOO_NOISY, f"{text}: record more runs, or on a quieter machine"


def _not_shown(figure: VerifiedFigure) -> str:
    if figure.adjusted_p is None:
        return f"the {figure.key} is the same"
    interval = figure.change.percent_interval
    between = "" if interval is None else f"{percent_text(interval[0])} to {percent_text(interval[1])}; "
    return f"no change of the {figure.key} is shown ({between}{chance_text(figure)})"


def _tail(headline: VerifiedFigure, others: Sequence[VerifiedFigure]) -> str:
    """Return how many probes are slower and faster, if any is compared; or that so few runs cannot tell."""
    probes = [figure for figure in others if figure.key.device is not None]
    if not probes:
        return ""
    slower, faster = sum(one.slower for one in probes), sum(one.faster for one in probes)
    if headline.adjusted_p is not None:
        left = 1 if headline.shown else 1 - HEADLINE_SHARE
        allowed = SIGNIFICANCE * left / len(others)
        if smallest_p(headline.change.base.size, headline.change.runs.size) > allowed:
            enough = f"less than {_enough(allowed)} runs a side"
            return f"; its {len(probes)} probes cannot be judged one by one with {enough}"
    return f"; of {len(probes)} probes {slower} slower, {faster} faster"


# ---- words -----------------------------------------------------------------------------------------------------------
def change_text(figure: VerifiedFigure) -> str:
    """Return ``makespan 452.100 ms → 360.200 ms, -20.3 % (-24.0 to -17.0 %; p=0.008 n=5)``."""
    change = figure.change
    times = f"{figure.key} {format_time(round(change.base.median))} → {format_time(round(change.runs.median))}"
    percent = "" if change.percent is None else f", {percent_text(change.percent)}"
    if figure.adjusted_p is None:
        return times + percent
    interval = change.percent_interval
    between = "" if interval is None else f"{percent_text(interval[0])} to {percent_text(interval[1])}; "
    return f"{times}{percent} ({between}{chance_text(figure)})"


def chance_text(figure: VerifiedFigure) -> str:
    """Return ``p=0.008 n=5``, or ``n=5+4`` where the sides have not as many runs."""
    return f"p={p_text(figure.change.p_value)} n={runs_text(figure.change.base, figure.change.runs)}"


def runs_text(base: Sample, runs: Sample) -> str:
    """Return how many runs there are of each side."""
    return str(base.size) if base.size == runs.size else f"{base.size}+{runs.size}"


def p_text(p_value: float) -> str:
    """Return a p-value as benchstat writes it."""
    return f"{p_value:.3f}"


def percent_text(value: float) -> str:
    """Return a change with its sign."""
    return f"{value:+.1f} %"
