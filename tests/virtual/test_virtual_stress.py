"""Everything at once, in random order: no promise breaks, nothing is lost, nothing runs twice."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.cpuset import CpuSet
from numaprobe.errors import NumaprobeError
from numaprobe.runtime import AffinityScope, Work
from numaprobe.topology import symmetric
from numaprobe.virtual import CpuModel, VirtualMachine

MS = 1_000_000
CPUS = st.integers(0, 15)

STEP = st.one_of(
    st.tuples(st.just("queue"), CPUS, st.integers(0, 9)),
    st.tuples(st.just("node"), st.integers(-1, 2), st.integers(0, 9)),
    st.tuples(st.sampled_from(["down", "up", "load", "shell"]), CPUS),
    st.tuples(st.just("isolate"), st.sets(CPUS, max_size=6)),
    st.tuples(st.just("wait"), st.integers(0, 12 * MS)),
    st.tuples(st.just("flush"), st.integers(0, 9)),
)


class World:
    """Ten works, three workqueues, and what became of every queueing."""

    def __init__(self, profile: str, model: CpuModel) -> None:
        topology = symmetric("m", nodes=2, llcs=2, cores=2, smt=2)
        self.machine = VirtualMachine(topology, profile, cpu_model=model)
        strict = self.machine.alloc_workqueue(
            "strict", unbound=True, scope=AffinityScope.NUMA, strict=True, max_active=2, min_active=1
        )
        self.queues = [self.machine.system_percpu_wq, self.machine.system_dfl_wq, strict]
        self.queued = [0] * 10
        self.done = [0] * 10
        self.inside = [False] * 10
        self.works = [Work(lambda n=n: self.body(n), f"work_{n}_fn") for n in range(10)]  # type: ignore[misc]

    async def body(self, number: int) -> None:
        assert not self.inside[number], "a work never runs beside itself"
        self.inside[number] = True
        await self.machine.compute(number % 4 * 4 * MS)
        await self.machine.sleep(number % 3 * MS)
        if number == 7:
            await self.machine.set_affinity(self.machine.online)
            await self.machine.compute(MS)
            await self.machine.set_affinity(None)
        self.inside[number] = False
        self.done[number] += 1

    async def step(self, step: tuple) -> None:  # type: ignore[type-arg]
        machine = self.machine
        match step:
            case ("queue", cpu, work):
                self.queued[work] += machine.queue_work_on(cpu, self.queues[work % 3], self.works[work])
            case ("node", node, work):
                self.queued[work] += machine.queue_work_node(node, self.queues[work % 3], self.works[work])
            case ("down", cpu):
                await machine.cpu_down(cpu)
                assert machine.current.cpu in machine.online
            case ("up", cpu):
                await machine.cpu_up(cpu)
            case ("load", cpu):
                machine.add_load(CpuSet.of([cpu]))
            case ("shell", cpu):
                machine.spawn(lambda: machine.compute(5 * MS), comm="sh", cpus=CpuSet.of([cpu, (cpu + 5) % 16]))
            case ("isolate", cpus):
                await machine.isolate(CpuSet.of(cpus))
            case ("wait", ns):
                await machine.sleep(ns)
            case ("flush", work):
                await machine.flush_work(self.works[work])

    async def main(self, steps: list[tuple]) -> None:  # type: ignore[type-arg]
        for step in steps:
            # A CPU that is offline already, or the last one, is refused: a refusal changes nothing.
            with contextlib.suppress(*((NumaprobeError,) if step[0] in ("down", "up", "isolate", "shell") else ())):
                await self.step(step)
            self.machine.validate()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["6.1", "6.19", "7.3"]), st.booleans(), st.lists(STEP, max_size=30))
def test_nothing_is_lost(profile: str, full: bool, steps: list[tuple]) -> None:  # type: ignore[type-arg]
    world = World(profile, CpuModel() if full else CpuModel.off)
    world.machine.run(lambda: world.main(steps))
    assert world.done == world.queued
    world.machine.validate()


@pytest.mark.parametrize("cpus", [1, 3])
def test_a_machine_without_smt_or_symmetry_works(cpus: int) -> None:
    machine = VirtualMachine(symmetric("odd", nodes=cpus, cores=1))

    async def main() -> None:
        for node in range(cpus):
            work = Work(lambda: machine.compute(MS), "f")
            machine.queue_work_node(node, machine.system_dfl_wq, work)
            await machine.flush_work(work)

    machine.run(main)
    machine.validate()
    assert machine.now() == cpus * MS
