"""What every policy is: a value, with a name, an origin, and options that are fields.

A policy says where a probe runs and which task waits for it. It overrides one of three methods, which stand for the
three places of ``numaprobe.drivercore.placement``; the async path of the driver core (``async_schedule_dev``) is the
same under all of them, as it is in the kernel since 5.1.

A policy is frozen, hashable and picklable: it may be kept, compared, sent to another process and used for any number
of runs. What one run needs (its queue, whose turn it is) is in the placement that ``place`` gives, and which each
method gets as ``at``. A queue of one's own is declared (``queue``); the placement makes it.

Two things are shared here: running a function as a work near a node, with the options that the reviewers asked about,
and the queue of one's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from numaprobe.cpuset import CpuSet
from numaprobe.drivercore import Placement
from numaprobe.policies.watch import watched
from numaprobe.runtime import HkType
from numaprobe.workqueue import run_as_work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Device, HasMachine
    from numaprobe.runtime import AffinityScope, Machine, Workqueue

T = TypeVar("T")

#: ``min_active`` of a queue of one's own, as the async workqueue has it: an unbound queue's limit is shared out over
#: the nodes by their CPUs, and on a machine of 64 nodes the default of 1024 would leave each node 16 probes at a time.
MIN_ACTIVE: Final = 1024
_OURS: Final = "numaprobe.policies."
_PLACES: Final = ("call_site", "probe_device", "bus_probe")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnQueue:
    """A workqueue that a policy wants for itself, as ``alloc_workqueue`` takes it."""

    name: str
    unbound: bool = True
    #: 0 = the kernel's default
    max_active: int = 0
    min_active: int = MIN_ACTIVE
    #: what a pod is; None = the kernel's default
    scope: AffinityScope | None = None
    #: workers may not leave their pod
    strict: bool = False

    def make(self, machine: Machine) -> Workqueue:
        """Make it on a machine."""
        if not self.unbound:
            return machine.alloc_workqueue(self.name, unbound=False, max_active=self.max_active)
        return machine.alloc_workqueue(
            self.name,
            unbound=True,
            max_active=self.max_active,
            min_active=self.min_active,
            scope=self.scope,
            strict=self.strict,
        )


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Base of all policies.

    Attributes:
        name: as users write it; if a class gives none, made of its own name (``MyPolicy`` is ``my-policy``).
        origin: where it comes from: a commit, a patch, a review.
        summary: what it does, one line.
        queue: a workqueue of its own; None: it uses the system's.
        source: ``FILE.py:CLASS`` of one from a file; None: its name finds it.

    """

    name: ClassVar[str]
    origin: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    queue: ClassVar[OwnQueue | None] = None
    source: ClassVar[str | None] = None

    def __init_subclass__(cls, **more: object) -> None:
        """Name a class that does not name itself."""
        super().__init_subclass__(**more)
        if "name" not in vars(cls):
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).strip("_").lower()

    @property
    def label(self) -> str:
        """The name with the options that differ from their defaults: ``probe-on-node+pin``."""
        return "+".join([self.name, *self._changes()])

    @property
    def spec(self) -> str:
        """What ``make_policy`` makes this policy of, in another process too."""
        return "+".join([self.source or self.name, *self._changes()])

    def _changes(self) -> list[str]:
        changed = [f for f in fields(self) if getattr(self, f.name) != f.default]
        return [
            f.name.replace("_", "-") if getattr(self, f.name) else f"no-{f.name.replace('_', '-')}" for f in changed
        ]

    @property
    def places(self) -> frozenset[str]:
        """At which of the three places it has a say, as far as its class tells: the methods that it overrides."""
        return frozenset(name for name in _PLACES if getattr(type(self), name) is not getattr(Policy, name))

    def place(self, core: HasMachine) -> Placement:
        """Return the placement that holds what one run on ``core`` needs of this policy.

        That of a policy from outside of numaprobe is watched (``policies.watch``).
        """
        if type(self).__module__.startswith(_OURS):
            return self.placement(core)
        return watched(self, core)

    def placement(self, core: HasMachine) -> Placement:
        """Return the placement itself; a policy whose runs have a state of their own overrides this."""
        return PolicyPlacement(core, self)

    # ---- the three places; a policy overrides one ------------------------------------------------------------------
    def call_site(self, at: PolicyPlacement, dev: Device, function: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """Run a synchronous call site of ``dd.c`` for ``dev``; return what it returns."""
        del at, dev
        return function()

    def probe_device(
        self, at: PolicyPlacement, dev: Device, function: Callable[[], Awaitable[int]], *, is_async: bool
    ) -> Awaitable[int]:
        """Run ``__driver_probe_device`` for ``dev``; ``is_async``: the caller is an async worker near the node."""
        del at, dev, is_async
        return function()

    def bus_probe(
        self, at: PolicyPlacement, dev: Device, function: Callable[[], Awaitable[int]], *, under_parent: bool
    ) -> Awaitable[int]:
        """Run PCI's own probe; ``under_parent``: a virtual function whose physical function is being probed."""
        del at, dev, under_parent
        return function()


class PolicyPlacement(Placement):
    """A policy on one core: asks the policy at the places where it has a say, and keeps its queue.

    Attributes:
        core, machine: those of the run.
        policy: the value.
        queue: the policy's own workqueue; None if it declares none.

    """

    def __init__(self, core: HasMachine, policy: Policy) -> None:
        super().__init__(core)
        self.policy = policy
        self.queue = None if policy.queue is None else policy.queue.make(core.machine)
        for place in _PLACES:  # where the policy has no say the base leaves probes where they are: a call less for each
            has_a_say = getattr(type(policy), place) is not getattr(Policy, place)
            if has_a_say and getattr(type(self), place) is getattr(Placement, place):
                setattr(self, place, partial(getattr(policy, place), self))


def node_cpus(machine: Machine, node: int) -> CpuSet:
    """Return the online CPUs of ``node`` (``cpumask_of_node``)."""
    found = machine.topology.node(node)
    return found.cpus & machine.online if found else CpuSet()


@dataclass(frozen=True, kw_only=True)
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
    work_name: ClassVar[str] = "probe_node_work_func"

    skip_if_on_node: bool = False
    pin: bool = False
    nested_inline: bool = False

    def run_on_node(self, at: PolicyPlacement, dev: Device, function: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """Run ``function`` near the device's node and wait; inline if the node is invalid or offline.

        It goes to the policy's own queue, else to ``system_dfl_wq``.
        """
        machine = at.machine
        if not machine.topology.node_online(dev.node) or self.stays(machine, dev.node):
            return function()
        body = partial(self._pinned, machine, dev.node, function) if self.pin else function
        queue = partial(machine.queue_work_node, dev.node, at.queue or machine.system_dfl_wq)
        return run_as_work(machine, queue, body, self.work_name)

    def stays(self, machine: Machine, node: int) -> bool:
        """Tell whether the options say that the caller itself shall run it."""
        task = machine.current
        nested = self.nested_inline and task.work is not None and task.work.name == self.work_name
        return (nested or self.skip_if_on_node) and machine.topology.node_of(task.cpu) == node

    async def _pinned(self, machine: Machine, node: int, function: Callable[[], Awaitable[T]]) -> T:
        cpus = node_cpus(machine, node) & machine.housekeeping(HkType.DOMAIN)
        if not cpus:
            return await function()
        await machine.set_affinity(cpus, memory_node=node)
        try:
            return await function()
        finally:
            await machine.set_affinity(None)
