"""Probes that were asynchronous and took turns all the same, without sharing a CPU.

Two signs, on the async probes of one driver and node:

* *one after the other*: in flight together for almost no time, on different CPUs. The queue's max_active, or a lock
  taken before the probe, lets one through at a time. (On one CPU this is ``same-cpu``.)
* *a staircase*: all in flight together, their running times alike, and each ends about one such step after the one
  before: the waiting inside the probe is for each other. Shared kernel locks do this (the ACPI interpreter's, when
  PCI enables a device), whatever the CPU.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.findings.case import Timed, group_by, names, plural
from numaprobe.analysis.sweep import clusters, coverage
from numaprobe.records import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.analysis.findings.case import Case

KIND: Final = "serial-async"
SUMMARY: Final = "asynchronous probes took turns"

#: Two probes show no turn-taking; three in a row do.
MIN_PROBES: Final = 3
#: One after the other: in flight together for less than this share of the burst.
MAX_OVERLAP_SHARE: Final = 0.1
#: A burst ends where nothing happens for this long. Arbitrary, as in ``same-cpu``.
BURST_GAP_NS: Final = 100_000_000
#: A staircase: the largest step between two ends is at most this many times the smallest, …
MAX_STEP_RATIO: Final = 2.0
#: … and the steps make up at least this share of the longest probe.
MIN_STAIR_SHARE: Final = 0.5
#: Running times are alike if the longest is at most this many times the shortest.
MAX_RUNNING_RATIO: Final = 1.5


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each burst of async probes of one driver and node that took turns."""
    wanted = (t for t in case.clocked if t.record.asynchronous and not t.record.nested)
    for group in group_by(wanted, lambda t: (t.record.driver, t.record.device_node)).values():
        for burst in clusters(group, lambda t: (t.start_ns, t.end_ns), BURST_GAP_NS):
            if len(burst) >= MIN_PROBES and len({timed.record.cpu for timed in burst}) > 1:
                yield from _burst(burst)


def _burst(burst: Sequence[Timed]) -> Iterator[Finding]:
    covered = coverage((timed.start_ns, timed.end_ns) for timed in burst)
    if covered.overlap_ns <= MAX_OVERLAP_SHARE * covered.union_ns:
        sign = "one-after-the-other"
    elif _staircase(burst):
        sign = "staircase"
    else:
        return
    records = [timed.record for timed in burst]
    evidence: dict[str, Any] = {
        "driver": records[0].driver,
        "node": records[0].device_node,
        "sign": sign,
        "probes": len(records),
        "span_ns": max(timed.end_ns for timed in burst) - burst[0].start_ns,
        "overlap_ns": covered.overlap_ns,
        "fastest_ns": min(record.cost_ns for record in records),
        "slowest_ns": max(record.cost_ns for record in records),
    }
    sleeping = [record.sleeping_ns for record in records if record.sleeping_ns is not None]
    if sleeping:
        evidence["sleeping_ns"] = sum(sleeping)
    yield Finding(kind=KIND, devices=names(records), evidence=evidence, advice=_advice(sign, len(records)))


def _staircase(burst: Sequence[Timed]) -> bool:
    running = [timed.record.running_ns for timed in burst if timed.record.running_ns is not None]
    if len(running) < len(burst) or max(running) > MAX_RUNNING_RATIO * max(1, min(running)):
        return False
    ends = sorted(timed.end_ns for timed in burst)
    steps = [later - earlier for earlier, later in pairwise(ends)]
    longest = max(timed.end_ns - timed.start_ns for timed in burst)
    return max(steps) <= MAX_STEP_RATIO * max(1, min(steps)) and sum(steps) >= MIN_STAIR_SHARE * longest


def _advice(sign: str, count: int) -> str:
    if sign == "staircase":
        return (
            f"The {plural(count, 'probe')} wait for each other inside the probe, most likely for a lock: another policy"
            " will not help. 'perf lock' or lock events (lock:contention_begin) around the run name it."
        )
    return (
        f"The {plural(count, 'probe')} were let in one at a time: look for a lock that the caller holds while it waits"
        " (the parent device's, on buses that need it), or a queue with max_active 1."
    )
