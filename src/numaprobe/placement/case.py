"""The small world whose probes are compared, written once for every machine.

A machine's nodes have two devices each, so that two asynchronous probes of a node meet, but never more than a node has
CPUs: a soft pool that is busier than its node spills over, and then nobody promises a node. For the same reason what
comes next waits until those are done: a device without a node, then the parent, on the last node, which adds a child
from inside its probe (a nested probe, always synchronous).

The task that adds the devices and loads the drivers is pinned, because where a caller happens to be decides a lot:
inline probes stay with it, ``queue_work_node`` takes its CPU if that is on the node. Bodies allocate, compute a little,
look around and sleep.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from numaprobe.buses import make_bus
from numaprobe.drivercore import Driver, DriverCore, ProbeType
from numaprobe.placement.seen import Seen
from numaprobe.policies import make_policy
from numaprobe.records import NO_NODE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from numaprobe.drivercore import Bus, Device
    from numaprobe.placement.seen import Glimpse
    from numaprobe.runtime import Machine
    from numaprobe.topology import Topology

#: What a body does. Small: in an emulated guest all of it takes twenty times as long. The sleep lets the next probe of
#: a CPU's pool begin, the memory is sixteen pages.
BYTES: Final = 65536
COMPUTE_NS: Final = 50_000
SLEEP_NS: Final = 1_000_000
DEVICES_PER_NODE: Final = 2

#: The buses that differ in placement: one without node code, and PCI.
BUSES: Final = ("platform", "pci")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementCase:
    """One run of the world."""

    #: the policy, with its options
    policy: str
    #: ``platform`` or ``pci``
    bus: str
    #: the driver asks for asynchronous probing
    asynchronous: bool
    #: the CPU to which the calling task is pinned
    caller: int

    def __str__(self) -> str:
        mode = "async" if self.asynchronous else "sync"
        return f"{self.policy}, {self.bus}, {mode}, caller on CPU {self.caller}"


def make_cases(topology: Topology, policies: Iterable[str]) -> tuple[PlacementCase, ...]:
    """Return every policy on every bus, sync and async, called from the machine's first CPU and from its last one."""
    callers = dict.fromkeys((topology.online.first or 0, topology.online.last or 0))
    return tuple(
        PlacementCase(policy=policy, bus=bus, asynchronous=asynchronous, caller=caller)
        for policy, bus, asynchronous, caller in product(policies, BUSES, (False, True), callers)
    )


def run_case(machine: Machine, case: PlacementCase, look: Callable[[], Awaitable[Glimpse]]) -> tuple[Seen, ...]:
    """Run the world on ``machine`` and return what was seen of each probe, by device.

    Args:
        machine: a fresh one.
        case: which.
        look: what a body sees of its own task, on this kind of machine.

    """
    world = _World(machine, case, look)
    return machine.run(world.main, cpu=case.caller)


class _World:
    """Devices, drivers, and the order of events."""

    def __init__(self, machine: Machine, case: PlacementCase, look: Callable[[], Awaitable[Glimpse]]) -> None:
        self._machine = machine
        self._look = look
        self._asynchronous = case.asynchronous
        self._core = DriverCore(machine, make_policy(case.policy))
        self._bus: Bus = self._core.bus_register(make_bus(case.bus))
        self._glimpses: dict[str, Glimpse] = {}

    async def main(self) -> tuple[Seen, ...]:
        core = self._core
        await core.load_module(self._driver("child", asynchronous=False))
        nodes = self._machine.topology.nodes
        for node in nodes:
            for index in range(max(1, min(DEVICES_PER_NODE, len(node.cpus & self._machine.online)))):
                await core.device_add(self._device(f"node{node.id}.{index}", "plain", node=node.id))
        await core.load_module(self._driver("plain", asynchronous=self._asynchronous))
        for name, node_id in (("no-node", NO_NODE), ("parent", nodes[-1].id)):
            await core.device_add(self._device(name, "plain", node=node_id))
            await core.wait_for_device_probe()
        core.validate()
        records = sorted(core.records, key=lambda record: record.device)
        return tuple(Seen(record=record, glimpse=self._glimpses[record.device]) for record in records)

    def _device(self, name: str, compatible: str, **more: Any) -> Device:  # noqa: ANN401  fields of a device
        return self._bus.make_device(name=name, compatible=compatible, **({"node": NO_NODE} | more))

    def _driver(self, name: str, *, asynchronous: bool) -> Driver:
        kind = ProbeType.PREFER_ASYNCHRONOUS if asynchronous else ProbeType.FORCE_SYNCHRONOUS
        return Driver(name=name, bus=self._bus, probe=self._probe, compatible=(name,), probe_type=kind)

    async def _probe(self, dev: Device) -> int:
        await self._machine.allocate(BYTES)
        await self._machine.compute(COMPUTE_NS)
        self._glimpses[dev.name] = await self._look()
        await self._machine.sleep(SLEEP_NS)
        if dev.name == "parent":
            await self._core.device_add(self._device("child", "child", parent=dev))
        return 0
