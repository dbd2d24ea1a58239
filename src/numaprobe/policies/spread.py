"""``spread``: ``strict-node`` that uses the whole node, and knows what to do without one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from numaprobe.policies.base import NodeWork, OwnQueue, PolicyPlacement, node_cpus
from numaprobe.runtime import AffinityScope, HkType
from numaprobe.workqueue import run_as_work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.cpuset import CpuSet
    from numaprobe.drivercore import Device, HasMachine
    from numaprobe.runtime import Machine


@dataclass(frozen=True, kw_only=True)
class Spread(NodeWork):
    """Takes the node's LLCs in turn: each probe, async ones too, is queued on the next one, on a strict queue.

    ``queue_work_node`` always names the *first* CPU of a node, so all its work meets in the pool of the first LLC (or
    shard). Here the caller names a CPU of the next LLC that unbound work may use (``queue_work_on``), on an unbound
    queue of scope cache, strict: a probe leaves neither its node nor its LLC.

    A node without a usable CPU (memory only, or isolated) gets the CPUs of the nearest node that has some, by the
    distance table: ``queue_work_node`` and PCI both leave such a probe wherever its caller happens to be.

    Source: ours.
    """

    name = "spread"
    origin = "numaprobe"
    summary = "driver core: the node's LLCs in turn, strict; the nearest node where it has no CPUs; async too"
    work_name: ClassVar[str] = "spread_work_func"

    queue: ClassVar[OwnQueue] = OwnQueue(name="probe_llc", scope=AffinityScope.CACHE, strict=True)

    nested_inline: bool = True

    def placement(self, core: HasMachine) -> SpreadPlacement:
        """Return a placement that counts the turns."""
        return SpreadPlacement(core, self)


class SpreadPlacement(PolicyPlacement):
    """``spread`` on one core: whose turn it is on each node."""

    def __init__(self, core: HasMachine, policy: Spread) -> None:
        super().__init__(core, policy)
        self._spread = policy
        self._next: dict[int, int] = {}
        #: (node, online CPUs, CPUs allowed) -> first usable CPU of each LLC; these change rarely, probes are many
        self._firsts: dict[tuple[int, CpuSet, CpuSet], list[int]] = {}

    def probe_device(self, dev: Device, function: Callable[[], Awaitable[int]], *, is_async: bool) -> Awaitable[int]:
        """Run the probe in the next LLC of the device's node and wait; inline for a device without a node."""
        del is_async
        machine = self.machine
        if not machine.topology.node_online(dev.node) or self._spread.stays(machine, dev.node):
            return function()
        cpu = self._pick(dev.node)
        if cpu is None:
            return function()
        queue = partial(machine.queue_work_on, cpu, self.queue or machine.system_dfl_wq)
        return run_as_work(machine, queue, function, self._spread.work_name)

    def _pick(self, node: int) -> int | None:
        """Return the first usable CPU of the next LLC of the node, or of the nearest one that has any."""
        machine = self.machine
        key = node, machine.online, machine.housekeeping(HkType.UNBOUND)
        if key not in self._firsts:
            self._firsts[key] = _first_cpus(machine, node)
        firsts = self._firsts[key]
        if not firsts:
            return None
        turn = self._next.get(node, 0)
        self._next[node] = turn + 1
        return firsts[turn % len(firsts)]


def _first_cpus(machine: Machine, node: int) -> list[int]:
    """Return the first usable CPU of each LLC of the nearest node that has any CPU for unbound work."""
    allowed = machine.housekeeping(HkType.UNBOUND)
    topology = machine.topology
    for near in sorted(topology.nodes, key=lambda other: (topology.distance(node, other.id), other.id)):
        usable = node_cpus(machine, near.id) & allowed
        firsts = [(llc & usable).first for llc in topology.llcs]
        if usable:
            return [cpu for cpu in firsts if cpu is not None]
    return []
