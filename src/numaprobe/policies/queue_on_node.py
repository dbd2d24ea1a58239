"""``queue-on-node``: PCI probes on the unbound system queue near the node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from numaprobe.policies.base import NodeWork

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Device
    from numaprobe.policies.base import PolicyPlacement


@dataclass(frozen=True, kw_only=True)
class QueueOnNode(NodeWork):
    """Queues a PCI probe with ``queue_work_node`` on ``system_dfl_wq`` and waits; inline in any kworker.

    All CPU masks are gone: whether the node holds is up to the unbound queue, whose pools are soft. Synchronous probes
    stay serial, because their caller waits for each (its author corrected the claim that they would not).

    Source: patch of 30 December 2025, suggested in the review of the one of 27 December; superseded.
    """

    name = "queue-on-node"
    origin = "patch of 30 December 2025, superseded"
    summary = "PCI: queue_work_node on the unbound queue and flush; inline in a kworker"
    work_name: ClassVar[str] = "pci_probe_work_func"

    def bus_probe(
        self, at: PolicyPlacement, dev: Device, function: Callable[[], Awaitable[int]], *, under_parent: bool
    ) -> Awaitable[int]:
        """Run ``function`` near the node and wait; inline in a kworker and under a probing physical function."""
        if under_parent or at.machine.current.is_worker:
            return function()
        return self.run_on_node(at, dev, function)
