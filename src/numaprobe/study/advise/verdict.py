"""The verdict: what to do in one sentence, or why nothing would help and what shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.study.advise.choices import Kind
from numaprobe.study.advise.search import STEP
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.study.advise.answer import Advice, Recommendation


def verdict(advice: Advice) -> str:
    """Return the answer in one or two sentences."""
    recommended, hopeful = advice.recommended, advice.hopeful
    if recommended is not None and recommended.sure:
        said = [f"{_these(recommended.names)} {_brings(advice, recommended)}{_place(advice, recommended)}."]
    elif recommended is not None:
        said = [f"{_these(recommended.names)} {_moves(advice, recommended)}; {_stays(advice, recommended)}."]
    elif hopeful is not None:
        said = []
    else:
        said = [f"Nothing here would help, because {why_nothing(advice)}."]
    if hopeful is not None:
        first = "" if said else "Nothing is sure to help. "
        said.append(f"{first}{_these(hopeful.names)} may {_may(advice, hopeful)}.")
    if advice.daring is not None:
        said.append(_daring(advice, advice.daring))
    return " ".join(said)


def why_nothing(advice: Advice) -> str:
    """Return why no setting helps, with the bound that shows it."""
    base, bound = advice.base, advice.bound
    makespan = format_time(base.makespan_ns)
    near = bool(bound.ns) and base.makespan_ns - bound.ns <= 2 * base.worth(STEP)
    if bound.moment is not None and near:
        return f"{bound.moment} comes at {makespan}, and with every driver asynchronous at {format_time(bound.ns)}"
    if near:
        return f"{bound.reason} takes {format_time(bound.ns)} of the {makespan}, and no CPU more makes that shorter"
    tried = len(advice.tried)
    shown = f"the bound is {format_time(bound.ns)} ({bound.reason})"
    if tried:
        of = "1" if tried == 1 else f"{tried} of them"
        what = f"until {advice.goal.name}" if advice.goal.is_moment else "of probing"
        text = f"no setting that was run ({of}) saves {_percent(STEP, 0)} of the {format_time(base.probing_ns)} {what}"
    elif advice.kept_out:
        text = f"what could be set is about drivers that are kept out ({_drivers(advice)})"
    elif advice.all_asynchronous:
        text = f"all probes of the {makespan} are asynchronous already"
    else:
        text = "no setting of a stock kernel changes how these devices are probed"
    waits = advice.runnable_ns
    if waits and waits >= base.worth(STEP):
        text += (
            f"; probes waited {format_time(waits)} in all for a CPU that others used: that takes a policy, so a patch"
        )
    return f"{text}; {shown}"


def _these(names: Iterable[str]) -> str:
    found = list(names)
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]} together"


def _brings(advice: Advice, one: Recommendation) -> str:
    base, (low, high) = advice.base.makespan_ns, one.trial.makespan_range()
    if low == high:
        change = f"{-100 * one.gain_ns[0] / base:+.1f} %"
        return f"{_verb(one)} {advice.goal.name} from {format_time(base)} to {format_time(low)} ({change})"
    least, most = (_percent(gain / base) for gain in one.gain_ns)
    return (
        f"{_verb(one)} {advice.goal.name} from {format_time(base)} to between {format_time(low)} and"
        f" {format_time(high)} (at least {least}, at most {most} less)"
    )


def _verb(one: Recommendation) -> str:
    return "brings" if len(one.names) == 1 else "bring"


def _place(advice: Advice, one: Recommendation) -> str:
    """Say what becomes of places, where it is not what it was."""
    before, after = advice.base, one.trial
    if after.remote == before.remote:
        return ""
    text = f"{after.local} of {after.placed} probes start on their node instead of {before.local}"
    return f", and {text}" if after.remote < before.remote else f", paid with remote memory: {text}"


def _moves(advice: Advice, one: Recommendation) -> str:
    before, after = advice.base, one.trial
    verb = "puts" if len(one.names) == 1 else "put"
    return f"{verb} {after.local} of {after.placed} probes on their device's node, which were {before.local}"


def _stays(advice: Advice, one: Recommendation) -> str:
    if one.gain_ns == (0, 0):
        return f"{advice.goal.name} stays at {format_time(advice.base.makespan_ns)}"
    return f"{advice.goal.name}, {format_time(advice.base.makespan_ns)}, becomes {format_time(one.trial.makespan_ns)}"


def _may(advice: Advice, one: Recommendation) -> str:
    low, high = one.gain_ns
    base = advice.base.makespan_ns
    text = f"save at most {format_time(max(high, 0))} of the {format_time(base)} ({_percent(max(high, 0) / base)})"
    return f"{text}, or cost {format_time(-low)}" if low < 0 else text


def _daring(advice: Advice, one: Recommendation) -> str:
    kept = {entry.driver: str(entry.reason) for entry in advice.kept_out}
    switched = (Kind.ASYNC, Kind.MODULE_ASYNC)
    drivers = {choice.driver for choice in one.trial.selection if choice.driver in kept and choice.kind in switched}
    why = "; ".join(f"{driver} ({kept[driver]})" for driver in sorted(drivers))
    return f"With what is kept out, {why}, {_these(one.names)} would {_may(advice, one)}."


def _drivers(advice: Advice) -> str:
    return ", ".join(dict.fromkeys(f"{entry.driver}: {entry.reason}" for entry in advice.kept_out))


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"
