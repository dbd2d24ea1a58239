"""What led to the probes of a trace: drivers that were loaded, devices that came, writes to ``bind``.

An *event* is one thing that one task did, with the probes that it waited for. Probes reached by ``driver_attach`` are
one event for each time their driver was registered; any other probe is an event of its own. A probe again after a
deferral is no event: the driver core does it.

Events come out in order of time, each of a kind that is possible when its turn comes: a driver that other probes needed
before is there already, so its devices come as new ones; a device that is bound is let go first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from numaprobe.scenario.quantities import is_comm
from numaprobe.scenario.replay.probes import ATTACH_PATHS, BIND_PATH
from numaprobe.scenario.steps import Add, Bind, DriversProbe, Load, Remove, Step, Unbind, Unregister

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numaprobe.scenario.replay.collected import ReplayWarnings
    from numaprobe.scenario.replay.probes import Key, TracedProbe
    from numaprobe.topology import Topology


@dataclass(eq=False, slots=True, kw_only=True)
class TaskEvent:
    """One thing that a task did."""

    #: the step: ``Load``, ``Add``, ``Bind``, ``DriversProbe``
    kind: type[Step]
    #: name of the driver
    driver: str
    start: int
    end: int
    #: the task; None: not known
    comm: str | None = None
    cpu: int | None = None
    probes: list[TracedProbe]
    #: step to take before it, so that it can happen once more: ``Unregister``, ``Remove``, ``Unbind``
    before: type[Step] | None = None

    @property
    def devices(self) -> list[str]:
        """The devices, in order, each once."""
        return list(dict.fromkeys(one.record.device for one in self.probes))


@dataclass(slots=True)
class TraceHistory:
    """The events of a trace, and what its devices and drivers need."""

    events: list[TaskEvent] = field(default_factory=list)
    #: device -> all its probes, in order
    probes: dict[Key, list[TracedProbe]] = field(default_factory=dict)
    #: devices that are registered by other probes
    children: set[Key] = field(default_factory=set)
    #: names of the drivers that are there before the first event
    preloaded: dict[str, None] = field(default_factory=dict)
    #: devices that are there before the first event
    present: dict[Key, None] = field(default_factory=dict)


def history(seen: Sequence[TracedProbe], topology: Topology, warnings: ReplayWarnings) -> TraceHistory:
    """Return what happened.

    Args:
        seen: the probes, in order of start.
        topology: to know CPUs.
        warnings: what had to be left out.

    """
    found = TraceHistory()
    own = list(first_attempts(seen, found, warnings))
    _preload(seen, found)
    state = _State(found)
    for event in _events(own, {one.driver for one in seen if one.asynchronous}, topology):
        state.settle(event)
        found.events.append(event)
    return found


def first_attempts(seen: Iterable[TracedProbe], found: TraceHistory, warnings: ReplayWarnings) -> Iterator[TracedProbe]:
    """Return the probes that are no retries and not inside of others."""
    latest: dict[Key, TracedProbe] = {}
    for one in seen:
        before = latest.get(one.key)
        found.probes.setdefault(one.key, []).append(one)
        if before is not None and before.final.deferred and one.may_be_retry:
            before.final = one
            continue
        latest[one.key] = one
        if one.depth and before is None:
            found.children.add(one.key)
        elif one.key in found.children:
            _say_twice(one, warnings, "was registered by another probe first; its other probes follow that one's")
        elif one.depth:
            _say_twice(one, warnings, "was there before another probe registered it; the later probe is left out")
        else:
            if before is not None:
                _say_twice(one, warnings, "was probed more than once; each of its probes is replayed with one cost")
            yield one


def _say_twice(one: TracedProbe, warnings: ReplayWarnings, text: str) -> None:
    warnings.say("repeated", text, one.record.device)


def _preload(seen: Iterable[TracedProbe], found: TraceHistory) -> None:
    """Note the drivers whose first probe did not come from their registration: they were there before."""
    first: dict[str, TracedProbe] = {}
    for one in seen:
        first.setdefault(one.record.driver, one)
    for driver, one in first.items():
        if one.depth or one.path not in ATTACH_PATHS:
            found.preloaded[driver] = None


# ---- from probes to events -----------------------------------------------------------------------------------------
def _events(own: Iterable[TracedProbe], wants_async: set[Key], topology: Topology) -> list[TaskEvent]:
    """Return the events in order of start; the probes of one registration of a driver are one event."""
    events: list[TaskEvent] = []
    loading: dict[str, tuple[TaskEvent, set[Key]]] = {}
    for one in own:
        if one.path not in ATTACH_PATHS:
            events.append(_event(one, _kind(one, wants_async), topology))
            continue
        event, devices = loading.get(one.record.driver, (None, set()))
        if event is None or one.key in devices:
            event = _event(one, Load, topology)
            events.append(event)
            loading[one.record.driver] = event, {one.key}
        else:
            event.probes.append(one)
            event.end = max(event.end, one.end)
            devices.add(one.key)
            _name_caller(event, one, topology)
    return events


def _kind(one: TracedProbe, wants_async: set[Key]) -> type[Step]:
    """Return how a single device came to its probe."""
    if one.path == BIND_PATH:
        return Bind
    # A driver that asks for asynchronous probing gets it when a device comes; only drivers_probe is sync for it.
    return DriversProbe if one.driver in wants_async and not one.asynchronous else Add


def _event(one: TracedProbe, kind: type[Step], topology: Topology) -> TaskEvent:
    event = TaskEvent(kind=kind, driver=one.record.driver, start=one.start, end=one.end, probes=[one])
    _name_caller(event, one, topology)
    return event


def _name_caller(event: TaskEvent, one: TracedProbe, topology: Topology) -> None:
    """Note the task that waited: of an asynchronous probe the record knows only the worker, not which task began it."""
    record = one.record
    comm = record.caller_comm or record.comm
    if event.comm is not None or one.asynchronous or comm is None or not is_comm(comm):
        return
    cpu = record.caller_cpu if record.caller_comm else record.cpu
    event.comm = comm
    event.cpu = cpu if cpu is not None and cpu in topology.online else None


# ---- what is possible when ------------------------------------------------------------------------------------------
class _State:
    """What is registered and bound while the events go by."""

    def __init__(self, found: TraceHistory) -> None:
        self._found = found
        self._loaded = dict(found.preloaded)
        self._added: set[Key] = set()
        self._bound: set[Key] = set()

    def settle(self, event: TaskEvent) -> None:
        """Make an event possible after those before it, and note what it needs to be there from the start."""
        if event.kind is Load:
            self._settle_load(event)
        elif event.kind is Add:
            self._settle_add(event)
        else:
            self._settle_bind(event)
        for one in event.probes:
            (self._bound.add if one.final.bound else self._bound.discard)(one.key)

    def _settle_load(self, event: TaskEvent) -> None:
        again = event.driver in self._loaded
        if again and not any(self._known(one.key) for one in event.probes):
            event.kind = Add
            self._settle_add(event)
            return
        event.before = Unregister if again else None
        self._loaded[event.driver] = None
        self._expect(event)

    def _settle_add(self, event: TaskEvent) -> None:
        if any(self._known(one.key) for one in event.probes):
            event.before = Remove
        self._added.update(one.key for one in event.probes)

    def _settle_bind(self, event: TaskEvent) -> None:
        key = event.probes[0].key
        if key in self._bound:
            event.before = Unbind
        elif not self._known(key) and event.driver not in self._found.preloaded:
            # were it there, the driver would have taken it when it was loaded
            event.kind = Add
            self._settle_add(event)
            return
        self._expect(event)

    def _expect(self, event: TaskEvent) -> None:
        """The devices of this event have to be there."""
        for one in event.probes:
            if not self._known(one.key):
                self._found.present[one.key] = None

    def _known(self, key: Key) -> bool:
        return key in self._found.present or key in self._added
