"""A guest's probes beside the virtual machine's prediction, one by one.

What must agree: the node and the LLC where the body ran, and the kind of task that ran it (a per-CPU worker, an unbound
worker, the caller). What must agree where it is defined: the order, namely of synchronous probes of one node that do
not overlap in either trace (asynchronous ones and parallel writers race). What is told, and judges nothing: the cost;
an emulated machine's costs are its own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numaprobe.records import ProbeRecord, Trace
    from numaprobe.topology import Topology

#: Version of ``numaprobe lab --check --json``.
LAB_SCHEMA: Final = "numaprobe.lab/1"

_PER_CPU: Final = re.compile(r"kworker/\d+:")
_UNBOUND: Final = re.compile(r"kworker/u\d+:")


def worker_kind(comm: str | None) -> str | None:
    """Return the kind of task that a name stands for: ``per-cpu``, ``unbound``, ``caller``; None if unknown."""
    if comm is None:
        return None
    if _PER_CPU.match(comm):
        return "per-cpu"
    return "unbound" if _UNBOUND.match(comm) else "caller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One predicted probe and the recorded one."""

    #: the scenario's name of the device, and the guest's
    device: str
    guest_device: str
    driver: str
    predicted: ProbeRecord
    #: None: the guest did not probe it
    recorded: ProbeRecord | None
    #: None: not known, or not defined
    same_node: bool | None = None
    same_llc: bool | None = None
    same_kind: bool | None = None
    same_order: bool | None = None
    same_result: bool | None = None

    @property
    def agrees(self) -> bool:
        """Whether it was recorded and nothing that is known differs."""
        verdicts = (self.same_node, self.same_llc, self.same_kind, self.same_order, self.same_result)
        return self.recorded is not None and False not in verdicts

    @property
    def cost_error(self) -> float | None:
        """Recorded cost over predicted cost, minus one."""
        if self.recorded is None or not self.predicted.cost_ns:
            return None
        return self.recorded.cost_ns / self.predicted.cost_ns - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The comparison of one guest with its prediction."""

    rows: tuple[Row, ...]
    #: recorded probes of the scenario's drivers that were not predicted
    unexpected: tuple[ProbeRecord, ...]

    @property
    def passed(self) -> bool:
        """Whether every predicted probe happened as predicted, and no other."""
        return bool(self.rows) and not self.unexpected and all(row.agrees for row in self.rows)

    @property
    def median_cost_error(self) -> float | None:
        """Median of the rows' cost errors."""
        errors = [row.cost_error for row in self.rows if row.cost_error is not None]
        return median(errors) if errors else None


def compare(predicted: Trace, recorded: Trace, names: Mapping[str, str], topology: Topology) -> Report:
    """Put each predicted probe beside the recorded one.

    Args:
        predicted: the virtual machine's trace.
        recorded: the guest's trace.
        names: the guest's name of each of the scenario's devices.
        topology: the machine, for the LLCs of CPUs.

    """
    drivers = {probe.driver for probe in predicted.probes}
    waiting: dict[tuple[str, str], list[ProbeRecord]] = defaultdict(list)
    for probe in recorded.probes:
        if probe.driver in drivers:
            waiting[probe.driver, probe.device].append(probe)
    pairs = []
    for probe in predicted.probes:
        queue = waiting[probe.driver, names.get(probe.device, probe.device)]
        pairs.append((probe, queue.pop(0) if queue else None))
    order = _order(pairs)
    rows = tuple(_row(mine, theirs, names, topology, order.get(index)) for index, (mine, theirs) in enumerate(pairs))
    return Report(rows=rows, unexpected=tuple(probe for queue in waiting.values() for probe in queue))


def _row(
    predicted: ProbeRecord,
    recorded: ProbeRecord | None,
    names: Mapping[str, str],
    topology: Topology,
    order: bool | None,
) -> Row:
    row = Row(
        device=predicted.device,
        guest_device=names.get(predicted.device, predicted.device),
        driver=predicted.driver,
        predicted=predicted,
        recorded=recorded,
    )
    if recorded is None:
        return row
    return Row(
        device=row.device,
        guest_device=row.guest_device,
        driver=row.driver,
        predicted=predicted,
        recorded=recorded,
        same_node=_same(predicted.cpu_node, recorded.cpu_node),
        same_llc=_same(_llc(predicted.cpu, topology), _llc(recorded.cpu, topology)),
        same_kind=_same(worker_kind(predicted.comm), worker_kind(recorded.comm)),
        same_order=order,
        same_result=_same(predicted.result, recorded.result),
    )


def _same(a: object, b: object) -> bool | None:
    return None if a is None or b is None else a == b


def _llc(cpu: int | None, topology: Topology) -> int | None:
    return None if cpu is None or cpu not in topology.possible else topology.llc_of(cpu)


def _order(pairs: Sequence[tuple[ProbeRecord, ProbeRecord | None]]) -> dict[int, bool]:
    """Return, for the pairs whose order is defined, whether both traces have it."""
    groups: dict[int | None, list[tuple[int, ProbeRecord, ProbeRecord]]] = defaultdict(list)
    for index, (mine, theirs) in enumerate(pairs):
        if theirs is not None and mine.asynchronous is False:
            groups[mine.device_node].append((index, mine, theirs))
    verdicts: dict[int, bool] = {}
    for group in groups.values():
        if _serial(mine for _, mine, _ in group) and _serial(theirs for _, _, theirs in group):
            mine_first = [index for index, _, _ in sorted(group, key=lambda item: item[1].start_ns or 0)]
            theirs_first = [index for index, _, _ in sorted(group, key=lambda item: item[2].start_ns or 0)]
            verdicts |= {a: a == b for a, b in zip(mine_first, theirs_first, strict=True)}
    return verdicts


def _serial(probes: Iterable[ProbeRecord]) -> bool:
    """Whether these probes have times, and none begins before the one before it is over."""
    probes = list(probes)
    timed = sorted((p.start_ns, p.end_ns) for p in probes if p.start_ns is not None and p.end_ns is not None)
    return len(timed) == len(probes) and all(end <= start for (_, end), (start, _) in pairwise(timed))


def report_to_json(report: Report) -> dict[str, Any]:
    """Return the ``check`` block of ``numaprobe.lab/1``."""
    return {
        "passed": report.passed,
        "median_cost_error": report.median_cost_error,
        "probes": [_row_to_json(row) for row in report.rows],
        "unexpected": [{"driver": probe.driver, "device": probe.device} for probe in report.unexpected],
    }


def _row_to_json(row: Row) -> dict[str, Any]:
    recorded = row.recorded
    return {
        "device": row.device,
        "guest_device": row.guest_device,
        "driver": row.driver,
        "agrees": row.agrees,
        "same_node": row.same_node,
        "same_llc": row.same_llc,
        "same_kind": row.same_kind,
        "same_order": row.same_order,
        "same_result": row.same_result,
        "predicted": {"cpu": row.predicted.cpu, "comm": row.predicted.comm, "cost_ns": row.predicted.cost_ns},
        "recorded": {"cpu": recorded.cpu, "comm": recorded.comm, "cost_ns": recorded.cost_ns} if recorded else None,
        "cost_error": row.cost_error,
    }
