"""The run queues of all CPUs, and the choice of one: where a task wakes, starts, or may be moved (fair.c, reduced).

Rules
=====

* A wake-up looks no further than a last-level cache (``select_task_rq_fair``, ``select_idle_sibling``). Its *target* is
  the CPU where the task last ran, or its waker's if that has fewer tasks (``wake_affine``). An idle target takes the
  task; else an idle CPU of the target's LLC does, one of an idle core before the sibling of a busy one; else the task
  waits at the target. So a worker queued for a busy node starts there, however idle other nodes are.
* A new task (a shell; a worker's CPU is chosen by its pool) may start anywhere: on an idle CPU near its parent (LLC,
  node, machine), else where the fewest others are (``sched_balance_find_dst_cpu``). It does not leave its LLC only
  because its parent is on its CPU: parents mostly wait next. The same holds for a task whose CPU is taken from it.

``idle``, ``whole`` (CPUs whose whole core is idle), ``levels`` (busy CPUs by number of tasks) and ``overloaded`` (CPUs
on which tasks wait, by the CPUs that these may use) are kept as sets of bits, so that no decision scans the CPUs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import next_bit
from numaprobe.virtual.cpu import CpuModel, RunQueue
from numaprobe.virtual.task import SameCpus

if TYPE_CHECKING:
    from numaprobe.topology import Topology
    from numaprobe.virtual.loop import EventLoop
    from numaprobe.virtual.task import VirtualTask

#: Idle CPUs look at a domain no more often than this for each of its CPUs: ``sd->min_interval`` is its weight in ms.
BALANCE_NS_PER_CPU: Final = 1_000_000


class RunQueues:
    """Run queues of all possible CPUs.

    Attributes:
        online: the CPUs online.
        domain: the CPUs that take part in load balancing.
        shared: how many CPUs online have two tasks or more.
        shared_from: since when there is such a CPU: none is shared for longer.

    """

    def __init__(self, loop: EventLoop, topology: Topology, model: CpuModel) -> None:
        self.loop = loop
        self.model = model
        self.online = topology.online.bits
        self.domain = topology.possible.bits & ~topology.housekeeping.isolated.bits
        self.slice_ns = model.slice_ns(len(topology.online))
        self.queues: list[RunQueue | None] = [None] * topology.possible.bits.bit_length()
        for cpu in topology.possible:
            node = topology.node(topology.node_of(cpu))
            self.queues[cpu] = RunQueue(
                cpu,
                topology.cores[topology.core_of(cpu)].bits,
                topology.llcs[topology.llc_of(cpu)].bits,
                node.cpus.bits if node else 0,
            )
        self._note_domain()
        self.idle = self.online
        self.whole = self.online
        #: the first one, of CPUs without tasks, is not kept: it is ``idle``
        self.levels = [0]
        self.overloaded: dict[SameCpus, int] = {}
        self._same_cpus: dict[int, SameCpus] = {}
        self.shared = 0
        self.shared_from = 0

    def queue(self, cpu: int) -> RunQueue:
        """Return the run queue of a possible CPU."""
        queue = self.queues[cpu]
        assert queue is not None  # noqa: S101  callers name possible CPUs
        return queue

    def same_cpus(self, task: VirtualTask) -> SameCpus:
        """Return what stands for the CPUs that ``task`` may use."""
        cpus = task.same_cpus
        if cpus is None or cpus.mask is not task.mask:
            cpus = self._same_cpus.get(task.mask)
            if cpus is None:
                cpus = self._same_cpus[task.mask] = SameCpus(task.mask)
            task.same_cpus = cpus
            task.mask = cpus.mask  # one object for all that are equal: so the next look is short
        return cpus

    # ---- placement -------------------------------------------------------------------------------------------------
    def allowed(self, task: VirtualTask) -> int:
        """Return the online CPUs that ``task`` may use; all, if its own are offline (``select_fallback_rq``)."""
        return task.mask & self.online or self.online

    def select(self, task: VirtualTask) -> int:
        """Choose the CPU on which ``task`` wakes (``select_task_rq_fair``)."""
        previous = self.queue(task.cpu)
        if previous.bit & task.mask & self.idle:  # mostly; what is idle is online
            return task.cpu
        allowed = self.allowed(task)
        if not previous.bit & allowed:
            return self.select_new(task)
        if not allowed & (allowed - 1) or previous.bit & self.idle or not previous.bit & self.domain:
            return task.cpu
        target = self._wake_affine(previous, allowed)
        idle = target.llc & allowed & self.idle & self.domain
        return next_bit(idle & self.whole or idle, target.cpu) if idle else target.cpu

    def _wake_affine(self, previous: RunQueue, allowed: int) -> RunQueue:
        """Return the waker's CPU if it has fewer tasks than the previous one, which is not idle."""
        current = self.loop.current
        here = previous if current is None else self.queue(current.cpu)
        return here if here.count < previous.count and here.bit & allowed & self.domain else previous

    def select_new(self, task: VirtualTask) -> int:
        """Choose a CPU for a task that is new, or that lost its own."""
        allowed = self.allowed(task)
        if not allowed & (allowed - 1):
            return allowed.bit_length() - 1
        previous = self.queue(task.cpu)
        if previous.bit & allowed and (previous.bit & self.idle or not previous.bit & self.domain):
            return task.cpu
        found = self._idle_near(previous, allowed & self.idle & self.domain)
        if found is None:
            return self._least_loaded(previous, allowed & self.domain or allowed)
        if previous.bit & allowed and not self.queue(found).bit & previous.llc and self._may_stop(previous):
            return previous.cpu
        return found

    def _may_stop(self, queue: RunQueue) -> bool:
        """Tell whether this CPU runs the waker, which is between two steps, and nobody waits for it yet."""
        current = queue.current
        return current is not None and current is self.loop.current and not current.remaining and not queue.waiting

    def _idle_near(self, previous: RunQueue, idle: int) -> int | None:
        if not idle:
            return None
        current = self.loop.current
        waker_llc = self.queue(current.cpu).llc if current is not None else 0
        for near in (previous.llc, waker_llc, previous.node, -1):
            candidates = idle & near
            if candidates:
                return next_bit(candidates & self.whole or candidates, previous.cpu)
        return None

    def _least_loaded(self, previous: RunQueue, allowed: int) -> int:
        for level in (self.idle, *self.levels):
            candidates = level & allowed
            if candidates & previous.bit:
                return previous.cpu
            if candidates:
                return next_bit(candidates & previous.llc or candidates, previous.cpu)
        return next_bit(allowed, previous.cpu)

    def _change_count(self, queue: RunQueue, step: int) -> None:
        levels, count, bit = self.levels, queue.count, queue.bit
        if count:
            levels[count] &= queue.others
        queue.count = count = count + step
        if count == len(levels):
            levels.append(0)
        if not bit & self.online:
            return
        if count == 0:
            self.idle |= bit
            core = queue.core & self.online
            if core & self.idle == core:
                self.whole |= core
            return
        levels[count] |= bit
        if count == 1 and step == 1:
            self.idle &= queue.others
            self.whole &= queue.other_cores
        elif count == 1:
            self.shared -= 1
        elif count == 2 and step == 1:  # noqa: PLR2004  the first that shares it
            queue.shared_since = self.loop.now
            if not self.shared:
                self.shared_from = self.loop.now
            self.shared += 1

    # ---- how far balancing looks -----------------------------------------------------------------------------------
    def _note_domain(self) -> None:
        """Work out again which CPUs balance with all others, and how often they look at them."""
        self._balanced = self.domain & self.online
        self._balance_ns = self._balanced.bit_count() * BALANCE_NS_PER_CPU

    def _source(self, queue: RunQueue, candidates: int) -> RunQueue | None:
        """Return the next of the CPUs ``candidates`` from which ``queue`` may take now."""
        near = queue.llc | queue.node
        if self.loop.now - self.shared_from < self._balance_ns:  # nobody may take from far away yet
            candidates &= near
        while candidates:
            source = self.queue(next_bit(candidates, queue.cpu))
            if source.bit & near or self._reach(source) & queue.bit:
                return source
            candidates &= source.others
        return None

    def _reach(self, queue: RunQueue) -> int:
        """Return the CPUs that balancing lets a task of ``queue`` move to by now."""
        shared_ns = self.loop.now - queue.shared_since
        if shared_ns >= self._balance_ns:
            return self._balanced | queue.llc
        near = queue.node & self._balanced
        return near | queue.llc if shared_ns >= near.bit_count() * BALANCE_NS_PER_CPU else queue.llc
