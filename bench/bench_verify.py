"""How often ``verify`` is wrong, and how often it misses: made-up boots with a noise that is known.

A boot is a number of probes one after the other, about 10 ms each. Half of the noise (its variance) is the boot's and
shared by all its probes, half each probe's own; the figure given is the noise of one probe's cost. *Told* is the share
of comparisons that claim a regression, improvement or mixture; without a change that is a false alarm, and must be at
most 5 %. It does not depend on the noise, since ranks do not.
"""

from __future__ import annotations

import math
import os
import random

from numaprobe.analysis.verify import VerifiedSide, verify
from numaprobe.records import ProbeRecord, Trace

TRIES = int(os.environ.get("BENCH_TRIES", "400"))
RUNS = (4, 5, 6, 10, 20)
PROBES = (3, 20)
NOISE = 0.05
SLOWER = (1.0, 1.05, 1.1, 1.2)
CLAIMS = {"regression", "improvement", "mixed", "negligible"}


def boot(draw: random.Random, probes: int, slower: float) -> Trace:
    """Return one boot."""
    part = NOISE / math.sqrt(2)
    shared, at, made = draw.lognormvariate(0, part), 0, []
    for index in range(probes):
        cost = round(1e7 * slower * shared * draw.lognormvariate(0, part))
        name = f"0000:{index:02x}:00.0"
        made.append(ProbeRecord(device=name, driver="nvme", start_ns=at, end_ns=at + cost, cost_ns=cost))
        at += cost
    return Trace(source="kernel", probes=tuple(made))


def told(runs: int, probes: int, slower: float) -> float:
    """Return the share of comparisons that claim something."""
    draw = random.Random(f"{runs} {probes} {slower}")
    claimed = 0
    for _ in range(TRIES):
        before, after = ([boot(draw, probes, scale) for _ in range(runs)] for scale in (1.0, slower))
        names = tuple(map(str, range(runs)))
        first, second = (VerifiedSide(label="", traces=tuple(side), names=names) for side in (before, after))
        claimed += verify(first, second).verdict.code in CLAIMS
    return claimed / TRIES


def main() -> None:
    """Print the table."""
    print(f"{TRIES} comparisons a cell, noise {100 * NOISE:.0f} %; a column is by how much the second side is slower")
    print("runs a side  probes  " + "  ".join(f"{100 * (slower - 1):+5.0f} %" for slower in SLOWER))
    worst = 0.0
    for probes in PROBES:
        for runs in RUNS:
            shares = [told(runs, probes, slower) for slower in SLOWER]
            worst = max(worst, shares[0])
            print(f"{runs:11}  {probes:6}  " + "  ".join(f"{100 * share:5.1f} %" for share in shares))
    allowed = 0.05 + 3 * math.sqrt(0.05 * 0.95 / TRIES)
    print(
        f"false alarms: {100 * worst:.1f} % at most; {'held' if worst <= allowed else 'NOT HELD'} (5 %, and the dice)"
    )
