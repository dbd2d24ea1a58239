"""Where each policy lands probes: bus by bus, sync and async, and in the odd places."""

from __future__ import annotations

import errno
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from core_world import MS
from numaprobe.cpuset import CpuSet
from numaprobe.drivercore import EPROBE_DEFER
from numaprobe.policies import POLICIES, make_policy
from numaprobe.topology import Housekeeping, Node, symmetric
from numaprobe.topology.model import default_distances

if TYPE_CHECKING:
    from collections.abc import Callable

    from core_world import World
    from numaprobe.records import ProbeRecord
    from numaprobe.topology import Topology

#: Two nodes of two LLCs of two CPUs: node 0 = 0-1, 2-3; node 1 = 4-5, 6-7. Up to 6.19 per-CPU and BH pools
#: take ids 0-31, the machine-wide unbound pool 32, and LLC k gets 33 + k.
TOPOLOGY = symmetric("llcs", nodes=2, llcs=2, cores=2)


class Place(NamedTuple):
    """CPUs on which the body may start, the worker's name, and the caller's."""

    cpus: str
    comm: str
    caller: str


CALLER = Place("0", "modprobe", "modprobe")
ASYNC = Place("4-5", r"kworker/u35:\d", r"kworker/u35:\d")
PER_CPU = Place("4", r"kworker/4:\d", "modprobe")
PER_CPU_ASYNC = Place("4", r"kworker/4:\d", r"kworker/u35:\d")
QUEUED = Place("4-5", r"kworker/u35:\d", "modprobe")
STRICT = Place("4-7", r"kworker/u\d+:\d", "modprobe")
STRICT_ASYNC = STRICT._replace(caller=r"kworker/u35:\d")

#: policy -> PCI sync, PCI async, plain sync, plain async; the device is on node 1 and the caller pinned to CPU 0
TABLE: dict[str, tuple[Place, Place, Place, Place]] = {
    "inline": (CALLER, ASYNC, CALLER, ASYNC),
    "migrate-caller": (Place("4-7", "modprobe", "modprobe"), ASYNC._replace(cpus="4-7"), CALLER, ASYNC),
    "work-on-cpu": (PER_CPU, PER_CPU_ASYNC, CALLER, ASYNC),
    "probe-workqueue": (PER_CPU, PER_CPU_ASYNC, CALLER, ASYNC),
    "skip-in-worker": (PER_CPU, ASYNC, CALLER, ASYNC),
    "queue-on-node": (QUEUED, ASYNC, CALLER, ASYNC),
    "exec-on-node": (QUEUED, ASYNC, QUEUED, ASYNC),
    "probe-on-node": (QUEUED, ASYNC, QUEUED, ASYNC),
    "strict-node": (STRICT, STRICT_ASYNC, STRICT, STRICT_ASYNC),
    "spread": (
        STRICT._replace(cpus="4-5"),
        STRICT_ASYNC._replace(cpus="4-5"),
        STRICT._replace(cpus="4-5"),
        STRICT_ASYNC._replace(cpus="4-5"),
    ),
}
CASES = [
    pytest.param(policy, bus, bool(number % 2), place, id=f"{policy}-{bus}-{'async' if number % 2 else 'sync'}")
    for policy, places in TABLE.items()
    for number, (bus, place) in enumerate(zip(("pci", "pci", "platform", "platform"), places, strict=True))
]


def probe_one(
    make_world: Callable[..., World],
    policy: str,
    bus: str,
    *,
    asynchronous: bool = False,
    node: int = 1,
    topology: Topology = TOPOLOGY,
    cpu: int = 0,
) -> ProbeRecord:
    """The record of one probe, device first."""
    world = make_world(make_policy(policy), topology=topology)

    async def main() -> None:
        await world.core.device_add(world.device("a", bus=world.core.bus(bus), node=node))
        drv = world.driver("drv", bus=world.core.bus(bus), asynchronous=asynchronous)
        await world.core.load_module(drv)

    world.run(main, cpu=cpu)
    assert world.bound() == {"a": "drv"}
    return world.record("a")


def lands(record: ProbeRecord, place: Place) -> None:
    assert record.cpu in CpuSet.parse_list(place.cpus)
    assert re.fullmatch(place.comm, record.comm or ""), record.comm
    assert re.fullmatch(place.caller, record.caller_comm or ""), record.caller_comm
    assert record.caller_comm != "modprobe" or record.caller_cpu == (record.cpu if record.comm == "modprobe" else 0)


def test_the_table_is_complete() -> None:
    assert list(TABLE) == list(POLICIES)


@pytest.mark.parametrize(("policy", "bus", "asynchronous", "place"), CASES)
def test_where_a_probe_runs(
    make_world: Callable[..., World], policy: str, bus: str, asynchronous: bool, place: Place
) -> None:
    record = probe_one(make_world, policy, bus, asynchronous=asynchronous)
    lands(record, place)
    assert record.asynchronous is asynchronous


@pytest.mark.parametrize("bus", ["pci", "platform"])
@pytest.mark.parametrize("policy", list(POLICIES))
def test_the_other_sync_roads_land_in_the_same_place(make_world: Callable[..., World], policy: str, bus: str) -> None:
    """Driver first, bind, and rescan go through the same three call sites."""
    world = make_world(make_policy(policy), topology=TOPOLOGY)
    place = TABLE[policy][0 if bus == "pci" else 2]
    if policy == "spread":
        place = place._replace(cpus="4-7")

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", bus=world.core.bus(bus)))
        for name in ("added", "bound", "rescanned"):
            await world.core.device_add(world.device(name, bus=world.core.bus(bus), node=1))
        for name in ("bound", "rescanned"):
            await world.core.unbind(bus, "drv", name)
        assert await world.core.bind(bus, "drv", "bound") == 0
        assert await world.core.drivers_probe(bus, "rescanned") == 0

    world.run(main)
    for name, attempt in (("added", 1), ("bound", 2), ("rescanned", 2)):
        lands(world.record(name, attempt), place)


@pytest.mark.parametrize("node", [-1, 7])
@pytest.mark.parametrize("bus", ["pci", "platform"])
@pytest.mark.parametrize("policy", list(POLICIES))
def test_without_a_valid_node_a_sync_probe_is_inline(
    make_world: Callable[..., World], policy: str, bus: str, node: int
) -> None:
    record = probe_one(make_world, policy, bus, node=node)
    lands(record, CALLER)
    assert record.remote_ns == (None if node < 0 else 0)


def with_empty_node(*, online: bool) -> Topology:
    """The same machine with a third node that has memory and no CPUs."""
    nodes = (*TOPOLOGY.nodes, Node(2, CpuSet(), 2**30, online))
    return replace(TOPOLOGY, nodes=nodes, distances=default_distances(3))


@pytest.mark.parametrize("bus", ["pci", "platform"])
@pytest.mark.parametrize("policy", list(POLICIES))
def test_a_node_without_cpus(make_world: Callable[..., World], policy: str, bus: str) -> None:
    """Stock PCI: inline. queue_work_node: the node is online, so the work is queued, and ends on the caller's pod.

    Ours know better than to queue by chance: strict-node stays inline, spread takes the nearest node.
    """
    record = probe_one(make_world, policy, bus, node=2, topology=with_empty_node(online=True))
    queued = {"queue-on-node": ["pci"], "exec-on-node": ["pci", "platform"], "probe-on-node": ["pci", "platform"]}
    if bus in queued.get(policy, []):
        lands(record, Place("0-1", r"kworker/u33:\d", "modprobe"))
    elif policy == "spread":
        lands(record, STRICT._replace(cpus="0-1"))
    else:
        lands(record, CALLER)


@pytest.mark.parametrize("policy", list(POLICIES))
def test_a_node_that_is_off_line_is_as_none(make_world: Callable[..., World], policy: str) -> None:
    lands(probe_one(make_world, policy, "pci", node=2, topology=with_empty_node(online=False)), CALLER)


def test_strict_node_says_when_it_cannot_hold_its_promise(make_world: Callable[..., World]) -> None:
    world = make_world(make_policy("strict-node"), topology=with_empty_node(online=True))

    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(world.device("a", node=2))

    world.run(main)
    assert world.warnings("no-cpu-on-node") == ["a: no CPU of node 2 may be used; probed inline"]


# ---- isolation -------------------------------------------------------------------------------------------------------
def isolated(cpus: str, *, nohz_full: str = "") -> Topology:
    keep = Housekeeping(isolated=CpuSet.parse_list(cpus), nohz_full=CpuSet.parse_list(nohz_full))
    return replace(TOPOLOGY, housekeeping=keep)


@pytest.mark.parametrize(
    ("policy", "domain", "nohz_full", "cpu"),
    [
        ("work-on-cpu", "4", "", 5),
        ("work-on-cpu", "4", "5", 6),
        ("work-on-cpu", "", "4-5", 6),
        ("probe-workqueue", "4", "", 5),
        ("probe-workqueue", "4", "5", 5),  # nohz_full= is not avoided since 7.0
        ("probe-workqueue", "", "4-5", 4),
        ("skip-in-worker", "4-6", "", 7),
    ],
)
def test_pcis_mask(make_world: Callable[..., World], policy: str, domain: str, nohz_full: str, cpu: int) -> None:
    record = probe_one(make_world, policy, "pci", topology=isolated(domain, nohz_full=nohz_full))
    assert re.fullmatch(rf"kworker/{cpu}:\d", record.comm or "")
    assert record.cpu == cpu


@pytest.mark.parametrize("policy", ["work-on-cpu", "probe-workqueue", "skip-in-worker"])
def test_pci_is_inline_when_its_mask_is_empty(make_world: Callable[..., World], policy: str) -> None:
    lands(probe_one(make_world, policy, "pci", topology=isolated("4-7")), CALLER)


def test_migrate_caller_respects_no_isolation(make_world: Callable[..., World]) -> None:
    record = probe_one(make_world, "migrate-caller", "pci", topology=isolated("4-7"))
    assert record.cpu_node == 1


@pytest.mark.machines("virtual")
@pytest.mark.parametrize("policy", ["strict-node", "spread"])
def test_strict_queues_have_pools_of_their_own(make_world: Callable[..., World], policy: str) -> None:
    pools = [(probe_one(make_world, policy, "pci", node=node).comm or "").partition(":")[0] for node in (0, 1)]
    assert len(set(pools)) == 2
    assert not set(pools) & {f"kworker/u{number}" for number in range(32, 37)}


# ---- hotplug ---------------------------------------------------------------------------------------------------------
@pytest.mark.machines("virtual")
@pytest.mark.parametrize("policy", list(POLICIES))
def test_the_cpu_of_a_probe_goes_off_line(make_world: Callable[..., World], policy: str) -> None:
    """The probe goes on elsewhere, or keeps its CPU until it is over; the next one finds a CPU that is there."""
    world = make_world(make_policy(policy), topology=TOPOLOGY)
    machine: Any = world.machine
    answers: list[int] = []

    async def body(_: object) -> int:
        await machine.compute(10 * MS)
        return 0

    async def add(name: str) -> None:
        await world.core.device_add(world.device(name, bus=world.pci, node=1))

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", bus=world.pci, body=body, ns=0))
        first = machine.spawn(lambda: add("a"), comm="sh", cpu=0)
        await machine.sleep(5 * MS)
        answers.append(await machine.cpu_down(4))
        await machine.join(first)
        if answers[0]:
            answers.append(await machine.cpu_down(4))
        await machine.join(machine.spawn(lambda: add("b"), comm="sh", cpu=0))

    world.run(main, cpu=None)
    assert world.bound() == {"a": "drv", "b": "drv"}
    assert 4 not in (world.record("b").cpus or ())
    held = policy in ("work-on-cpu", "probe-workqueue", "skip-in-worker")
    assert answers == ([-errno.EBUSY, 0] if held else [0])
    assert (world.record("a").cpus == (4,)) >= held
    if policy != "inline":
        assert (world.record("a").cpu_node, world.record("b").cpu_node) == (1, 1)


@pytest.mark.machines("virtual")
@pytest.mark.parametrize("policy", ["work-on-cpu", "probe-workqueue", "skip-in-worker"])
def test_pci_is_inline_when_the_whole_node_is_off_line(make_world: Callable[..., World], policy: str) -> None:
    world = make_world(make_policy(policy), topology=TOPOLOGY)
    machine: Any = world.machine

    async def main() -> None:
        for cpu in (4, 5, 6, 7):
            await machine.cpu_down(cpu)
        await world.core.driver_register(world.driver("drv", bus=world.pci))
        await world.core.device_add(world.device("a", bus=world.pci, node=1))

    world.run(main)
    lands(world.record("a"), CALLER)


# ---- options ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["exec-on-node", "probe-on-node", "strict-node", "spread"])
def test_already_on_the_node_is_inline_only_if_asked(make_world: Callable[..., World], name: str) -> None:
    plain = probe_one(make_world, name, "platform", cpu=6)
    assert (plain.comm or "").startswith("kworker/u")
    there = probe_one(make_world, f"{name}+skip-if-on-node", "platform", cpu=6)
    assert (there.cpu, there.comm) == (6, "modprobe")
    elsewhere = probe_one(make_world, f"{name}+skip-if-on-node", "platform", cpu=1)
    assert (elsewhere.comm or "").startswith("kworker/u")
    assert elsewhere.cpu_node == 1


@pytest.mark.parametrize("name", ["queue-on-node", "exec-on-node", "probe-on-node"])
def test_pinning_brings_a_probe_to_its_node_that_the_queue_lost(make_world: Callable[..., World], name: str) -> None:
    """The first LLC of the node is isolated: the pod is empty and the work goes machine-wide; the pin helps."""
    pinned = probe_one(make_world, f"{name}+pin", "pci", topology=isolated("4-5"))
    assert pinned.cpu in {6, 7}
    assert set(pinned.cpus or ()) <= {6, 7}


def test_pinning_also_places_memory(make_world: Callable[..., World]) -> None:
    world = make_world(make_policy("probe-on-node+pin"), topology=TOPOLOGY)

    async def body(_: object) -> int:
        await world.machine.allocate(4096)
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", body=body))
        await world.core.device_add(world.device("a", node=1))
        await world.core.device_add(world.device("b", node=0))

    world.run(main)
    assert world.record("a").memory == {1: 4096}
    assert world.record("b").memory == {0: 4096}


def test_strict_node_may_leave_async_probes_where_they_are(make_world: Callable[..., World]) -> None:
    lands(probe_one(make_world, "strict-node+no-async-too", "pci", asynchronous=True), ASYNC)
    lands(probe_one(make_world, "strict-node+no-async-too", "pci"), STRICT)


def test_spread_takes_the_llcs_of_a_node_in_turn(make_world: Callable[..., World]) -> None:
    world = make_world(make_policy("spread"), topology=TOPOLOGY)
    names = [f"n{node}-{number}" for number in range(4) for node in (0, 1)]

    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        for name in names:
            await world.core.device_add(world.device(name, node=int(name[1])))

    world.run(main)
    llcs = {name: TOPOLOGY.llc_of(world.record(name).cpu or 0) for name in names}
    assert [llcs[f"n0-{number}"] for number in range(4)] == [0, 1, 0, 1]
    assert [llcs[f"n1-{number}"] for number in range(4)] == [2, 3, 2, 3]


def test_spread_leaves_isolated_llcs_out(make_world: Callable[..., World]) -> None:
    world = make_world(make_policy("spread"), topology=isolated("4-5"))

    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        for number in range(3):
            await world.core.device_add(world.device(f"d{number}", node=1))

    world.run(main)
    assert all(world.record(f"d{number}").cpu in {6, 7} for number in range(3))


# ---- migrate-caller --------------------------------------------------------------------------------------------------
def test_migrate_caller_moves_there_and_back(make_world: Callable[..., World]) -> None:
    world = make_world(make_policy("migrate-caller"), topology=TOPOLOGY)
    where: list[int] = []

    async def body(_: object) -> int:
        await world.machine.allocate(4096)
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", bus=world.pci, body=body))
        await world.core.device_add(world.device("a", bus=world.pci, node=1))
        await world.machine.compute(MS)
        where.append(world.machine.current.cpu)

    world.run(main, cpu=1)
    assert where == [1]
    assert world.record("a").memory == {1: 4096}
    assert world.record("a").remote_ns == 0


def test_migrate_caller_inside_itself_goes_back_to_the_outer_node(make_world: Callable[..., World]) -> None:
    world = make_world(make_policy("migrate-caller"), topology=TOPOLOGY)
    where: list[int] = []

    async def body(dev: object) -> int:
        if dev is world.pci.devices["outer"]:
            await world.core.device_add(world.device("inner", bus=world.pci, node=0))
            await world.machine.compute(MS)
            where.append(world.machine.topology.node_of(world.machine.current.cpu))
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", bus=world.pci, body=body))
        await world.core.device_add(world.device("outer", bus=world.pci, node=1))
        await world.machine.compute(MS)
        where.append(world.machine.current.cpu)

    world.run(main, cpu=2)
    assert where == [1, 2]
    assert (world.record("inner").cpu_node, world.record("outer").cpu_node) == (0, 1)


# ---- the retry of deferred probes ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("policy", "local"),
    [
        ("inline", False),
        ("migrate-caller", True),
        ("work-on-cpu", True),
        ("probe-workqueue", True),
        ("skip-in-worker", False),  # trap (a): PF_WQ_WORKER is true in the worker that retries
        ("queue-on-node", False),
        ("exec-on-node", True),
        ("probe-on-node", True),
        ("strict-node", True),
        ("spread", True),
    ],
)
def test_a_retry_keeps_its_node_unless_the_policy_trusts_kworkers(
    make_world: Callable[..., World], policy: str, local: bool
) -> None:
    world = make_world(make_policy(policy), topology=TOPOLOGY)

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", bus=world.pci, results=(-EPROBE_DEFER, 0)))
        await world.core.device_add(world.device("a", bus=world.pci, node=1))
        assert world.record("a").local is (policy != "inline")
        await world.core.driver_register(world.driver("any", "any"))
        await world.core.device_add(world.device("any", "any"))

    world.run(main)
    retry = world.record("a", attempt=2)
    assert retry.local is local
    if not local:
        assert re.fullmatch(r"kworker/u33:\d", retry.comm or "")
