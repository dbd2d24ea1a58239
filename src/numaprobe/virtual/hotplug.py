"""CPUs that come, go, or are isolated while the machine runs.

A change while somebody holds CPU hotplug off (``runtime.holds``) is refused, as in the kernel.

None of it takes time here. In the kernel a CPU goes offline in steps of their own; here the order is the kernel's
(workers are unbound, tasks leave, pods are computed again) and all of it is one instant.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from numaprobe.cpuset import CpuSet
from numaprobe.errors import RefusedError, UsageError
from numaprobe.runtime.holds import HotplugHolds

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.runtime import KernelProfile
    from numaprobe.topology import Topology
    from numaprobe.virtual.tasks import Tasks
    from numaprobe.workqueue import Workqueues


class CpuHotplug:
    """What changes when the set of CPUs does.

    Attributes:
        isolated: complement of HK_TYPE_DOMAIN now.
        holds: who holds CPU hotplug off.

    """

    def __init__(
        self,
        topology: Topology,
        profile: KernelProfile,
        tasks: Tasks,
        workqueues: Workqueues,
        warn: Callable[[str, str], None],
    ) -> None:
        self.topology = topology
        self.profile = profile
        self.tasks = tasks
        self.workqueues = workqueues
        self.scheduler = tasks.scheduler
        self.isolated = topology.housekeeping.isolated
        self.holds = HotplugHolds(warn)
        #: CPUs that stayed as they were because it was held off: to undo that change there is nothing to do
        self._stayed: set[int] = set()

    @property
    def online(self) -> CpuSet:
        """The CPUs online now."""
        return CpuSet(self.scheduler.online)

    async def down(self, cpu: int) -> int:
        """Take ``cpu`` offline: 0, or -EBUSY while CPU hotplug is held off.

        Raises:
            RefusedError: it is the last CPU online (the kernel says EBUSY).
            UsageError: it is not online.

        """
        if cpu not in self.online:
            if cpu in self._stayed:
                return 0
            raise UsageError(f"CPU {cpu} is not online; online: {self.online}")
        if len(self.online) == 1:
            raise RefusedError(f"CPU {cpu} is the last one online; leave it on")
        if self._refuses(cpu, "online"):
            return -errno.EBUSY
        self.workqueues.going(cpu)
        self.scheduler.set_offline(cpu)
        for task in [*self.tasks.alive, *(worker.task for worker in self.workqueues.workers())]:
            if task.cpu == cpu:  # with the CPU model off nobody else moves it
                self.scheduler.set_mask(task, task.mask)
        self.workqueues.gone(cpu)
        await self.tasks.settle()
        return 0

    async def up(self, cpu: int) -> int:
        """Bring ``cpu`` online: 0, or -EBUSY while CPU hotplug is held off.

        Raises:
            UsageError: it is not present, or online already.

        """
        if cpu in self.online and cpu in self._stayed:
            return 0
        if cpu not in self.topology.present or cpu in self.online:
            raise UsageError(f"CPU {cpu} cannot come online: it is not present, or online already")
        if self._refuses(cpu, "offline"):
            return -errno.EBUSY
        self.scheduler.set_online(cpu)
        self.workqueues.came(cpu)
        await self.tasks.settle()
        return 0

    def _refuses(self, cpu: int, stays: str) -> bool:
        """Tell whether ``cpu`` has to stay as it is now."""
        if self.holds.refusal(cpu, stays):
            self._stayed.add(cpu)
            return True
        self._stayed.discard(cpu)
        return False

    async def isolate(self, cpus: CpuSet) -> None:
        """Make ``cpus`` an isolated cpuset partition, in place of one made before. The pods stay as they are.

        HK_TYPE_DOMAIN loses them where the profile says so, the unbound cpumask since 6.8 (not on hard pools), and
        tasks that may run anywhere leave them.

        Raises:
            UsageError: no CPU online would be left for the rest.

        """
        isolated = self.topology.housekeeping.isolated | cpus
        if cpus and not self.online - isolated:  # taking a partition back leaves what booting and offline left
            raise UsageError(f"CPUs {cpus} cannot be isolated: no CPU online would be left")
        before = self.tasks.default_mask
        self.scheduler.set_domain((self.topology.possible - isolated).bits)
        if self.profile.runtime_isolation_followed:
            self.isolated = isolated
        if self.profile.partition_leaves_unbound_mask:
            self.workqueues.isolate(cpus.bits)
        after = self.tasks.default_mask
        for task in [one for one in self.tasks.alive if one.home_mask == before]:
            if task.mask == before:
                self.scheduler.set_mask(task, after)
            task.home_mask = after
        await self.tasks.settle()

    async def set_unbound_cpumask(self, cpus: CpuSet) -> int:
        """Write the unbound workqueues' CPUs (see ``Workqueues.set_unbound_cpumask``): 0 or -EINVAL."""
        result = self.workqueues.set_unbound_cpumask(cpus.bits)
        await self.tasks.settle()
        return result
