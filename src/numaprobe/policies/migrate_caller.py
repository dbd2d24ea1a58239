"""``migrate-caller``: move the calling task to the node for the call, then back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numaprobe.policies.base import Policy, PolicyPlacement, node_cpus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.cpuset import CpuSet
    from numaprobe.drivercore import Device, HasMachine
    from numaprobe.runtime import Task


@dataclass(frozen=True, kw_only=True)
class MigrateCaller(Policy):
    """Moves the caller: its CPU mask to the node's CPUs, its memory policy to the node, for the time of a PCI probe.

    The ancestor of all (2005). It respects no isolation and, when the caller is a kworker, moves a thread that the
    workqueue code believes to know.

    Source: d42c69972b85 "PCI: Run PCI driver initialization on local node".
    """

    name = "migrate-caller"
    origin = "PCI, 2005 (d42c69972b85) to 2009"
    summary = "PCI: the caller itself moves to the node for the call, then back"

    @property
    def places(self) -> frozenset[str]:
        """Its placement has the say, at one place."""
        return frozenset({"bus_probe"})

    def placement(self, core: HasMachine) -> MigratePlacement:
        """Return a placement that knows which tasks were moved."""
        return MigratePlacement(core, self)


class MigratePlacement(PolicyPlacement):
    """``migrate-caller`` on one core: where moved tasks are now.

    Calls may be inside calls: each goes back to where the one around it had it.
    """

    def __init__(self, core: HasMachine, policy: MigrateCaller) -> None:
        super().__init__(core, policy)
        self._moved: dict[Task, tuple[CpuSet, int]] = {}

    async def bus_probe(self, dev: Device, function: Callable[[], Awaitable[int]], *, under_parent: bool) -> int:
        """Run ``function`` in the caller, on the node's CPUs; where it is if the node has none."""
        del under_parent
        machine = self.machine
        cpus = node_cpus(machine, dev.node)
        if not cpus:
            return await function()
        task = machine.current
        before = self._moved.get(task)
        self._moved[task] = (cpus, dev.node)
        await machine.set_affinity(cpus, memory_node=dev.node)
        try:
            return await function()
        finally:
            if before is None:
                del self._moved[task]
                await machine.set_affinity(None)
            else:
                self._moved[task] = before
                await machine.set_affinity(before[0], memory_node=before[1])
