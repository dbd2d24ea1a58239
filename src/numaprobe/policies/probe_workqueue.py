"""``probe-workqueue``: the same CPU as ``work-on-cpu``, on a per-CPU queue of PCI's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from numaprobe.policies.base import OwnQueue
from numaprobe.policies.work_on_cpu import WorkOnCpu
from numaprobe.runtime import HkType


@dataclass(frozen=True, kw_only=True)
class ProbeWorkqueue(WorkOnCpu):
    """Sends every PCI probe of a node to its first CPU in HK_TYPE_DOMAIN, on ``sync_wq``.

    The queue of its own lets the kernel flush PCI's probes when the isolated set changes: choosing the CPU and queueing
    are one step with respect to that. ``nohz_full=`` CPUs are no longer avoided, and it is still the *first* CPU.

    Source: ``pci_call_probe``, ``pci_probe_wq`` (7.0 and later).
    """

    name = "probe-workqueue"
    origin = "mainline PCI, 7.0 to 7.3"
    summary = "PCI: the same on PCI's own per-CPU queue, safe against changes of isolation"

    queue: ClassVar[OwnQueue] = OwnQueue(name="sync_wq", unbound=False)
    masks: ClassVar[tuple[HkType, ...]] = (HkType.DOMAIN,)
    work_name: ClassVar[str] = "local_pci_probe_callback"
