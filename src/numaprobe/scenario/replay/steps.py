"""From events to the steps of a scenario.

Events that did not overlap follow each other, with the time between them as ``wait``: what the callers did meanwhile is
theirs under every policy. Events that overlapped become tracks that run in parallel, one for each task, each with the
offset it had; so an event that overlapped another starts at its recorded time, whatever the other one takes.

Before the first event come the devices and drivers that were there already: added and loaded while the buses do not
probe by themselves, so that nothing happens that was not recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import InputError
from numaprobe.scenario.schema import Caller
from numaprobe.scenario.steps import (
    Add,
    Autoprobe,
    Bind,
    Load,
    Parallel,
    Pause,
    Sequence,
    Settle,
    Step,
    Unregister,
    WriteAutoprobe,
)
from numaprobe.units import MAX_TIME_NS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Sequence as SequenceOf

    from numaprobe.scenario.replay.events import TaskEvent, TraceHistory

#: Steps of a list, and tasks at once: what a scenario takes.
MAX_LIST: Final = 4000


def first_caller(events: Iterable[TaskEvent]) -> Caller:
    """Return the task of the first event that knows one: it takes the steps of which nobody else is known."""
    for event in events:
        if event.comm is not None and event.cpu is not None:
            return Caller(comm=event.comm, cpu=event.cpu)
    return Caller(comm="modprobe", cpu=0)


def steps_of(past: TraceHistory, caller: Caller) -> list[Step]:
    """Return all steps.

    Raises:
        InputError: more tasks at once than a scenario takes.

    """
    steps = prelude(past)
    now: int | None = None
    for cluster in _clusters(past.events):
        if now is not None:
            steps += pause(cluster[0].start - now)
        now = max(event.end for event in cluster)
        steps += _in_parallel(cluster, caller)
    return folded([*steps, Settle(settle=True)])


def prelude(past: TraceHistory) -> list[Step]:
    """Return what comes before the first event."""
    add: list[Step] = [Add.on([name for _, name in past.present])] if past.present else []
    load: list[Step] = [Load.on(list(past.preloaded))] if past.preloaded else []
    buses = sorted({bus for bus, _ in past.present}) if load else []
    off = [WriteAutoprobe(autoprobe=Autoprobe(bus=bus, on=False)) for bus in buses]
    on = [WriteAutoprobe(autoprobe=Autoprobe(bus=bus, on=True)) for bus in buses]
    return [*off, *add, *load, *on]


def _clusters(events: Iterable[TaskEvent]) -> list[list[TaskEvent]]:
    """Return the events in groups: those of one group overlapped, directly or by way of others."""
    clusters: list[list[TaskEvent]] = []
    end = 0
    for event in sorted(events, key=lambda one: one.start):
        if clusters and event.start < end:
            clusters[-1].append(event)
            end = max(end, event.end)
        else:
            clusters.append([event])
            end = event.end
    return clusters


def _in_parallel(cluster: SequenceOf[TaskEvent], caller: Caller) -> list[Step]:
    tracks = _tracks(cluster)
    if len(tracks) == 1:
        return _track(tracks[0], cluster[0].start, caller)
    return [Parallel.on([_alone(track, cluster[0].start, caller) for track in tracks])]


def _alone(track: SequenceOf[TaskEvent], start: int, caller: Caller) -> Step:
    """Return the one step of a task that runs beside others: its waits, too, are on its own CPU."""
    task = _task(track[0], caller)
    steps = _track(track, start, caller.model_copy(update=task))
    return steps[0].model_copy(update=task) if len(steps) == 1 else Sequence.on(folded(steps), **task)


def _tracks(cluster: Iterable[TaskEvent]) -> list[list[TaskEvent]]:
    """Return a list of events for each task: one task does one thing after the other."""
    tracks: dict[tuple[str | None, int | None], list[list[TaskEvent]]] = {}
    count = 0
    for event in cluster:
        mine = tracks.setdefault((event.comm, event.cpu), [])
        free = next((track for track in mine if track[-1].end <= event.start), None)
        if free is None:
            mine.append([event])
            count += 1
        else:
            free.append(event)
        if count > MAX_LIST:
            raise InputError(f"more than {MAX_LIST} tasks probe at once, which no replay can show")
    return [track for mine in tracks.values() for track in mine]


def _track(events: Iterable[TaskEvent], start: int, caller: Caller) -> list[Step]:
    steps: list[Step] = []
    for event in events:
        steps += pause(event.start - start)
        steps += _steps(event, caller)
        start = event.end
    return steps


def _steps(event: TaskEvent, caller: Caller) -> list[Step]:
    task = _task(event, caller)
    again: list[Step] = []
    if event.before is not None:
        again = [event.before.on(event.driver if event.before is Unregister else event.devices, **task)]
    if event.kind is Load:
        return [*again, Load.on(event.driver, **task)]
    if event.kind is Bind:
        return [*again, Bind.on(event.devices, driver=event.driver, **task)]
    return [*again, event.kind.on(event.devices, **task)]


def _task(event: TaskEvent, caller: Caller) -> dict[str, Any]:
    """Return the task that takes the step, if not the scenario's caller."""
    task = {"comm": event.comm, "cpu": event.cpu}
    return {key: value for key, value in task.items() if value is not None and value != getattr(caller, key)}


def pause(ns: int) -> list[Step]:
    """Return the step in which so much time passes; none for none."""
    return [Pause.on(min(ns, MAX_TIME_NS))] if ns > 0 else []


def folded(steps: list[Step]) -> list[Step]:
    """Return the steps in sequences of sequences, where one list would be too long."""
    while len(steps) > MAX_LIST:
        steps = [Sequence.on(steps[at : at + MAX_LIST]) for at in range(0, len(steps), MAX_LIST)]
    return steps
