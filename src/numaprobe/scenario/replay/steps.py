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
from numaprobe.scenario.replay.phases import time
from numaprobe.units import MAX_TIME_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.scenario.replay.events import Event, History

Step = dict[str, Any]

#: Steps of a list, and tasks at once: what a scenario takes.
MAX_LIST: Final = 4000
_DEFAULT_CALLER: Final = {"comm": "modprobe", "cpu": 0}


def first_caller(events: Iterable[Event]) -> dict[str, Any]:
    """Return the task of the first event that knows one: it takes the steps of which nobody else is known."""
    for event in events:
        if event.comm is not None and event.cpu is not None:
            return {"comm": event.comm, "cpu": event.cpu}
    return dict(_DEFAULT_CALLER)


def steps_of(past: History, caller: dict[str, Any]) -> list[Step]:
    """Return all steps.

    Raises:
        InputError: more tasks at once than a scenario takes.

    """
    steps = _prelude(past)
    now: int | None = None
    for cluster in _clusters(past.events):
        if now is not None:
            steps += _pause(cluster[0].start - now)
        now = max(event.end for event in cluster)
        steps += _in_parallel(cluster, caller)
    return _folded([*steps, {"settle": True}])


def _prelude(past: History) -> list[Step]:
    add: list[Step] = [{"add": [name for _, name in past.present]}] if past.present else []
    load: list[Step] = [{"load": list(past.preloaded)}] if past.preloaded else []
    buses = sorted({bus for bus, _ in past.present}) if load else []
    off = [{"autoprobe": {"bus": bus, "on": False}} for bus in buses]
    on = [{"autoprobe": {"bus": bus, "on": True}} for bus in buses]
    return [*off, *add, *load, *on]


def _clusters(events: Iterable[Event]) -> list[list[Event]]:
    """Return the events in groups: those of one group overlapped, directly or by way of others."""
    clusters: list[list[Event]] = []
    end = 0
    for event in sorted(events, key=lambda one: one.start):
        if clusters and event.start < end:
            clusters[-1].append(event)
            end = max(end, event.end)
        else:
            clusters.append([event])
            end = event.end
    return clusters


def _in_parallel(cluster: Sequence[Event], caller: dict[str, Any]) -> list[Step]:
    tracks = _tracks(cluster)
    if len(tracks) == 1:
        return _track(tracks[0], cluster[0].start, caller)
    return [{"parallel": [_alone(track, cluster[0].start, caller) for track in tracks]}]


def _alone(track: Sequence[Event], start: int, caller: dict[str, Any]) -> Step:
    """Return the one step of a task that runs beside others: its waits, too, are on its own CPU."""
    task = _task(track[0], caller)
    steps = _track(track, start, caller | task)
    return steps[0] | task if len(steps) == 1 else {"sequence": _folded(steps)} | task


def _tracks(cluster: Iterable[Event]) -> list[list[Event]]:
    """Return a list of events for each task: one task does one thing after the other."""
    tracks: dict[tuple[str | None, int | None], list[list[Event]]] = {}
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


def _track(events: Iterable[Event], start: int, caller: dict[str, Any]) -> list[Step]:
    steps: list[Step] = []
    for event in events:
        steps += _pause(event.start - start)
        steps += _steps(event, caller)
        start = event.end
    return steps


def _steps(event: Event, caller: dict[str, Any]) -> list[Step]:
    task = _task(event, caller)
    names = event.devices
    again: list[Step] = []
    if event.before == "unregister":
        again = [{"unregister": event.driver} | task]
    elif event.before is not None:
        again = [{event.before: names} | task]
    if event.kind == "load":
        return [*again, {"load": event.driver} | task]
    if event.kind == "bind":
        return [*again, {"bind": names, "driver": event.driver} | task]
    return [*again, {event.kind: names} | task]


def _task(event: Event, caller: dict[str, Any]) -> Step:
    """Return who takes the step, if not the scenario's caller."""
    task = {"comm": event.comm, "cpu": event.cpu}
    return {key: value for key, value in task.items() if value is not None and value != caller[key]}


def _pause(ns: int) -> list[Step]:
    return [{"wait": time(min(ns, MAX_TIME_NS))}] if ns > 0 else []


def _folded(steps: list[Step]) -> list[Step]:
    """Return the steps in sequences of sequences, where one list would be too long."""
    while len(steps) > MAX_LIST:
        steps = [{"sequence": steps[at : at + MAX_LIST]} for at in range(0, len(steps), MAX_LIST)]
    return steps
