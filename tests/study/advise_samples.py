"""What the tests of advice share; not a test."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numaprobe.scenario import run_setting
from numaprobe.study import make_setting
from numaprobe.study.advise import Around, Choice, Selection, with_choices
from numaprobe.study.advise.advice import as_a_stock_kernel
from numaprobe.study.advise.candidates import Candidates, find_candidates
from numaprobe.study.advise.choices import Kind
from numaprobe.study.advise.keptout import Reasons
from numaprobe.study.advise.trials import Trials

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numaprobe.records import Trace
    from numaprobe.scenario import Setting

DATA = Path(__file__).parents[1] / "data" / "kernel"


def scenario(drivers: list[dict[str, Any]], devices: list[dict[str, Any]], **more: Any) -> Setting:
    """Return a setting on two nodes of four CPUs, kernel 6.12."""
    from numaprobe.scenario import parse_scenario, prepare

    data = {"machine": "2 nodes x 1 llc x 4 cores", "kernel": "6.12", "drivers": drivers, "devices": devices, **more}
    return prepare(parse_scenario(data))


def replay(name: str) -> Setting:
    """Return the replay of a recorded trace: ``debian-7.2/two-nodes/sync.1``."""
    return make_setting(DATA / f"{name}.trace.gz", machine=str((DATA / name).parent))


def candidates(setting: Setting, allowed: Collection[str] = (), around: Around | None = None) -> Candidates:
    """Return what could be set, as ``advise`` finds it."""
    stock = as_a_stock_kernel(setting)
    trials = Trials(stock)

    def asynchronous(driver: str) -> Trace:
        return trials.trace((Choice(f"{driver}: probing", Kind.ASYNC, driver),))

    around = around or Around()
    reasons = Reasons(stock, trials.base_trace, around, asynchronous)
    return find_candidates(stock, trials.base_trace, reasons, allowed, around)


def every_selection(found: Candidates) -> Iterator[Selection]:
    """Yield every combination of choices of different slots."""
    for chosen in product(*([None, *choices] for choices in found.slots.values())):
        yield tuple(sorted(choice for choice in chosen if choice is not None))


def probing_ns(setting: Setting) -> int:
    """Return for how long some probe is under way, nanosecond by nanosecond of a sorted list."""
    covered, until = 0, -1
    spans = sorted((one.start_ns or 0, one.end_ns or 0) for one in run_setting(as_a_stock_kernel(setting)).trace.probes)
    for start, end in spans:
        covered += max(0, end - max(start, until))
        until = max(until, end)
    return covered


def figures(setting: Setting, selection: Selection) -> tuple[int, int, set[str], list[str]]:
    """Return makespan, probes off their node, who is bound, and what failed, straight from a run."""
    trace = run_setting(with_choices(as_a_stock_kernel(setting), selection)).trace
    probes = trace.probes
    makespan = max(one.end_ns or 0 for one in probes) - min(one.start_ns or 0 for one in probes)
    remote = sum(one.local is False for one in probes)
    failed = [one.message for one in trace.warnings if one.kind in ("check", "deadlock")]
    return makespan, remote, {one.device for one in probes if one.result == "0"}, failed
