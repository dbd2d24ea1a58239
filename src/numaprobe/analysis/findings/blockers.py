"""What ran on a CPU while a probe waited for it.

With segments this is exact: the running stretches of a CPU do not overlap each other, so that for a waiting stretch the
blockers are the running ones between its two ends, found by bisection. Only the worst waits are taken apart; the sum of
a probe's waiting is its record's own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, Any

from numaprobe.analysis.findings.case import SHOWN
from numaprobe.records import RunState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.records import ProbeRecord

#: A running stretch: start, end, device.
_Stretch = tuple[int, int, str]


def waits(records: Sequence[ProbeRecord], cpu: int) -> list[dict[str, Any]]:
    """Return the longest waits for ``cpu``: device, ``runnable_ns``, and what ran meanwhile, where that is known.

    ``because_of`` is {device: ns} of those that ran the longest, ``others`` how many there were in all.
    """
    running = _running(records, cpu)
    worst = sorted((r for r in records if r.runnable_ns), key=lambda r: -(r.runnable_ns or 0))[:SHOWN]
    return [_wait(record, _blockers(record, cpu, running)) for record in worst]


def _wait(record: ProbeRecord, blocked: Counter[str]) -> dict[str, Any]:
    return {
        "device": record.device,
        "runnable_ns": record.runnable_ns,
        "because_of": dict(blocked.most_common(SHOWN)),
        "others": len(blocked),
    }


def _running(records: Iterable[ProbeRecord], cpu: int) -> list[_Stretch]:
    return sorted(
        (segment.start_ns, segment.end_ns, record.device)
        for record in records
        for segment in record.segments or ()
        if segment.state is RunState.RUNNING and segment.cpu == cpu
    )


def _blockers(record: ProbeRecord, cpu: int, running: list[_Stretch]) -> Counter[str]:
    """Return the ns that each other probe ran while ``record`` waited."""
    blocked: Counter[str] = Counter()
    for segment in record.segments or ():
        if segment.state is RunState.RUNNABLE and segment.cpu == cpu:
            _count(blocked, segment.start_ns, segment.end_ns, running)
    del blocked[record.device]
    return blocked


def _count(blocked: Counter[str], start: int, end: int, running: list[_Stretch]) -> None:
    index = max(0, bisect_right(running, start, key=lambda stretch: stretch[0]) - 1)
    while index < len(running) and running[index][0] < end:
        shared = min(end, running[index][1]) - max(start, running[index][0])
        if shared > 0:
            blocked[running[index][2]] += shared
        index += 1
