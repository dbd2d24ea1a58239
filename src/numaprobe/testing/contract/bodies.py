"""Checks of what a probe body does, and of what is measured about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.cpuset import CpuSet
from numaprobe.errors import BodyError, UsageError
from numaprobe.testing.contract.expect import TICK_NS, expect, expect_fails, in_a_task

if TYPE_CHECKING:
    from numaprobe.runtime.protocol import Machine, Usage


def _adds_up(usage: Usage) -> None:
    """Hold that the parts are not negative and make the whole."""
    cost = usage.end_ns - usage.start_ns
    parts = (usage.running_ns, usage.runnable_ns, usage.sleeping_ns)
    expect(all(part is None or part >= 0 for part in parts), f"no part of a cost is negative: {parts}")
    known = [part for part in parts if part is not None]
    if len(known) == len(parts):
        expect(sum(known) == cost, f"running + runnable + sleeping = cost: {parts}, {cost}")
    if usage.running_ns is not None and usage.running_by_node is not None:
        expect(sum(usage.running_by_node.values()) == usage.running_ns, "running is the sum over nodes")


@in_a_task
async def measure_adds_up(machine: Machine) -> None:
    """A body that computes and sleeps is measured as both; its parts make its cost."""

    async def body() -> str:
        await machine.compute(TICK_NS)
        await machine.sleep(TICK_NS)
        return "done"

    result, usage = await machine.measure(body)
    expect(result == "done", "measure returns what the body returned")
    expect(usage.end_ns - usage.start_ns >= 2 * TICK_NS, "the cost holds both")
    expect(usage.running_ns is None or usage.running_ns >= TICK_NS, f"computing is running: {usage}")
    # On a loaded computer the task may wait for its CPU while its sleep already counts: that part is runnable.
    off_cpu = usage.end_ns - usage.start_ns - (usage.running_ns or 0)
    expect(off_cpu >= TICK_NS, f"sleeping is not running: {usage}")
    expect(usage.cpus and set(usage.cpus) <= set(machine.online), f"it ran on CPUs online: {usage.cpus}")
    _adds_up(usage)


@in_a_task
async def measure_nests(machine: Machine) -> None:
    """A measured stretch inside another is part of it; an empty one costs (nearly) nothing and still has a CPU."""

    async def empty() -> int:
        return 7

    async def inner() -> None:
        await machine.compute(TICK_NS)

    async def outer() -> Usage:
        await machine.compute(TICK_NS)
        _, usage = await machine.measure(inner)
        return usage

    inside, around = await machine.measure(outer)
    expect(around.start_ns <= inside.start_ns <= inside.end_ns <= around.end_ns, "the inner stretch lies in the outer")
    if around.running_ns is not None and inside.running_ns is not None:
        expect(around.running_ns >= inside.running_ns + TICK_NS, "the outer holds the inner")
    value, usage = await machine.measure(empty)
    expect(value == 7 and usage.cpus, "an empty body is measured too, and ran somewhere")  # noqa: PLR2004
    _adds_up(usage)


@in_a_task
async def measure_lets_errors_through(machine: Machine) -> None:
    """If the measured body raises, its error comes through, and the next is measured as usual."""

    async def bad() -> None:
        raise LookupError("as asked")

    async def good() -> None:
        await machine.sleep(TICK_NS)

    await expect_fails(LookupError, machine.measure(bad), "measure lets the body's error through")
    _, usage = await machine.measure(good)
    _adds_up(usage)


@in_a_task
async def negative_times_are_body_errors(machine: Machine) -> None:
    """A negative time or size is the body's fault, and said so."""
    await expect_fails(BodyError, machine.sleep(-1), "a negative sleep is a BodyError")
    await expect_fails(BodyError, machine.compute(-1), "a negative compute is a BodyError")
    await expect_fails(BodyError, machine.allocate(-1), "a negative allocation is a BodyError")


@in_a_task
async def allocation_is_counted(machine: Machine) -> None:
    """Memory is counted by the node that gave it; where the machine cannot tell, it says None."""
    size = 1 << 20

    async def body() -> None:
        await machine.allocate(size)

    _, usage = await machine.measure(body)
    if usage.memory is not None:
        expect(sum(usage.memory.values()) >= size, f"what was allocated is counted: {usage.memory}")
    _, usage = await machine.measure(lambda: machine.sleep(1))
    expect(not usage.memory, "what others allocated is not")


@in_a_task
async def call_runs_plain_code(machine: Machine) -> None:
    """``call`` returns what the function returns and raises what it raises."""

    def divide(a: object, b: object) -> float:
        return float(str(a)) / float(str(b))

    expect(await machine.call(divide, 6, 3) == 2.0, "call returns what the function returned")  # noqa: PLR2004
    await expect_fails(ZeroDivisionError, machine.call(divide, 6, 0), "call raises what the function raised")


@in_a_task
async def set_affinity_moves(machine: Machine) -> None:
    """A task moves to the CPUs it asks for, and back to all it was created with."""
    home = machine.current.cpu

    async def body() -> None:
        for cpu in machine.online:
            await machine.set_affinity(CpuSet.of([cpu]))
            await machine.compute(1)
            expect(machine.current.cpu == cpu, f"the task is on CPU {cpu} after it moved there")
        await machine.set_affinity(None)

    _, usage = await machine.measure(body)
    expect(set(usage.cpus) | {home} == set(machine.online) | {home}, f"it visited every CPU: {usage.cpus}")
    nowhere = machine.topology.possible.last or 0
    await expect_fails(UsageError, machine.set_affinity(CpuSet()), "no CPU at all is the caller's fault")
    await expect_fails(UsageError, machine.set_affinity(CpuSet.of([nowhere + 1])), "nor is a CPU that is not there")
    await machine.compute(1)
    expect(machine.current.cpu in machine.online, "a refused move changes nothing")


@in_a_task
async def warnings_are_kept(machine: Machine) -> None:
    """``warn`` keeps its warning, with the time, after those before."""
    before = len(machine.warnings)
    machine.warn("test", "a warning")
    kept = machine.warnings[before:]
    expect([(one.kind, one.message) for one in kept] == [("test", "a warning")], "a warning is kept")
    expect(kept[0].time_ns is not None and kept[0].time_ns <= machine.now(), "a warning has its time")


CHECKS = (
    measure_adds_up,
    measure_nests,
    measure_lets_errors_through,
    negative_times_are_body_errors,
    allocation_is_counted,
    call_runs_plain_code,
    set_affinity_moves,
    warnings_are_kept,
)
