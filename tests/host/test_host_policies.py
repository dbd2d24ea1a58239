"""Every policy on this computer, held against what the virtual machine says of the same machine."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

import numaprobe
from numaprobe.buses import PciBus, PciDevice, PlatformBus
from numaprobe.drivercore import Device, Driver, DriverCore, ProbeType
from numaprobe.hostmachine import HostMachine
from numaprobe.policies import POLICIES, make_policy
from numaprobe.runtime import DEFAULT_PROFILE, kernel_profile
from numaprobe.topology import symmetric
from numaprobe.virtual import VirtualMachine

if TYPE_CHECKING:
    from numaprobe.records import ProbeRecord

MS = 1_000_000
pytestmark = pytest.mark.skipif(not {0, 1} <= os.sched_getaffinity(0), reason="makes two nodes of CPU 0 and CPU 1")


def two_nodes() -> Any:
    return symmetric("two nodes", nodes=2, cores=1)


def probe_all(machine: Any, policy: str, bus_name: str, *, asynchronous: bool) -> list[ProbeRecord]:
    """Two devices on each node, probed by one driver, with the caller on CPU 0."""

    async def main() -> list[ProbeRecord]:
        core = DriverCore(machine, make_policy(policy))
        bus = core.bus_register(PciBus() if bus_name == "pci" else PlatformBus())
        kind = PciDevice if bus_name == "pci" else Device

        async def probe(_dev: Device) -> int:
            await machine.compute(MS // 5)
            await machine.sleep(2 * MS)
            return 0

        for index in range(4):
            name = f"0000:0{index}:00.0"
            await core.device_add(kind(name=name, bus=bus, node=index % 2, compatible="x"))
        wish = ProbeType.PREFER_ASYNCHRONOUS if asynchronous else ProbeType.FORCE_SYNCHRONOUS
        await core.load_module(Driver(name="x", bus=bus, probe=probe, compatible=("x",), probe_type=wish))
        await core.wait_for_device_probe()
        core.validate()
        return sorted(core.records, key=lambda record: record.device)

    records: list[ProbeRecord] = machine.run(main, cpu=0)
    return records


def place(record: ProbeRecord) -> tuple[object, ...]:
    """Where a probe was: the pool of its worker, and whose CPU it was if the pool is hard."""
    comm = (record.comm or "").partition(":")[0]
    hard = not comm.startswith("kworker/u")
    return record.device, comm, record.cpu if hard else None, record.asynchronous, record.result


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("bus", ["pci", "platform"])
@pytest.mark.parametrize("policy", POLICIES)
def test_bodies_are_where_the_virtual_machine_says(policy: str, bus: str, asynchronous: bool) -> None:
    virtual = probe_all(VirtualMachine(two_nodes()), policy, bus, asynchronous=asynchronous)
    host = probe_all(HostMachine(two_nodes()), policy, bus, asynchronous=asynchronous)
    assert [place(record) for record in host] == [place(record) for record in virtual]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("policy", ["strict-node", "work-on-cpu"])
def test_the_hard_policies_never_leave_the_node(policy: str, asynchronous: bool) -> None:
    for record in probe_all(HostMachine(two_nodes()), policy, "pci", asynchronous=asynchronous):
        assert record.local
        assert record.remote_ns == 0
        assert record.cpus == (record.device_node,)
        assert record.cost_ns == (record.running_ns or 0) + (record.runnable_ns or 0) + (record.sleeping_ns or 0)
        assert (record.running_ns or 0) >= MS // 5


def test_hard_pools_of_old_kernels_are_hard_here_too() -> None:
    machine = HostMachine(two_nodes(), kernel_profile("6.1"))
    for record in probe_all(machine, "queue-on-node", "pci", asynchronous=False):
        assert record.cpus == (record.device_node,)
    assert DEFAULT_PROFILE != "6.1"


def test_async_driver_probe() -> None:
    """The kernel's own test (``test_async_driver_probe.c``), its 5 s and 2.5 s shortened to 200 ms and 100 ms."""
    machine = HostMachine()
    online = list(machine.online)
    limit, nap = 100 * MS, 200 * MS

    async def main() -> None:
        core = DriverCore(machine, make_policy("inline"))
        bus = core.bus_register(PlatformBus())

        async def probe(_dev: Device) -> int:
            await machine.sleep(nap)
            return 0

        async def timed(call: Any) -> int:
            start = machine.now()
            await call
            return machine.now() - start

        async def add_all(start: int) -> None:
            for index, cpu in enumerate(online):
                node = machine.topology.node_of(cpu)
                await core.device_add(Device(name=f"async.{start + index}", bus=bus, node=node, compatible="async"))

        def driver(name: str, kind: ProbeType) -> Driver:
            return Driver(name=name, bus=bus, probe=probe, compatible=(name,), probe_type=kind)

        await add_all(0)
        assert await timed(core.driver_register(driver("async", ProbeType.PREFER_ASYNCHRONOUS))) <= limit
        assert await timed(add_all(len(online))) <= limit
        await core.device_add(Device(name="sync.0", bus=bus, node=0, compatible="sync"))
        assert await timed(core.driver_register(driver("sync", ProbeType.FORCE_SYNCHRONOUS))) >= limit
        assert await timed(core.device_add(Device(name="sync.1", bus=bus, node=0, compatible="sync"))) >= limit
        done = [record for record in core.records if record.asynchronous]
        assert len(done) == 2 * len(online)

    machine.run(main)


@pytest.mark.parametrize("policy", POLICIES)
def test_wait_sees_the_retries_of_a_supplier_s_consumers(policy: str) -> None:
    """Under ``exec-on-node`` they were still being probed, or not even begun with, when it returned."""

    @numaprobe.driver("consumer")
    async def consumer(_dev: Any) -> None:
        await asyncio.sleep(0.002)

    @numaprobe.driver("supplier", probe_type=ProbeType.PREFER_ASYNCHRONOUS)
    async def supplier(_dev: Any) -> None:
        await asyncio.sleep(0.002)

    with numaprobe.host(policy, topology=two_nodes()) as core:
        core.register(consumer, supplier)
        consumers = [core.add(f"c{number}", compatible="consumer", node=0, suppliers=("s",)) for number in range(3)]
        core.add("s", compatible="supplier", node=1)
        core.wait()
        assert [str(dev.state) for dev in consumers] == ["bound"] * 3
