"""The traps of the threads, each shown by the policy that falls into it and by one that does not."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from core_world import MS
from numaprobe.cpuset import CpuSet
from numaprobe.drivercore import asyncs
from numaprobe.errors import DeadlockError
from numaprobe.policies import POLICIES, OwnQueue, make_policy
from numaprobe.policies.strict_node import StrictNode
from numaprobe.runtime import AffinityScope, Work
from numaprobe.topology import Housekeeping, symmetric

if TYPE_CHECKING:
    from collections.abc import Callable

    from core_world import World

TOPOLOGY = symmetric("llcs", nodes=2, llcs=2, cores=2)


# ---- (a) PF_WQ_WORKER says nothing about the node -------------------------------------------------------------------
@pytest.mark.parametrize(("policy", "cpu"), [("work-on-cpu", 4), ("skip-in-worker", 0), ("queue-on-node", 0)])
def test_a_device_that_a_hotplug_worker_adds(make_world: Callable[..., World], policy: str, cpu: int) -> None:
    """A kworker of CPU 0 finds a device of node 1. (The retry of deferred probes: test_policies_placement.py.)"""
    world = make_world(make_policy(policy), topology=TOPOLOGY)

    async def hotplug() -> None:
        await world.core.device_add(world.device("a", bus=world.pci, node=1))

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", bus=world.pci))
        work = Work(hotplug, "pciehp_work")
        world.machine.queue_work_on(0, world.machine.system_percpu_wq, work)
        await world.machine.flush_work(work)

    world.run(main)
    record = world.record("a")
    assert (record.cpu, record.local) == (cpu, cpu == 4)
    assert re.fullmatch(rf"kworker/{cpu}:\d", record.comm or "")
    assert re.fullmatch(r"kworker/0:\d", record.caller_comm or "")


# ---- (b) works of one class inside each other ------------------------------------------------------------------------
def nest(world: World, *, bus: str = "platform", asynchronous: bool = False, child_node: int = 1) -> None:
    """Probe a parent on node 1 whose body registers a child, which a sync driver takes."""

    async def body(dev: Any) -> int:
        await world.core.device_add(world.device("child", "y", bus=world.core.bus(bus), node=child_node, parent=dev))
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("inner", "y", bus=world.core.bus(bus)))
        outer = world.driver("outer", bus=world.core.bus(bus), body=body, asynchronous=asynchronous)
        await world.core.driver_register(outer)
        await world.core.device_add(world.device("parent", bus=world.core.bus(bus), node=1))

    world.run(main)


@pytest.mark.parametrize(
    ("policy", "bus", "reports"),
    [
        ("inline", "pci", 0),
        ("work-on-cpu", "platform", 0),
        ("work-on-cpu", "pci", 1),  # a child that is no virtual function: is_probed does not help
        ("skip-in-worker", "pci", 0),
        ("queue-on-node", "pci", 0),
        ("exec-on-node", "platform", 1),
        ("exec-on-node", "pci", 1),
        ("exec-on-node+nested-inline", "pci", 0),
        ("probe-on-node", "platform", 1),
        ("probe-on-node+nested-inline", "platform", 0),
        ("strict-node", "platform", 0),
        ("strict-node+no-nested-inline", "platform", 1),
        ("spread", "platform", 0),
        ("spread+no-nested-inline", "platform", 1),
    ],
)
def test_a_nested_sync_probe_flushes_its_own_class(
    make_world: Callable[..., World], policy: str, bus: str, reports: int
) -> None:
    world = make_world(make_policy(policy), topology=TOPOLOGY)
    nest(world, bus=bus)
    assert len(world.warnings("recursion")) == reports
    assert world.bound() == {"parent": "outer", "child": "inner"}
    assert policy == "inline" or bus == "platform" or world.record("child").local


@pytest.mark.parametrize("policy", ["exec-on-node+nested-inline", "probe-on-node+nested-inline", "strict-node"])
def test_nested_inline_stays_in_its_worker_only_on_the_right_node(
    make_world: Callable[..., World], policy: str
) -> None:
    same = make_world(make_policy(policy), topology=TOPOLOGY)
    nest(same)
    assert same.record("child").comm == same.record("parent").comm
    other = make_world(make_policy(policy), topology=TOPOLOGY)
    nest(other, child_node=0)
    assert other.record("child").local
    assert other.record("child").comm != other.record("parent").comm


@pytest.mark.parametrize("policy", ["exec-on-node", "probe-on-node"])
def test_an_async_parent_is_no_recursion(make_world: Callable[..., World], policy: str) -> None:
    """The parent runs as async_run_entry_fn; only its child is a work of the policy's class."""
    world = make_world(make_policy(policy), topology=TOPOLOGY)
    nest(world, asynchronous=True)
    assert world.warnings("recursion") == []
    assert world.record("child").local


@pytest.mark.parametrize("policy", list(POLICIES))
def test_virtual_functions_inside_their_physical_ones_probe(make_world: Callable[..., World], policy: str) -> None:
    world = make_world(make_policy(policy), topology=TOPOLOGY)

    async def body(dev: Any) -> int:
        await world.pci.sriov_enable(world.core, dev, 2)
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("vf", "nic-vf", bus=world.pci))
        await world.core.driver_register(world.driver("nic", "nic", bus=world.pci, body=body))
        await world.core.device_add(world.device("0000:05:00.0", "nic", bus=world.pci, node=1))

    world.run(main)
    assert len(world.bound()) == 3
    # PCI's own code knows is_probed; the driver-core series took it away and put nothing in its place
    reported = {"exec-on-node", "probe-on-node"}
    assert bool(world.warnings("recursion")) is (policy in reported)
    assert policy == "inline" or all(one.local for one in world.core.records)


@dataclass(frozen=True, kw_only=True)
class Narrow(StrictNode):
    """A strict node queue that runs one work at a time."""

    name = "narrow"
    origin = "a test"
    summary = "strict-node with max_active 1"

    queue = OwnQueue(name="narrow", max_active=1, min_active=1, scope=AffinityScope.NUMA, strict=True)


@pytest.mark.machines("virtual")
def test_nesting_on_a_queue_that_is_full_is_a_deadlock_and_is_named(make_world: Callable[..., World]) -> None:
    world = make_world(Narrow(nested_inline=False), topology=TOPOLOGY)
    world.broken = True
    with pytest.raises(DeadlockError) as caught:
        nest(world)
    text = str(caught.value)
    assert re.search(r"kworker/u\d+:\d+ .*strict_node_work_func", text), text
    assert "narrow" in text
    mended = make_world(Narrow(), topology=TOPOLOGY)
    nest(mended)
    assert mended.bound() == {"parent": "outer", "child": "inner"}


# ---- (c) who holds the lock ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("policy", "same"), [(name, name in {"inline", "migrate-caller"}) for name in POLICIES])
def test_the_prober_is_not_the_owner_of_the_device_lock(
    make_world: Callable[..., World], policy: str, same: bool
) -> None:
    world = make_world(make_policy(policy), topology=TOPOLOGY)
    dev = world.device("a", bus=world.pci, node=1)
    seen: list[bool] = []

    async def body(_: object) -> int:
        assert dev.lock.owner is not None
        seen.append(dev.lock.owner is world.machine.current)
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", bus=world.pci, body=body))
        await world.core.device_add(dev)

    world.run(main)
    assert seen == [same]


@pytest.mark.parametrize("bus", ["pci", "platform"])
@pytest.mark.parametrize("policy", list(POLICIES))
def test_a_wait_for_oneself_is_named_through_the_workers_in_between(
    make_world: Callable[..., World], policy: str, bus: str
) -> None:
    """A child's probe removes its grandparent, two workers up: nobody hangs."""
    world = make_world(make_policy(policy), topology=TOPOLOGY)
    where = world.core.bus(bus)

    async def body(dev: Any) -> int:
        if dev.name == "c":
            await world.core.device_del(where.devices["a"])
        else:
            below = chr(ord(dev.name) + 1)
            await world.core.device_add(world.device(below, bus=where, node=ord(below) % 2, parent=dev))
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", bus=where, body=body))
        await world.core.device_add(world.device("a", bus=where, node=1))

    world.run(main)
    assert [(one.device, one.result) for one in world.core.records] == [("c", "EDEADLK"), ("b", "0"), ("a", "0")]


# ---- (d) the isolated first LLC --------------------------------------------------------------------------------------
ISOLATED = replace(TOPOLOGY, housekeeping=Housekeeping(isolated=CpuSet.parse_list("4-5")))


@pytest.mark.parametrize("policy", ["queue-on-node", "exec-on-node", "probe-on-node"])
def test_an_isolated_first_llc_sends_unbound_work_machine_wide(make_world: Callable[..., World], policy: str) -> None:
    """queue_work_node names CPU 4 whatever is isolated; its pod has no CPU left, so the whole cpumask serves it."""
    world = make_world(make_policy(policy), topology=ISOLATED)
    spin = 5 * MS

    async def body(_: object) -> int:
        await world.machine.compute(spin)
        return 0

    async def add(name: str) -> None:
        await world.core.device_add(world.device(name, bus=world.pci, node=1))

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", bus=world.pci, body=body, ns=0))
        tasks = [world.machine.spawn(lambda name=name: add(name), comm="sh", cpu=0) for name in "abcd"]
        for task in tasks:
            await world.machine.join(task)

    world.run(main)
    nodes = {world.record(name).cpu_node for name in "abcd"}
    assert 0 in nodes
    assert not {4, 5} & {world.record(name).cpu for name in "abcd"}


@pytest.mark.parametrize("policy", ["work-on-cpu", "probe-workqueue", "skip-in-worker", "strict-node", "spread"])
def test_pcis_mask_and_the_strict_queue_stay_on_the_node(make_world: Callable[..., World], policy: str) -> None:
    world = make_world(make_policy(policy), topology=ISOLATED)

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", bus=world.pci))
        for name in "abcd":
            await world.core.device_add(world.device(name, bus=world.pci, node=1))

    world.run(main)
    assert {world.record(name).cpu for name in "abcd"} <= {6, 7}


# ---- (e) the inline fall-back of async calls -------------------------------------------------------------------------
@pytest.mark.parametrize(("bus", "node"), [("platform", 0), ("pci", 1)])
def test_the_inline_fall_back_is_on_the_callers_node_except_on_pci(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, bus: str, node: int
) -> None:
    monkeypatch.setattr(asyncs, "MAX_WORK", -1)
    world = make_world(make_policy("work-on-cpu"), topology=TOPOLOGY)

    async def main() -> None:
        await world.core.device_add(world.device("a", bus=world.core.bus(bus), node=1))
        await world.core.driver_register(world.driver("drv", bus=world.core.bus(bus), asynchronous=True))

    world.run(main)
    record = world.record("a")
    assert (record.cpu_node, record.asynchronous, record.caller_comm) == (node, True, "modprobe")


@pytest.mark.parametrize("policy", ["exec-on-node", "probe-on-node"])
def test_the_driver_core_series_does_not_mend_the_fall_back(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    monkeypatch.setattr(asyncs, "MAX_WORK", -1)
    world = make_world(make_policy(policy), topology=TOPOLOGY)

    async def main() -> None:
        await world.core.device_add(world.device("a", node=1))
        await world.core.driver_register(world.driver("drv", asynchronous=True))

    world.run(main)
    assert world.record("a").local is False


# ---- (f) two workers for one probe -----------------------------------------------------------------------------------
def test_requeued_work_holds_two_workers(make_world: Callable[..., World]) -> None:
    """An async worker waits while the per-CPU one probes."""
    world = make_world(make_policy("work-on-cpu"), topology=TOPOLOGY)

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", bus=world.pci, asynchronous=True))
        await world.core.device_add(world.device("a", bus=world.pci, node=1))

    world.run(main)
    record = world.record("a")
    assert re.fullmatch(r"kworker/4:\d", record.comm or "")
    assert re.fullmatch(r"kworker/u35:\d", record.caller_comm or "")


# ---- (g) sync stays serial -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("driver_first", [True, False])
@pytest.mark.parametrize("policy", list(POLICIES))
def test_sync_probing_stays_serial_under_every_policy(
    make_world: Callable[..., World], policy: str, driver_first: bool
) -> None:
    world = make_world(make_policy(policy), topology=TOPOLOGY)

    async def main() -> int:
        drv = world.driver("drv", bus=world.pci, ns=10 * MS)
        if driver_first:
            await world.core.driver_register(drv)
        for name in "abc":
            await world.core.device_add(world.device(name, bus=world.pci, node=1))
        if not driver_first:
            await world.core.driver_register(drv)
        return world.machine.now()

    assert 30 * MS <= world.run(main) < 33 * MS
    ends = [(world.record(name).start_ns or 0, world.record(name).end_ns or 0) for name in "abc"]
    assert all(before[1] <= after[0] for before, after in pairwise(ends))


@pytest.mark.parametrize("policy", list(POLICIES))
def test_async_probing_is_parallel_under_every_policy(make_world: Callable[..., World], policy: str) -> None:
    """As long as probes sleep: also those that share one CPU."""
    world = make_world(make_policy(policy), topology=TOPOLOGY)

    async def main() -> int:
        for name in "abc":
            await world.core.device_add(world.device(name, bus=world.pci, node=1))
        await world.core.load_module(world.driver("drv", bus=world.pci, ns=10 * MS, asynchronous=True))
        return world.machine.now()

    assert 10 * MS <= world.run(main) < 13 * MS


@pytest.mark.machines("virtual")
@pytest.mark.parametrize(
    ("policy", "starts", "visits"),
    [
        ("work-on-cpu", {4}, {4}),
        ("probe-workqueue", {4}, {4}),
        ("skip-in-worker", {4, 5}, {4, 5, 6, 7}),  # soft pools: the first LLC, and later whatever idles
        ("spread", {4, 5, 6, 7}, {4, 5, 6, 7}),
    ],
)
def test_async_pci_probes_of_a_node_meet_on_its_first_cpu(
    make_world: Callable[..., World], policy: str, starts: set[int], visits: set[int]
) -> None:
    """The trouble that started it all: four devices, one CPU; without the hop one LLC; spread uses the node."""
    world = make_world(make_policy(policy), topology=TOPOLOGY)

    async def body(_: object) -> int:
        await world.machine.sleep(MS)
        await world.machine.compute(5 * MS)
        return 0

    async def main() -> None:
        for name in "abcd":
            await world.core.device_add(world.device(name, bus=world.pci, node=1))
        await world.core.load_module(world.driver("drv", bus=world.pci, body=body, asynchronous=True))

    world.run(main)
    started = {world.record(name).cpu or 0 for name in "abcd"}
    assert started <= starts
    assert {TOPOLOGY.llc_of(cpu) for cpu in started} == {TOPOLOGY.llc_of(cpu) for cpu in starts}
    assert {cpu for name in "abcd" for cpu in world.record(name).cpus or ()} <= visits


# ---- (h) who chooses the CPU of a bind -------------------------------------------------------------------------------
def bind_from(world: World, cpu: int, bus: str, node: int) -> None:
    async def main() -> None:
        world.core.bus(bus).drivers_autoprobe = False
        await world.core.driver_register(world.driver("drv", bus=world.core.bus(bus)))
        dev = world.device("a", bus=world.core.bus(bus), node=node)
        await world.core.device_add(dev)
        if world.pci.devices and not world.machine.profile.hot_add_may_be_async:
            await world.core.unbind("pci", "drv", "a")
        writer = world.machine.spawn(
            lambda: world.core.bind(bus, "drv", "a"), comm="sh", cpus=CpuSet.of([cpu]), cpu=cpu
        )
        assert await world.machine.join(writer) == 0

    world.run(main)


@pytest.mark.parametrize(
    ("policy", "bus", "node", "expected"),
    [
        ("work-on-cpu", "pci", 1, 4),
        ("probe-workqueue", "pci", 1, 4),
        ("skip-in-worker", "pci", 1, 4),
        ("work-on-cpu", "platform", 1, 7),
        ("probe-workqueue", "platform", 1, 7),
        ("work-on-cpu", "pci", -1, 7),
        ("probe-workqueue", "pci", -1, 7),
        ("inline", "pci", 1, 7),
    ],
)
def test_a_pinned_writer_to_bind(
    make_world: Callable[..., World], policy: str, bus: str, node: int, expected: int
) -> None:
    world = make_world(make_policy(policy), topology=TOPOLOGY)
    bind_from(world, 7, bus, node)
    record = world.record("a")
    assert (record.cpu, record.caller_cpu, record.caller_comm) == (expected, 7, "sh")
    assert record.path == "device_driver_attach"


def test_a_pinned_writer_chooses_for_a_virtual_function_whose_physical_one_is_being_probed(
    make_world: Callable[..., World],
) -> None:
    world = make_world(make_policy("work-on-cpu"), topology=TOPOLOGY)
    vf = "0000:05:00.1"

    async def body(dev: Any) -> int:
        await world.pci.sriov_enable(world.core, dev, 1)
        await world.machine.sleep(50 * MS)
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("nic", "nic", bus=world.pci, body=body))
        pf = world.device("0000:05:00.0", "nic", bus=world.pci, node=1)
        adding = world.machine.spawn(lambda: world.core.device_add(pf), comm="hotplug", cpu=0)
        await world.machine.sleep(10 * MS)
        world.pci.drivers_autoprobe = False
        await world.core.driver_register(world.driver("vf", "nic-vf", bus=world.pci))
        writer = world.machine.spawn(lambda: world.core.bind("pci", "vf", vf), comm="sh", cpus=CpuSet.of([7]), cpu=7)
        assert await world.machine.join(writer) == 0
        await world.machine.join(adding)

    world.run(main)
    record = world.record(vf)
    assert (record.cpu, record.comm) == (7, "sh")
    assert (record.end_ns or 0) < (world.record("0000:05:00.0").end_ns or 0)


@pytest.mark.machines("virtual")
def test_parallel_binds_collapse_onto_the_first_cpu(make_world: Callable[..., World]) -> None:
    world = make_world(make_policy("probe-workqueue"), topology=TOPOLOGY, profile="7.3")

    async def main() -> None:
        world.pci.drivers_autoprobe = False
        await world.core.driver_register(world.driver("drv", bus=world.pci))
        for name in "567":
            await world.core.device_add(world.device(name, bus=world.pci, node=1))
        writers = [
            world.machine.spawn(lambda name=name: world.core.bind("pci", "drv", name), comm="sh", cpu=int(name))
            for name in "567"
        ]
        assert [await world.machine.join(one) for one in writers] == [0, 0, 0]

    world.run(main)
    assert {world.record(name).cpu for name in "567"} == {4}
    assert len({world.record(name).comm for name in "567"}) == 3
