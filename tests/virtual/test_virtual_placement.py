"""Where tasks wake and start, once more: each choice against one that looks at every CPU, one by one.

``runqueues`` keeps sets of bits so that no choice scans the CPUs; here they are scanned, by the rules that its text
gives. Machines, loads, wakers and masks are random.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.cpuset import CpuSet
from numaprobe.topology import Housekeeping, Topology, symmetric
from numaprobe.virtual.cpu import CpuModel
from numaprobe.virtual.loop import EventLoop
from numaprobe.virtual.runqueues import BALANCE_NS_PER_CPU, RunQueues

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numaprobe.virtual.task import VirtualTask


def after(cpus: Collection[int], cpu: int) -> int:
    """The next of ``cpus`` after ``cpu``, round and round."""
    return min(cpus, key=lambda one: (one <= cpu, one))


class Machine:
    """Run queues in a random state, and the same state as plain sets and numbers."""

    def __init__(self, topology: Topology, offline: Iterable[int], counts: dict[int, int], waker: int | None) -> None:
        self.topology = topology
        self.loop = EventLoop()
        self.queues = RunQueues(self.loop, topology, CpuModel())
        for cpu in offline:
            self.queues.online &= ~(1 << cpu)
            for name in ("idle", "whole"):
                setattr(self.queues, name, getattr(self.queues, name) & ~(1 << cpu))
        self.queues._note_domain()
        self.online = {cpu for cpu in topology.possible if self.queues.online >> cpu & 1}
        self.domain = set(topology.possible - topology.housekeeping.isolated)
        self.counts = dict.fromkeys(topology.possible, 0)
        for cpu, count in counts.items():
            if cpu in self.online:
                for _ in range(count):
                    self.change(cpu, 1)
        self._fix_cores()
        self.waker = waker if waker is not None and self.counts.get(waker) else None
        if self.waker is not None:
            running: Any = SimpleNamespace(cpu=self.waker, remaining=0)
            self.loop.current = self.queues.queue(self.waker).current = running

    def change(self, cpu: int, step: int) -> None:
        self.queues._change_count(self.queues.queue(cpu), step)
        self.counts[cpu] += step

    def _fix_cores(self) -> None:
        """A core whose other CPU is offline is whole by itself: what ``set_offline`` of the scheduler sees to."""
        for cpu in self.online:
            if all(self.counts[one] == 0 for one in self.core(cpu)):
                self.queues.whole |= 1 << cpu

    # ---- the same, looked at one by one
    def core(self, cpu: int) -> set[int]:
        return set(self.topology.cores[self.topology.core_of(cpu)]) & self.online

    def llc(self, cpu: int) -> set[int]:
        return set(self.topology.llcs[self.topology.llc_of(cpu)])

    def node(self, cpu: int) -> set[int]:
        node = self.topology.node(self.topology.node_of(cpu))
        return set(node.cpus) if node else set()

    @property
    def idle(self) -> set[int]:
        return {cpu for cpu in self.online if not self.counts[cpu]}

    @property
    def whole(self) -> set[int]:
        return {cpu for cpu in self.online if all(not self.counts[one] for one in self.core(cpu))}

    def best(self, cpus: set[int], near: int) -> int:
        return after(cpus & self.whole or cpus, near)

    def wake(self, previous: int, mask: set[int]) -> int:
        allowed = mask & self.online or self.online
        if previous not in allowed:
            return self.start(previous, mask)
        if len(allowed) == 1 or previous in self.idle or previous not in self.domain:
            return previous
        target, here = previous, self.waker
        if here is not None and self.counts[here] < self.counts[previous] and here in allowed & self.domain:
            target = here
        free = self.llc(target) & allowed & self.idle & self.domain
        return self.best(free, target) if free else target

    def start(self, previous: int, mask: set[int]) -> int:
        allowed = mask & self.online or self.online
        if len(allowed) == 1:
            return min(allowed)
        if previous in allowed and (previous in self.idle or previous not in self.domain):
            return previous
        free = allowed & self.idle & self.domain
        if not free:
            rest = allowed & self.domain or allowed
            fewest = min(self.counts[cpu] for cpu in rest)
            least = {cpu for cpu in rest if self.counts[cpu] == fewest}
            return previous if previous in least else after(least & self.llc(previous) or least, previous)
        waker_llc = self.llc(self.waker) if self.waker is not None else set()
        rings = (self.llc(previous), waker_llc, self.node(previous), free)
        found = self.best(next(free & ring for ring in rings if free & ring), previous)
        stays = previous in allowed and found not in self.llc(previous) and self.waker == previous
        return previous if stays else found


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    shape = {name: draw(st.integers(1, most)) for name, most in (("nodes", 2), ("llcs", 2), ("cores", 2), ("smt", 2))}
    plain = symmetric("m", **shape)
    cpus = st.sampled_from(list(plain.possible))
    isolated = draw(st.sets(cpus, max_size=len(plain.possible) - 1))
    keep = Housekeeping(isolated=CpuSet.of(isolated))
    offline = draw(st.sets(cpus, max_size=len(plain.possible) - 1))
    counts = draw(st.dictionaries(cpus, st.integers(0, 3)))
    topology = symmetric("m", **shape, housekeeping=keep)
    return Machine(topology, offline, counts, draw(st.none() | cpus))


def task(cpu: int, mask: Iterable[int]) -> VirtualTask:
    made: Any = SimpleNamespace(cpu=cpu, mask=CpuSet.of(mask).bits)
    return made  # type: ignore[no-any-return]


@settings(max_examples=200, deadline=None)
@given(machines(), st.data())
def test_a_choice_is_the_same_if_every_cpu_is_looked_at(machine: Machine, data: st.DataObject) -> None:
    possible = list(machine.topology.possible)
    mask = data.draw(st.sets(st.sampled_from(possible), min_size=1))
    previous = data.draw(st.sampled_from(possible))
    assert machine.queues.select(task(previous, mask)) == machine.wake(previous, mask)
    assert machine.queues.select_new(task(previous, mask)) == machine.start(previous, mask)


@settings(max_examples=100, deadline=None)
@given(machines(), st.data())
def test_the_sets_follow_the_counts(machine: Machine, data: st.DataObject) -> None:
    for cpu in data.draw(st.lists(st.sampled_from(sorted(machine.online)), max_size=12)):
        step = data.draw(st.sampled_from([1, -1] if machine.counts[cpu] else [1]))
        machine.loop.now += 5
        shared = machine.queues.queue(cpu).shared_since
        machine.change(cpu, step)
        second = step == 1 and machine.counts[cpu] == 2
        assert machine.queues.queue(cpu).shared_since == (machine.loop.now if second else shared)
    queues = machine.queues
    assert set(CpuSet(queues.idle)) == machine.idle
    assert set(CpuSet(queues.whole)) == machine.whole
    for level, cpus in enumerate([queues.idle, *queues.levels[1:]]):
        assert set(CpuSet(cpus)) == {cpu for cpu in machine.online if machine.counts[cpu] == level}
    assert {queues.queue(cpu).count for cpu in machine.online} <= set(range(len(queues.levels)))
    shared = [queues.queue(cpu).shared_since for cpu in machine.online if machine.counts[cpu] > 1]
    assert queues.shared == len(shared)
    assert all(since >= queues.shared_from for since in shared)


@settings(max_examples=100, deadline=None)
@given(machines(), st.data())
def test_how_far_balancing_looks_grows_with_the_time_that_a_cpu_is_shared(
    machine: Machine, data: st.DataObject
) -> None:
    """Its LLC at once, its node after a millisecond for each CPU of it, the machine after one for each of all."""
    queues = machine.queues
    balanced = machine.domain & machine.online
    machine.loop.now = data.draw(st.integers(0, 20)) * BALANCE_NS_PER_CPU
    for cpu in machine.topology.possible:
        queues.queue(cpu).shared_since = data.draw(st.integers(0, 20)) * BALANCE_NS_PER_CPU
    queues.shared_from = min(queues.queue(cpu).shared_since for cpu in machine.topology.possible)

    def reach(cpu: int) -> set[int]:
        waited = machine.loop.now - queues.queue(cpu).shared_since
        for ring in (balanced, machine.node(cpu) & balanced):
            if waited >= len(ring) * BALANCE_NS_PER_CPU:
                return ring | machine.llc(cpu)
        return machine.llc(cpu)

    for cpu in machine.topology.possible:
        assert set(CpuSet(queues._reach(queues.queue(cpu)))) == reach(cpu)
    cpu = data.draw(st.sampled_from(list(machine.topology.possible)))
    some = data.draw(st.sets(st.sampled_from(list(machine.topology.possible))))
    near = machine.llc(cpu) | machine.node(cpu)
    usable = {one for one in some if one in near or cpu in reach(one)}
    source = queues._source(queues.queue(cpu), CpuSet.of(some).bits)
    assert (None if source is None else source.cpu) == (after(usable, cpu) if usable else None)


def test_a_machine_starts_idle_with_turns_by_its_size() -> None:
    topology = symmetric("m", nodes=2, cores=2, smt=2, housekeeping=Housekeeping(isolated=CpuSet.of([7])))
    queues = RunQueues(EventLoop(), topology, CpuModel())
    assert (queues.idle, queues.whole, queues.levels, queues.overloaded) == (255, 255, [0], {})
    assert (queues.domain, queues.slice_ns) == (127, 3_000_000)
    (first, last) = queues.queue(0), queues.queue(7)
    assert [str(CpuSet(bits)) for bits in (first.core, first.llc, first.node)] == ["0,4", "0-1,4-5", "0-1,4-5"]
    assert [str(CpuSet(bits)) for bits in (last.core, last.llc, last.node)] == ["3,7", "2-3,6-7", "2-3,6-7"]
    assert (last.bit, last.others & 255, last.count, last.due, last.current) == (128, 127, 0, -1, None)
