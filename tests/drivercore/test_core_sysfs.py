"""What users write to sysfs: bind, unbind, drivers_probe, drivers_autoprobe."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from core_world import MS
from numaprobe.drivercore import EPROBE_DEFER, DeviceState
from numaprobe.errors import UnknownNameError

if TYPE_CHECKING:
    from core_world import World


@pytest.mark.parametrize(
    ("body", "answer"),
    [(0, 0), (-errno.EIO, -errno.EIO), (-errno.ENODEV, -errno.ENODEV), (-EPROBE_DEFER, -errno.EAGAIN)],
)
def test_bind_gives_the_bodys_errno_and_eagain_for_a_deferral(world: World, body: int, answer: int) -> None:
    async def main() -> int:
        world.bus.drivers_autoprobe = False
        await world.core.driver_register(world.driver("drv", results=(body,)))
        await world.core.device_add(world.device("a"))
        return await world.core.bind("plain", "drv", "a")

    assert world.run(main) == answer
    assert world.deferred() == []  # bind neither counts nor lists
    assert world.record("a").path == "device_driver_attach"


def test_bind_without_a_supplier_is_eagain_and_not_listed(world: World) -> None:
    async def main() -> int:
        world.bus.drivers_autoprobe = False
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(world.device("a", suppliers=("clk",)))
        return await world.core.bind("plain", "drv", "a")

    assert world.run(main) == -errno.EAGAIN
    assert world.deferred() == []
    assert world.log == []


def test_bind_needs_a_match_but_takes_a_match_error_for_one(world: World) -> None:
    async def main() -> None:
        world.bus.drivers_autoprobe = False
        await world.core.driver_register(world.driver("other", "y"))
        await world.core.driver_register(world.driver("unsure", match=lambda _: -EPROBE_DEFER))
        await world.core.device_add(world.device("a"))
        assert await world.core.bind("plain", "other", "a") == -errno.ENODEV
        assert await world.core.bind("plain", "unsure", "a") == 0

    world.run(main)
    assert world.bound() == {"a": "unsure"}


@pytest.mark.parametrize(("driver", "device"), [("drv", "b"), ("nobody", "a"), ("", ""), ("drv", "A")])
def test_bind_and_unbind_of_what_is_not_there(world: World, driver: str, device: str) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(world.device("a"))
        assert await world.core.bind("plain", driver, device) == -errno.ENODEV
        assert await world.core.unbind("plain", driver, device) == -errno.ENODEV

    world.run(main)
    assert world.bound() == {"a": "drv"}


def test_the_bus_must_be_there(world: World) -> None:
    async def main() -> None:
        for write in (world.core.bind, world.core.unbind):
            with pytest.raises(UnknownNameError):
                await write("usb", "drv", "a")
        with pytest.raises(UnknownNameError):
            await world.core.drivers_probe("usb", "a")

    world.run(main)


def test_unbind_lets_go_and_only_from_the_driver_named(world: World) -> None:
    dev = world.device("a")

    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.driver_register(world.driver("other"))
        await world.core.device_add(dev)
        assert await world.core.unbind("plain", "other", "a") == -errno.ENODEV
        assert await world.core.unbind("plain", "drv", "a") == 0
        assert await world.core.unbind("plain", "drv", "a") == -errno.ENODEV

    world.run(main)
    assert world.log[-1] == "remove drv a"
    assert (dev.state, dev.driver) == (DeviceState.UNBOUND, None)


def test_what_was_unbound_by_hand_stays_so_until_asked_for(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(world.device("a"))
        await world.core.unbind("plain", "drv", "a")
        await world.core.device_add(world.device("b"))
        assert world.bound() == {"b": "drv"}
        assert await world.core.drivers_probe("plain", "a") == 0

    world.run(main)
    assert world.bound() == {"a": "drv", "b": "drv"}


def test_unbind_during_the_probe_waits_for_its_end(world: World) -> None:
    dev = world.device("a")

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", ns=10 * MS, asynchronous=True))
        await world.core.device_add(dev)
        await world.machine.sleep(5 * MS)
        assert dev.state is DeviceState.PROBING
        assert await world.core.unbind("plain", "drv", "a") == 0

    world.run(main)
    assert world.log == ["probe drv a", "done drv a", "remove drv a"]


def test_parallel_binds_of_one_device_probe_it_once(world: World) -> None:
    async def main() -> list[int]:
        world.bus.drivers_autoprobe = False
        for name in ("one", "two", "three"):
            await world.core.driver_register(world.driver(name))
        await world.core.device_add(world.device("a"))
        names = ("one", "two", "three")
        writers = [
            world.machine.spawn(lambda name=name: world.core.bind("plain", name, "a"), comm="sh") for name in names
        ]
        return [await world.machine.join(one) for one in writers]

    assert sorted(world.run(main)) == [-errno.EBUSY, -errno.EBUSY, 0]
    assert len(world.probed()) == 1


def test_a_bind_is_not_counted_as_a_probe(world: World) -> None:
    """device_driver_attach calls __driver_probe_device: wait_for_device_probe does not see it."""

    async def main() -> None:
        world.bus.drivers_autoprobe = False
        await world.core.driver_register(world.driver("drv", ns=10 * MS))
        await world.core.device_add(world.device("a"))
        writer = world.machine.spawn(lambda: world.core.bind("plain", "drv", "a"), comm="sh", cpu=1)
        await world.machine.sleep(5 * MS)
        await world.core.wait_for_device_probe()
        assert world.machine.now() < 6 * MS
        assert await world.machine.join(writer) == 0

    world.run(main)


def test_autoprobe_off_gates_devices_and_drivers_but_not_users(world: World) -> None:
    async def main() -> None:
        world.core.bus("plain").drivers_autoprobe = False
        await world.core.device_add(world.device("a"))
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(world.device("b"))
        assert world.bound() == {}
        assert await world.core.bind("plain", "drv", "a") == 0
        assert await world.core.drivers_probe("plain", "b") == 0

    world.run(main)
    assert world.bound() == {"a": "drv", "b": "drv"}


def test_autoprobe_is_the_buss_own(world: World) -> None:
    async def main() -> None:
        world.bus.drivers_autoprobe = False
        await world.core.driver_register(world.driver("drv", bus=world.platform))
        await world.core.device_add(world.device("a", bus=world.platform))

    world.run(main)
    assert world.bound() == {"a": "drv"}


def test_autoprobe_switched_on_again_takes_what_comes_from_then(world: World) -> None:
    async def main() -> None:
        world.bus.drivers_autoprobe = False
        await world.core.device_add(world.device("before"))
        world.bus.drivers_autoprobe = True
        await world.core.driver_register(world.driver("drv"))

    world.run(main)
    assert world.bound() == {"before": "drv"}


def test_drivers_probe_answers(world: World) -> None:
    async def main() -> None:
        assert await world.core.drivers_probe("plain", "a") == -errno.ENODEV
        await world.core.device_add(world.device("a"))
        assert await world.core.drivers_probe("plain", "a") == 0  # no driver: nothing went wrong
        await world.core.driver_register(world.driver("drv"))
        assert await world.core.drivers_probe("plain", "a") == 0  # bound already

    world.run(main)
    assert world.probed() == ["drv a"]
