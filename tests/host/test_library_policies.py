"""Every policy under ``numaprobe.host``: it places as the virtual machine says, on a bus with node code and without."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

import numaprobe
from numaprobe.buses import PciBus, PciDevice, PlatformBus, VirtioBus
from numaprobe.drivercore import Bus, Device, Driver, DriverCore
from numaprobe.policies import POLICIES, make_policy
from numaprobe.topology import symmetric
from numaprobe.virtual import VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.records import ProbeRecord

pytestmark = pytest.mark.skipif(not {0, 1} <= os.sched_getaffinity(0), reason="makes two nodes of CPU 0 and CPU 1")
NAMES = [f"0000:0{index}:00.0" for index in range(4)]
#: the policies that speak in a bus's own node code
OF_A_BUS = ("migrate-caller", "work-on-cpu", "probe-workqueue", "skip-in-worker", "queue-on-node")
KINDS = {
    "pci": (PciBus, PciDevice),
    "platform": (PlatformBus, Device),
    "virtio": (VirtioBus, Device),
    "own": (Bus, Device),
}


def two_nodes() -> Any:
    return symmetric("two nodes", nodes=2, cores=1)


def predicted(policy: str, bus_name: str, kind: numaprobe.ProbeType) -> Sequence[ProbeRecord]:
    machine = VirtualMachine(two_nodes())

    async def main() -> Sequence[ProbeRecord]:
        core = DriverCore(machine, make_policy(policy))
        make, device = KINDS[bus_name]
        bus = core.bus_register(make(bus_name))  # type: ignore[operator]

        async def probe(_dev: Device) -> int:
            await machine.sleep(1_000_000)
            return 0

        for index, name in enumerate(NAMES):
            await core.device_add(device(name=name, bus=bus, node=index % 2, compatible="x"))
        await core.driver_register(Driver(name="x", bus=bus, probe=probe, compatible=("x",), probe_type=kind))
        await core.wait_for_device_probe()
        return core.records

    return machine.run(main, cpu=0)


def place(record: ProbeRecord) -> tuple[object, ...]:
    """Where a probe was: in which pool and, of a hard one, on which CPU; or in its caller."""
    comm = (record.comm or "").partition(":")[0]
    worker = comm if comm.startswith("kworker") else "the caller"
    hard = worker.startswith("kworker/") and not worker.startswith("kworker/u")
    return record.device, worker, record.cpu if hard else None, record.asynchronous, record.result


@pytest.mark.parametrize("kind", [numaprobe.ProbeType.DEFAULT, numaprobe.ProbeType.PREFER_ASYNCHRONOUS])
@pytest.mark.parametrize("bus", KINDS)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_driver_is_probed_where_the_virtual_machine_says(policy: str, bus: str, kind: numaprobe.ProbeType) -> None:
    class Sleeper(numaprobe.DeviceDriver):
        name = "x"
        compatible = ("x*",)
        probe_type = kind

        async def probe(self, _dev: Any) -> None:
            await core.machine.sleep(1_000_000)

    driver = Sleeper()
    driver.bus = bus
    with numaprobe.host(policy, topology=two_nodes()) as core:
        for index, name in enumerate(NAMES):
            core.add(name, compatible="x", node=index % 2, bus=bus)
        core.register(driver)
        core.wait(timeout=30)
        got, warnings = core.records, [one.message for one in core.warnings if one.kind == "policy-bus"]
    assert sorted(map(place, got)) == sorted(map(place, predicted(policy, bus, kind)))
    # and what a policy has no say on is said, once for a bus
    said = [text for text in warnings if f"policy {policy}" in text and f"on bus {bus} " in text]
    assert len(said) == (policy in OF_A_BUS and bus != "pci")


def test_the_policies_that_need_node_code_place_on_pci() -> None:
    """What was wrong: each was a bus without node code, and these did nothing, without a word."""
    for policy in OF_A_BUS:
        with numaprobe.host(policy, topology=two_nodes()) as core:
            core.register(numaprobe.driver("x", bus="pci")(lambda _dev: None))
            core.add("0000:00:00.0", compatible="x", node=1, bus="pci")
            assert core.records[0].cpus == (1,), policy
            assert "policy-bus" not in {one.kind for one in core.warnings}


def test_devices_of_sysfs_are_on_real_buses() -> None:
    with numaprobe.host("work-on-cpu") as core:
        core.add_from("epyc-9a64")
        functions = [dev for bus in core._operations.core.buses.values() for dev in bus.devices.values()]
        assert all(isinstance(dev, PciDevice) == (dev.bus.name == "pci") for dev in functions)
        dev = core.add("0000:ff:00.0", bus="pci", compatible="x", node=0)
        core.register(numaprobe.driver("x", bus="pci")(lambda _dev: None))
        assert isinstance(dev.bus, PciBus)
        assert core.records[-1].comm == f"kworker/{core.machine.online.first}:0"
