"""``migrate-caller``: move the calling task to the node for the call, then back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numaprobe.policies.base import Policy, node_cpus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Device, DriverCore


@dataclass(kw_only=True)
class MigrateCaller(Policy):
    """Moves the caller: its CPU mask to the node's CPUs, its memory policy to the node, for the time of a PCI probe.

    The ancestor of all (2005). It respects no isolation and, when the caller is a kworker, moves a thread that the
    workqueue code believes to know.

    Source: d42c69972b85 "PCI: Run PCI driver initialization on local node".
    """

    name = "migrate-caller"
    origin = "PCI, 2005 (d42c69972b85) to 2009"
    summary = "PCI: the caller itself moves to the node for the call, then back"

    async def bus_probe(
        self, core: DriverCore, dev: Device, function: Callable[[], Awaitable[int]], *, under_parent: bool
    ) -> int:
        """Run ``function`` in the caller, on the node's CPUs; where it is if the node has none."""
        del under_parent
        machine = core.machine
        cpus = node_cpus(machine, dev.node)
        if not cpus:
            return await function()
        await machine.set_affinity(cpus, memory_node=dev.node)
        try:
            return await function()
        finally:
            await machine.set_affinity(None)
