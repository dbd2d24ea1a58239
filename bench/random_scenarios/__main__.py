"""``make random``: scenarios by the thousand under every policy, two processes beside each other, and a table.

``python -m bench.random_scenarios [--count N] [--first SEED] [--jobs N] [--seconds S] [--again N]``: each scenario is
run under every policy with one hash seed of Python, every N-th again with another one, and the bytes of the JSON are
compared. Bounded by ``--seconds``: what was not reached is not counted. The exit code is 1 if anything did not hold;
each line of what did not hold names the seed and the policy that show it again (``--first SEED --count 1``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.random_scenarios.check import RUN_UNDER, judged_case

SHOWN = 400


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.random_scenarios")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--again", type=int, default=4, help="every N-th scenario also with another hash seed")
    parser.add_argument("--slice", help=argparse.SUPPRESS)  # a process of our own: FIRST:COUNT:STEP:SECONDS
    return parser.parse_args()


def work(text: str) -> None:
    """Judge every STEP-th case from FIRST on, and write a line of JSON for each."""
    first, count, step, seconds = text.split(":")
    end = time.monotonic() + float(seconds)
    for seed in range(int(first), int(first) + int(count), int(step)):
        if time.monotonic() > end:
            return
        print(json.dumps(judged_case(seed)), flush=True)


def run_slice(first: int, count: int, step: int, seconds: float, hash_seed: int) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "bench.random_scenarios", "--slice", f"{first}:{count}:{step}:{seconds}"]
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def gather(args: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the cases judged with one hash seed, and those with the other."""
    part = max(1, -(-args.count // (args.jobs * 4)))
    starts = range(args.first, args.first + args.count, part)
    sizes = {start: min(part, args.first + args.count - start) for start in starts}
    share = args.seconds / len(starts) * args.jobs
    with ThreadPoolExecutor(args.jobs) as pool:
        once = [pool.submit(run_slice, start, sizes[start], 1, share * 0.8, 0) for start in starts]
        twice = [pool.submit(run_slice, start, sizes[start], args.again, share * 0.2, 4711) for start in starts]
        return [case for job in once for case in job.result()], [case for job in twice for case in job.result()]


def main() -> int:
    args = arguments()
    if args.slice:
        work(args.slice)
        return 0
    start = time.monotonic()
    cases, others = gather(args)
    wrong = [line for case in cases for line in case["wrong"]]
    first = {case["seed"]: case["digest"] for case in cases}
    both = [case for case in others if case["seed"] in first]
    wrong += [f"{c['seed']}: other bytes with another hash seed" for c in both if c["digest"] != first[c["seed"]]]
    total: Counter[str] = Counter()
    for case in cases:
        total.update(case["figures"])
        total[f"sort {case['sort']}"] += 1
        total[f"differs {case['sort']}"] += case["differs"]
    table(cases, both, total, wrong, time.monotonic() - start)
    return 1 if wrong else 0


def table(
    cases: list[dict[str, Any]], both: list[dict[str, Any]], total: Counter[str], wrong: list[str], took: float
) -> None:
    rows = [
        ("scenarios", f"{len(cases)} under each of {len(RUN_UNDER)} policies"),
        ("runs", total["runs"]),
        ("devices", total["devices"]),
        ("probes, each a record", total["probes"]),
        ("refused with one line", total["refused"]),
        ("hung, and named (wild)", total["hung"]),
        (
            "same outcome under every policy, quiet",
            f"{total['sort quiet'] - total['differs quiet']} of {total['sort quiet']}",
        ),
        (
            "same outcome, counting tries",
            f"{total['sort counting'] - total['differs counting']} of {total['sort counting']}",
        ),
        ("same outcome, wild", f"{total['sort wild'] - total['differs wild']} of {total['sort wild']}"),
        ("deferral loops named", total["loops"]),
        ("same bytes with another hash seed", f"{len(both)} scenarios compared"),
        ("did not hold", len(wrong)),
        ("seconds", f"{took:.0f}"),
    ]
    for name, value in rows:
        print(f"{name:42} {value}")
    for line in wrong[:SHOWN]:
        print(line)


if __name__ == "__main__":
    sys.exit(main())
