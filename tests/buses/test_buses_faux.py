"""The faux bus: whoever holds a device holds a bound one."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from core_world import MS
from numaprobe.buses import FauxBus
from numaprobe.errors import StateError

if TYPE_CHECKING:
    from core_world import World
    from numaprobe.drivercore import Device


def test_create_and_destroy(world: World) -> None:
    async def probe(dev: Device) -> None:
        await world.machine.sleep(MS)
        world.log.append(f"probe {dev.name}")

    async def remove(dev: Device) -> None:
        world.log.append(f"remove {dev.name}")

    async def main() -> None:
        bus = await FauxBus.register(world.core)
        dev = await bus.device_create("reg-dummy", probe=probe, remove=remove)
        assert dev is not None
        assert dev.is_bound
        assert world.log == ["probe reg-dummy"]
        await bus.device_destroy(dev)
        assert bus.devices == {}

    world.run(main)
    assert world.log == ["probe reg-dummy", "remove reg-dummy"]
    record = world.record("reg-dummy")
    assert (record.bus, record.driver, record.comm, record.asynchronous) == ("faux", "faux_driver", "modprobe", False)


@pytest.mark.parametrize("result", [-errno.EIO, -errno.ENODEV, -517])
def test_a_failed_probe_gives_no_device(world: World, result: int) -> None:
    """A deferral too: nobody would be left to retry it."""

    async def probe(_: Device) -> int:
        return result

    async def main() -> None:
        bus = await FauxBus.register(world.core)
        assert await bus.device_create("a", probe=probe) is None
        assert bus.devices == {}
        assert await bus.device_create("a") is not None  # the name is free again

    world.run(main)
    assert world.deferred() == []


def test_a_probe_that_raises_gives_no_device(world: World) -> None:
    async def probe(_: Device) -> int:
        raise ValueError("no")

    async def main() -> Device | None:
        return await (await FauxBus.register(world.core)).device_create("a", probe=probe)

    assert world.run(main) is None


def test_without_callbacks_it_is_just_there(world: World) -> None:
    async def main() -> None:
        bus = await FauxBus.register(world.core)
        parent = await bus.device_create("parent")
        assert parent is not None
        child = await bus.device_create("child", parent=parent)
        assert child is not None
        assert child.parent is parent
        with pytest.raises(StateError, match="already"):
            await bus.device_create("child")
        await bus.device_destroy(parent)
        assert bus.devices == {}

    world.run(main)


def test_there_is_one_faux_bus(world: World) -> None:
    async def main() -> None:
        await FauxBus.register(world.core)
        with pytest.raises(StateError, match="registered already"):
            await FauxBus.register(world.core)

    world.run(main)
