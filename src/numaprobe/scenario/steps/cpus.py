"""Steps about CPUs: hotplug, isolation, where unbound work may run, and background load."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from numaprobe.cpuset import CpuSet
from numaprobe.scenario.quantities import Cpus, TimeNs
from numaprobe.scenario.steps.base import Shell, Step, StepRun
from numaprobe.scenario.tables import Table

#: Background tasks without a duration end with the last step, and after this at the latest: a run that hangs must end.
MAX_BUSY_NS: Final = 60 * 10**9

#: ``wq_unbound_cpumask``, kernel/workqueue.c (``wq_sysfs_cpumask_attr``)
UNBOUND_CPUMASK: Final = "/sys/devices/virtual/workqueue/cpumask"


class OnCpus(Step):
    """A step about CPUs."""

    shell_form: ClassVar[Literal["task", "command", "compound"]] = "command"

    @property
    def cpus(self) -> CpuSet:
        """The CPUs."""
        cpus: CpuSet = self.said
        return cpus

    def names_cpus(self) -> tuple[str, CpuSet]:
        """Return the CPUs and their key."""
        return self.key, self.cpus


class Offline(OnCpus):
    """CPUs go offline."""

    changes_cpus: ClassVar[bool] = True

    offline: Cpus

    async def do(self, run: StepRun, where: str) -> None:
        """Take them offline one after the other; one that the kernel keeps online is a warning of the machine's."""
        for cpu in self.offline:
            await run.hotplug.cpu_down(cpu)

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Write to each one's ``online``."""
        return _write_online(self.offline, 0)


class Online(OnCpus):
    """CPUs come online."""

    changes_cpus: ClassVar[bool] = True

    online: Cpus

    async def do(self, run: StepRun, where: str) -> None:
        """Bring them online one after the other; one that may not come now is a warning of the machine's."""
        for cpu in self.online:
            await run.hotplug.cpu_up(cpu)

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Write to each one's ``online``."""
        return _write_online(self.online, 1)


def _write_online(cpus: CpuSet, value: int) -> Iterator[str]:
    return (f"echo {value} > /sys/devices/system/cpu/cpu{cpu}/online" for cpu in cpus)


class Isolate(OnCpus):
    """The CPUs of an isolated cpuset partition, from now on; "" takes it back."""

    changes_cpus: ClassVar[bool] = True

    isolate: Cpus

    async def do(self, run: StepRun, where: str) -> None:
        """Isolate them."""
        await run.hotplug.isolate(self.isolate)

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Make the partition (``kernel/lab/steps.py``)."""
        yield f"isolate '{self.isolate}'"


class WriteUnboundCpumask(OnCpus):
    """Write to ``/sys/devices/virtual/workqueue/cpumask``: where the works of unbound workqueues may run from now on.

    CPUs that are not possible are left out, isolated ones are not; a write that leaves none fails with EINVAL and
    changes nothing (``workqueue_set_unbound_cpumask``, kernel/workqueue.c).
    """

    unbound_cpumask: Cpus

    async def do(self, run: StepRun, where: str) -> None:
        """Write it."""
        result = await run.hotplug.set_unbound_cpumask(self.cpus)
        run.told("cpumask", f"writing '{self.cpus}' to cpumask", result)

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Write the mask."""
        yield f"echo {self.cpus.to_mask()} > {UNBOUND_CPUMASK}"

    def names_cpus(self) -> tuple[str, CpuSet]:
        """Return none: the kernel takes a mask of CPUs that are not possible."""
        return self.key, CpuSet()


class Busy(Table):
    """``busy``: background tasks that compute without end, or compute and sleep in turn."""

    cpus: Cpus
    #: tasks for each of these CPUs
    tasks: Annotated[int, Field(ge=1, le=64)] = 1
    #: free to move between these CPUs instead of pinned to one each
    floating: bool = False
    #: CPU time of one turn; None: without end
    compute: TimeNs | None = None
    #: off the CPU after each turn
    sleep: TimeNs = 0
    #: with ``compute``; None: until the last step is done, at most a minute
    duration: TimeNs | None = None


class StartBusy(Step):
    """Background tasks from now on."""

    busy: Busy

    async def do(self, run: StepRun, where: str) -> None:
        """Start them."""
        busy = self.busy
        if busy.compute is None:
            run.hotplug.add_load(busy.cpus, busy.tasks, pinned=not busy.floating)
            return
        for cpu in [cpu for cpu in busy.cpus & run.machine.online for _ in range(busy.tasks)]:
            allowed = busy.cpus if busy.floating else CpuSet.of([cpu])
            run.keep(partial(_turns, run, busy, busy.compute), cpus=allowed, cpu=cpu)

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Start them, if the guest has such tasks."""
        return iter(guest.busy(self.busy, where))

    def names_cpus(self) -> tuple[str, CpuSet]:
        """Return the CPUs and their key."""
        return f"{self.key}.cpus", self.busy.cpus


async def _turns(run: StepRun, busy: Busy, compute: int) -> None:
    machine = run.machine
    end = machine.now() + (MAX_BUSY_NS if busy.duration is None else busy.duration)
    while not run.over and machine.now() < end:
        await machine.compute(max(1, compute))
        if busy.sleep:
            await machine.sleep(busy.sleep)
