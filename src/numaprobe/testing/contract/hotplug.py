"""Checks of CPUs that go offline and come back, for machines on which a check can make them do so."""

from __future__ import annotations

import errno
import functools
from typing import TYPE_CHECKING, Protocol

from numaprobe.errors import InternalError
from numaprobe.runtime.profile import AffinityScope
from numaprobe.runtime.protocol import Machine, Work
from numaprobe.testing.contract.expect import TICK_NS, Arrivals, comes, expect, run_check

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.runtime.protocol import Workqueue


class Pluggable(Machine, Protocol):
    """A machine whose CPUs the caller can take offline and bring back."""

    async def cpu_down(self, cpu: int) -> int:
        """Take ``cpu`` offline: 0, or -EBUSY while CPU hotplug is held off."""
        ...

    async def cpu_up(self, cpu: int) -> int:
        """Bring ``cpu`` back: 0, or -EBUSY while CPU hotplug is held off."""
        ...


def _in_a_task(check: Callable[[Pluggable], Awaitable[None]]) -> Callable[[Machine], None]:
    @functools.wraps(check)
    def whole(machine: Machine) -> None:
        if not hasattr(machine, "cpu_down") or not hasattr(machine, "cpu_up"):
            raise InternalError("machine contract: the machine has cpu_down and cpu_up, or this check is excepted")
        run_check(machine, lambda: check(machine))  # type: ignore[arg-type]

    return whole


def _two_nodes(machine: Machine) -> tuple[int, list[int]]:
    """Return a node with CPUs online, and the CPUs online of all others."""
    nodes = [node for node in machine.topology.nodes if node.cpus & machine.online]
    expect(len(nodes) > 1, "the machine of this check has two nodes with CPUs online")
    others = machine.online - nodes[0].cpus
    return nodes[0].id, list(others)


def _share(machine: Machine, node_id: int, most: int) -> int:
    """Return what the kernel's formula gives: the node's part of the CPUs online, rounded up."""
    node = machine.topology.node(node_id)
    here = node.cpus & machine.online if node is not None else ()
    return -(-most * len(here) // len(machine.online))


async def _active(machine: Machine, wq: Workqueue, node: int, most: int) -> int:
    """Return how many of many works for ``node`` are active at once."""
    gate = machine.event("gate")
    started = Arrivals(machine, "works have started")

    async def function() -> None:
        started.arrive()
        await gate.wait()

    works = [Work(function, f"work_{number}_fn") for number in range(2 * most)]
    for work in works:
        machine.queue_work_node(node, wq, work)
    await started.wait(_share(machine, node, most))
    await machine.sleep(2 * TICK_NS)
    active = started.count
    gate.set()
    for work in works:
        await machine.flush_work(work)
    return active


@_in_a_task
async def limits_follow_the_cpus(machine: Pluggable) -> None:
    """A node's share of max_active is that of its CPUs among those online; it changes when CPUs go and come."""
    node, others = _two_nodes(machine)
    most = 12
    wq = machine.alloc_workqueue("limited", unbound=True, max_active=most, min_active=1, scope=AffinityScope.NUMA)
    shares = []
    for change in (None, machine.cpu_down, machine.cpu_up):
        for cpu in others if change is not None else ():
            await change(cpu)  # type: ignore[misc]  # it is not None here
        shares.append(_share(machine, node, most))
        active = await _active(machine, wq, node, most)
        expect(active == shares[-1], f"{active} works are active, the share of node {node} is {shares[-1]} of {most}")
    expect(shares[0] == shares[2] < shares[1] == most, f"the share grows, and shrinks again: {shares}")


@_in_a_task
async def held_works_start_when_the_share_grows(machine: Pluggable) -> None:
    """Works that max_active held back start when CPUs of other nodes go, at the latest when one that runs is done."""
    node, others = _two_nodes(machine)
    wq = machine.alloc_workqueue("limited", unbound=True, max_active=4, min_active=1, scope=AffinityScope.NUMA)
    first, rest = machine.event("first"), machine.event("rest")
    started = Arrivals(machine, "works have started")

    async def function() -> None:
        started.arrive()
        await (first if started.count == 1 else rest).wait()

    works = [Work(function, f"work_{number}_fn") for number in range(5)]
    for work in works:
        machine.queue_work_node(node, wq, work)
    share = _share(machine, node, 4)
    await started.wait(share)
    await machine.sleep(2 * TICK_NS)
    expect(started.count == share, f"{started.count} works have started, the share of node {node} is {share}")
    for cpu in others:
        await machine.cpu_down(cpu)
    first.set()
    await started.wait(len(works))
    rest.set()
    for work in works:
        await machine.flush_work(work)
    for cpu in others:
        await machine.cpu_up(cpu)


@_in_a_task
async def works_of_an_offline_cpu_run_elsewhere(machine: Pluggable) -> None:
    """Its workers run anywhere meanwhile, all at once, under its name; when it is back they are on it again."""
    cpu = machine.online.last or 0
    seen: list[tuple[str, int]] = []
    together = machine.event("both have started")

    async def function() -> None:
        await machine.compute(1)
        seen.append((machine.current.comm, machine.current.cpu))
        if len(seen) > 1:
            together.set()
        await comes(together, "they run all at once")

    async def both() -> None:
        seen.clear()
        works = [Work(function, f"work_{number}_fn") for number in range(2)]
        for work in works:
            machine.queue_work_on(cpu, machine.system_percpu_wq, work)
        for work in works:
            await machine.flush_work(work)
        expect(all(comm.startswith(f"kworker/{cpu}:") for comm, _ in seen), f"they have the CPU's name: {seen}")

    await both()
    expect({where for _, where in seen} == {cpu}, f"they ran on CPU {cpu}: {seen}")
    await machine.cpu_down(cpu)
    await both()
    expect(cpu not in {where for _, where in seen}, f"CPU {cpu} is offline, and nobody ran on it: {seen}")
    await machine.cpu_up(cpu)
    await both()
    expect({where for _, where in seen} == {cpu}, f"they ran on CPU {cpu} again: {seen}")


@_in_a_task
async def a_node_without_cpus_online_is_served_elsewhere(machine: Pluggable) -> None:
    """``queue_work_node`` to a node whose CPUs all went offline still runs, also on a strict queue."""
    _, others = _two_nodes(machine)
    node = machine.topology.node_of(others[0])
    wq = machine.alloc_workqueue("strict", unbound=True, scope=AffinityScope.NUMA, strict=True)
    seen: list[int] = []

    async def function() -> None:
        await machine.compute(1)
        seen.append(machine.current.cpu)

    work = Work(function, "work_fn")
    for change in (None, machine.cpu_down, machine.cpu_up):
        for cpu in [one for one in others if machine.topology.node_of(one) == node]:
            if change is not None:
                await change(cpu)
        expect(machine.queue_work_node(node, wq, work), "it is queued")
        await machine.flush_work(work)
    expect([machine.topology.node_of(cpu) == node for cpu in seen] == [True, False, True], f"it ran on CPUs {seen}")


@_in_a_task
async def hotplug_that_is_held_off_is_refused(machine: Pluggable) -> None:
    """No CPU goes or comes, and a warning names the holders, until all of them have let go as often as they held."""
    cpu = machine.online.last or 0
    for holder in ("one", "other", "one"):
        machine.cpu_hotplug_disable(holder)
    answers = []
    for holder in ("one", "one", "other"):
        answers.append(await machine.cpu_down(cpu))
        machine.cpu_hotplug_enable(holder)
    expect(answers == [-errno.EBUSY] * 3 and cpu in machine.online, f"CPU {cpu} stays online: {answers}")
    told = [one.message.partition("held off by ")[2] for one in machine.warnings if one.kind == "cpu-hotplug"]
    expect(told == ["one, other", "one, other", "other"], f"warnings name who holds it off: {told}")
    expect(await machine.cpu_down(cpu) == 0 and cpu not in machine.online, f"CPU {cpu} goes when nobody holds it")
    machine.cpu_hotplug_disable("one")
    expect(await machine.cpu_up(cpu) == -errno.EBUSY and cpu not in machine.online, f"CPU {cpu} stays offline")
    machine.cpu_hotplug_enable("one")
    expect(await machine.cpu_up(cpu) == 0 and cpu in machine.online, f"CPU {cpu} comes when nobody holds it")


CHECKS = (
    limits_follow_the_cpus,
    held_works_start_when_the_share_grows,
    works_of_an_offline_cpu_run_elsewhere,
    a_node_without_cpus_online_is_served_elsewhere,
    hotplug_that_is_held_off_is_refused,
)
