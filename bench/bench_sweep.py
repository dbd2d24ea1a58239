"""What a sweep costs beside the runs themselves: runs a second, by one and by two workers, and from small to large.

*bare loop*: each setting is varied, run, summarized and searched for findings, in one process, and thrown away: what
a sweep must do at the least.
*multiprocessing*: ``Pool.imap_unordered`` of the same by batches. *sweep*: all of ``numaprobe sweep``, from hiring
workers to the Parquet files; its rate is that of all runs between the first batch and the last, as
``multiprocessing``'s is without the start of its pool. *Dask*: ``--cluster local``.

Measured by turns, medians of the rounds. Beside wall time it tells CPU time per run, of this process and all its
children: on a machine with other work wall time says more of the others.

``BENCH_SWEEP_RUNS`` (2000), ``BENCH_ROUNDS`` (3), ``BENCH_SWEEP_LARGE`` (a tenth, and as many, runs of growing; 0:
none), ``BENCH_SWEEP_WHOLE`` (100000 runs of one sweep with its queries; 0: none),
``BENCH_SWEEP_WORKERS`` (2, of both).
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from numaprobe.analysis import find, summarize
from numaprobe.datasets import Views
from numaprobe.study import run_many
from numaprobe.study.questions import QUESTIONS, ask, frame_of
from numaprobe.study.sweep.batch import Recipe, settings_of
from numaprobe.study.sweep.cluster import DaskCrew
from numaprobe.study.sweep.crew import LocalCrew
from numaprobe.study.sweep.driver import SweepProgress, sweep
from numaprobe.study.sweep.question import SweepQuestion, make_recipe
from numaprobe.study.sweep.space import parse_space

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.study.sweep.crew import SweepWorkers

T = TypeVar("T")

RUNS = int(os.environ.get("BENCH_SWEEP_RUNS", "2000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
LARGE = int(os.environ.get("BENCH_SWEEP_LARGE", "100000"))
WHOLE = int(os.environ.get("BENCH_SWEEP_WHOLE", "100000"))
#: of the sweeps that grow, and of the whole one
WORKERS = int(os.environ.get("BENCH_SWEEP_WORKERS", "2"))
BLOCK = 64


def question(runs: int) -> SweepQuestion:
    """``nvme-epyc`` with everything that usually varies, drawn."""
    words = ["policy=work-on-cpu,probe-on-node,strict-node", "kernel=6.12,7.3", "devices=1..3", "seed=0..1000000"]
    words += ["drivers[0].jitter=0..0.3", "driver_async_probe=,nvme"]
    return SweepQuestion(source="nvme-epyc", axes=parse_space(words), random=runs)


def cpu() -> float:
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in times)


def do_block(recipe: Recipe, points: list[tuple[str, ...]]) -> int:
    """Vary, run, summarize and find; keep nothing."""
    for one in run_many(settings_of(recipe, points)):  # type: ignore[arg-type]  # all of them can be varied
        topology = one.setting.plan.topology
        summarize(one.trace, topology)
        find(one.trace, topology)
    return len(points)


def blocks(asked: SweepQuestion) -> tuple[Recipe, list[list[tuple[str, ...]]]]:
    space = asked.space()
    recipe, _ = make_recipe(asked, space)
    return recipe, [space.points(first, BLOCK) for first in range(0, space.count, BLOCK)]


def bare(asked: SweepQuestion) -> tuple[float, float]:
    recipe, parts = blocks(asked)
    start, before = time.perf_counter(), cpu()
    done = sum(do_block(recipe, part) for part in parts)
    return done / (time.perf_counter() - start), (cpu() - before) / done


def pooled(workers: int, asked: SweepQuestion) -> tuple[float, float]:
    recipe, parts = blocks(asked)
    before = cpu()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        results = pool.imap_unordered(partial(do_block, recipe), parts)
        warm = sum(next(results) for _ in range(workers))
        start = time.perf_counter()
        done = sum(results)
        rate = done / (time.perf_counter() - start)
        pool.close()
        pool.join()
    return rate, (cpu() - before) / (done + warm)


def swept(crew: Callable[[], SweepWorkers], asked: SweepQuestion) -> tuple[float, float]:
    rates: list[float] = []

    def tell(progress: SweepProgress) -> None:
        if progress.rate is not None:
            rates.append(progress.rate)

    before = cpu()
    with tempfile.TemporaryDirectory() as folder:
        done = sweep(asked, Path(folder) / "d", crew, tell)
    if not done.complete or done.failed:
        sys.exit(f"bench: the sweep did not go as it should: {done}")
    return rates[-1], (cpu() - before) / done.done


def rates() -> None:
    asked = question(RUNS)
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "bare loop": partial(bare, asked),
        "multiprocessing, 1": partial(pooled, 1, asked),
        "sweep, 1": partial(swept, partial(LocalCrew, 1), asked),
        "multiprocessing, 2": partial(pooled, 2, asked),
        "sweep, 2": partial(swept, partial(LocalCrew, 2), asked),
        "sweep on Dask, 2": partial(swept, lambda: DaskCrew("local", 2), asked),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            found[name].append(way())
    print(f"{RUNS} runs of nvme-epyc, medians of {ROUNDS} rounds by turns")
    print(f"{'':22}{'runs/s':>9}{'beside bare':>13}{'CPU ms/run':>12}{'beside bare':>13}")
    base = [statistics.median(one[index] for one in found["bare loop"]) for index in (0, 1)]
    for name, measured in found.items():
        rate, each = (statistics.median(one[index] for one in measured) for index in (0, 1))
        print(f"{name:22}{rate:9.0f}{rate / base[0]:12.2f}x{each * 1e3:12.3f}{each / base[1]:12.2f}x", flush=True)


#: A sweep in a process of its own: its driver's memory is that process's.
_ALONE = """
import resource, sys, time
from bench.bench_sweep import question
from numaprobe.study.sweep.crew import LocalCrew
from numaprobe.study.sweep.driver import sweep
if __name__ == "__main__":
    start = time.perf_counter()
    done = sweep(question(int(sys.argv[1])), sys.argv[2], lambda: LocalCrew(int(sys.argv[3])))
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    times = [sum((one.ru_utime, one.ru_stime)) for one in (own, children)]
    print(done.done, done.failed, time.perf_counter() - start, *times, own.ru_maxrss, children.ru_maxrss)
"""


def alone(runs: int, folder: Path) -> list[float]:
    program = folder.parent / "alone.py"
    program.write_text(_ALONE)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, str(program), str(runs), str(folder), str(WORKERS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return [float(word) for word in done.stdout.split()]


def growth() -> None:
    print(f"\n{'runs':>9}{'wall s':>9}{'CPU s':>9}{'of it the driver':>18}{'driver MiB':>12}{'worker MiB':>12}")
    kept: list[float] = []
    for runs in (LARGE // 100, LARGE // 10, LARGE):
        with tempfile.TemporaryDirectory() as folder:
            _, _, wall, own, children, memory, theirs = alone(runs, Path(folder) / "d")
        kept.append(own + children)
        more = f"   {kept[-1] / kept[-2]:.1f} x" if len(kept) > 1 else ""
        sizes = f"{memory / 1024:12.0f}{theirs / 1024:12.0f}"
        print(f"{runs:9}{wall:9.1f}{own + children:9.1f}{own:18.1f}{sizes}{more}", flush=True)


def whole() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "d"
        runs, failed, wall, own, children, memory, _ = alone(WHOLE, folder)
        size = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
        print(
            f"\n{runs:.0f} runs end to end: {wall:.0f} s, {own + children:.0f} s of CPU, {failed:.0f} failed;", end=" "
        )
        print(f"{size / 2**20:.1f} MiB of Parquet; the driver had {memory / 1024:.0f} MiB")
        with Views([folder]) as views:
            for table in ("runs", "probes", "findings"):
                [[count]] = views.ask(f"SELECT count(*) FROM {table}").rows  # noqa: S608
                print(f"   {table}: {count} rows")
            frame = timed("what varies", lambda: frame_of(views))
            for one in QUESTIONS:
                timed(one, partial(ask, one, frame, by=["policy", "kernel"] if one == "heat" else []))
            sql = "SELECT driver, r.policy, median(cost_ns) FROM probes JOIN runs r USING (input, run) GROUP BY 1, 2"
            timed("probes joined with runs", lambda: views.ask(sql))


def timed(what: str, work: Callable[[], T]) -> T:
    start, before = time.perf_counter(), time.process_time()
    result = work()
    print(f"   {what:24}{time.perf_counter() - start:7.2f} s, {time.process_time() - before:6.2f} s of CPU", flush=True)
    return result


def main() -> None:
    rates()
    if LARGE:
        growth()
    if WHOLE:
        whole()


if __name__ == "__main__":
    main()
