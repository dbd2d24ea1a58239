"""A boot's log as a scenario: ``kernel_init`` goes through its initcalls, with the probes that each of them led to.

The initcalls of the log are one task's: between the probes in them it does what it did, as long as it took. The first
probe by a driver stands for the initcall that registers it; a probe by a driver that is there already, for a device
that is found in that initcall; a probe inside another one's time, in the same task, for a child of that one. After the
last initcall come ``wait_for_device_probe`` and ``async_synchronize_full`` (``prepare_namespace`` and ``kernel_init``
of ``init/main.c``): whatever is still probed is waited for, and then come the later milestones.

What other tasks probed meanwhile (modules that user space loads) is left out: a milestone of the kernel does not wait
for it. What a log does not tell is assumed as for any other trace.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from numaprobe.records.boot import RETRIES_DEFERRED
from numaprobe.scenario.replay.events import TaskEvent, TraceHistory, first_attempts
from numaprobe.scenario.replay.probes import MAX_NESTING
from numaprobe.scenario.replay.steps import folded, pause, prelude
from numaprobe.scenario.schema import Caller
from numaprobe.scenario.steps import Add, LateInitcall, Mark, Register, Settle, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.records import Initcall, Milestone
    from numaprobe.scenario.replay.collected import ReplayWarnings
    from numaprobe.scenario.replay.probes import Key, TracedProbe

#: ``kernel_init`` before it becomes ``init``: PID 1 has the name of the first idle task.
KERNEL_INIT: Final = Caller(comm="swapper/0", cpu=0)
#: A log's stamps are µs, and a probe's end is printed a little after it.
SLACK_NS: Final = 100_000


def boot_history(seen: Sequence[TracedProbe], initcalls: Sequence[Initcall], warnings: ReplayWarnings) -> TraceHistory:
    """Return what happened, as ``history`` does.

    Args:
        seen: the probes, in order of start; children get their parents here.
        initcalls: of ``kernel_init``, in order.
        warnings: what had to be left out.

    """
    places = _Places(initcalls)
    mine = [one for one in seen if one.asynchronous or one.record.attempt > 1 or places.of(one) is not None]
    if left := len(seen) - len(mine):
        text = f"{left} probe(s) ran outside of kernel_init's initcalls, and are left out of the boot"
        warnings.say("not-replayed", text)
    _find_children(mine, places)
    found = TraceHistory()
    registered: set[Key] = set()
    at: int | None = None
    for one in first_attempts(mine, found, warnings):
        last = found.events[-1] if found.events else None
        place = places.around(one)
        if last is not None and last.kind is Register and last.driver == one.record.driver and place == at:
            last.probes.append(one)
            last.end = max(last.end, places.done(one))
        else:
            kind = Add if one.driver in registered else Register
            start = places.begun(one)
            event = TaskEvent(kind=kind, driver=one.record.driver, start=start, end=places.done(one), probes=[one])
            found.events.append(event)
        at = place
        registered.add(one.driver)
    for event in found.events:
        if event.kind is Register:
            found.present |= dict.fromkeys(one.key for one in event.probes)
    first_to_register = {event.driver for event in found.events if event.kind is Register}
    for one in mine:
        if one.record.driver not in first_to_register:
            found.preloaded[one.record.driver] = None
    return found


class _Places:
    """In which initcall a probe ran."""

    def __init__(self, initcalls: Sequence[Initcall]) -> None:
        self._initcalls = initcalls
        self._starts = [one.start_ns for one in initcalls]

    def around(self, one: TracedProbe) -> int:
        """Return the number of the initcall that was under way when the probe began, or had been; -1 before any."""
        return bisect_right(self._starts, one.start + SLACK_NS) - 1

    def of(self, one: TracedProbe) -> int | None:
        """Return the number of the initcall whose task ran this probe; None if that was another task."""
        index = self.around(one)
        if index < 0:
            return None
        call = self._initcalls[index]
        return index if one.record.device in call.devices and one.end <= call.end_ns + SLACK_NS else None

    def begun(self, one: TracedProbe) -> int:
        """Return when ``kernel_init`` came to this probe: an asynchronous one it only schedules, in its initcall."""
        index = self.around(one)
        return min(one.start, self._initcalls[index].end_ns) if one.asynchronous and index >= 0 else one.start

    def done(self, one: TracedProbe) -> int:
        """Return when it went on."""
        return self.begun(one) if one.asynchronous else one.end


def _find_children(seen: Iterable[TracedProbe], places: _Places) -> None:
    """Hang each probe that ran inside another one's time, in the same initcall, below that one."""
    under_way: list[tuple[int, TracedProbe]] = []
    for one in seen:
        place = None if one.asynchronous else places.of(one)
        if place is None:
            continue
        while under_way and (under_way[-1][0] != place or under_way[-1][1].end < one.end):
            under_way.pop()
        parent = under_way[-1][1] if under_way else None
        if parent is not None and parent.key != one.key and parent.depth + 1 < MAX_NESTING:
            parent.children.append(one)
            one.depth = parent.depth + 1
        under_way.append((place, one))


# ---- steps ----------------------------------------------------------------------------------------------------------
class _Moment(NamedTuple):
    """Something that ``kernel_init`` does, or a milestone that it reaches."""

    start: int
    #: when the log has it done: what comes next follows at the same distance
    end: int
    steps: list[Step]


def boot_steps(past: TraceHistory, initcalls: Sequence[Initcall], milestones: Sequence[Milestone]) -> list[Step]:
    """Return all steps: those of the initcalls, the milestones at their times, and what follows them."""
    end = initcalls[-1].end_ns
    moments = [_of_event(event) for event in past.events]
    moments += [_Moment(one.time_ns, one.time_ns, [Mark.on(one.name)]) for one in milestones if one.time_ns < end]
    moments += [
        _Moment(one.start_ns, one.end_ns, [LateInitcall(late_initcall=True)])
        for one in initcalls
        if one.function == RETRIES_DEFERRED
    ]
    steps, now = prelude(past), 0
    for moment in sorted(moments, key=lambda one: one.start):
        steps += [*pause(moment.start - now), *moment.steps]
        now = max(now, moment.end)
    steps += [*pause(end - now), Settle(settle=True)]
    now = max(end, _last_async(past))
    for one in milestones:
        if one.time_ns >= end:
            steps += [*pause(one.time_ns - now), Mark.on(one.name)]
            now = max(now, one.time_ns)
    return folded(steps)


def _of_event(event: TaskEvent) -> _Moment:
    """Return an event as it is taken; between the probes of one registration the task matches, and does else."""
    step = event.kind.on(event.driver if event.kind is Register else event.devices)
    probed = sum(one.end - one.start for one in event.probes if not one.asynchronous)
    return _Moment(event.start, event.end, [step, *pause(event.end - event.start - probed)])


def _last_async(past: TraceHistory) -> int:
    return max((one.end for probes in past.probes.values() for one in probes if one.asynchronous), default=0)
