"""What happened, frozen: the one form that a simulated, a hosted and a kernel run share.

A *record* is what happened to one probe. A *trace* is the records of one run and the machine they ran on. Everything
above this floor (analysis, reports, comparisons) reads these types alone, so that it cannot matter where they came
from. What a source cannot tell is ``None``, never zero and never a guess.

All times are integer nanoseconds on the clock of the run (virtual time, CLOCK_MONOTONIC, or the trace clock); all
sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from numaprobe.records.errnos import EPROBE_DEFER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numaprobe.records.boot import Initcall, Milestone
    from numaprobe.records.shared import LockWait, Reading, SharedHold

#: Version of the JSON forms; a reader refuses what it does not know.
TRACE_SCHEMA: Final = "numaprobe.trace/1"
COMPARE_SCHEMA: Final = "numaprobe.compare/1"

Source = Literal["virtual", "host", "kernel"]

#: The kernel's NUMA_NO_NODE: the firmware did not say to which node the device belongs.
NO_NODE: Final = -1


class RunState(StrEnum):
    """What the task that runs a probe body is doing."""

    #: on a CPU
    RUNNING = "running"
    #: ready, and waiting for a CPU
    RUNNABLE = "runnable"
    #: waiting for something else: a timer, a lock, a device
    SLEEPING = "sleeping"


class Segment(NamedTuple):
    """A stretch of a probe in one state. Segments of a record follow each other without a gap."""

    start_ns: int
    end_ns: int
    state: RunState
    #: the CPU it ran on, or waited for; while sleeping, the one it last ran on
    cpu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRecord:
    """One call of a driver's probe for one device."""

    #: bus address or name, as ``dev_name()`` gives it: ``0000:01:00.0``
    device: str
    #: the driver's name
    driver: str
    #: the bus's name; None if the source does not tell
    bus: str | None = None
    #: the device's NUMA node; -1 = the firmware gave none; None = the source does not tell
    device_node: int | None = None
    #: the CPU on which the body *started*; None if the source does not tell
    cpu: int | None = None
    #: the node of ``cpu``
    cpu_node: int | None = None
    #: name of the task that ran the body: ``kworker/0:1``, ``insmod``
    comm: str | None = None
    #: probed from an async worker (``async_schedule_dev``), not from the caller of register, bind or rescan
    asynchronous: bool | None = None
    #: ran inside the probe body of another device, in the same task
    nested: bool | None = None
    #: "0", or the errno's name without its sign: "EPROBE_DEFER", "ENODEV"; "E?" = not bound, for a reason that the
    #: source does not tell; None if the source does not tell the outcome
    result: str | None = None
    #: when the body started and returned; None if the source gives only a duration
    start_ns: int | None = None
    end_ns: int | None = None
    #: end - start, or the duration that the source printed
    cost_ns: int
    #: of cost: time on a CPU. running + runnable + sleeping = cost where all three are known
    running_ns: int | None = None
    #: of cost: ready, but waiting for a CPU
    runnable_ns: int | None = None
    #: of cost: waiting for anything else
    sleeping_ns: int | None = None
    #: every CPU the body ran on, in the order of first use; starts with ``cpu``
    cpus: tuple[int, ...] | None = None
    #: the CPUs that the task might use when the body started (``Cpus_allowed_list``), as the kernel writes a list:
    #: ``0-3,8``; None if the source does not tell
    cpus_allowed: str | None = None
    #: of a worker of an unbound pool: the CPUs of the pool's pod, as a list. It is woken on one of these and, if
    #: ``cpus_allowed`` has more, free to leave them; None: no such worker, or the source does not tell
    pod: str | None = None
    #: of running: time on CPUs of another node than the device's; None if the device's node is unknown
    remote_ns: int | None = None
    #: the task that waited for this probe: where it was, and its name; the body's own if it ran inline
    caller_cpu: int | None = None
    caller_comm: str | None = None
    #: what was timed: the driver's own function where it could be seen (``nvme_probe``), else the nearest outer one
    function: str | None = None
    #: how the probe was reached: ``driver_attach_sync``, ``driver_attach_async``, ``device_attach``,
    #: ``device_attach_async``, ``device_driver_attach`` (sysfs bind); None if the source does not tell
    path: str | None = None
    #: pages the body allocated, in bytes per node
    memory: Mapping[int, int] | None = None
    #: 1 for the first time this driver probed this device, 2 for the retry after a deferral, …
    attempt: int = 1
    #: the cost cut into stretches of one state, oldest first; None if not recorded
    segments: tuple[Segment, ...] | None = None
    #: how long it waited for locks, in all: asleep, or on its CPU where it spun; None if not recorded
    lock_wait_ns: int | None = None
    #: these waits by lock and holder, the longest sum first; None if not recorded
    waits: tuple[LockWait, ...] | None = None

    @property
    def local(self) -> bool | None:
        """Whether the body started on its device's node; None if either node is unknown."""
        if self.device_node is None or self.device_node == NO_NODE or self.cpu_node is None:
            return None
        return self.device_node == self.cpu_node

    @property
    def bound(self) -> bool:
        """Whether the device was bound after it; a result that is not told counts as success."""
        return self.result in ("0", None)

    @property
    def deferred(self) -> bool:
        """Whether it asked to be called again later: sent away with EPROBE_DEFER."""
        return self.result == EPROBE_DEFER


class Severity(StrEnum):
    """How much a finding matters in the run that it was found in."""

    #: a good part of the run's time was lost, or a device
    HIGH = "high"
    #: time was lost, or memory lies on another node than its device
    MEDIUM = "medium"
    #: nothing was lost this time: luck, or room that was not needed yet
    LOW = "low"


class Aim(StrEnum):
    """What a change is to better: when the probes are over, or where they run."""

    TIME = "time"
    PLACE = "place"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run came to, as far as a change can be judged by it; None = no record tells."""

    #: first start to last end
    makespan_ns: int | None = None
    #: the largest cost
    worst_ns: int | None = None
    #: of the probes whose nodes are known: started on their device's
    local_share: float | None = None
    #: of the probes of which it is known: drawn to their node (``held`` or ``soft``)
    drawn_share: float | None = None
    #: time spent running on another node than the device's
    remote_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One change that might help, and what it did when the run was repeated with it.

    A rule proposes changes; ``before`` and ``after`` are there once they were run (``numaprobe.study.confirm``). One of
    ``policy``, ``parameter`` and ``load_from`` says what is changed.
    """

    aim: Aim
    #: another policy, by its label
    policy: str | None = None
    #: a kernel parameter: ``driver_async_probe=nvme``
    parameter: str | None = None
    #: the place from which programs load drivers: ``node1``
    load_from: str | None = None
    #: what could go wrong; empty if nothing is known
    caution: str = ""
    #: the repeated run without the change, and with it; None: not run
    before: Figures | None = None
    after: Figures | None = None
    #: by how many percent the makespan changed, reading by reading: the least and the most; None: nothing is in doubt
    makespan_range_percent: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A diagnosis with its evidence."""

    #: which rule fired: ``same-cpu``, ``remote``, …
    kind: str
    #: the devices it is about, in order of start
    devices: tuple[str, ...]
    #: what shows it: figures in ns (keys end in ``_ns``), CPUs, names
    evidence: Mapping[str, Any]
    #: what the reader can do about it, one sentence or two
    advice: str
    #: how much it matters in this run
    severity: Severity = Severity.MEDIUM
    #: what might help, the rule's first choice first; ``advice`` names a policy or a setting only if it was run
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWarning:
    """Something the run, or the reader of a trace, wants known: a recursion report, lost events, a fall-back."""

    #: a short stable word: ``recursion``, ``lost-events``, …
    kind: str
    #: one line for people
    message: str
    #: when; None if it is about the whole run
    time_ns: int | None = None
    #: the devices that it is about; empty if it is about the whole run
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who made a trace, where and when: enough to tell two apart, and to know whether they can be compared.

    The kernel's release is the trace's ``kernel``, its command line ``machine["info"]["cmdline"]``. All are texts of
    strangers: for people to read, never to act upon.
    """

    #: ``uname -n``
    host: str | None = None
    #: which computer, whatever it is called: a hash of its machine-id(5) that is ours alone (``kernel/identity.py``)
    machine_id: str | None = None
    #: when the recording ended, wall clock, UTC: ``2026-11-21T19:50:55Z``; None of a run in virtual time
    date: str | None = None
    #: the kernel's build: ``uname -v``
    build: str | None = None
    #: what ran while it was recorded, as a shell takes it: ``modprobe nvme``
    command: str | None = None
    #: version of the numaprobe that wrote it
    numaprobe: str | None = None
    #: the user's word for it: ``before``
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The records of one run, and the machine they ran on."""

    source: Source
    #: the records, in order of start where known
    probes: tuple[ProbeRecord, ...]
    #: kernel release or profile name
    kernel: str | None = None
    policy: str | None = None
    scenario: str | None = None
    #: who made it; None: the source does not tell
    identity: Identity | None = None
    #: the machine's JSON block, as ``numaprobe topology --json`` writes it; empty if unknown
    machine: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    warnings: tuple[RunWarning, ...] = ()
    #: what the probes were found, or taken, to share
    shared: tuple[SharedHold, ...] = ()
    #: of a predicted run with something in doubt: its figures under each reading of it, its own
    #: among them; empty: nothing is in doubt
    readings: tuple[Reading, ...] = ()
    #: of a kernel's boot, in order: the initcalls of ``kernel_init``, and the moments that its log shows
    initcalls: tuple[Initcall, ...] = ()
    milestones: tuple[Milestone, ...] = ()
    schema: str = TRACE_SCHEMA

    def labelled(self, label: str | None) -> Trace:
        """Return the trace under a word of the user's; None: under that which it has."""
        if label is None:
            return self
        return replace(self, identity=replace(self.identity or Identity(), label=label))

    @property
    def makespan_range_ns(self) -> tuple[int, int] | None:
        """The least and the largest makespan of all readings; None: nothing is in doubt, or it has none."""
        return _range(reading.makespan_ns for reading in self.readings)

    @property
    def worst_range_ns(self) -> tuple[int, int] | None:
        """The least and the largest worst cost of all readings; None: nothing is in doubt, or it has none."""
        return _range(reading.worst_ns for reading in self.readings)


def _range(values: Iterable[int | None]) -> tuple[int, int] | None:
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known else None
