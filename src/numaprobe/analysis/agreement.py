"""Recorded probes beside predicted ones, one by one: does each run where it was said to?

What a prediction promises is what holds the task: the CPUs that it may use (``ProbeRecord.cpus_allowed``), and the
pool of a worker. So these must agree: the kind of task that ran the body (a per-CPU worker, an unbound worker, the
caller); the pool of an unbound worker; and *every* CPU that the body visited, start to end, is one that the task might
use. Where those are all on one node, or in one LLC, it must have started there. A soft worker may be anywhere in its
mask: on which CPU it happened to run is no promise, and neither side is wrong for it. That one left its node is told.

What must agree where it is defined: the order, namely of synchronous probes of one node that do not overlap in either
trace (asynchronous ones and parallel writers race). What is told, and judges nothing: the cost; an emulated machine's
costs are its own. A prediction that does not say what holds its tasks (an old trace) is judged by CPU, node and LLC.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

from numaprobe.analysis.hold import Hold, Holds, allowed_cpus, bound_worker_cpu, unbound_pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numaprobe.cpuset import CpuSet
    from numaprobe.records import ProbeRecord, Trace
    from numaprobe.topology import Topology

_PER_CPU: Final = re.compile(r"kworker/\d+:")
_UNBOUND: Final = re.compile(r"kworker/u\d+:")


def worker_kind(comm: str | None) -> str | None:
    """Return the kind of task that a name stands for: ``per-cpu``, ``unbound``, ``caller``; None if unknown."""
    if comm is None:
        return None
    if _PER_CPU.match(comm):
        return "per-cpu"
    return "unbound" if _UNBOUND.match(comm) else "caller"


def deciding_task(probe: ProbeRecord) -> str:
    """Return what ran a probe, without what chance decides: an unbound worker's CPU, any worker's number."""
    cpu, pool = bound_worker_cpu(probe.comm), unbound_pool(probe.comm)
    if cpu is not None:
        return f"worker of CPU {cpu}"
    return (probe.comm or "task unknown") if pool is None else f"worker of unbound pool {pool}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAgreement:
    """One predicted probe and the recorded one."""

    #: the prediction's name of the device, and the recording's
    device: str
    recorded_device: str
    driver: str
    predicted: ProbeRecord
    #: None: it was not probed
    recorded: ProbeRecord | None
    #: None: not known, or not defined
    same_node: bool | None = None
    same_llc: bool | None = None
    same_kind: bool | None = None
    #: of an unbound worker: it was of the pool that was predicted
    same_pool: bool | None = None
    #: it was on CPUs that its task may use, all the time; None: not predicted, or not recorded
    stayed: bool | None = None
    #: what was guaranteed of its place (``analysis.hold``)
    hold: Hold | None = None
    same_order: bool | None = None
    same_result: bool | None = None

    @property
    def agrees(self) -> bool:
        """Whether it was recorded and nothing that is known differs."""
        return self.recorded is not None and False not in self.verdicts.values()

    @property
    def verdicts(self) -> dict[str, bool | None]:
        """What was judged, in the order of a table; None: not known, or not defined."""
        return {
            "node": self.same_node,
            "LLC": self.same_llc,
            "worker": self.same_kind,
            "pool": self.same_pool,
            "stayed": self.stayed,
            "order": self.same_order,
            "result": self.same_result,
        }

    @property
    def left_ns(self) -> int | None:
        """CPU time on other nodes of a probe that started on its own; None if none, or not known."""
        here = self.recorded
        return here.remote_ns or None if here is not None and here.local else None

    @property
    def cost_error(self) -> float | None:
        """Recorded cost over predicted cost, minus one."""
        if self.recorded is None or not self.predicted.cost_ns:
            return None
        return self.recorded.cost_ns / self.predicted.cost_ns - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One recording beside its prediction."""

    rows: tuple[ProbeAgreement, ...]
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


def judge(predicted: Trace, recorded: Trace, names: Mapping[str, str], topology: Topology | None) -> Agreement:
    """Put each predicted probe beside the recorded one.

    Args:
        predicted: the virtual machine's trace.
        recorded: a kernel's, or the host machine's.
        names: the recording's name of each of the prediction's devices, where it is another one.
        topology: the machine, for the LLCs of CPUs; None: they are not known.

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
    holds = Holds(predicted, topology)
    rows = tuple(
        _row(mine, theirs, names, topology, holds.of(mine), order.get(index))
        for index, (mine, theirs) in enumerate(pairs)
    )
    return Agreement(rows=rows, unexpected=tuple(probe for queue in waiting.values() for probe in queue))


def _row(
    predicted: ProbeRecord,
    recorded: ProbeRecord | None,
    names: Mapping[str, str],
    topology: Topology | None,
    hold: Hold | None,
    order: bool | None,
) -> ProbeAgreement:
    row = ProbeAgreement(
        device=predicted.device,
        recorded_device=names.get(predicted.device, predicted.device),
        driver=predicted.driver,
        predicted=predicted,
        recorded=recorded,
        hold=hold,
    )
    if recorded is None:
        return row
    allowed = allowed_cpus(predicted)
    one_node, one_llc = _certain(allowed, topology)
    return replace(
        row,
        same_node=_same(predicted.cpu_node, recorded.cpu_node) if one_node else None,
        same_llc=_same(_llc(predicted.cpu, topology), _llc(recorded.cpu, topology)) if one_llc else None,
        same_kind=_same(worker_kind(predicted.comm), worker_kind(recorded.comm)),
        same_pool=_same(unbound_pool(predicted.comm), unbound_pool(recorded.comm)),
        stayed=_stayed(recorded, allowed, hold),
        same_order=order,
        same_result=_same(predicted.result, recorded.result),
    )


def _certain(allowed: CpuSet | None, topology: Topology | None) -> tuple[bool, bool]:
    """Tell whether the CPUs that a task may use leave no choice of node, and of LLC; both, if they are not known."""
    if allowed is None or topology is None:
        return True, True
    known = allowed & topology.possible
    return len({topology.node_of(cpu) for cpu in known}) == 1, len({topology.llc_of(cpu) for cpu in known}) == 1


def _stayed(recorded: ProbeRecord, allowed: CpuSet | None, hold: Hold | None) -> bool | None:
    """Tell whether the whole body ran where its task may run; CPU time off a node that was guaranteed says no."""
    visited = recorded.cpus or (() if recorded.cpu is None else (recorded.cpu,))
    if hold is Hold.HELD and recorded.remote_ns:
        return False
    return None if allowed is None or not visited else all(cpu in allowed for cpu in visited)


def _same(a: object, b: object) -> bool | None:
    return None if a is None or b is None else a == b


def _llc(cpu: int | None, topology: Topology | None) -> int | None:
    return None if cpu is None or topology is None or cpu not in topology.possible else topology.llc_of(cpu)


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
