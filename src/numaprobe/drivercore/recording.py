"""The records of a core's probes: noted while it probes, made when somebody reads them.

A record has two dozen fields, most of which follow from a few facts. What must be known at once (where things were at
the time) goes into a ``Note``; the rest waits until ``RecordKeeper.records`` is read, off the way of the next probe.
Whatever a note refers to never changes again: the machine hands a ``Usage`` over for good.

The core keeps notes; any thread may read the records meanwhile. The two meet in the queue of notes, whose ends are
safe by themselves, so that keeping needs no lock; what readers do to the records is done under one.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from numaprobe.drivercore.results import errno_name
from numaprobe.records import ProbeRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.cpuset import CpuSet
    from numaprobe.runtime import Usage
    from numaprobe.topology import Topology

#: Whoever watches is told of every so many probes: seldom enough to cost nothing.
TELL_EVERY: Final = 64


class Note(NamedTuple):
    """What a record is made of: fields as in ``ProbeRecord``, ``errno`` as the body returned it."""

    device: str
    driver: str
    bus: str
    device_node: int
    comm: str
    asynchronous: bool
    nested: bool
    errno: int
    caller_cpu: int
    caller_comm: str
    function: str
    path: str | None
    attempt: int
    usage: Usage


class RecordKeeper:
    """Keeps the notes of one core's probes, and the records made of them.

    Args:
        topology: the machine.
        most: so many of the last records are kept; None = all.

    """

    def __init__(self, topology: Topology, most: int | None) -> None:
        self._topology = topology
        self._most = most
        self._notes: deque[Note] = deque(maxlen=most)
        self._records: list[ProbeRecord] = []
        self._reading = threading.Lock()
        self._probes = 0
        #: called with the number of probes that are over, each time it is a multiple of ``TELL_EVERY``
        self.told: Callable[[int], object] | None = None
        self._lists: dict[int, str] = {}

    @property
    def records(self) -> list[ProbeRecord]:
        """The records so far, in the order of the probes' ends: one list, which each reading brings up to date."""
        with self._reading:
            while self._notes:
                self._records.append(self._record(self._notes.popleft()))
            if self._most is not None:
                del self._records[: max(0, len(self._records) - self._most)]
            return self._records

    @property
    def dropped(self) -> int:
        """How many records were not kept."""
        return 0 if self._most is None else max(0, self._probes - self._most)

    def keep(self, note: Note) -> None:
        """Keep the note of a probe that is over; the oldest one goes if they are too many."""
        self._notes.append(note)
        self._probes += 1
        if self.told is not None and self._probes % TELL_EVERY == 0:
            self.told(self._probes)

    def _list(self, cpus: CpuSet | None) -> str | None:
        """Return CPUs as a list; the few different ones of a run are written once."""
        if cpus is None:
            return None
        text = self._lists.get(cpus.bits)
        if text is None:
            text = self._lists[cpus.bits] = str(cpus)
        return text

    def _record(self, note: Note) -> ProbeRecord:
        usage = note.usage
        cpu = usage.cpus[0] if usage.cpus else None  # none: the system had no thread for it
        remote = None
        if cpu is not None and note.device_node >= 0 and usage.running_by_node is not None:
            remote = sum(ns for node, ns in usage.running_by_node.items() if node != note.device_node)
        return ProbeRecord(
            device=note.device,
            driver=note.driver,
            bus=note.bus,
            device_node=note.device_node,
            cpu=cpu,
            cpu_node=self._topology.node_of(cpu) if cpu is not None else None,
            comm=note.comm,
            asynchronous=note.asynchronous,
            nested=note.nested,
            result=errno_name(note.errno),
            start_ns=usage.start_ns,
            end_ns=usage.end_ns,
            cost_ns=usage.end_ns - usage.start_ns,
            running_ns=usage.running_ns,
            runnable_ns=usage.runnable_ns,
            sleeping_ns=usage.sleeping_ns,
            cpus=usage.cpus or None,
            cpus_allowed=self._list(usage.allowed),
            pod=self._list(usage.pod),
            remote_ns=remote,
            caller_cpu=note.caller_cpu,
            caller_comm=note.caller_comm,
            function=note.function,
            path=note.path,
            memory=usage.memory,
            attempt=note.attempt,
            segments=usage.segments,
        )
