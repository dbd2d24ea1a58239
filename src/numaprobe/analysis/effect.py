"""What a change did: the run without it beside the run with it, judged by what it was for, and said in a sentence.

A change that is *for time* helps if the run is shorter, or as long and its slowest probe shorter. One that is *for
place* helps if more probes start on their node, or are drawn to it, or spend less time away. Neither is held against
the other: a gain that is paid for says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.records import Aim, Figures
from numaprobe.units import format_time

if TYPE_CHECKING:
    from numaprobe.analysis.summary import Summary
    from numaprobe.records import Remedy

#: Less than this share of a time is no gain and no loss.
NOISE: Final = 0.01


def figures_of(summary: Summary) -> Figures:
    """Return the figures by which a change is judged."""
    known = sum(summary.holds.values())
    drawn = sum(summary.holds.get(hold, 0) for hold in ("held", "soft"))
    return Figures(
        makespan_ns=summary.makespan_ns,
        worst_ns=summary.worst_ns,
        local_share=summary.local_share,
        drawn_share=drawn / known if known else None,
        remote_ns=summary.remote_ns,
    )


def helps(remedy: Remedy) -> bool:
    """Tell whether a change that was run did what it was for."""
    before, after = remedy.before, remedy.after
    if before is None or after is None:
        return False
    if remedy.aim is Aim.TIME:
        least, most = _makespan_change(remedy)
        return most <= NOISE and (least < -NOISE or change_of(before.worst_ns, after.worst_ns) < -NOISE)
    return _place(after) > _place(before)


def leaves_node(remedy: Remedy) -> bool:
    """Tell whether fewer probes start on their node with the change than without: its gain is paid for."""
    before, after = remedy.before, remedy.after
    return before is not None and after is not None and _share(after.local_share) < _share(before.local_share)


def merit(remedy: Remedy) -> tuple[float, ...]:
    """Return what to sort changes by, the best last."""
    after = remedy.after or Figures()
    shorter = -sum(_makespan_change(remedy))
    if remedy.aim is Aim.PLACE:
        return (*_place(after), shorter)
    return (-float(leaves_node(remedy)), shorter)


def sentence(remedy: Remedy, *, sure: bool) -> str:
    """Return the change and what it did, as one sentence; figures that did not move are left out.

    Args:
        remedy: that was run.
        sure: what was repeated is known in full. Of a recording it is not: its probes may share what no record shows.

    """
    before, after = remedy.before or Figures(), remedy.after or Figures()
    times = [_time("makespan", before.makespan_ns, after.makespan_ns, remedy.makespan_range_percent, sure=sure)]
    if abs(_makespan_change(remedy)[0] - change_of(before.worst_ns, after.worst_ns)) >= NOISE:
        times.append(_time("worst", before.worst_ns, after.worst_ns, None, sure=sure))
    place = _place_text(before, after)
    told = [place, *times] if remedy.aim is Aim.PLACE else [*times, place]
    caution = f" ({remedy.caution})" if remedy.caution else ""
    return f"{change_text(remedy)}: {', '.join(part for part in told if part)}{caution}."


def change_text(remedy: Remedy) -> str:
    """Return what is changed, in words."""
    if remedy.parameter is not None:
        return f"Booted with {remedy.parameter}"
    if remedy.load_from is not None:
        return f"Loaded from {remedy.load_from} (numactl --cpunodebind={remedy.load_from.removeprefix('node')})"
    return f"Under the policy {remedy.policy}"


def change_of(before: int | None, after: int | None) -> float:
    """Return the change of a figure as a share of what it was; 0 where one is not known."""
    return (after - before) / before if before and after is not None else 0.0


def _share(share: float | None) -> float:
    return 1.0 if share is None else share


def _place(figures: Figures) -> tuple[float, float, float]:
    """The more, the better the places."""
    return _share(figures.local_share), _share(figures.drawn_share), -float(figures.remote_ns or 0)


def _makespan_change(remedy: Remedy) -> tuple[float, float]:
    """Return the change of the makespan, the least and the most, as shares of what it was."""
    if remedy.makespan_range_percent is not None:
        least, most = remedy.makespan_range_percent
        return least / 100, most / 100
    change = change_of((remedy.before or Figures()).makespan_ns, (remedy.after or Figures()).makespan_ns)
    return change, change


def _time(name: str, before: int | None, after: int | None, percents: tuple[float, float] | None, *, sure: bool) -> str:
    change = change_of(before, after)
    if before is None or after is None or (abs(change) < NOISE and percents is None):
        return ""
    if percents is not None:
        return f"{name} {percents[0]:+.1f} to {percents[1]:+.1f} % (what is shared is not known)"
    bound = "" if sure or change > 0 else "at most "
    return f"{name} {format_time(before)} → {format_time(after)} ({bound}{100 * change:+.1f} %)"


def _place_text(before: Figures, after: Figures) -> str:
    if before.local_share is not None and after.local_share is not None and before.local_share != after.local_share:
        paid = "paid with remote memory: " if after.local_share < before.local_share else ""
        return f"{paid}{100 * after.local_share:.0f} % on node ({100 * before.local_share:.0f} % without)"
    if (before.drawn_share or 0) < (after.drawn_share or 0):
        return f"{100 * (after.drawn_share or 0):.0f} % drawn to their node ({100 * (before.drawn_share or 0):.0f} %)"
    if (after.remote_ns or 0) < (before.remote_ns or 0):
        return f"{format_time(after.remote_ns or 0)} away from the node ({format_time(before.remote_ns or 0)} without)"
    return ""
