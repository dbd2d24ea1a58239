"""Probes that waited for each other: which resource, for how long each holds it, and which probes share it.

The evidence is what lock events or wake-ups say (``analysis.sharing.waits``), so it fires where probes mix and end
together, too, as they do when a lock is taken hundreds of times in short holds. Where no wait is told, the timelines
may make it a suspicion (``analysis.sharing.timeline``): probes that slept a good part of their time, did not want for
CPUs, and yet hardly ran at once. No placement takes such a wait away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.analysis.findings.case import names
from numaprobe.analysis.sharing.timeline import timeline
from numaprobe.analysis.sharing.waits import learn_waits
from numaprobe.records import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.analysis.findings.case import Case
    from numaprobe.analysis.sharing.timeline import RunningTogether
    from numaprobe.records import SharedHold

KIND: Final = "shared-lock"
SUMMARY: Final = "probes waited for each other inside the kernel"

#: Waits that are less than this share of what the waiting probes took are not worth a finding (our choice).
MIN_SHARE: Final = 0.1


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each resource that probes were seen to wait for."""
    ran = timeline(record for record in case.probes if not record.nested)
    found = False
    for hold in learn_waits([case.trace]):
        waiting = [r for r in case.probes if r.driver in hold.members and r.waits]
        waited = sum(wait.wait_ns for record in waiting for wait in record.waits or () if _is_of(wait.lock, hold))
        if not waiting or waited < MIN_SHARE * sum(record.cost_ns for record in waiting):
            continue
        evidence = {
            "resource": hold.resource,
            "drivers": list(hold.members),
            "hold_ns": hold.hold_ns,
            "waited_ns": waited,
            "probes": len(waiting),
            "shown_by": hold.source,
            **_shares(ran),
        }
        found = True
        yield Finding(kind=KIND, devices=names(waiting), evidence=evidence, advice=_advice(hold))

    if ran is not None and ran.kept_apart and not found and not any(record.waits for record in ran.records):
        yield _suspected(ran)


def _suspected(ran: RunningTogether) -> Finding:
    """Return the finding for probes whose waits nobody saw."""
    drivers = sorted({record.driver for record in ran.records})
    evidence = {"drivers": drivers, "probes": len(ran.records), "shown_by": "timeline", **_shares(ran)}
    advice = (
        "They slept while others of them ran, as if only one could: a lock, a controller, a parent is suspected, and "
        "no placement takes that away. 'numaprobe record --locks' (Linux 5.19 and later) names it."
    )
    return Finding(kind=KIND, devices=names(ran.records), evidence=evidence, advice=advice, severity=Severity.LOW)


def _shares(ran: RunningTogether | None) -> dict[str, float]:
    """Return how much the probes ran at once, of the time in which some ran, and beside chance."""
    if ran is None:
        return {}
    return {"two_or_more_run_share": round(ran.two_or_more, 3), "of_chance": round(ran.of_chance, 3)}


def _is_of(lock: str, hold: SharedHold) -> bool:
    return lock == hold.resource or hold.source == "wake-ups"


def _advice(hold: SharedHold) -> str:
    if hold.source == "wake-ups":
        return (
            "No placement takes this wait away. 'numaprobe record --locks' around the same probes (Linux 5.19 and "
            "later) names what it is for."
        )
    return f"No placement takes the wait for {hold.resource} away: at once these probes take turns for it."
