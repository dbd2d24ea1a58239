"""The second witness: a pool of one CPU, its run queue and flush, modelled once more in SimPy.

The SimPy model shares no code and no idea of data structures with ours: a CPU is a line that is served round robin
(which equal-weight fair sharing is while everybody who arrives joins at the end), a worker is a SimPy process. Both
must agree on when every work ends, and on when a task that flushes them all is through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.cpuset import CpuSet
from numaprobe.runtime import Work
from numaprobe.topology import symmetric
from numaprobe.virtual import CpuModel, VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Generator

#: A body: ("compute" or "sleep", ns) steps.
Body = list[tuple[str, int]]

#: Computations of less than a slice between two sleeps: without turns, fair sharing is first come, first served.
STEPS = st.lists(st.tuples(st.sampled_from(["compute", "sleep"]), st.integers(1, 700_000)), min_size=1, max_size=4)
SLICE_NS = CpuModel().slice_ns(8)


class SimpyCpu:
    """One CPU: first come, first served; a computation longer than a slice goes to the end of the line after each."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.line: list[simpy.Event] = []
        self.busy = False

    def acquire(self) -> Generator[Any, Any, None]:
        if self.busy:
            turn = self.env.event()
            self.line.append(turn)
            yield turn
        self.busy = True

    def leave(self) -> None:
        self.busy = bool(self.line)
        if self.line:
            self.line.pop(0).succeed()

    def compute(self, ns: int) -> Generator[Any, Any, None]:
        while ns > SLICE_NS:
            yield self.env.timeout(SLICE_NS)
            ns -= SLICE_NS
            self.leave()
            yield from self.acquire()
        yield self.env.timeout(ns)


def simpy_tasks(bodies: list[Body]) -> list[int]:
    """Return when each of these tasks ends, all pinned to one CPU and started at once."""
    env = simpy.Environment()
    cpu = SimpyCpu(env)
    ends = [0] * len(bodies)

    def task(number: int) -> Generator[Any, Any, None]:
        yield from cpu.acquire()
        for kind, ns in bodies[number]:
            if kind == "compute":
                yield from cpu.compute(ns)
            else:
                cpu.leave()
                yield env.timeout(ns)
                yield from cpu.acquire()
        ends[number] = int(env.now)
        cpu.leave()

    for number in range(len(bodies)):
        env.process(task(number))
    env.run()
    return ends


def our_tasks(bodies: list[Body]) -> list[int]:
    machine = VirtualMachine(symmetric("8", cores=8))
    ends = [0] * len(bodies)

    async def task(number: int) -> None:
        for kind, ns in bodies[number]:
            await (machine.compute if kind == "compute" else machine.sleep)(ns)
        ends[number] = machine.now()

    async def main() -> None:
        for number in range(len(bodies)):
            machine.spawn(lambda number=number: task(number), comm=f"t{number}", cpus=CpuSet.of([3]))  # type: ignore[misc]

    machine.run(main, cpu=0)
    machine.validate()
    return ends


class SimpyPool:
    """A concurrency-managed pool: when the work on the CPU sleeps, a worker for the next one joins the line."""

    def __init__(self, env: simpy.Environment, bodies: list[Body]) -> None:
        self.env = env
        self.cpu = SimpyCpu(env)
        self.bodies = bodies
        self.queue = list(range(len(bodies)))
        self.ends = [0] * len(bodies)
        self.done = [env.event() for _ in bodies]
        self.starting = False

    def start_next(self) -> None:
        if self.queue and not self.starting:
            self.starting = True
            self.env.process(self.worker())

    def worker(self) -> Generator[Any, Any, None]:
        yield from self.cpu.acquire()
        self.starting = False
        while self.queue:
            number = self.queue.pop(0)
            for kind, ns in self.bodies[number]:
                if kind == "compute":
                    yield from self.cpu.compute(ns)
                else:
                    wake = self.env.timeout(ns)
                    self.start_next()
                    self.cpu.leave()
                    yield wake
                    yield from self.cpu.acquire()
            self.ends[number] = int(self.env.now)
            self.done[number].succeed()
        self.cpu.leave()


def simpy_pool(bodies: list[Body]) -> tuple[list[int], int]:
    """Return when each work ends, and when a task that flushes them all in order is through."""
    env = simpy.Environment()
    pool = SimpyPool(env, bodies)

    def flusher() -> Generator[Any, Any, int]:
        yield from pool.done
        return int(env.now)

    process = env.process(flusher())
    pool.start_next()
    env.run()
    return pool.ends, process.value


def our_pool(bodies: list[Body]) -> tuple[list[int], int]:
    machine = VirtualMachine(symmetric("8", cores=8))
    ends = [0] * len(bodies)

    async def body(number: int) -> None:
        for kind, ns in bodies[number]:
            await (machine.compute if kind == "compute" else machine.sleep)(ns)
        ends[number] = machine.now()

    async def main() -> int:
        works = [Work(lambda n=n: body(n), f"w{n}") for n in range(len(bodies))]  # type: ignore[misc]
        for work in works:
            machine.queue_work_on(3, machine.system_percpu_wq, work)
        for work in works:
            await machine.flush_work(work)
        return machine.now()

    flushed = machine.run(main, cpu=0)
    machine.validate()
    return ends, flushed


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=8))
def test_tasks_on_one_cpu_end_when_simpy_says(bodies: list[Body]) -> None:
    assert our_tasks(bodies) == simpy_tasks(bodies)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30_000_000), min_size=1, max_size=8))
def test_turns_of_long_computations_are_round_robin(computes: list[int]) -> None:
    bodies: list[Body] = [[("compute", ns)] for ns in computes]
    assert our_tasks(bodies) == simpy_tasks(bodies)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=8))
def test_works_of_one_pool_end_when_simpy_says(bodies: list[Body]) -> None:
    assert our_pool(bodies) == simpy_pool(bodies)
