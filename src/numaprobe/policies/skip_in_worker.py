"""``skip-in-worker``: ``work-on-cpu``, but inline when the caller is a kworker already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numaprobe.policies.work_on_cpu import WorkOnCpu

if TYPE_CHECKING:
    from numaprobe.drivercore import Device
    from numaprobe.policies.base import PolicyPlacement


@dataclass(frozen=True, kw_only=True)
class SkipInWorker(WorkOnCpu):
    """Trusts that a kworker is near the node: true in an async worker, which ``queue_work_node`` placed.

    Not true in the worker that retries deferred probes, nor in hotplug workers: ``PF_WQ_WORKER`` says nothing about
    where a worker is, and there the node is lost without a word.

    Source: patch of 27 December 2025 (``current->flags & PF_WQ_WORKER`` in ``pci_call_probe``), superseded.
    """

    name = "skip-in-worker"
    origin = "patch of 27 December 2025, superseded"
    summary = "work-on-cpu, but inline when already in a kworker"

    def runs_direct(self, at: PolicyPlacement, dev: Device, *, under_parent: bool) -> bool:
        """Tell whether the probe stays with its caller: also when that is any kworker."""
        return at.machine.current.is_worker or super().runs_direct(at, dev, under_parent=under_parent)
