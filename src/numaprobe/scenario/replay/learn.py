"""What other traces of one machine teach about a trace: ``compare TRACE --learn OTHER``.

Holds and own costs come from the records (``analysis.sharing``). How much longer probes take in company is *fitted*:
the parallel traces are replayed with what was learnt, and the slowdown is the one with which a replay takes as long as
its trace did. Whatever else happened meanwhile is in it, so it is the last figure to be learnt. Where a replay takes
longer without any, the own costs were too large, and are made smaller.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Final

from numaprobe.analysis.sharing.company import divided
from numaprobe.analysis.sharing.machines import why_not_comparable
from numaprobe.analysis.sharing.pairs import learn_pairs
from numaprobe.analysis.sharing.waits import learn_waits
from numaprobe.errors import InputError
from numaprobe.records import SharedHold
from numaprobe.scenario.replay.build import replay_scenario
from numaprobe.scenario.replay.fit import LEAST_GROWTH, find_growth, makespan_of, recorded_makespan
from numaprobe.scenario.replay.lessons import Lesson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.analysis.sharing.own import Own
    from numaprobe.records import Trace
    from numaprobe.topology import Topology

#: Traces with more probes are not replayed to fit it; sums of what their probes computed tell it.
_LARGEST_FIT: Final = 500


def learn(trace: Trace, others: Sequence[Trace], topology: Topology | None = None) -> Lesson:
    """Return what ``others`` teach about the probes of ``trace``.

    Args:
        trace: the one that will be replayed; it teaches, too.
        others: further traces of the same machine and kernel, serial or parallel.
        topology: the machine, where the traces do not hold it.

    Raises:
        InputError: one of them is of another machine or kernel, or tells nothing that could teach.

    """
    for other in others:
        reason = why_not_comparable(trace, other)
        if reason is not None:
            raise InputError(f"cannot teach about {_name(trace)}: {reason}", _name(other))
        _check(other)
    traces = [trace, *others]
    grown, own = learn_pairs(traces)
    seen = tuple(_alone_and_slow(hold, own) for hold in learn_waits(traces))
    named = {driver for hold in seen for driver in hold.members}
    shared = (*seen, *(hold for hold in grown if not named & set(hold.members)))
    lesson = Lesson(shared=shared, own=own, sources=tuple(_name(other) for other in others))
    return _fitted(lesson, [one for one in traces if _is_parallel(one)], topology)


def _name(trace: Trace) -> str:
    return trace.scenario or "trace"


def _check(trace: Trace) -> None:
    """Refuse a trace that cannot teach."""
    lost = next((warning.message for warning in trace.warnings if warning.kind == "lost-events"), None)
    if lost is not None and any(record.running_ns is None for record in trace.probes):
        raise InputError(f"teaches nothing: {lost}", _name(trace))
    if not divided(trace.probes):
        text = "teaches nothing: it does not tell when its probes ran, waited and slept (record with scheduler events)"
        raise InputError(text, _name(trace))


def _is_parallel(trace: Trace) -> bool:
    """Tell whether a trace can be fitted: its probes met, it is whole, and it is not too large."""
    whole = not any(warning.kind in {"unfinished", "lost-events"} for warning in trace.warnings)
    return whole and len(trace.probes) <= _LARGEST_FIT and any(not met.alone for met in divided(trace.probes))


def _alone_and_slow(hold: SharedHold, own: Own) -> SharedHold:
    """Return a hold that was seen in company as it is alone: what company slows is slowed again by the replay."""
    found = [own.slowdown.get(driver, (0.0,))[0] for driver in hold.members]
    factor = 1 + median(found)
    low, high = hold.hold_range_ns
    return replace(
        hold,
        hold_ns=round(hold.hold_ns / factor),
        hold_range_ns=(round(low / factor), round(high / factor)),
        by_member={driver: round(ns / factor) for driver, ns in hold.by_member.items()},
    )


# ---- what company costs ----------------------------------------------------------------------------------------------
def _fitted(lesson: Lesson, parallel: Sequence[Trace], topology: Topology | None) -> Lesson:
    drivers = sorted(lesson.own.slowdown)
    if not parallel or not drivers:
        return lesson
    lesson = replace(lesson, shared=lesson.shared or (_company(drivers),))
    found = [_fit(lesson, trace, topology) for trace in parallel]
    middle = round(median(found), 4)
    return _with_growth(lesson, middle, _range(found, middle))


def _range(found: Sequence[float], middle: float) -> tuple[float, float]:
    """Return what the growth of one more trace may be: seen once it may be chance; the fewer, the wider."""
    if len(found) == 1:
        return min(0.0, 2 * middle), max(0.0, 2 * middle)
    low, high = min(found), max(found)
    beyond = (high - low) * 2 / len(found)
    return round(low - beyond, 4), round(high + beyond, 4)


def _company(drivers: Sequence[str]) -> SharedHold:
    """Return a resource that nobody holds: its members only slow each other."""
    return SharedHold(
        resource="shared-1",
        hold_ns=0,
        hold_range_ns=(0, 0),
        members=tuple(drivers),
        evidence="suspected",
        source="two-traces",
    )


def _with_growth(lesson: Lesson, growth: float, within: tuple[float, float]) -> Lesson:
    """Return a lesson with what company costs: a slowdown, or, below 0, own costs that are so much less."""
    low, high = (max(0.0, bound) for bound in within)
    slowdown = max(0.0, growth)
    shared = tuple(
        replace(hold, slowdown=slowdown, slowdown_range=(min(low, slowdown), max(high, slowdown)))
        for hold in lesson.shared
    )
    own = lesson.own if growth >= 0 else lesson.own.scaled(1 + growth, lesson.own.slowdown)
    return replace(lesson, shared=shared, own=own)


def _fit(lesson: Lesson, trace: Trace, topology: Topology | None) -> float:
    """Return the growth with which a replay takes as long as ``trace`` did."""

    def makespan(growth: float) -> int:
        return makespan_of(
            replay_scenario(trace, topology, lesson=_with_growth(lesson, growth, (growth, growth))), trace
        )

    return find_growth(makespan, recorded_makespan(trace), LEAST_GROWTH)
