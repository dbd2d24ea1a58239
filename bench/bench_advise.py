"""Advice beside an exhaustive search, on every built-in scenario and every real trace; and 5,000 probes in a table.

The exhaustive search only enumerates: every combination of what could be set, run and scored by a few lines of its own.
It is made twice for each input, with what is kept out and with everything allowed, and the search step by step
(``search.MAX_EXHAUSTIVE = 0``) is held against it, too. The bound must be below every run.

Times of the second table are CPU seconds of one core.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from numaprobe.policies import POLICIES
from numaprobe.scenario import builtin_names, parse_scenario, prepare, run_setting
from numaprobe.study import (
    compare,
    compare_variations,
    make_setting,
    parse_axes,
    run,
)
from numaprobe.study.advise import Advice, Around, advise, search, with_choices
from numaprobe.study.advise.advice import as_a_stock_kernel
from numaprobe.study.advise.candidates import find_candidates
from numaprobe.study.advise.choices import Choice, Kind
from numaprobe.study.advise.keptout import Reasons
from numaprobe.study.advise.trials import Trials

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numaprobe.records import Trace
    from numaprobe.scenario import Setting
    from numaprobe.study.advise import Selection

DATA = Path(__file__).parents[1] / "tests" / "data" / "kernel"
#: Inputs with more combinations are left to the search step by step alone.
MOST = 1024


@dataclass
class Tally:
    """How the inputs of one row fared."""

    inputs: int = 0
    too_many: int = 0
    advised: int = 0
    best: int = 0
    stepped: int = 0
    bounded: int = 0
    runs: int = 0
    odd: list[str] = field(default_factory=list)


def inputs() -> Iterator[tuple[str, str, Setting]]:
    """Yield each input: its row, its name, its setting."""
    for name in builtin_names():
        if name != "host":
            yield "built-in scenarios", name, make_setting(name)
    for folder in sorted(DATA.glob("debian-*/*")):
        for path in sorted(folder.glob("*.trace.gz")):
            yield f"{folder.parent.name} {folder.name}", path.name, make_setting(path, machine=str(folder))


def candidates(setting: Setting, allowed: Collection[str]) -> dict[str, list[Choice]]:
    trials = Trials(setting)

    def asynchronous(driver: str) -> Trace:
        return trials.trace((Choice(f"{driver}: probing", Kind.ASYNC, driver),))

    reasons = Reasons(setting, trials.base_trace, Around(), asynchronous)
    return find_candidates(setting, trials.base_trace, reasons, allowed).slots


def outcome(setting: Setting, selection: Selection) -> tuple[list[int], int, set[str], set[str]]:
    """Return the makespan under each reading, probes off their node, who is bound, what failed."""
    trace = run_setting(with_choices(setting, selection)).trace
    makespan = max(one.end_ns or 0 for one in trace.probes) - min(one.start_ns or 0 for one in trace.probes)
    readings = [one.makespan_ns or 0 for one in trace.readings] or [makespan]
    failed = {one.message for one in trace.warnings if one.kind in ("check", "deadlock")}
    bound = {one.device for one in trace.probes if one.result == "0"}
    return readings, sum(one.local is False for one in trace.probes), bound, failed


def best_of_all(
    setting: Setting, slots: dict[str, list[Choice]], probing: int, makespan: int
) -> tuple[tuple[int, int, int], int, int]:
    """Return time (least gain), probes off node and number of settings of the best; the least makespan; the runs."""
    found = {}
    for chosen in product(*([None, *choices] for choices in slots.values())):
        selection = tuple(sorted(one for one in chosen if one is not None))
        found[selection] = outcome(setting, selection)
    base, _, bound, failed = found[()]
    step = max(1, round(probing / 100))
    lost = {
        one: -min(round((a - b) / a * makespan) for a, b in zip(base, got[0], strict=True))
        for one, got in found.items()
    }
    whole = [one for one, got in found.items() if got[2] >= bound and got[3] <= failed]
    fastest = min(whole, key=lambda one: (lost[one] + step * len(one), found[one][1]))
    near = [one for one in whole if lost[one] <= lost[fastest] + step]
    nearest = min(near, key=lambda one: (found[one][1], len(one), lost[one]))
    best = nearest if found[nearest][1] < found[fastest][1] else fastest
    least = min(min(found[one][0]) for one in whole)
    return (lost[best], found[best][1], len(best)), least, len(found)


def chosen(advice: Advice) -> tuple[int, int, int]:
    trial = advice.base if advice.recommended is None else advice.recommended.trial
    return -trial.gain(advice.base)[0], trial.remote, len(trial.selection)


def judge(name: str, setting: Setting, allowed: Collection[str], tally: Tally) -> None:
    tally.inputs += 1
    stock = as_a_stock_kernel(setting)
    slots = candidates(stock, allowed)
    advice = advise(setting, allowed=allowed, seconds=3600)
    tally.advised += advice.recommended is not None
    count = 1
    for choices in slots.values():
        count *= len(choices) + 1
    if count > MOST:
        tally.too_many += 1
        return
    best, least, runs = best_of_all(stock, slots, advice.base.probing_ns, advice.base.makespan_ns)
    tally.runs += runs
    worth = best if best[1] < advice.base.remote or best[0] <= -max(1, round(advice.base.probing_ns / 100)) else None
    right = chosen(advice) == best or (worth is None and advice.recommended is None)
    tally.best += right
    tally.bounded += advice.bound.ns <= least
    search.MAX_EXHAUSTIVE, before = 0, search.MAX_EXHAUSTIVE
    try:
        tally.stepped += chosen(advise(setting, allowed=allowed, seconds=3600)) == chosen(advice)
    finally:
        search.MAX_EXHAUSTIVE = before
    if not right:
        tally.odd.append(f"{name}: {chosen(advice)}, and the best is {best}")


def _exhaustive_table() -> None:
    rows: dict[str, Tally] = {}
    for row, name, setting in inputs():
        judge(name, setting, (), rows.setdefault(row, Tally()))
        everyone = tuple(driver.name for driver in setting.scenario.drivers)
        judge(name, setting, everyone, rows.setdefault(f"{row}, all allowed", Tally()))
    print(
        f"{'input':46}{'inputs':>7}{'advised':>9}{'is the best':>13}{'step by step':>14}{'bound holds':>13}{'runs':>8}"
    )
    for row, tally in rows.items():
        of = tally.inputs - tally.too_many
        cells = [f"{count} of {of}" for count in (tally.best, tally.stepped, tally.bounded)]
        print(f"{row:46}{tally.inputs:7}{tally.advised:9}{cells[0]:>13}{cells[1]:>14}{cells[2]:>13}{tally.runs:8}")
        for line in tally.odd:
            print(f"  {line}")


def _many_probes() -> Setting:
    """Return the replay of 5,000 probes: five drivers on two buses, one of them asynchronous."""
    drivers = [
        {
            "name": f"driver{index}",
            "bus": "pci" if index < 2 else "platform",
            "probe_type": "default" if index else "async",
            "phases": [{"sleep": "2ms"}, {"compute": "1ms"}, {"sleep": f"{index + 1}ms"}],
        }
        for index in range(5)
    ]
    devices = [
        {"name": f"d{index}-{{i}}", "count": 1000, "bus": driver["bus"], "node": [0, 1], "compatible": driver["name"]}
        for index, driver in enumerate(drivers)
    ]
    data = {"machine": "epyc-9a64", "kernel": "7.3", "drivers": drivers, "devices": devices}
    trace = run(prepare(parse_scenario(data)), timeline=True).trace
    return make_setting(replace(trace, source="kernel"))


def _scale_table() -> None:
    setting = _many_probes()
    axes = parse_axes(["driver_async_probe=,driver1,driver2,driver3,driver4", "load_from=cpu0,node1"])
    print(f"\n5,000 probes, replayed: {'':24}{'CPU time':>10}   bound 60 s")
    total = 0.0
    for name, work in (
        (f"compare, all {len(POLICIES)} policies", lambda: compare(setting)),
        ("compare, ten variations", lambda: compare_variations(setting, axes)),
    ):
        start = time.process_time()
        work()
        total += time.process_time() - start
        print(f"  {name:45}{time.process_time() - start:10.1f} s", flush=True)
    print(f"  {'both':45}{total:10.1f} s")
    start = time.monotonic()
    advice = advise(setting, seconds=60)
    took = time.monotonic() - start
    how = "every combination" if advice.searched.exhaustive else "step by step"
    print(f"  {f'advise, {advice.runs} runs, {how}, by the clock':45}{took:10.1f} s   bound 60 s and one run")
    print(f"  {advice.verdict}")


def main() -> None:
    """Print both tables."""
    _exhaustive_table()
    _scale_table()


if __name__ == "__main__":
    main()
