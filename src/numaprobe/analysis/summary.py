"""One trace in figures.

What counts as what:

* A *deferred* attempt (``EPROBE_DEFER``) is an outcome, and a short one: it is counted, but left out of worst and mean,
  which would look better the more often a driver was sent away.
* ``makespan_ns`` is from the start of the first to the end of the last probe, deferred ones and pauses included. It is
  not the sum of costs, and not the time of the command that caused them.
* ``local_share`` is over probes whose two nodes are known. A device without a node is neither local nor remote.
* ``held_share`` is what was *guaranteed* of the same probes, not what happened: see ``hold``. It is over the probes of
  which that can be said.
* Sums of the cost split are over the probes that have it; ``split_known`` says how many these are. A nested probe is
  part of the one around it too: its time is in both costs, and once in the sums.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numaprobe.analysis.hold import Hold, Holds
from numaprobe.analysis.machine import cpu_node_of, topology_of
from numaprobe.records import NO_NODE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numaprobe.records import ProbeRecord, Trace
    from numaprobe.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of one trace. Times in ns, sizes in bytes; None = no record tells."""

    #: calls of a probe, retries included
    probes: int
    #: of these: sent away with EPROBE_DEFER, and ended with another error
    deferred: int
    failed: int
    #: first start to last end
    makespan_ns: int | None
    #: the largest cost, and whose it is; the mean cost (rounded to whole ns)
    worst_ns: int | None
    worst_device: str | None
    mean_ns: int | None
    #: of a prediction with something in doubt: the least and the most that makespan and worst can be; None: no doubt
    makespan_range_ns: tuple[int, int] | None
    worst_range_ns: tuple[int, int] | None
    #: probes that started on their device's node, on another, and where that cannot be said
    local: int
    remote: int
    unplaced: int
    #: local / (local + remote)
    local_share: float | None
    #: probes by what was guaranteed (``held``, ``soft``, ``anywhere``, ``away``), and the share that was held
    holds: Mapping[str, int]
    held_share: float | None
    #: every CPU a body ran on, ascending
    cpus: tuple[int, ...]
    #: sums of the cost split, and over how many probes
    running_ns: int | None
    runnable_ns: int | None
    sleeping_ns: int | None
    split_known: int
    #: sum of the time spent running on another node than the device's
    remote_ns: int | None
    #: bytes that the bodies allocated, by node; None if no record tells
    memory: Mapping[int, int] | None
    #: of these bytes: on the device's own node, where that is known
    memory_local_share: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as a policy's part of the ``numaprobe.compare/1`` object (design §8)."""
        memory = None if self.memory is None else {str(node): size for node, size in sorted(self.memory.items())}
        return {
            "makespan_ns": self.makespan_ns,
            "worst_ns": self.worst_ns,
            "worst_device": self.worst_device,
            "mean_ns": self.mean_ns,
            "local_share": self.local_share,
            "held_share": self.held_share,
            "cpus": list(self.cpus),
            "running_ns": self.running_ns,
            "runnable_ns": self.runnable_ns,
            "sleeping_ns": self.sleeping_ns,
            "remote_ns": self.remote_ns,
            "memory": memory,
            "memory_local_share": self.memory_local_share,
            "counts": {
                "probes": self.probes,
                "deferred": self.deferred,
                "failed": self.failed,
                "local": self.local,
                "remote": self.remote,
                "unplaced": self.unplaced,
                "split_known": self.split_known,
                **self.holds,
            },
        }


def summarize(trace: Trace, topology: Topology | None = None) -> Summary:
    """Return the figures of ``trace``; ``topology`` None = the trace's own.

    Raises:
        InputError: the trace's machine block is broken.

    """
    machine = topology if topology is not None else topology_of(trace)
    probes = trace.probes
    costed = [record for record in probes if not record.deferred]
    worst = max(costed, key=lambda record: record.cost_ns, default=None)
    places = Counter(_place(record, machine) for record in probes)
    placed = places["local"] + places["remote"]
    holds = Holds(trace, machine).count()
    outer = [record for record in probes if not record.nested]
    return Summary(
        probes=len(probes),
        deferred=len(probes) - len(costed),
        failed=sum(not record.bound for record in costed),
        makespan_ns=makespan(probes),
        worst_ns=worst.cost_ns if worst else None,
        worst_device=worst.device if worst else None,
        mean_ns=round(sum(record.cost_ns for record in costed) / len(costed)) if costed else None,
        makespan_range_ns=trace.makespan_range_ns,
        worst_range_ns=trace.worst_range_ns,
        local=places["local"],
        remote=places["remote"],
        unplaced=places["unplaced"],
        local_share=places["local"] / placed if placed else None,
        holds={str(hold): holds[hold] for hold in Hold},
        held_share=holds[Hold.HELD] / holds.total() if holds else None,
        cpus=_cpus(probes),
        running_ns=_total(record.running_ns for record in outer),
        runnable_ns=_total(record.runnable_ns for record in outer),
        sleeping_ns=_total(record.sleeping_ns for record in outer),
        split_known=sum(record.running_ns is not None for record in outer),
        remote_ns=_total(record.remote_ns for record in outer),
        memory=memory_by_node(outer),
        memory_local_share=_memory_local_share(outer),
    )


def _place(record: ProbeRecord, topology: Topology | None) -> str:
    node = cpu_node_of(record, topology)
    if node is None or record.device_node is None or record.device_node == NO_NODE:
        return "unplaced"
    return "local" if node == record.device_node else "remote"


def makespan(probes: Iterable[ProbeRecord]) -> int | None:
    """Return the time from the first start to the last end, ns; None if no record tells."""
    spans = [(r.start_ns, r.end_ns) for r in probes if r.start_ns is not None and r.end_ns is not None]
    return max(end for _, end in spans) - min(start for start, _ in spans) if spans else None


def _cpus(probes: Iterable[ProbeRecord]) -> tuple[int, ...]:
    seen: set[int] = set()
    for record in probes:
        seen.update(record.cpus or ())
        if record.cpu is not None:
            seen.add(record.cpu)
    return tuple(sorted(seen))


def _total(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def memory_by_node(probes: Iterable[ProbeRecord]) -> dict[int, int] | None:
    """Return the bytes these probes allocated on each node; None if no record tells."""
    totals: Counter[int] = Counter()
    told = False
    for record in probes:
        if record.memory is not None:
            told = True
            totals.update(record.memory)
    return dict(sorted(totals.items())) if told else None


def _memory_local_share(probes: Iterable[ProbeRecord]) -> float | None:
    local = total = 0
    for record in probes:
        if record.memory is not None and record.device_node is not None and record.device_node != NO_NODE:
            local += record.memory.get(record.device_node, 0)
            total += sum(record.memory.values())
    return local / total if total else None
