"""Searching orders: known bugs by each strategy, what reduction saves, schedules a second, and searches compared.

CPU time, which a busy machine does not change much. For each known bug (``tests/known_bugs``): the schedule at which
dfs finds it first, the pre-emptions and steps after shortening, whether dfs closes the space, the same for pct beside
the number of runs that its bound promises, and for random order; and what is said of the fixed variant, which must be
nothing. ``BENCH_PROGRAMS`` random programs (2,000) are searched with and without reduction: the endings must be equal.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.small_programs import SmallProgram, keys_of, searches
from numaprobe.schedules import Limits, ScenarioSubject, Search
from numaprobe.schedules.attempt import attempt
from numaprobe.schedules.bounded import Bounded
from numaprobe.schedules.chance import bound
from numaprobe.schedules.conductor import Repeat
from numaprobe.schedules.reduced import Reduced
from numaprobe.study import make_setting, run
from numaprobe.virtual.loop import earlier_things_kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.schedules import Explored, Program
    from numaprobe.schedules.attempt import Subject

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from known_bugs import BUGS, CONTROLS, Bug

PROGRAMS = int(os.environ.get("BENCH_PROGRAMS", "2000"))
RUNS = 2000
#: programs whose reduction is shown
REDUCED = ("K02", "K22", "K26", "K31", "K15")
SCENARIOS = ("deferred-chain", "sriov", "pmem-2018", "async-probe-test", "hotplug")


def searched(program: Subject, strategy: str, runs: int = RUNS, *, first: bool = False) -> tuple[Explored, float]:
    start = time.process_time()
    result = Search(program, Limits(strategy=strategy, runs=runs, first=first)).explore()
    return result, time.process_time() - start


def first_run(bug: Bug, result: Explored) -> int | None:
    """The run in which the bug was found: of a race, the second outcome."""
    if bug.oracle == "race":
        return result.outcomes[1].first_run if len(result.outcomes) > 1 else None
    return next((one.first_run for one in result.findings if one.ending.verdict == bug.oracle), None)


def shown(run: int | None) -> str:
    return "-" if run is None else str(run)


def known_bugs() -> None:
    titles = f"{'bug':4} {'dfs':>5} {'pct':>5} {'/bound':>7} {'rand':>5} {'s':>6} {'pre':>3} {'steps':>5} {'closed':>6}"
    print(f"{titles} fixed: closed, said")
    counts = dict.fromkeys(("dfs", "pct", "random", "closed", "fixed clean"), 0)
    for bug in BUGS:
        buggy, fixed = bug.program(fixed=False), bug.program(fixed=True)
        result, seconds = searched(buggy, "dfs")
        pct, _ = searched(buggy, "pct", 300)
        chance, _ = searched(buggy, "random", 300)
        clean, _ = searched(fixed, "dfs")
        said = [clean, searched(fixed, "pct", 100)[0], searched(fixed, "random", 100)[0]]
        found = (result.outcomes[1:] if bug.oracle == "race" else result.findings)[0]
        firsts = [first_run(bug, one) for one in (result, pct, chance)]
        promised = 1 / bound(pct.actors, pct.longest, 3)
        silent = all(one.clean for one in said)
        counts["closed"] += result.exhaustive
        counts["fixed clean"] += silent
        for name, first in zip(("dfs", "pct", "random"), firsts, strict=True):
            counts[name] += first is not None
        print(
            f"{bug.number:4} {shown(firsts[0]):>5} {shown(firsts[1]):>5} {(firsts[1] or 0) / promised:7.4f}"
            f" {shown(firsts[2]):>5} {seconds:6.2f} {found.run.preemptions:3} {len(found.run.steps):5}"
            f" {'yes' if result.exhaustive else 'no':>6} {'yes' if clean.exhaustive else 'no'},"
            f" {'nothing' if silent else 'SOMETHING'}"
        )
    print(f"of {len(BUGS)}: {', '.join(f'{name} {count}' for name, count in counts.items())}")
    quiet = sum(searched(control.program(), "dfs")[0].clean for control in CONTROLS)
    print(f"controls: nothing said of {quiet} of {len(CONTROLS)}")


def runs_of(program: Program, search: Bounded | Reduced, most: int = 20_000) -> str:
    runs = 0
    while not search.over and runs < most:
        search.begin()
        conductor, _ = attempt(program, search)
        search.end(conductor.steps)
        runs += 1
    return str(runs) if search.over else f"> {runs}"


def reduction() -> None:
    print(f"{'program':12} {'every order':>12} {'but known states':>17} {'one of each that differ':>24}")
    for bug in BUGS:
        if bug.number in REDUCED:
            program = bug.program(fixed=True)
            print(
                f"{bug.number + ' fixed':12} {runs_of(program, Bounded(None, states=0)):>12}"
                f" {runs_of(program, Bounded(None)):>17} {runs_of(program, Reduced()):>24}"
            )


def attempt_once(subject: Subject) -> None:
    attempt(subject, Repeat({}))


def rate(work: Callable[[], object]) -> float:
    """Return how often a second of CPU time does it."""
    work()
    start, count = time.process_time(), 0
    while time.process_time() - start < 1:
        work()
        count += 1
    return count / (time.process_time() - start)


def speed() -> None:
    print(f"{'scenario':18} {'bare runs/s':>12} {'schedules/s':>12} {'ratio':>6}")
    for name in SCENARIOS:
        setting = make_setting(name)
        subject = ScenarioSubject(setting)
        bare = rate(partial(run, setting))
        with earlier_things_kept():  # as the search has it
            rates = [bare, rate(partial(attempt_once, subject))]
        print(f"{name:18} {rates[0]:12.0f} {rates[1]:12.0f} {rates[1] / rates[0]:6.2f}")


def soundness() -> None:
    compared = differing = several = seed = 0
    while compared < PROGRAMS:
        program = SmallProgram(seed).program()
        seed += 1
        found = []
        for search in searches():
            found.append(keys_of(program, search))
            if found[0] is None:
                break
        if found[0] is None:
            continue
        compared += 1
        several += len(found[0]) > 1
        differing += any(other != found[0] for other in found[1:])
    print(f"{compared} random programs (of {seed}; the others have more than 800 orders): {several} have more than one")
    print(f"ending; searched three ways, {differing} differ")


def main() -> None:
    known_bugs()
    print()
    reduction()
    print()
    speed()
    print()
    soundness()
