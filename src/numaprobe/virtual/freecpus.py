"""The CPU model switched off: as many CPUs as there are tasks.

A computation is a delay, nobody waits for a CPU, and a task stays on the CPU on which it was placed: its previous one
if it may use it, else the first that it may use. Workers still start and sleep as the workqueues want it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.virtual.loop import PRIORITY_CPU, EventLoop
from numaprobe.virtual.task import State, VirtualTask

if TYPE_CHECKING:
    from numaprobe.topology import Topology
    from numaprobe.virtual.cpu import CpuModel


class FreeCpus:
    """Stands in for the scheduler, with the same methods."""

    def __init__(self, loop: EventLoop, topology: Topology, _model: CpuModel) -> None:
        self.loop = loop
        self.online = topology.online.bits
        self.domain = topology.possible.bits & ~topology.housekeeping.isolated.bits

    def wake(self, task: VirtualTask) -> None:
        """Let a sleeping task go on now."""
        task.cpu = self._place(task)
        task.since = self.loop.now
        task.state = State.RUNNING
        task.on_cpu = True
        task.visited()
        task.scheduled_in()
        self.loop.make_due(task)

    wake_new = wake

    def sleep(self, task: VirtualTask) -> None:
        """Note that the task sleeps."""
        task.scheduled_out()
        task.state = State.SLEEPING
        task.on_cpu = False

    def exit(self, task: VirtualTask) -> None:
        """Note that the task is done."""
        task.state = State.DEAD

    def compute(self, task: VirtualTask, ns: int) -> None:
        """Step the task after ``ns``."""
        if not task.load:
            task.since = self.loop.now
            task.remaining = ns
            self.loop.at(self.loop.now + ns, PRIORITY_CPU, self._computed, task)

    def _computed(self, task: VirtualTask) -> None:
        task.account(self.loop.now)
        task.remaining = 0
        self.loop.step(task)

    def set_mask(self, task: VirtualTask, mask: int) -> None:
        """Change where ``task`` may run, and move it if it must."""
        task.mask = mask
        if task.on_cpu:
            if task.remaining:
                task.account(self.loop.now)
            task.cpu = self._place(task)
            task.visited()

    def _place(self, task: VirtualTask) -> int:
        allowed = task.mask & self.online or self.online
        if allowed >> task.cpu & 1:
            return task.cpu
        return (allowed & -allowed).bit_length() - 1

    def set_offline(self, cpu: int) -> None:
        """Take ``cpu`` offline; tasks leave it when they wake next."""
        self.online &= ~(1 << cpu)

    def set_online(self, cpu: int) -> None:
        """Bring ``cpu`` online."""
        self.online |= 1 << cpu

    def set_domain(self, domain: int) -> None:
        """Change which CPUs take part in load balancing: of which there is none here."""
        self.domain = domain
