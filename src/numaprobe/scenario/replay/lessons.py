"""What a replay takes for granted of sharing: what was learnt, else what cannot be ruled out.

With nothing but the trace itself, what its probes share is unknown. A probe that was alone may share nothing, or all
of what it does; of one that met others, the sleep while another one ran may have been its device's or a wait. Both ends
are put into the scenario, as a resource with a hold from nothing to everything and as sleep that may be none, and so
every figure of a replay is a range.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from numaprobe.analysis.hold import bound_worker_cpu
from numaprobe.analysis.sharing.company import divided
from numaprobe.analysis.sharing.covered import RunningTime
from numaprobe.analysis.sharing.own import alike
from numaprobe.analysis.sharing.waits import learn_waits
from numaprobe.runtime import closest_profile
from numaprobe.scenario.costtable import CostTable
from numaprobe.scenario.readas import ReadAs
from numaprobe.scenario.sharing import SharedModel
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from numaprobe.analysis.sharing.own import Own
    from numaprobe.records import ProbeRecord, SharedHold, Trace
    from numaprobe.scenario.costtable import DriverCost

#: The resource that cannot be ruled out.
UNKNOWN: Final = "unknown"
#: In nineteen of twenty pairs of a serial and a parallel trace of the guests (``python -m bench honesty``) the parallel
#: probes took less than 2.5 times as long as they take one after the other: turns for everything, and computing that
#: is so much longer. Cold caches, switches, a busy hypervisor; without a parallel trace nobody knows.
COMPANY: Final = 1.5
_OVERLAPPED: Final = (
    "overlapped other probes: what they slept while another one ran may be their devices' time, or waits for each other"
)
_SEEN: Final = (
    "overlapped other probes and waited for them: these waits are no part of what is replayed as its own sleep"
)
_NOT_KNOWN: Final = (
    "what its probes share is not known: figures are ranges, from 'nothing is shared' to 'all that can be is', and a "
    "gain is at most what is shown. Traces of this machine with probes alone and at once tell more (--learn)"
)
_NOT_KNOWN_OF_BOOT: Final = (
    "what its probes share is not known: figures are ranges, from 'nothing is shared' to 'while one of them probes, no "
    "other one can', and a gain is at most what is shown. A recording of the boot tells more (record --boot)"
)
_NOT_TAUGHT: Final = (
    "none of the traces shows its probes both alone and beside others, so what they share is not known: figures are "
    "ranges, and a gain is at most what is shown"
)
_SOURCES: Final = {
    "lock-events": "by lock events",
    "wake-ups": "by which probe woke which",
    "two-traces": "by what sleep grew in company",
    "timeline": "by the timeline",
    "scenario": "as the scenario says",
}
#: ``ProbeRecord.path`` of a device that was there when its driver was loaded, and probed by the task that loaded it.
SYNC_ATTACH: Final = "driver_attach_sync"
#: A task that does nothing for longer than this between two probes is at something else (our choice).
LONGEST_PAUSE: Final = 100_000_000
#: Drivers named in a warning.
_SHOWN: Final = 3
#: A spread or slowdown beyond this is no noise of one probe (the limits of a scenario's own keys).
_LARGEST: Final = 100.0


class Scale(NamedTuple):
    """How a probe's recorded time is scaled: its computing, and its sleep by reading."""

    running: float = 1.0
    sleeping: float = 1.0
    sleeping_least: float = 1.0
    sleeping_most: float = 1.0
    #: of a cost that nobody divided: which share of it is computing, if known, and how many probes it was contended by
    undivided: tuple[float | None, int] | None = None
    #: time around the body that others may have to wait for as well, in ns
    around_ns: int = 0


PLAIN: Final = Scale()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What other traces taught about the probes of one."""

    shared: tuple[SharedHold, ...]
    own: Own
    #: of which traces, as users call them
    sources: tuple[str, ...] = ()


@dataclass(slots=True)
class Sharing:
    """What a replay assumes of sharing: how each probe's time is scaled, and the scenario's tables."""

    shared: list[SharedModel] = field(default_factory=list)
    #: id of a record -> its scale; others are replayed as recorded
    scales: dict[int, Scale] = field(default_factory=dict)
    #: driver -> what its repeated probes differ by
    spread: dict[str, tuple[float, float]] = field(default_factory=dict)
    #: what is to be said of it: kind, text, device
    said: list[tuple[str, str, str]] = field(default_factory=list)

    def say(self, kind: str, text: str, device: str = "") -> None:
        """Note a warning."""
        self.said.append((kind, text, device))

    def scale_of(self, record: ProbeRecord) -> Scale:
        """Return how the time of a record is scaled."""
        return self.scales.get(id(record), PLAIN)


def sharing_of(
    trace: Trace,
    records: Sequence[ProbeRecord],
    lesson: Lesson | None,
    costs: CostTable | None = None,
    *,
    at_once: Collection[str] = (),
) -> Sharing:
    """Return what a replay of these probes of a trace assumes: what was learnt, else both ends of what can be.

    Args:
        trace: the one that is replayed.
        records: its probes, as far as they are replayed.
        lesson: what other traces taught; None: nothing.
        costs: what drivers' probes cost elsewhere; None: as the built-in table has it.
        at_once: drivers whose probes were asynchronous.

    """
    outer = [record for record in records if not record.nested]
    costs = costs or CostTable()
    if trace.initcalls and lesson is None:
        # What holds up a boot is how long, not on what: only what somebody measured for this is divided.
        sharing, outer = _unknown_of_boot(outer, at_once), [one for one in outer if costs.measured(one.driver)]
    else:
        sharing = _unknown(records, learn_waits([trace])) if lesson is None else _learnt(records, lesson)
    _divide(sharing, outer, costs, trace.kernel)
    if costs.own and not any(costs.measured(record.driver) for record in records):
        sharing.say("costs", "no trace of --costs has a probe of a driver of this one, so it is not used")
    return sharing


# ---- costs that nobody divided ---------------------------------------------------------------------------------------
def _divide(sharing: Sharing, outer: Sequence[ProbeRecord], costs: CostTable, kernel: str | None) -> None:
    """Scale undivided costs by what their drivers' probes compute elsewhere."""
    workers, profile = _workers(outer), closest_profile(kernel).name
    for record in outer:
        if record.running_ns is not None:
            continue
        known = costs.find(record.driver, profile)
        division = None if known is None else known.share, _contenders(record, workers)
        sharing.scales[id(record)] = sharing.scale_of(record)._replace(undivided=division)
        if known is not None and known.probes:
            sharing.say("costs", _divided_by(known, profile if kernel else None), record.device)
    if costs.own and outer and all(record.running_ns is not None for record in outer):
        sharing.say("costs", "this trace tells how each cost divides, so no other one (--costs) is asked")


def _divided_by(known: DriverCost, profile: str | None) -> str:
    other = "" if profile in {None, closest_profile(known.kernel).name} else f", another kernel ({known.kernel})"
    return (
        f"divided as {known.probes} probe{'s' * (known.probes != 1)} of the driver in {known.source}{other}: "
        f"{100 * known.share:.0f} % of a probe is computing"
    )


# ---- nothing was learnt ----------------------------------------------------------------------------------------------
def _unknown(records: Sequence[ProbeRecord], shared: Sequence[SharedHold]) -> Sharing:
    probes = divided(records)
    outer = [record for record in records if not record.nested]
    running = RunningTime(outer)
    seen = {driver for hold in shared for driver in hold.members}
    sharing = Sharing()
    for met in probes:
        if not met.alone and met.sleeping_ns:
            own = min(met.sleeping_ns - met.waited_ns, running.own_sleep_ns(met.record)) / met.sleeping_ns
            expected = 1.0 - (met.waited_ns / met.sleeping_ns if met.driver in seen else 0.0)
            sharing.scales[id(met.record)] = Scale(1.0, expected, expected, max(0.0, own))
            sharing.say("overlapped", _SEEN if met.driver in seen else _OVERLAPPED, met.record.device)
    for record, pause in _pauses(outer):
        sharing.scales[id(record)] = sharing.scale_of(record)._replace(around_ns=pause)
    if len({record.device for record in outer}) > 1:
        sharing.shared += [_at_most_all(table, outer) for hold in shared for table in _tables(hold)]
        others = {record.driver for record in outer} - seen
        sharing.shared += [_anything(others, outer)] if others else []
        sharing.spread = alike(met for met in probes if met.alone)
        for hold in shared:
            sharing.say("shared", _one_hold(hold))
        sharing.say("not-known", _NOT_KNOWN)
    return sharing


def _workers(outer: Iterable[ProbeRecord]) -> Mapping[tuple[str, int], set[str | None]]:
    """Return which workers of a CPU's pool probed devices of a driver."""
    found: dict[tuple[str, int], set[str | None]] = {}
    for record in outer:
        if (cpu := bound_worker_cpu(record.comm)) is not None:
            found.setdefault((record.driver, cpu), set()).add(record.comm)
    return found


def _contenders(record: ProbeRecord, workers: Mapping[tuple[str, int], set[str | None]]) -> int:
    """Return how many probes of a driver may have shared a CPU with this one, itself included.

    Different workers of one CPU's pool were at work at once: the pool takes a second one only while the first is busy.
    """
    cpu = bound_worker_cpu(record.comm)
    return 1 if cpu is None or record.start_ns is not None else len(workers[record.driver, cpu])


def _pauses(outer: Iterable[ProbeRecord]) -> Iterator[tuple[ProbeRecord, int]]:
    """Yield probes that one task made one after the other, with the time that it took from each to the next.

    The rest of ``really_probe`` is in it, sysfs and uevents: part of no body, and in parallel nobody knows whose.
    """
    tasks: dict[tuple[str, str | None], list[ProbeRecord]] = {}
    for record in outer:
        if record.path == SYNC_ATTACH and record.start_ns is not None and record.end_ns is not None:
            tasks.setdefault((record.driver, record.caller_comm), []).append(record)
    for records in tasks.values():
        ordered = sorted(records, key=lambda record: record.start_ns or 0)
        for before, after in pairwise(ordered):
            pause = (after.start_ns or 0) - (before.end_ns or 0)
            if 0 < pause <= LONGEST_PAUSE:
                yield before, pause


def _at_most_all(table: SharedModel, outer: Iterable[ProbeRecord]) -> SharedModel:
    """Return what was seen to be shared, with all that its probes do as the most that can be."""
    own = [record.cost_ns - (record.runnable_ns or 0) for record in outer if record.driver in table.drivers]
    return table.model_copy(update={"most": max([table.hold_as(ReadAs.MOST), *own])})


def _anything(drivers: Iterable[str], outer: Iterable[ProbeRecord]) -> SharedModel:
    """Return the resource that nothing rules out: nobody may hold it, or each probe from its start to its end."""
    longest = max((record.cost_ns for record in outer), default=0)
    return SharedModel.of(lock=UNKNOWN, drivers=sorted(drivers), most=longest, slowdown_most=COMPANY)


def _unknown_of_boot(outer: Sequence[ProbeRecord], at_once: Collection[str]) -> Sharing:
    """Return both ends for a boot's log, which tells neither CPU nor wait.

    Probes that came one after the other may share nothing, or all that they do. Drivers that were asynchronous in the
    log (``at_once``) took as long as they did beside others, so their waits are in what they took.
    """
    sharing = Sharing()
    drivers = {record.driver for record in outer}.difference(at_once)
    members = [record for record in outer if record.driver in drivers]
    if len({record.device for record in members}) > 1:
        sharing.shared.append(_anything(drivers, members))
        sharing.say("not-known", _NOT_KNOWN_OF_BOOT)
    return sharing


# ---- something was ---------------------------------------------------------------------------------------------------
def _learnt(records: Sequence[ProbeRecord], lesson: Lesson) -> Sharing:
    sharing = Sharing()
    for met in divided(records):
        cost = lesson.own.cost_of(met)
        if cost is None:
            continue
        running = cost.running_ns / met.running_ns if met.running_ns else 1.0
        sleeping = cost.sleeping_ns / met.sleeping_ns if met.sleeping_ns else 1.0
        sharing.scales[id(met.record)] = Scale(running, sleeping, sleeping, sleeping)
    outer = [record for record in records if not record.nested]
    drivers = {record.driver for record in outer}
    sharing.shared += [table for hold in lesson.shared for table in _tables(hold) if drivers & set(table.drivers)]
    sharing.spread = {driver: found for driver, found in lesson.own.spread.items() if driver in drivers}
    untaught = drivers - lesson.own.slowdown.keys() - {driver for hold in lesson.shared for driver in hold.members}
    sharing.say("learnt", _what_was_learnt(lesson, drivers - untaught))
    if untaught:
        sharing.shared.append(_anything(untaught, outer))
        names = ", ".join(sorted(untaught)[:_SHOWN]) + (" …" if len(untaught) > _SHOWN else "")
        sharing.say("not-known", f"{names}: {_NOT_TAUGHT}")
    return sharing


def _what_was_learnt(lesson: Lesson, drivers: set[str]) -> str:
    here = [hold for hold in lesson.shared if drivers & set(hold.members)]
    held = [_one_hold(hold) for hold in here if hold.hold_ns]
    company = [f"company makes them compute {_company(hold)} longer" for hold in here if hold.slowdown_range[1]]
    found = "; ".join([*held, *dict.fromkeys(company)]) or "no probe waits for another one, or is slowed by it"
    return f"learnt from {', '.join(lesson.sources)}: {found if drivers else 'nothing'}"


def _one_hold(hold: SharedHold) -> str:
    low, high = (format_time(bound) for bound in hold.hold_range_ns)
    how = f"{low} to {high}; {hold.evidence}, {_SOURCES[hold.source]}"
    return f"probes of {', '.join(hold.members)} have {hold.resource} for {format_time(hold.hold_ns)} each ({how})"


def _company(hold: SharedHold) -> str:
    low, high = hold.slowdown_range
    return f"{100 * hold.slowdown:.0f} % ({100 * low:.0f} to {100 * high:.0f} %)"


def _tables(hold: SharedHold) -> Iterable[SharedModel]:
    """Return a resource's tables: one for all members, or one for each where they hold it for different times."""
    for members in [[driver] for driver in hold.members] if hold.by_member else [list(hold.members)]:
        ns = hold.hold_of(members[0])
        least, most = (round(ns * bound / max(1, hold.hold_ns)) for bound in hold.hold_range_ns)
        yield SharedModel.of(
            lock=hold.resource,
            drivers=members,
            hold=ns,
            least=min(ns, least),
            most=max(ns, most),
            **_slowdowns(hold.slowdown, hold.slowdown_range),
            evidence=hold.evidence,
            source=hold.source,
        )


def _slowdowns(slowdown: float, within: Sequence[float]) -> dict[str, float]:
    values = min(slowdown, within[0]), slowdown, max(slowdown, within[1])
    least, expected, most = (min(_LARGEST, value) for value in values)
    return {"slowdown": expected, "slowdown_least": least, "slowdown_most": most}
