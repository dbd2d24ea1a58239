"""A fleet of a thousand hosts with 200 probes each: what is found, what is claimed besides, and what it costs.

Times are CPU seconds of this process, beside those of the clock: on a machine that does other things only the first say
anything. ``settings`` is asked as a user asks first, then once with the time that it needs, then again. The last rows
add one more day of a hundred hosts to a dataset of one day, and of ``BENCH_DAYS`` days.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.fleet.made import make_fleet
from numaprobe.study.fleet import QUESTIONS, ask_fleet, collect, file_sources

if TYPE_CHECKING:
    from collections.abc import Callable

HOSTS = int(os.environ.get("BENCH_HOSTS", "1000"))
DAYS = int(os.environ.get("BENCH_DAYS", "20"))
SEED = int(os.environ.get("BENCH_SEED", "13"))
SOME = 100


def timed(what: str, call: Callable[[], Any], target: float | None = None) -> Any:  # noqa: ANN401  what it gives
    cpu, wall = time.process_time(), time.perf_counter()
    result = call()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    held = "" if target is None else f"   {'held' if cpu <= target else 'NOT HELD'} ({target:g} s)"
    print(f"{what:44}{cpu:8.2f} s CPU{wall:9.2f} s by the clock{held}", flush=True)
    return result


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="numaprobe-") as folder:
        _whole(Path(folder))
        _days(Path(folder))


def _whole(folder: Path) -> None:
    made = timed(f"make {HOSTS} hosts", lambda: make_fleet(folder / "traces", hosts=HOSTS, seed=SEED))
    dataset = str(folder / "fleet")
    done = timed("collect them", lambda: collect(dataset, file_sources([folder / "traces"])), 60)
    timed("collect them again", lambda: collect(dataset, file_sources([folder / "traces"])))
    size = sum(file.stat().st_size for file in (folder / "fleet").rglob("*") if file.is_file())
    print(f"{done.added} traces, {done.probes} probes, {size / 1e6:.1f} MB; not read: {done.failed}")
    make_fleet(folder / "next", hosts=HOSTS, seed=SEED, day=2)
    day = timed("collect one more day of all hosts", lambda: collect(dataset, file_sources([folder / "next"])), 60)
    print(f"{day.added} traces added, {day.known} known")
    answers = {}
    for question in QUESTIONS:
        answers[question] = timed(f"fleet {question}", lambda asked=question: ask_fleet(asked, dataset), 2)
    print(f"  settings, asked first: {'; '.join(answers['settings'].limits[1:])}")
    timed("fleet settings --for 5m, once", lambda: ask_fleet("settings", dataset, seconds=300))
    answers["settings"] = timed("fleet settings, from then on", lambda: ask_fleet("settings", dataset), 2)
    print(f"  {len(answers['settings'].rows)} classes; {'; '.join(answers['settings'].limits[1:]) or 'none is left'}")
    for answer in answers.values():
        print(f"  {answer.question}: {answer.verdict}")
    signs = {one["host"]: {sign["kind"] for sign in one["signs"]} for one in answers["outliers"].to_dict()["rows"]}
    found = [host for host, kind in made.planted.items() if kind in signs.get(host, ())]
    others = [host for host in signs if host not in made.planted]
    held = "held" if len(found) == len(made.planted) and len(others) <= 5 else "NOT HELD"
    print(f"planted anomalies found: {len(found)} of {len(made.planted)}; others: {len(others)}   {held} (all, 5)")


def _days(folder: Path) -> None:
    """One more day of some hosts, beside one day and beside many."""
    dataset = str(folder / "days")
    for day in range(1, DAYS + 2):
        make_fleet(folder / f"day-{day}", hosts=SOME, seed=SEED, day=day)
        add = lambda day=day: collect(dataset, file_sources([folder / f"day-{day}"]))  # noqa: E731
        if day in (2, DAYS + 1):
            timed(f"one more day of {SOME} hosts beside {day - 1}", add)
        else:
            add()


if __name__ == "__main__":
    main()
