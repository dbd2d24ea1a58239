"""What a rule is given: the trace, its machine, and the views of the records that several rules share.

The views are made once, in one sort each, so that a catalogue of rules over 10,000 probes costs a few sorts and not a
few squares.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

from numaprobe.analysis.hold import Holds
from numaprobe.analysis.machine import cpu_node_of, kernel_of
from numaprobe.records import NO_NODE, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from numaprobe.cpuset import CpuSet
    from numaprobe.records import Finding, ProbeRecord, Trace
    from numaprobe.runtime import KernelProfile
    from numaprobe.topology import Topology

Item = TypeVar("Item")
Key = TypeVar("Key", bound="Hashable")

#: Warnings of these kinds name the devices whose costs nobody measured here.
ASSUMED: Final = frozenset({"assumed-cost", "emulated-cost"})
#: Findings name at most this many of a kind in their evidence: enough to act on, and readable.
SHOWN: Final = 8


#: What readers call a driver that the source does not name.
UNKNOWN_DRIVER: Final = "?"
#: Shares of the time that are much, and too little to act on. Arbitrary: what people change a machine for, and noise.
MUCH: Final = 0.1
LITTLE: Final = 0.01


class Rule(Protocol):
    """What a module of this folder offers (a module is a rule; this is its shape)."""

    #: the finding's kind
    KIND: str
    #: one line: what it means
    SUMMARY: str

    def find(self, case: Case) -> Iterator[Finding]:
        """Yield the findings of this rule."""
        ...


class Timed(NamedTuple):
    """A record whose start and end are known."""

    start_ns: int
    end_ns: int
    record: ProbeRecord


@dataclass(frozen=True)
class Case:
    """A trace under examination."""

    trace: Trace
    topology: Topology | None

    @cached_property
    def probes(self) -> tuple[ProbeRecord, ...]:
        """The records, by start; those without one keep the trace's order, first."""
        return tuple(sorted(self.trace.probes, key=lambda r: -1 if r.start_ns is None else r.start_ns))

    @cached_property
    def assumed(self) -> frozenset[str]:
        """Devices whose cost is an assumption: it shows where a probe runs, and says nothing of time."""
        return frozenset(dev for warning in self.trace.warnings if warning.kind in ASSUMED for dev in warning.devices)

    @cached_property
    def measured(self) -> tuple[ProbeRecord, ...]:
        """The records whose cost is no assumption, in the order of ``probes``."""
        return tuple(record for record in self.probes if record.device not in self.assumed)

    @cached_property
    def makespan_ns(self) -> int | None:
        """First start to last end; None without times."""
        return max(t.end_ns for t in self.timed) - self.timed[0].start_ns if self.timed else None

    def cost(self, records: Iterable[ProbeRecord]) -> dict[str, int]:
        """Return the summed cost as evidence; nothing where a part of it is assumed."""
        chosen = list(records)
        if any(record.device in self.assumed for record in chosen):
            return {}
        return {"cost_ns": sum(record.cost_ns for record in chosen)}

    @cached_property
    def timed(self) -> tuple[Timed, ...]:
        """The records that have a start and an end, by start."""
        return tuple(
            Timed(r.start_ns, r.end_ns, r) for r in self.probes if r.start_ns is not None and r.end_ns is not None
        )

    @cached_property
    def kernel(self) -> KernelProfile | None:
        """The kernel, with its settings; None if the trace does not tell which."""
        return kernel_of(self.trace, self.topology)

    @cached_property
    def holds(self) -> Holds:
        """What was guaranteed of each probe's place."""
        return Holds(self.trace, self.topology)

    @cached_property
    def clocked(self) -> tuple[Timed, ...]:
        """Those of ``timed`` whose cost is no assumption: what a rule about time may look at."""
        return tuple(timed for timed in self.timed if timed.record.device not in self.assumed)

    def cpu_node(self, record: ProbeRecord) -> int | None:
        """Return the node on which the body started; None if unknown."""
        return cpu_node_of(record, self.topology)

    def is_remote(self, record: ProbeRecord) -> bool | None:
        """Tell whether the body started on another node than its device's; None if that cannot be said."""
        node = self.cpu_node(record)
        if node is None or not has_node(record):
            return None
        return node != record.device_node

    def node_cpus(self, node: int) -> CpuSet | None:
        """Return the online CPUs of a node; None if the machine is unknown."""
        if self.topology is None:
            return None
        found = self.topology.node(node)
        return found.cpus & self.topology.online if found else None

    def spans_nodes(self, cpus: CpuSet) -> bool:
        """Tell whether CPUs are of more than one node; False if the machine is unknown."""
        return self.topology is not None and sum(bool(node.cpus & cpus) for node in self.topology.nodes) > 1

    def usable_cpus(self, node: int) -> CpuSet | None:
        """Return the online CPUs of a node that no kernel parameter keeps free; None if the machine is unknown."""
        cpus = self.node_cpus(node)
        if cpus is None or self.topology is None:
            return None
        return cpus - self.isolated

    @cached_property
    def isolated(self) -> CpuSet:
        """The CPUs that kernel parameters keep free of unbound kernel work; empty if the machine is unknown."""
        from numaprobe.cpuset import CpuSet

        if self.topology is None:
            return CpuSet()
        kept = self.topology.housekeeping
        free = kept.isolated | kept.nohz_full
        return free if kept.unbound_cpus is None else free | (self.topology.possible - kept.unbound_cpus)


def has_node(record: ProbeRecord) -> bool:
    """Tell whether the device's node is known and not -1."""
    return record.device_node is not None and record.device_node != NO_NODE


def is_worker(comm: str | None) -> bool:
    """Tell whether a task of this name is a kworker."""
    return (comm or "").startswith("kworker/")


def group_by(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Return the items by key, keys and items in the order of appearance."""
    groups: dict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


def names(records: Iterable[ProbeRecord]) -> tuple[str, ...]:
    """Return the devices of these records, each once, in order."""
    return tuple(dict.fromkeys(record.device for record in records))


def graded(part: float, whole: float) -> Severity:
    """Return how much it matters that ``part`` of ``whole`` was lost: from 10 % on much, below 1 % nothing."""
    share = part / whole if whole else 0.0
    return Severity.HIGH if share >= MUCH else Severity.MEDIUM if share >= LITTLE else Severity.LOW


def plural(count: int, word: str) -> str:
    """Return ``1 probe``, ``3 probes``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
