"""Files of devices in sysfs: whoever takes one away waits for who is inside, and nobody comes in any more."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from core_world import MS
from numaprobe.drivercore import Attribute
from numaprobe.errors import DeadlockError, InternalError

if TYPE_CHECKING:
    from core_world import World
    from numaprobe.drivercore import Device


def slow(world: World, name: str = "state", **more: Any) -> Attribute:
    """A file whose functions pass time and say so."""

    async def function(dev: Device) -> None:
        world.log.append(f"in {dev.name}/{name}")
        await world.machine.sleep(5 * MS)
        world.log.append(f"out {dev.name}/{name}")

    return Attribute(name=name, show=function, store=function, **more)


def test_a_file_of_a_driver_is_there_while_it_is_bound(world: World) -> None:
    async def main() -> list[int]:
        core = world.core
        await core.device_add(world.device("a"))
        before = await core.read("plain", "a", "state")
        await core.driver_register(world.driver("drv", dev_attributes=(slow(world),)))
        there = [await core.read("plain", "a", "state"), await core.write("plain", "a", "state")]
        await core.unbind("plain", "drv", "a")
        return [before, *there, await core.read("plain", "a", "state"), await core.bind("plain", "drv", "a")]

    assert world.run(main) == [-errno.ENOENT, 0, 0, -errno.ENOENT, 0]
    assert world.log.count("in a/state") == 2


def test_a_file_of_a_device_is_there_as_long_as_it_is_and_needs_no_driver(world: World) -> None:
    async def main() -> list[int]:
        dev = world.device("a", attributes=(slow(world),))
        await world.core.device_add(dev)
        there = await world.core.read("plain", "a", "state")
        await world.core.device_del(dev)
        return [there, await world.core.read("plain", "a", "state"), await world.core.read("plain", "b", "state")]

    assert world.run(main) == [0, -errno.ENOENT, -errno.ENOENT]


@pytest.mark.machines("fake", "virtual")  # it looks at times
@pytest.mark.parametrize("how", ["unbind", "remove", "unregister"])
@pytest.mark.parametrize("owner", ["device", "driver"])
def test_who_takes_a_file_away_waits_for_who_is_inside(world: World, how: str, owner: str) -> None:
    async def main() -> tuple[int, int]:
        core, file = world.core, (slow(world),)
        dev = world.device("a", attributes=file if owner == "device" else ())
        drv = world.driver("drv", dev_attributes=file if owner == "driver" else ())
        await core.device_add(dev)
        await core.driver_register(drv)
        start = core.machine.now()
        reader = core.machine.spawn(lambda: core.read("plain", "a", "state"), comm="cat")
        await core.machine.sleep(MS)
        match how:
            case "unbind":
                await core.unbind("plain", "drv", "a")
            case "remove":
                await core.device_del(dev)
            case _:
                await core.driver_unregister(drv)
        took = core.machine.now() - start
        return took, await core.machine.join(reader)

    took, answer = world.run(main)
    waits = owner == "driver" or how == "remove"
    assert took == (5 if waits else 1) * MS
    assert answer == 0
    if waits:
        assert world.log.index("out a/state") < world.log.index("remove drv a")


@pytest.mark.machines("fake", "virtual")
def test_nobody_comes_in_once_it_is_being_taken_away(world: World) -> None:
    async def main() -> tuple[int, int]:
        core = world.core
        await core.device_add(world.device("a"))
        await core.driver_register(world.driver("drv", dev_attributes=(slow(world),)))
        first = core.machine.spawn(lambda: core.read("plain", "a", "state"), comm="cat")
        await core.machine.sleep(MS)
        going = core.machine.spawn(lambda: core.unbind("plain", "drv", "a"), comm="sh")
        await core.machine.sleep(MS)
        late = await core.read("plain", "a", "state")
        await core.machine.join(going)
        return late, await core.machine.join(first)

    assert world.run(main) == (-errno.ENOENT, 0)


def test_a_function_may_fail_raise_and_be_missing(world: World) -> None:
    async def fails(_: Device) -> int:
        return -errno.EAGAIN

    async def raises(_: Device) -> int:
        raise OSError(errno.EIO, "no answer")

    async def main() -> list[int]:
        core, file = world.core, Attribute(name="one", show=fails, store=raises)
        await core.device_add(world.device("a", attributes=(file, Attribute(name="two", show=fails))))
        return [
            await core.read("plain", "a", "one"),
            await core.write("plain", "a", "one"),
            await core.write("plain", "a", "two"),
        ]

    assert world.run(main) == [-errno.EAGAIN, -errno.EIO, -errno.EACCES]
    assert any("a: store of one raised" in one.message for one in world.machine.warnings)


@pytest.mark.machines("fake", "virtual")
@pytest.mark.parametrize("reader_first", [True, False])
def test_a_function_under_the_device_lock_hangs_if_the_lock_goes_to_who_takes_it_away(
    world: World, reader_first: bool
) -> None:
    async def main() -> None:
        core, machine = world.core, world.machine
        await core.device_add(dev := world.device("a"))
        await core.driver_register(world.driver("drv", dev_attributes=(slow(world, locked=True),), ns=0))
        await dev.lock.acquire()
        tasks = []
        for comm in ("cat", "sh") if reader_first else ("sh", "cat"):
            body = {
                "cat": lambda: core.read("plain", "a", "state"),
                "sh": lambda: core.unbind("plain", "drv", "a"),
            }[comm]
            tasks.append(machine.spawn(body, comm=comm))
            await machine.sleep(MS)
        dev.lock.release()
        for task in tasks:
            await machine.join(task)

    if reader_first:
        world.run(main)
        assert world.log.index("out a/state") < world.log.index("remove drv a")
        return
    world.broken = True
    with pytest.raises(DeadlockError, match="kn->active plain/a/state"):
        world.run(main)


def test_two_files_of_one_name_are_told(world: World) -> None:
    async def main() -> None:
        await world.core.device_add(world.device("a", attributes=(slow(world),)))
        await world.core.driver_register(world.driver("drv", dev_attributes=(slow(world),)))
        await world.core.unbind("plain", "drv", "a")
        assert await world.core.read("plain", "a", "state") == 0

    world.run(main)
    assert [one.message for one in world.machine.warnings] == ["a: cannot create duplicate file state"]


def test_validate_knows_a_file_that_a_driver_left_behind(world: World) -> None:
    async def main() -> None:
        dev = world.device("a")
        await world.core.device_add(dev)
        world.core.attributes.create(dev, (slow(world),))
        with pytest.raises(InternalError, match="it is not bound, but has the file state of a driver"):
            world.core.validate()
        dev.p.files = None

    world.run(main)
