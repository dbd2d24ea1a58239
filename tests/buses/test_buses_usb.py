"""USB: interfaces of one device are probed in turn, and nothing is probed that is not authorized."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from core_world import MS, World
from numaprobe.buses import UsbBus, UsbDevice, UsbInterface

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Bus, Device


@pytest.fixture
def usb(world: World) -> UsbBus:
    return world.core.bus_register(UsbBus())


def plug(world: World, bus: Bus, name: str, interfaces: int = 2, **more: Any) -> Callable[[], Awaitable[Device]]:
    """Register a device with interfaces, as a hub finds them."""

    async def do() -> Device:
        dev = bus.make_device(name=name, compatible="device", **more)
        await bus.device_register(world.core, dev)
        for number in range(interfaces):
            interface = bus.make_device(name=f"{name}:1.{number}", compatible="x", parent=dev)
            await bus.device_register(world.core, interface)
        return dev

    return do


def together(world: World, first: str, second: str) -> bool:
    """Whether the second probe began before the first one was over."""
    one, two = sorted((world.record(first), world.record(second)), key=lambda record: record.start_ns or 0)
    assert one.end_ns is not None
    assert two.start_ns is not None
    return two.start_ns < one.end_ns


def test_a_device_is_told_from_its_interfaces_by_name(usb: UsbBus) -> None:
    assert isinstance(usb.make_device(name="1-4.2"), UsbDevice)
    assert isinstance(usb.make_device(name="usb1"), UsbDevice)
    assert isinstance(usb.make_device(name="1-4.2:1.0"), UsbInterface)


# ---- the parent's lock (8c97a46af04b) --------------------------------------------------------------------------------
@pytest.mark.machines("fake", "virtual")
def test_a_driver_that_comes_probes_the_interfaces_of_one_device_in_turn(world: World, usb: UsbBus) -> None:
    async def main() -> None:
        await plug(world, usb, "1-1")()
        await plug(world, usb, "1-2", 1)()
        await world.core.driver_register(world.driver("uas", bus=usb, asynchronous=True, ns=5 * MS))
        await world.core.wait_for_device_probe()

    world.run(main)
    assert not together(world, "1-1:1.0", "1-1:1.1")
    assert together(world, "1-1:1.0", "1-2:1.0") or together(world, "1-1:1.1", "1-2:1.0")
    assert world.record("1-1:1.1").asynchronous


@pytest.mark.machines("fake", "virtual")
def test_the_same_children_on_a_bus_without_the_lock_are_probed_together(world: World) -> None:
    async def main() -> None:
        await plug(world, world.bus, "1-1")()
        await world.core.driver_register(world.driver("uas", asynchronous=True, ns=5 * MS))
        await world.core.wait_for_device_probe()

    world.run(main)
    assert together(world, "1-1:1.0", "1-1:1.1")


@pytest.mark.machines("fake", "virtual")
def test_interfaces_that_come_to_a_driver_do_not_wait_for_each_other(world: World, usb: UsbBus) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("uas", bus=usb, asynchronous=True, ns=5 * MS))
        await plug(world, usb, "1-1")()
        await world.core.wait_for_device_probe()

    world.run(main)
    assert together(world, "1-1:1.0", "1-1:1.1")


def test_a_bind_waits_for_the_probe_of_the_device_above(world: World, usb: UsbBus) -> None:
    async def main() -> int:
        dev = await plug(world, usb, "1-1", 1)()
        usb.drivers_autoprobe = False
        await world.core.driver_register(world.driver("uas", bus=usb))
        await world.core.driver_register(world.driver("usb", "device", bus=usb, ns=20 * MS))
        above = world.machine.spawn(lambda: world.core.bind("usb", "usb", "1-1"), comm="above")
        while not dev.lock.owner:
            await world.machine.sleep(MS)
        result: int = await world.core.bind("usb", "uas", "1-1:1.0")
        await world.machine.join(above)
        return result

    assert world.run(main) == 0
    assert world.log == ["probe usb 1-1", "done usb 1-1", "probe uas 1-1:1.0", "done uas 1-1:1.0"]


# ---- authorized ------------------------------------------------------------------------------------------------------
def test_a_device_that_is_not_authorized_has_no_interfaces_until_it_is(world: World, usb: UsbBus) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("uas", bus=usb))
        await world.core.driver_register(world.driver("usb", "device", bus=usb))
        dev = await plug(world, usb, "1-1", authorized=False)()
        assert list(usb.devices) == ["1-1"]
        assert world.probed() == ["usb 1-1"]  # the generic driver takes it all the same
        assert await usb.store(world.core, dev, "authorized", 1) == 0
        assert world.bound() == {"1-1": "usb", "1-1:1.0": "uas", "1-1:1.1": "uas"}
        assert await usb.store(world.core, dev, "authorized", 1) == 0

    world.run(main)
    assert world.probed() == ["usb 1-1", "uas 1-1:1.0", "uas 1-1:1.1"]
    assert world.record("1-1:1.0").nested is False


def test_a_device_that_is_authorized_no_more_loses_its_interfaces_and_gets_them_back(world: World, usb: UsbBus) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("uas", bus=usb))
        dev = await plug(world, usb, "1-1")()
        await usb.store(world.core, dev, "authorized", 0)
        assert list(usb.devices) == ["1-1"]
        assert world.log[-2:] == ["remove uas 1-1:1.0", "remove uas 1-1:1.1"]
        await usb.store(world.core, dev, "authorized", 1)

    world.run(main)
    assert world.bound() == {"1-1:1.0": "uas", "1-1:1.1": "uas"}


def test_an_interface_below_such_a_device_is_not_probed_whoever_adds_it(world: World, usb: UsbBus) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("uas", bus=usb))
        dev = await plug(world, usb, "1-1", 0, authorized=False)()
        await world.core.device_add(usb.make_device(name="1-1:1.0", compatible="x", parent=dev))

    world.run(main)
    assert world.probed() == []
    assert world.warnings("usb") == ["1-1:1.0: device 1-1 is not authorized for usage"]


def test_an_interface_that_is_authorized_again_waits_for_drivers_probe(world: World, usb: UsbBus) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("uas", bus=usb))
        await plug(world, usb, "1-1")()
        interface = usb.devices["1-1:1.0"]
        assert await usb.store(world.core, interface, "authorized", 0) == 0
        assert world.bound() == {"1-1:1.1": "uas"}
        assert await world.core.bind("usb", "uas", "1-1:1.0") == -errno.ENODEV
        assert await usb.store(world.core, interface, "authorized", 1) == 0
        assert world.bound() == {"1-1:1.1": "uas"}
        assert await world.core.drivers_probe("usb", "1-1:1.0") == 0

    world.run(main)
    assert world.probed() == ["uas 1-1:1.0", "uas 1-1:1.1", "uas 1-1:1.0"]
    assert world.bound() == {"1-1:1.0": "uas", "1-1:1.1": "uas"}
    assert world.warnings("usb") == ["1-1:1.0: the interface is not authorized for usage"]


def test_an_interface_without_a_usb_device_above_is_authorized_by_itself(world: World, usb: UsbBus) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("uas", bus=usb))
        await usb.device_register(world.core, usb.make_device(name="1-1:1.0", compatible="x"))
        await usb.store(world.core, usb.devices["1-1:1.0"], "authorized", 0)

    world.run(main)
    assert world.log[-1] == "remove uas 1-1:1.0"
    assert world.bound() == {}


@pytest.mark.parametrize(("file", "value", "result"), [("authorized", 2, errno.EINVAL), ("nothing", 1, errno.ENOENT)])
def test_what_no_file_takes_is_an_errno(world: World, usb: UsbBus, file: str, value: int, result: int) -> None:
    async def main() -> int:
        dev = await plug(world, usb, "1-1", 0)()
        return await usb.store(world.core, dev, file, value)

    assert world.run(main) == -result
