"""The platform and virtio buses."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from numaprobe.buses import PlatformBus, VirtioBus
from numaprobe.drivercore import Device, Driver

if TYPE_CHECKING:
    from core_world import World


@pytest.mark.parametrize(
    ("device", "compatible", "driver", "supported", "expected"),
    [
        ("uart", "", "uart", (), 1),
        ("uart.3", "", "uart", (), 1),
        ("uart.3.auto", "", "uart", (), 1),
        ("uart3", "", "uart", (), 0),
        ("uart", "", "uar", (), 0),
        ("4000.serial", "ns16550a", "uart", ("ns16550a", "ns8250"), 1),
        ("4000.serial", "ns16550a", "uart", ("ns8250",), 0),
        ("uart", "ns16550a", "uart", ("ns8250",), 1),  # the bare names come last, and count all the same
        ("uart", "ns16550a", "other", ("ns8250",), 0),
    ],
)
def test_match_by_compatible_then_by_name(
    device: str, compatible: str, driver: str, supported: tuple[str, ...], expected: int
) -> None:
    bus = PlatformBus()
    dev = Device(name=device, bus=bus, compatible=compatible)
    drv = Driver(name=driver, bus=bus, probe=lambda _: pytest.fail("no probe"), compatible=supported)
    assert bus.match(dev, drv) == expected


@pytest.mark.parametrize("answer", [0, 1, -errno.EINVAL])
def test_a_drivers_own_match_is_the_last_word(answer: int) -> None:
    bus = PlatformBus()
    drv = Driver(name="uart", bus=bus, probe=lambda _: pytest.fail("no probe"), match=lambda _: answer)
    assert bus.match(Device(name="uart", bus=bus), drv) == answer


def test_a_sync_platform_probe_runs_where_its_caller_is(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv", bus=world.platform))
        await world.core.device_add(world.device("a", bus=world.platform, node=0))

    world.run(main, cpu=3)
    record = world.record("a")
    assert (record.cpu, record.cpu_node, record.comm, record.caller_comm) == (3, 1, "modprobe", "modprobe")


def test_a_virtio_device_inherits_the_node_of_its_pci_function(world: World) -> None:
    virtio = world.core.bus_register(VirtioBus())
    function = world.device("0000:84:00.0", "virtio-pci", bus=world.pci, node=1)

    async def body(dev: Device) -> int:
        await world.core.device_add(world.device("virtio0", "blk", bus=virtio, parent=dev))
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("virtio_blk", "blk", bus=virtio))
        await world.core.driver_register(world.driver("virtio-pci", "virtio-pci", bus=world.pci, body=body))
        await world.core.device_add(function)

    world.run(main)
    assert world.record("virtio0").device_node == 1
    assert world.record("virtio0").nested
    assert world.bound() == {"0000:84:00.0": "virtio-pci", "virtio0": "virtio_blk"}
