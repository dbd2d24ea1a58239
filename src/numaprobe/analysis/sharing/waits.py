"""What probes share, seen: lock events and wake-ups say which probe waited for which (``ProbeRecord.waits``).

A probe that always waits while another one has the lock has waited for it exactly as long as that one had it. So a
probe's hold is the longest that any one other probe waited for it; of the first and the last holder it is less, as
nobody waited before or behind them, and so a driver's hold is taken from the upper ones of its probes. Where a holder
waited for its CPU, its hold is that part shorter: what is learnt is what it needs, wherever it runs.

A lock that has a name is one resource. Waits that only wake-ups tell have none, and are taken for one. Where a run
knows its locks (the virtual machine's ``Trace.shared``), it is believed.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

from numaprobe.records import SharedHold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numaprobe.records import ProbeRecord, Trace

#: What a wait is for when nothing names it, in ``LockWait.lock``.
UNNAMED: Final = "unnamed"
#: What is shared when nothing names it.
SHARED: Final = "shared-1"
#: Waits for a lock that are less than this share of what its waiters' probes took matter to nobody.
MIN_SHARE: Final = 0.02


@dataclass(slots=True)
class _Held:
    """What was seen of one lock."""

    #: driver -> for each of its probes that was waited for, the longest that one other probe waited for it
    holds: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    #: drivers whose probes waited for it
    waiters: set[str] = field(default_factory=set)
    waited_ns: int = 0
    cost_ns: int = 0
    times: int = 0


def learn_waits(traces: Sequence[Trace]) -> tuple[SharedHold, ...]:
    """Return what the probes of these traces of one machine were seen to wait for, the most waited for first."""
    told = {hold.resource: hold for trace in traces for hold in trace.shared if hold.evidence == "seen"}
    found: dict[str, _Held] = {}
    for trace in traces:
        for name, held in _of_trace(trace.probes):
            if name not in told:
                _join(found.setdefault(name, _Held()), held)
    resources = [part for name, held in found.items() for part in _parts(name, held)]
    resources.sort(key=lambda pair: -pair[0])
    seen = (hold for _, hold in resources)
    return (*told.values(), *(replace(hold, resource=SHARED) if hold.resource == UNNAMED else hold for hold in seen))


def _of_trace(records: Iterable[ProbeRecord]) -> Iterator[tuple[str, _Held]]:
    records = [record for record in records if record.waits]
    drivers = {record.device: record.driver for record in records}
    needs = {record.device: _needed(record) for record in records}
    on: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    found: dict[str, _Held] = defaultdict(_Held)
    for record in records:
        for wait in record.waits or ():
            held = found[wait.lock]
            held.waiters.add(record.driver)
            held.waited_ns += wait.wait_ns
            held.times = max(held.times, wait.times)
            if wait.held_by in drivers and wait.held_by is not None:
                of = on[wait.lock][wait.held_by]
                of[record.device] = of.get(record.device, 0) + wait.wait_ns
        for lock in {wait.lock for wait in record.waits or ()}:
            found[lock].cost_ns += record.cost_ns
    for lock, holders in on.items():
        for device, waiters in holders.items():
            found[lock].holds[drivers[device]].append(round(needs[device] * max(waiters.values())))
    yield from found.items()


def _needed(record: ProbeRecord) -> float:
    """Return which share of the time that a probe was not asleep it was on a CPU."""
    awake = (record.running_ns or 0) + (record.runnable_ns or 0)
    return (record.running_ns or 0) / awake if awake else 1.0


def _join(all_: _Held, one: _Held) -> None:
    for driver, holds in one.holds.items():
        all_.holds[driver] += holds
    all_.waiters |= one.waiters
    all_.waited_ns += one.waited_ns
    all_.cost_ns += one.cost_ns
    all_.times = max(all_.times, one.times)


def _parts(name: str, held: _Held) -> Iterator[tuple[int, SharedHold]]:
    """Yield a lock as a resource, and how long it was waited for; nothing if that matters to nobody."""
    if not held.holds or held.waited_ns < MIN_SHARE * held.cost_ns:
        return
    holds = {driver: _upper(found) for driver, found in sorted(held.holds.items())}
    everything = [ns / max(1, holds[driver]) for driver, found in held.holds.items() for ns in found]
    middle = median(holds.values())
    yield (
        held.waited_ns,
        SharedHold(
            resource=name,
            hold_ns=round(middle),
            hold_range_ns=(round(middle * min(1.0, _lower(everything))), round(middle * max(1.0, *everything))),
            members=tuple(sorted(held.waiters | holds.keys())),
            by_member=_by_member(holds, held.waiters),
            takes=held.times,
            evidence="seen",
            source="wake-ups" if name == UNNAMED else "lock-events",
        ),
    )


def _by_member(holds: Mapping[str, float], waiters: set[str]) -> dict[str, int]:
    if len(waiters | holds.keys()) < 2:  # noqa: PLR2004  one member: its hold is the resource's
        return {}
    return {driver: round(ns) for driver, ns in holds.items()}


def _upper(values: Sequence[int]) -> float:
    return quantiles(values, n=4, method="inclusive")[2] if len(values) > 1 else float(values[0])


def _lower(values: Sequence[float]) -> float:
    return quantiles(values, n=4, method="inclusive")[0] if len(values) > 1 else values[0]
