"""The probes of a trace, made ready: what a source does not tell is filled in, and each child finds its parent.

A record may lack its bus, its times, whether it was asynchronous and how it was reached. Each of these is inferred by a
rule that stands beside it, and said in a warning where the rule is more than a matter of form. Whatever a trace holds,
the parents form a forest: a child starts after its parent and ends before it, so no circle can come out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from numaprobe.analysis.findings.case import UNKNOWN_DRIVER
from numaprobe.errors import InputError
from numaprobe.scenario.quantities import is_plain_name
from numaprobe.scenario.tables import MAX_DEVICES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numaprobe.records import ProbeRecord
    from numaprobe.scenario.replay.collected import ReplayWarnings
    from numaprobe.topology import DeviceInfo, Topology

#: No probe takes an hour; simulating one in time slices would take long, too.
MAX_COST_NS: Final = 3600 * 10**9
#: ``register`` inside ``register``: deeper than any device tree probes within one task, and all that a file may nest.
MAX_NESTING: Final = 8
#: How many probes under way in tasks of one name are looked at for a parent.
_LOOK_BACK: Final = 64
#: Two probes that overlap by no more may be one after the other: a log is stamped when its line is printed.
_SLACK_NS: Final = 100_000

_PCI_NAME = re.compile(r"(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)
_VIRTIO_NAME = re.compile(r"virtio\d{1,6}", re.ASCII)

#: How a probe can be reached; see ``ProbeRecord.path``.
ATTACH_PATHS: Final = ("driver_attach_sync", "driver_attach_async")
BIND_PATH: Final = "device_driver_attach"

Key = tuple[str, str]


@dataclass(eq=False, slots=True, kw_only=True)
class TracedProbe:
    """One probe of the trace with everything that a replay needs."""

    record: ProbeRecord
    bus: str
    start: int
    end: int
    asynchronous: bool
    path: str
    #: probes of devices that its body registered, by time
    children: list[TracedProbe] = field(default_factory=list)
    #: how many probes it is inside of
    depth: int = 0
    _retry: TracedProbe | None = None

    @property
    def key(self) -> Key:
        """The device."""
        return self.bus, self.record.device

    @property
    def driver(self) -> Key:
        """The driver."""
        return self.bus, self.record.driver

    @property
    def deferred(self) -> bool:
        """Whether it asked to be probed again later."""
        return self.record.deferred

    @property
    def bound(self) -> bool:
        """Whether the device was bound after it; a result that is not told counts as success."""
        return self.record.bound

    @property
    def may_be_retry(self) -> bool:
        """Whether the driver core may have tried again by itself, after a deferral."""
        return self.record.path is None or self.path not in (*ATTACH_PATHS, BIND_PATH)

    @property
    def final(self) -> TracedProbe:
        """The last retry after a deferral; the probe itself if there was none."""
        return self._retry or self

    @final.setter
    def final(self, retry: TracedProbe) -> None:
        self._retry = retry


def ready(records: Sequence[ProbeRecord], topology: Topology, warnings: ReplayWarnings) -> list[TracedProbe]:
    """Return the probes in order of start, a parent before its children, of one driver for each device.

    Raises:
        InputError: nothing can be replayed, or a figure is absurd.

    """
    if len(records) > MAX_DEVICES:
        raise InputError(f"holds {len(records)} probes; at most {MAX_DEVICES} are replayed")
    usable = _usable(records, warnings)
    known = {device.name: device for device in reversed(topology.devices)}
    seen = _timed([(record, _bus(record, known, warnings)) for record in usable], warnings)
    seen.sort(key=_order)
    seen = _one_driver_each(seen, warnings)
    _find_parents(seen, warnings)
    return seen


def _order(one: TracedProbe) -> tuple[int, bool, int]:
    """By start; of two at once the one that may be the other's parent first, else as they were."""
    below = bool(one.record.nested) or one.path == "device_attach"
    return one.start, below, -one.end if below else 0


def _usable(records: Iterable[ProbeRecord], warnings: ReplayWarnings) -> list[ProbeRecord]:
    usable = []
    for record in records:
        if not (is_plain_name(record.device) and is_plain_name(record.driver)):
            warnings.say("not-replayed", "a device or driver has a name that a scenario cannot hold")
        elif max(record.cost_ns, (record.end_ns or 0) - (record.start_ns or 0)) > MAX_COST_NS:
            raise InputError(f"the probe of {record.device[:60]} lasts longer than an hour, which no replay can show")
        else:
            usable.append(record)
    if not usable:
        raise InputError("holds no probe that can be replayed")
    return usable


def _bus(record: ProbeRecord, known: dict[str, DeviceInfo], warnings: ReplayWarnings) -> str:
    """Return the bus that the record, the machine, or else the shape of the name tells."""
    device = known.get(record.device)
    told = record.bus or (device.bus if device else None)
    if told and is_plain_name(told):
        return told
    if _PCI_NAME.fullmatch(record.device):
        return "pci"
    if _VIRTIO_NAME.fullmatch(record.device):
        return "virtio"
    warnings.say("assumed-bus", "the bus is not known; replayed on a platform bus", record.device)
    return "platform"


# ---- times ---------------------------------------------------------------------------------------------------------
def _timed(records: list[tuple[ProbeRecord, str]], warnings: ReplayWarnings) -> list[TracedProbe]:
    """Give each probe a start and an end; those that tell only a cost come one after the other, driver by driver."""
    at_once = _drivers_at_once(records)
    cursor = max((r.end_ns or r.start_ns or 0 for r, _ in records), default=0)
    order: dict[Key, int] = {}
    for record, bus in records:
        order.setdefault((bus, record.driver), len(order))
    seen = []
    for record, bus in sorted(records, key=lambda pair: (pair[0].start_ns is None, order[pair[1], pair[0].driver])):
        start = record.start_ns
        if start is None:
            warnings.say("assumed-order", "when the probes started is not known; drivers are replayed one by one")
            start, cursor = cursor, cursor + record.cost_ns
        end = start + record.cost_ns if record.end_ns is None else max(start, record.end_ns)
        asynchronous = _asynchronous(record, bus, at_once, warnings)
        path = record.path or ATTACH_PATHS[asynchronous]
        seen.append(TracedProbe(record=record, bus=bus, start=start, end=end, asynchronous=asynchronous, path=path))
    return seen


def _drivers_at_once(records: Iterable[tuple[ProbeRecord, str]]) -> dict[Key, str]:
    """Return the drivers of which several probes were under way at once, and what shows it; a sync caller makes one.

    Two that overlap show it where a log names no tasks. One within the time of another one does not: it may be the
    probe of a child.
    """
    workers: dict[Key, set[str]] = defaultdict(set)
    spans: dict[Key, list[tuple[int, int]]] = defaultdict(list)
    for record, bus in records:
        if record.comm is not None and record.comm.startswith("kworker/"):
            workers[bus, record.driver].add(record.comm)
        if record.driver != UNKNOWN_DRIVER and record.start_ns is not None and record.end_ns is not None:
            spans[bus, record.driver].append((record.start_ns, record.end_ns))
    found = {driver: "overlapped" for driver, each in spans.items() if _overlap(each)}
    return found | {driver: "ran in several workers" for driver, comms in workers.items() if len(comms) > 1}


def _overlap(spans: list[tuple[int, int]]) -> bool:
    """Tell whether any two spans overlap with neither inside the other."""
    around: list[int] = []
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        while around and around[-1] <= start + _SLACK_NS:
            around.pop()
        if around and around[-1] < end:
            return True
        around.append(end)
    return False


def _asynchronous(record: ProbeRecord, bus: str, at_once: Mapping[Key, str], warnings: ReplayWarnings) -> bool:
    if record.asynchronous is not None:
        return record.asynchronous
    if record.path is not None:
        return record.path.endswith("_async")
    shown = at_once.get((bus, record.driver))
    how = "synchronous" if shown is None else f"asynchronous: they {shown}"
    warnings.say(
        "assumed-async", f"whether its probes were asynchronous is not known; replayed as {how}", record.driver
    )
    return shown is not None


# ---- one driver for each device ------------------------------------------------------------------------------------
def _one_driver_each(seen: list[TracedProbe], warnings: ReplayWarnings) -> list[TracedProbe]:
    """Keep of each device the probes of the driver that bound it last, else of the one that tried last."""
    chosen: dict[Key, TracedProbe] = {}
    for one in seen:
        before = chosen.get(one.key)
        if before is None or one.bound or not before.bound:
            chosen[one.key] = one
    kept = []
    for one in seen:
        if one.driver == chosen[one.key].driver:
            kept.append(one)
        else:
            text = "was probed by several drivers; only the one that bound it last is replayed"
            warnings.say("not-replayed", text, one.record.device)
    return kept


# ---- parents -------------------------------------------------------------------------------------------------------
def _find_parents(seen: list[TracedProbe], warnings: ReplayWarnings) -> None:
    """Hang each probe that ran because another one registered its device below that one."""
    under_way: dict[str, list[TracedProbe]] = defaultdict(list)
    for one in seen:
        parent = _parent(one, under_way)
        if parent is not None and parent.depth + 1 < MAX_NESTING:
            parent.children.append(one)
            one.depth = parent.depth + 1
        elif one.record.nested or parent is not None:
            text = "ran inside another probe that is not in the trace, or nests too deep; replayed on its own"
            warnings.say("nested", text, one.record.device)
        if one.record.comm is not None:
            under_way[one.record.comm].append(one)


def _parent(one: TracedProbe, under_way: dict[str, list[TracedProbe]]) -> TracedProbe | None:
    """Return the innermost probe around ``one`` in the task that waited for it."""
    record = one.record
    if one.asynchronous or not (record.nested or one.path == "device_attach"):
        return None
    comm = record.comm if record.nested else record.caller_comm
    if comm is None or comm not in under_way:
        return None
    stack = under_way[comm]
    while stack and stack[-1].end < one.start:
        stack.pop()
    for candidate in stack[: -_LOOK_BACK - 1 : -1]:
        if candidate.start <= one.start and one.end <= candidate.end and candidate.key != one.key:
            return candidate
    return None
