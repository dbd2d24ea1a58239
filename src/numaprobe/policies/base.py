"""What every policy is: a placement with a name, an origin, and options that are fields.

A policy says where a probe runs and who waits for it. It acts at one of the three places of
``numaprobe.drivercore.placement``; the async path of the driver core (``async_schedule_dev``) is the same under all of
them, as it is in the kernel since 5.1.

Two things are shared here: running a function as a work near a node, with the options that the reviewers asked about,
and the CPU that PCI picks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from numaprobe.cpuset import CpuSet
from numaprobe.drivercore import Placement
from numaprobe.runtime import HkType
from numaprobe.workqueue import run_as_work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Device, DriverCore
    from numaprobe.runtime import AffinityScope, Machine, Workqueue

T = TypeVar("T")

#: ``min_active`` of a queue of one's own, as the async workqueue has it: an unbound queue's limit is shared out over
#: the nodes by their CPUs, and on a machine of 64 nodes the default of 1024 would leave each node 16 probes at a time.
MIN_ACTIVE: Final = 1024


@dataclass(kw_only=True)
class Policy(Placement):
    """Base of all policies.

    Attributes:
        name: as users write it.
        origin: where it comes from: a commit, a patch, a review.
        summary: what it does, one line.

    """

    name: ClassVar[str]
    origin: ClassVar[str]
    summary: ClassVar[str]

    @property
    def label(self) -> str:
        """The name with the options that differ from their defaults: ``probe-on-node+pin``."""
        changed = [f for f in fields(self) if f.init and getattr(self, f.name) != f.default]
        parts = [
            f.name.replace("_", "-") if getattr(self, f.name) else f"no-{f.name.replace('_', '-')}" for f in changed
        ]
        return "+".join([self.name, *parts])


def node_cpus(machine: Machine, node: int) -> CpuSet:
    """Return the CPUs of ``node`` that are on line (``cpumask_of_node``)."""
    found = machine.topology.node(node)
    return found.cpus & machine.online if found else CpuSet()


@dataclass(kw_only=True)
class NodeWork(Policy):
    """Runs a function as a work queued near a node, and waits for it.

    Attributes:
        skip_if_on_node: "What about the case where we are already on the requested node?" (review of the January
            series): then run inline. PCI had it from 2013 (961da7fb6b22) and lost it as racy (0b2c2a71e6f0).
        pin: "we should probably set the corresponding CPU affinity for the time we are executing func() to prevent
            migration" (the same review; declined by the author: hotplug, isolated CPUs, small gain). The worker is kept
            on the node's housekeeping CPUs while it runs the function.
        nested_inline: run inline when already in a work of this policy on the right node. Without it a probe that
            registers a child, or a physical function that enables its virtual ones, flushes work of the class that it
            runs in, once ``is_probed`` is gone.

    """

    #: name and lockdep class of the on-stack work
    work_name: ClassVar[str]

    skip_if_on_node: bool = False
    pin: bool = False
    nested_inline: bool = False

    def workqueue(self, core: DriverCore) -> Workqueue:
        """Return the unbound workqueue to use: ``system_dfl_wq``."""
        return core.machine.system_dfl_wq

    def run_on_node(self, core: DriverCore, dev: Device, function: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """Run ``function`` near the device's node and wait; inline if the node is invalid or off line."""
        machine = core.machine
        if not machine.topology.node_online(dev.node) or self._stay(machine, dev.node):
            return function()
        body = partial(self._pinned, machine, dev.node, function) if self.pin else function
        queue = partial(machine.queue_work_node, dev.node, self.workqueue(core))
        return run_as_work(machine, queue, body, self.work_name)

    def _stay(self, machine: Machine, node: int) -> bool:
        task = machine.current
        if machine.topology.node_of(task.cpu) != node:
            return False
        nested = self.nested_inline and task.work is not None and task.work.name == self.work_name
        return nested or self.skip_if_on_node

    async def _pinned(self, machine: Machine, node: int, function: Callable[[], Awaitable[T]]) -> T:
        cpus = node_cpus(machine, node) & machine.housekeeping(HkType.DOMAIN)
        if not cpus:
            return await function()
        await machine.set_affinity(cpus, memory_node=node)
        try:
            return await function()
        finally:
            await machine.set_affinity(None)


@dataclass(kw_only=True)
class StrictNodeWork(NodeWork):
    """The same on an unbound workqueue of its own whose workers may not leave their pod."""

    queue_name: ClassVar[str]
    #: what a pod is
    scope: ClassVar[AffinityScope]

    nested_inline: bool = True

    _wq: Workqueue | None = field(default=None, init=False, repr=False, compare=False)

    def setup(self, core: DriverCore) -> None:
        """Make the queue."""
        self._wq = core.machine.alloc_workqueue(
            self.queue_name, unbound=True, min_active=MIN_ACTIVE, scope=self.scope, strict=True
        )

    def workqueue(self, core: DriverCore) -> Workqueue:
        """Return the strict queue."""
        return self._wq or core.machine.system_dfl_wq
