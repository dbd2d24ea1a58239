"""What a measured stretch costs: nesting, memory, nodes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.errors import BodyError
from numaprobe.runtime import Work
from numaprobe.topology import Node, symmetric

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.runtime import Usage
    from numaprobe.virtual import VirtualMachine

    Make = Callable[..., VirtualMachine]

MS = 1_000_000
GIB = 2**30


def test_nested_measures_book_each_for_itself(make: Make) -> None:
    machine = make()

    async def inner() -> None:
        await machine.compute(2 * MS)
        await machine.allocate(100)

    async def outer() -> Usage:
        await machine.compute(MS)
        _, usage = await machine.measure(inner)
        await machine.sleep(3 * MS)
        await machine.allocate(10)
        return usage

    async def main() -> tuple[Usage, Usage]:
        return await machine.measure(outer)

    inside, around = machine.run(main)
    assert (inside.running_ns, inside.sleeping_ns, inside.memory) == (2 * MS, 0, {0: 100})
    assert (around.running_ns, around.sleeping_ns, around.memory) == (3 * MS, 3 * MS, {0: 110})
    assert around.segments is None


def test_running_is_booked_by_node_and_cpus_by_first_use(make: Make) -> None:
    machine = make()

    async def body() -> None:
        await machine.compute(MS)
        await machine.set_affinity(CpuSet.of([6]))
        await machine.compute(2 * MS)
        await machine.set_affinity(CpuSet.of([1]))

    async def main() -> Usage:
        return (await machine.measure(body))[1]

    usage = machine.run(main, cpu=3)
    assert usage.cpus == (3, 6, 1)
    assert usage.running_by_node == {0: MS, 1: 2 * MS}


def test_an_error_leaves_no_frame_behind(make: Make) -> None:
    machine = make()

    async def bad() -> None:
        raise LookupError

    async def main() -> None:
        with pytest.raises(LookupError):
            await machine.measure(bad)
        assert machine.blocker.running().frames == []

    machine.run(main)


def test_memory_comes_from_the_asked_the_preferred_or_the_local_node(make: Make) -> None:
    machine = make()

    async def main() -> list[object]:
        seen = []
        for node, preferred in ((None, None), (1, None), (None, 1), (0, 1)):
            await machine.set_affinity(None, memory_node=preferred)
            _, usage = await machine.measure(lambda node=node: machine.allocate(4096, node))
            seen.append(usage.memory)
        return seen

    assert machine.run(main, cpu=0) == [{0: 4096}, {1: 4096}, {1: 4096}, {0: 4096}]


def test_a_node_without_memory_takes_from_the_nearest_and_spills(make: Make) -> None:
    """Node 0 has none; node 2 is nearer to it than node 1, and has 1 GiB."""
    base = symmetric("three", nodes=3, cores=2)
    topology = dataclasses.replace(
        base,
        nodes=(Node(0, base.nodes[0].cpus, 0), base.nodes[1], Node(2, base.nodes[2].cpus, GIB)),
        distances=((10, 30, 20), (30, 10, 20), (20, 20, 10)),
    )
    machine = make(topology)

    async def main() -> Usage:
        return (await machine.measure(lambda: machine.allocate(GIB + 5)))[1]

    assert machine.run(main, cpu=0).memory == {2: GIB, 1: 5}


def test_out_of_memory_is_the_bodys_fault_and_takes_nothing(make: Make) -> None:
    machine = make()

    async def main() -> None:
        with pytest.raises(BodyError, match="out of memory"):
            await machine.allocate(2 * GIB + 1)
        await machine.allocate(2 * GIB)

    machine.run(main)


def test_a_measured_worker_of_an_unbound_pool_has_its_pod(make: Make) -> None:
    """Which CPUs it may use, and where its pool starts works: of a pool that is not strict these differ."""
    machine = make(symmetric("llcs", nodes=2, llcs=2, cores=2))
    seen: dict[str, Usage] = {}

    def measured(name: str) -> Work:
        async def body() -> None:
            seen[name] = (await machine.measure(lambda: machine.compute(MS)))[1]

        return Work(body, name)

    async def main() -> None:
        machine.queue_work_on(2, machine.system_dfl_wq, measured("unbound"))
        machine.queue_work_on(2, machine.system_percpu_wq, measured("per-CPU"))
        seen["task"] = (await machine.measure(lambda: machine.compute(MS)))[1]

    machine.run(main)
    places = {name: (str(usage.allowed), usage.pod and str(usage.pod)) for name, usage in seen.items()}
    assert places == {"unbound": ("0-7", "2-3"), "per-CPU": ("2", None), "task": ("0-7", None)}
