"""``work-on-cpu``: PCI probes in a per-CPU kworker of the node's first housekeeping CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from numaprobe.policies.base import Policy, node_cpus
from numaprobe.runtime import HkType
from numaprobe.workqueue import work_on_cpu

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Device
    from numaprobe.policies.base import PolicyPlacement


@dataclass(frozen=True, kw_only=True)
class WorkOnCpu(Policy):
    """Sends every PCI probe of a node to one CPU: the first of node & HK_TYPE_WQ & HK_TYPE_DOMAIN.

    "First" is the trouble: devices that the async path probes in parallel meet again on that CPU, where their CPU
    parts take turns. The probe is inline if the node is invalid or offline, if no CPU of it may be used, and for a
    virtual function whose physical function is being probed (``pci_physfn_is_probed``). Meanwhile, inline too, no CPU
    goes offline or comes online.

    Source: ``pci_call_probe`` up to 6.19; 873392ca514f (2009), 1ddd45f8d76f, 69a18b18699b, 9d42ea0d6984.
    """

    name = "work-on-cpu"
    origin = "mainline PCI, 2009 (873392ca514f) to 6.19"
    summary = "PCI: per-CPU work on the node's first housekeeping CPU"

    #: the masks whose common CPUs PCI may use
    masks: ClassVar[tuple[HkType, ...]] = (HkType.DOMAIN, HkType.WQ)
    work_name: ClassVar[str] = "work_for_cpu_fn"

    def runs_direct(self, at: PolicyPlacement, dev: Device, *, under_parent: bool) -> bool:
        """Tell whether the probe stays with its caller."""
        return under_parent or not at.machine.topology.node_online(dev.node)

    async def bus_probe(
        self, at: PolicyPlacement, dev: Device, function: Callable[[], Awaitable[int]], *, under_parent: bool
    ) -> int:
        """Run ``function`` on the node's first usable CPU and wait; inline where there is none."""
        machine = at.machine
        holder = f"the PCI probe of {dev.name}" if machine.profile.pci_holds_off_hotplug else ""
        if holder:
            machine.cpu_hotplug_disable(holder)
        try:
            if self.runs_direct(at, dev, under_parent=under_parent):
                return await function()
            cpus = node_cpus(machine, dev.node)
            for kind in self.masks:
                cpus &= machine.housekeeping(kind)
            if cpus.first is None:
                return await function()
            return await work_on_cpu(machine, cpus.first, function, wq=at.queue, name=self.work_name)
        finally:
            if holder:
                machine.cpu_hotplug_enable(holder)
