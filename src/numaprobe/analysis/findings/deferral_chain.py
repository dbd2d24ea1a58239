"""Probes sent away with EPROBE_DEFER, and what they waited for.

Each driver that binds triggers the deferred devices again (``driver_bound``). So the probe that succeeded last before a
retry that succeeded is what let it through, as far as times can tell; the evidence calls it ``after``. Followed to a
device that was never deferred, that is the chain's root: bring *that* one up earlier and the whole chain moves.
Devices that were deferred and never bound have no such probe: they make a finding of their own, without a root.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.findings.case import SHOWN, Timed, plural
from numaprobe.records import Finding, Severity
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.analysis.findings.case import Case
    from numaprobe.records import ProbeRecord

KIND: Final = "deferral-chain"
SUMMARY: Final = "probes were sent away until another device was there"

#: A shorter delay is nothing that anybody would look for. Arbitrary, as ``SLOW_NS`` of ``slow-sync``.
MIN_DELAY_NS: Final = 100_000_000


@dataclass(slots=True)
class _Waiter:
    """A device that was deferred at least once."""

    device: str
    deferred: list[ProbeRecord] = field(default_factory=list)
    #: its first success, and that one's place among all successes by end
    success: Timed | None = None
    #: the device whose success came last before its own
    after: str | None = None


def find(case: Case) -> Iterator[Finding]:
    """Yield a finding for each root with those that waited for it, and one for devices that stayed deferred."""
    waiters = _waiters(case)
    if not waiters:
        return
    bound = sorted((t for t in case.timed if t.record.result == "0"), key=lambda t: t.end_ns)
    _link(waiters, bound)
    chains: dict[str, list[_Waiter]] = defaultdict(list)
    for waiter in waiters.values():
        if waiter.success is not None and waiter.after is not None:
            chains[_root(waiter, waiters)].append(waiter)
    for root, chain in chains.items():
        yield _chain(root, sorted(chain, key=lambda w: w.success.end_ns if w.success else 0))
    untimed = {record.device for record in case.probes if record.result == "0" and record.start_ns is None}
    lost = [waiter for waiter in waiters.values() if waiter.success is None and waiter.device not in untimed]
    if lost:
        yield _unresolved(lost)


def _waiters(case: Case) -> dict[str, _Waiter]:
    waiters: dict[str, _Waiter] = {}
    for record in case.probes:
        if record.deferred:
            waiters.setdefault(record.device, _Waiter(record.device)).deferred.append(record)
    return waiters


def _link(waiters: dict[str, _Waiter], bound: Sequence[Timed]) -> None:
    """Fill in each waiter's success and the success before it. ``bound`` is by end."""
    ends = [timed.end_ns for timed in bound]
    for index, timed in enumerate(bound):
        waiter = waiters.get(timed.record.device)
        if waiter is None or waiter.success is not None:
            continue
        waiter.success = timed
        before = min(bisect_right(ends, timed.start_ns), index) - 1
        waiter.after = bound[before].record.device if before >= 0 else None


def _root(waiter: _Waiter, waiters: dict[str, _Waiter]) -> str:
    """Follow ``after``, earlier at each step, to a device that was never deferred."""
    walked: list[_Waiter] = []
    root = waiter.device
    step: _Waiter | None = waiter
    while step is not None and step.after is not None and len(walked) <= len(waiters):
        walked.append(step)
        root = step.after
        step = waiters.get(root)
    return root


def _chain(root: str, chain: Sequence[_Waiter]) -> Finding:
    wasted = sum(record.cost_ns for waiter in chain for record in waiter.deferred)
    delays = {waiter.device: _delay(waiter) for waiter in chain}
    longest = max(delays.values())
    evidence: dict[str, Any] = {
        "root": root,
        "attempts": sum(len(waiter.deferred) for waiter in chain),
        "wasted_ns": wasted,
        "longest_delay_ns": longest,
        "after": {waiter.device: waiter.after for waiter in chain[:SHOWN]},
        "delay_ns": dict(list(delays.items())[:SHOWN]),
    }
    return Finding(
        kind=KIND,
        devices=(root, *delays),
        evidence=evidence,
        advice=(
            f"{plural(len(chain), 'device')} waited up to {format_time(longest)} for {root}: its driver would have to"
            " come up earlier (built in, in the initramfs, or first in modules-load.d)."
        ),
        severity=Severity.MEDIUM if longest >= MIN_DELAY_NS else Severity.LOW,
    )


def _delay(waiter: _Waiter) -> int:
    """From the start of the first attempt to the end of the one that succeeded."""
    first = waiter.deferred[0].start_ns
    return waiter.success.end_ns - first if waiter.success is not None and first is not None else 0


def _unresolved(lost: Sequence[_Waiter]) -> Finding:
    return Finding(
        kind=KIND,
        devices=tuple(waiter.device for waiter in lost),
        evidence={
            "root": None,
            "attempts": sum(len(waiter.deferred) for waiter in lost),
            "wasted_ns": sum(record.cost_ns for waiter in lost for record in waiter.deferred),
        },
        advice=(
            f"{plural(len(lost), 'device')} never got past EPROBE_DEFER: /sys/kernel/debug/devices_deferred says what"
            " each waits for, and that supplier's driver is missing or failed."
        ),
        severity=Severity.HIGH,
    )
