"""``make lab-advise``: an advice taken at its word, in guests. Recorded, advised, set, recorded again.

For each case a guest is booted as it is and once more with the advised setting, by turns, so that what drifts drifts
for both. The advice is made from each of the traces *before* alone: what it says that the makespan will be, and by how
much it changes. What the guests then did stands beside it: the medians, whether they moved in the direction that was
said, and in how many of all pairs of boots the makespan after lies in the stated range. Time in an emulated guest is
noisy: every boot is printed, and a change within their spread is called that.

Exit code 1: a direction that was promised (a gain that is sure) did not come, or a place that was promised did not.

Usage: ``python -m bench.guest_advice [BOOTS] [CASE…]``; kernels are those of ``numaprobe lab --fetch``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final

from numaprobe.analysis import summarize
from numaprobe.scenario import prepare
from numaprobe.study import make_setting, scenario_of
from numaprobe.study.advise import Advice, Selection, advise, with_choices
from numaprobe.study.guests import GuestOptions, guest_options
from numaprobe.study.lab import guest_setting, record_in_guest
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.records import Trace
    from numaprobe.scenario import Scenario

#: Boots of each side, unless one says otherwise.
BOOTS: Final = 5
#: Seconds after which a guest is ended.
_TIMEOUT: Final = 600.0


@dataclass(frozen=True, slots=True)
class Case:
    """What is booted, and which drivers somebody takes the responsibility for."""

    kernel: str
    scenario: str
    allowed: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()


CASES: Final = {
    "nvme": Case("6.1", "lab-nvme", ("nvme",)),
    "virtio": Case("6.12", "lab-virtio", ("virtio_blk",), ("devices[0].count=4",)),
    "place": Case("6.12", "lab-virtio"),
}


@dataclass
class Boots:
    """The traces of one case."""

    before: list[Trace] = field(default_factory=list)
    after: list[Trace] = field(default_factory=list)


def record(scenario: Scenario, options: GuestOptions) -> Trace:
    """Boot a guest and return what it recorded."""
    return record_in_guest(guest_setting(scenario, options)).trace


def with_advice(scenario: Scenario, selection: Selection) -> Scenario:
    """Return the scenario with a selection's settings, as a guest will be booted with them."""
    varied = with_choices(prepare(scenario), selection)
    return varied.scenario.model_copy(update={"cmdline": varied.cmdline})


def makespans(traces: Sequence[Trace]) -> list[int]:
    """Return the makespans."""
    return [summarize(trace).makespan_ns or 0 for trace in traces]


def advice_of(trace: Trace, allowed: Sequence[str]) -> Advice:
    """Return what is advised on one trace."""
    return advise(make_setting(trace), recorded=trace, allowed=allowed)


def judge(name: str, boots: int) -> bool:
    """Run one case; return whether what was promised came."""
    case = CASES[name]
    options = guest_options(case.kernel, timeout=_TIMEOUT)
    scenario = scenario_of(case.scenario, case.overrides)
    first = record(scenario, options)
    advice = advice_of(first, case.allowed)
    taken = advice.recommended or advice.hopeful
    print(f"\n== {name}: {case.scenario}, kernel {options.image.release}\n{advice.verdict}", flush=True)
    if taken is None:
        print("nothing to set")
        return True
    changed = with_advice(scenario, taken.trial.selection)
    found = Boots(before=[first])
    for _ in range(boots):
        found.after.append(record(changed, options))
        if len(found.before) < boots:
            found.before.append(record(scenario, options))
    return _show(case, taken.trial.selection, found)


def _show(case: Case, selection: Selection, found: Boots) -> bool:
    before, after = makespans(found.before), makespans(found.after)
    for side, values in (("before", before), ("after", after)):
        shown = ", ".join(format_time(value) for value in sorted(values))
        print(f"{side:8} {shown}; median {format_time(int(median(values)))}")
    moved = median(before) - median(after)
    clear = max(before) < min(after) or max(after) < min(before)
    promised, inside, pairs = [], 0, 0
    for trace in found.before:
        advice = advice_of(trace, case.allowed)
        again = next((one for one in advice.tried if one.trial.selection == selection), None)
        if again is not None:
            promised.append(again)
            low, high = again.trial.makespan_range()
            inside += sum(low <= value <= high for value in after)
            pairs += len(after)
    sure = [one for one in promised if one.sure]
    gains = [gain for one in promised for gain in one.gain_ns]
    print(f"promised a gain from {format_time(abs(min(gains)))} ({'less' if min(gains) >= 0 else 'more'})", end=" ")
    print(f"to {format_time(max(gains))} less; sure in {len(sure)} of {len(promised)} traces")
    how = "clear of the spread" if clear else "within the spread of the boots"
    change = f"{format_time(int(abs(moved)))} {'less' if moved >= 0 else 'more'}"
    print(f"came: {change} ({-moved / median(before):+.1%}), {how}")
    print(f"makespan after in the stated range: {inside} of {pairs} pairs of boots")
    places = [(summarize(trace).local, summarize(trace).local + summarize(trace).remote) for trace in found.after]
    wanted = {(one.trial.local, one.trial.placed) for one in promised}
    print(f"on node: said {sorted(wanted)}, came {sorted(set(places))}")
    return (moved > 0 or not sure) and all(place in wanted for place in places)


def main() -> None:
    """Run the cases named on the command line, or all."""
    words = sys.argv[1:]
    boots = int(words.pop(0)) if words and words[0].isdigit() else BOOTS
    results = {name: judge(name, boots) for name in words or CASES}
    failed = [name for name, kept in results.items() if not kept]
    print(f"\n{len(results) - len(failed)} of {len(results)} kept what was promised")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
