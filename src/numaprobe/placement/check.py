"""What was observed beside what was predicted, probe by probe.

What must agree, each with its reason:

* **worker**: what ran the body (the pool of a worker, or the caller) and on which CPUs that task might run (its
  affinity). This is what a policy decides. Of asynchronous probes of one node only the set must agree: which of two
  devices comes first is nobody's promise.
* **node**: the node of the CPU on which the body started (``getcpu``), if its task is held on one node. The thread of a
  soft pool (the unbound pools since 6.5) is put into its pod when a work begins, and the scheduler may move it at any
  time afterwards, on a busy computer before its body's first instruction: one that was seen elsewhere, at the start or
  later, is counted as *moved*, which judges nothing.
* **stayed**: no CPU on which the body was seen lies outside the predicted affinity.
* **memory**: bytes per node (``move_pages``). A worker prefers the memory of its pool's node, so this must agree for a
  body that was moved, too.
* **outcome**: result, nested or not, asynchronous or not.
* **witness**: ``/proc`` says the same as the record: name, a CPU of the affinity, node of further pages. (Between two
  readings of ``getcpu`` a body may have been on a third CPU.)

Times judge nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.records import NO_NODE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.cpuset import CpuSet
    from numaprobe.placement.case import PlacementCase
    from numaprobe.placement.seen import Seen
    from numaprobe.topology import Topology

#: ``TASK_COMM_LEN`` - 1: as much of a name as the kernel keeps
_COMM: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRow:
    """One probe: predicted, observed, and what agrees. None: not known, or nobody's promise."""

    case: PlacementCase
    device: str
    #: None: it was not predicted
    predicted: Seen | None
    #: None: it did not happen
    observed: Seen | None
    same_worker: bool | None = None
    same_node: bool | None = None
    stayed: bool | None = None
    same_memory: bool | None = None
    same_outcome: bool | None = None
    witnessed: bool | None = None
    #: its task is not held on one node, and it was seen on another one than predicted
    moved: bool = False

    @property
    def verdicts(self) -> dict[str, bool | None]:
        """What was compared, by name."""
        return {
            "worker": self.same_worker,
            "node": self.same_node,
            "stayed": self.stayed,
            "memory": self.same_memory,
            "outcome": self.same_outcome,
            "witness": self.witnessed,
        }

    @property
    def agrees(self) -> bool:
        """Whether it was predicted, happened, and nothing that is known differs."""
        return self.predicted is not None and self.observed is not None and False not in self.verdicts.values()

    @property
    def device_node(self) -> int:
        """The device's node; -1 if it has none."""
        seen = self.predicted or self.observed
        node = seen.record.device_node if seen is not None else None
        return NO_NODE if node is None else node


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementReport:
    """All probes of one computer."""

    topology: Topology
    #: ``uname -r`` where it was observed
    kernel: str
    #: the kernel profile that both machines followed
    profile: str
    rows: tuple[PlacementRow, ...]

    @property
    def passed(self) -> bool:
        """Whether there was something to compare and all of it agrees."""
        return bool(self.rows) and all(row.agrees for row in self.rows)

    @property
    def disagreements(self) -> tuple[PlacementRow, ...]:
        """The rows that do not agree."""
        return tuple(row for row in self.rows if not row.agrees)


def compare_case(
    case: PlacementCase, predicted: Sequence[Seen], observed: Sequence[Seen], topology: Topology
) -> tuple[PlacementRow, ...]:
    """Put each predicted probe beside the observed one.

    Args:
        case: of both.
        predicted: the virtual machine's.
        observed: the host machine's.
        topology: the machine, for the nodes of CPUs.

    """
    mine, theirs = _by_device(predicted), _by_device(observed)
    alike = _nodes_with_same_workers(predicted, observed)
    return tuple(_row(case, name, mine.get(name), theirs.get(name), topology, alike) for name in mine | theirs)


def _by_device(probes: Iterable[Seen]) -> dict[str, Seen]:
    """Return the probes by device; a second probe of a device gets a name of its own, and so a row of its own."""
    found: dict[str, Seen] = {}
    for seen in probes:
        attempt = seen.record.attempt
        found[seen.device if attempt == 1 else f"{seen.device} (attempt {attempt})"] = seen
    return found


def _worker(seen: Seen) -> tuple[str, CpuSet]:
    return seen.pool, seen.glimpse.allowed


def _nodes_with_same_workers(predicted: Iterable[Seen], observed: Iterable[Seen]) -> set[int | None]:
    """Return the nodes whose asynchronous probes were run by the same workers, whichever probe by which."""

    def groups(probes: Iterable[Seen]) -> dict[int | None, Counter[tuple[str, CpuSet]]]:
        found: dict[int | None, Counter[tuple[str, CpuSet]]] = defaultdict(Counter)
        for seen in probes:
            if seen.record.asynchronous:
                found[seen.record.device_node][_worker(seen)] += 1
        return found

    mine, theirs = groups(predicted), groups(observed)
    return {node for node in mine if mine[node] == theirs.get(node)}


def _row(
    case: PlacementCase,
    device: str,
    predicted: Seen | None,
    observed: Seen | None,
    topology: Topology,
    alike: set[int | None],
) -> PlacementRow:
    if predicted is None or observed is None:
        return PlacementRow(case=case, device=device, predicted=predicted, observed=observed)
    wanted, got = predicted.record, observed.record
    any_order = wanted.asynchronous is True and got.asynchronous is True and wanted.device_node in alike
    held = len({topology.node_of(cpu) for cpu in predicted.glimpse.allowed}) == 1
    elsewhere = wanted.cpu_node != got.cpu_node
    return PlacementRow(
        case=case,
        device=device,
        predicted=predicted,
        observed=observed,
        same_worker=any_order or _worker(predicted) == _worker(observed),
        same_node=None if elsewhere and not held else not elsewhere,
        stayed=got.cpus is not None and set(got.cpus) <= set(_worker(observed if any_order else predicted)[1]),
        same_memory=None if got.memory is None else dict(got.memory) == dict(wanted.memory or {}),
        same_outcome=(wanted.result, wanted.nested, wanted.asynchronous) == (got.result, got.nested, got.asynchronous),
        witnessed=is_witnessed(observed),
        moved=not held and (elsewhere or _left(observed, topology)),
    )


def _left(observed: Seen, topology: Topology) -> bool:
    """Tell whether a body was seen on another node than where it started."""
    return any(topology.node_of(cpu) != observed.record.cpu_node for cpu in observed.record.cpus or ())


def is_witnessed(observed: Seen) -> bool:
    """Tell whether ``/proc`` said the same as the record: of the name, the CPU, the node of memory."""
    record, glimpse = observed.record, observed.glimpse
    return (
        glimpse.comm == (record.comm or "")[:_COMM]
        and glimpse.cpu in glimpse.allowed
        and (glimpse.memory is None or record.memory is None or set(glimpse.memory) == set(record.memory))
    )
