"""A probe that takes a second or more by itself, whoever waited for it.

This is what a log of ``initcall_debug`` can show: it has a device and a duration, and does not tell which task ran the
probe or whether that held anybody up. Where that is known, ``slow-sync`` and ``serial-sync`` say more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.findings.case import SHOWN, UNKNOWN_DRIVER, names, plural
from numaprobe.analysis.findings.waiting import visits
from numaprobe.records import Finding, Severity
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.analysis.findings.case import Case
    from numaprobe.records import ProbeRecord

KIND: Final = "slow-probe"
SUMMARY: Final = "a probe took long by itself"

#: Slow from here on. Arbitrary: what a person waits for.
LONG_NS: Final = 1_000_000_000


def find(case: Case) -> Iterator[Finding]:
    """Yield one finding with the probes that took that long, the slowest first."""
    told = {id(record) for visit in visits(case) for record in visit.records}
    slow = [r for r in case.measured if r.cost_ns >= LONG_NS and id(r) not in told and not r.nested]
    if slow:
        yield _finding(sorted(slow, key=lambda record: -record.cost_ns), case.makespan_ns)


def _finding(slow: Sequence[ProbeRecord], makespan_ns: int | None) -> Finding:
    first = slow[0]
    evidence: dict[str, Any] = {
        "slowest": first.device,
        **({} if first.driver == UNKNOWN_DRIVER else {"driver": first.driver}),
        "slowest_ns": first.cost_ns,
        "costs_ns": {record.device: record.cost_ns for record in slow[:SHOWN]},
    }
    if makespan_ns:
        evidence["makespan_ns"] = makespan_ns
    if first.sleeping_ns is not None:
        evidence |= {"running_ns": first.running_ns, "sleeping_ns": first.sleeping_ns}
    return Finding(
        kind=KIND, devices=names(slow), evidence=evidence, advice=_advice(first, len(slow)), severity=Severity.HIGH
    )


def _advice(first: ProbeRecord, count: int) -> str:
    others = f", and {plural(count - 1, 'other')} a second or more" if count > 1 else ""
    driver = "" if first.driver == UNKNOWN_DRIVER else f" ({first.driver})"
    took = f"{first.device}{driver} took {format_time(first.cost_ns)}{others}"
    head = f"{took}; no placement makes that shorter."
    if first.sleeping_ns is None:
        return (
            f"{head} A cost alone does not tell what it waited for; a recording with scheduler events (numaprobe"
            " record) divides it."
        )
    if first.sleeping_ns * 2 >= first.cost_ns:
        return f"{head} It slept most of that time: it waits for the device, its firmware or a timeout of the driver."
    return f"{head} It ran or waited for a CPU most of that time."
