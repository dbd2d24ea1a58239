"""Letting go: detach, removal, managed resources, names, and everything that may be under way meanwhile."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

import pytest

from core_world import MS
from numaprobe.drivercore import EPROBE_DEFER, DeviceState
from numaprobe.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core_world import World
    from numaprobe.drivercore import Device


def releasing(world: World, name: str) -> Callable[[], Awaitable[None]]:
    async def release() -> None:
        world.log.append(f"release {name}")

    return release


# ---- drivers ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_driver_lets_go_its_devices_last_bound_first(world: World, asynchronous: bool) -> None:
    drv = world.driver("drv", asynchronous=asynchronous)

    async def main() -> None:
        await world.core.driver_register(drv)
        for name in "abc":
            await world.core.device_add(world.device(name))
            await world.core.asyncs.synchronize_full()
        await world.core.unbind("plain", "drv", "a")
        await world.core.bind("plain", "drv", "a")  # now a is the last one
        world.log.clear()
        await world.core.driver_unregister(drv)

    world.run(main)
    assert world.log == ["remove drv a", "remove drv c", "remove drv b"]
    assert world.bound() == {}
    assert all(dev.state is DeviceState.UNBOUND for dev in world.bus.devices.values())


def test_a_driver_registers_again_after_it_left(world: World) -> None:
    drv = world.driver("drv")

    async def main() -> None:
        await world.core.device_add(world.device("a"))
        for _ in range(3):
            await world.core.driver_register(drv)
            await world.core.driver_unregister(drv)

    world.run(main)
    assert world.log == ["probe drv a", "done drv a", "remove drv a"] * 3
    assert [one.attempt for one in world.core.records] == [1, 2, 3]


def test_a_drivers_name_is_its_own_until_it_is_gone(world: World) -> None:
    async def slow(_: Device) -> None:
        await world.machine.sleep(10 * MS)

    drv, same = world.driver("drv", remove=slow), world.driver("drv")

    async def main() -> None:
        await world.core.driver_register(drv)
        await world.core.device_add(world.device("a"))
        with pytest.raises(StateError, match="registered"):
            await world.core.driver_register(same)
        leaving = world.machine.spawn(lambda: world.core.driver_unregister(drv), comm="rmmod")
        await world.machine.sleep(5 * MS)
        for again in (drv, same):
            with pytest.raises(StateError, match="registered"):
                await world.core.driver_register(again)
        with pytest.raises(StateError, match="not registered"):
            await world.core.driver_unregister(drv)
        await world.machine.join(leaving)
        await world.core.driver_register(same)

    world.run(main)
    assert world.bound() == {"a": "drv"}
    assert list(same.devices.values()) == [world.bus.devices["a"]]


def test_unregistering_waits_for_the_probes_of_others_that_use_the_driver(world: World) -> None:
    drv = world.driver("drv", ns=10 * MS)

    async def main() -> None:
        await world.core.driver_register(drv)
        adding = world.machine.spawn(lambda: world.core.device_add(world.device("a")), comm="sh", cpu=1)
        await world.machine.sleep(5 * MS)
        await world.core.driver_unregister(drv)
        assert world.machine.now() >= 10 * MS
        await world.machine.join(adding)

    world.run(main)
    assert world.log == ["probe drv a", "done drv a", "remove drv a"]


def test_unregistering_ends_the_drivers_own_attaching(world: World) -> None:
    started = world.machine.event("the first probe runs")

    async def body(_: Device) -> int:
        started.set()
        await world.machine.sleep(20 * MS)
        return 0

    drv = world.driver("drv", ns=0, body=body)

    async def main() -> None:
        for name in "abc":
            await world.core.device_add(world.device(name))
        loading = world.machine.spawn(lambda: world.core.driver_register(drv), comm="modprobe", cpu=1)
        await started.wait()
        await world.core.driver_unregister(drv)
        await world.machine.join(loading)

    world.run(main)
    assert world.probed() == ["drv a"]
    assert world.bound() == {}


# ---- devices ---------------------------------------------------------------------------------------------------------
def test_removal_takes_children_first_last_added_first(world: World) -> None:
    parent = world.device("p")

    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(parent)
        for name in "ab":
            await world.core.device_add(world.device(name, parent=parent))
        await world.core.device_add(world.device("b1", parent=world.bus.devices["b"]))
        world.log.clear()
        await world.core.device_del(parent)

    world.run(main)
    assert world.log == [f"remove drv {name}" for name in ("b1", "b", "a", "p")]
    assert world.bus.devices == {}
    assert parent.children == {}


def test_what_is_gone_cannot_be_removed(world: World) -> None:
    dev = world.device("a")

    async def main() -> None:
        with pytest.raises(StateError, match="is new"):
            await world.core.device_del(dev)
        await world.core.device_add(dev)
        await world.core.device_del(dev)
        with pytest.raises(StateError, match="is removed") as caught:
            await world.core.device_del(dev)
        assert caught.value.story == world.core.story(dev)

    world.run(main)


def test_two_removals_of_one_device(world: World) -> None:
    dev = world.device("a")
    outcomes: list[str] = []

    async def remove() -> None:
        try:
            await world.core.device_del(dev)
            outcomes.append("removed")
        except StateError:
            outcomes.append("refused")

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", asynchronous=True, ns=10 * MS))
        await world.core.device_add(dev)
        await world.machine.sleep(5 * MS)
        tasks = [world.machine.spawn(remove, comm=f"sh{number}") for number in range(2)]
        for task in tasks:
            await world.machine.join(task)

    world.run(main)
    assert sorted(outcomes) == ["refused", "removed"]
    assert world.log.count("remove drv a") == 1


@pytest.mark.parametrize("child_first", [True, False])
def test_a_child_and_its_parent_removed_at_once(world: World, child_first: bool) -> None:
    """Whoever comes second to the child must not leave the parent half removed."""
    parent, child = world.device("p", "y"), None

    async def remove(dev: Device) -> None:
        try:
            await world.core.device_del(dev)
        except StateError:
            assert dev is child

    async def main() -> None:
        nonlocal child
        await world.core.driver_register(world.driver("drv", asynchronous=True, ns=10 * MS))
        await world.core.device_add(parent)
        child = world.device("c", parent=parent)
        await world.core.device_add(child)
        await world.machine.sleep(5 * MS)
        order = [child, parent] if child_first else [parent, child]
        tasks = [world.machine.spawn(lambda dev=dev: remove(dev), comm=dev.name) for dev in order]
        for task in tasks:
            await world.machine.join(task)

    world.run(main)
    assert world.bus.devices == {}
    assert world.log.count("remove drv c") == world.log.count("done drv c") <= 1


def test_a_dying_parent_takes_no_children(world: World) -> None:
    async def slow(_: Device) -> None:
        await world.machine.sleep(10 * MS)

    parent = world.device("p")

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", remove=slow))
        await world.core.device_add(parent)
        going = world.machine.spawn(lambda: world.core.device_del(parent), comm="sh")
        await world.machine.sleep(5 * MS)
        with pytest.raises(StateError, match="parent p"):
            await world.core.device_add(world.device("c", parent=parent))
        await world.machine.join(going)

    world.run(main)


def test_a_devices_name_is_its_own_until_it_is_gone(world: World) -> None:
    """Lists and owners go by name: a second device of it would take over the first one's entries."""

    async def slow(_: Device) -> None:
        await world.machine.sleep(10 * MS)

    old, new = world.device("a"), world.device("a")

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", remove=slow))
        await world.core.device_add(old)
        going = world.machine.spawn(lambda: world.core.device_del(old), comm="sh")
        await world.machine.sleep(5 * MS)
        with pytest.raises(StateError, match="already"):
            await world.core.device_add(new)
        assert await world.core.bind("plain", "drv", "a") == -errno.ENODEV
        await world.machine.join(going)
        await world.core.device_add(new)

    world.run(main)
    assert (old.state, new.state) == (DeviceState.REMOVED, DeviceState.BOUND)


def test_the_probe_that_removal_waited_for_may_defer(world: World) -> None:
    dev = world.device("a")

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", ns=10 * MS, results=(-EPROBE_DEFER,), asynchronous=True))
        await world.core.device_add(dev)
        await world.machine.sleep(5 * MS)
        await world.core.device_del(dev)

    world.run(main)
    assert world.deferred() == []
    assert dev.state is DeviceState.REMOVED


def test_a_retry_of_a_dead_device_is_dropped(world: World) -> None:
    """It is on the active list, behind one that takes long, while it goes."""
    gate = {"result": -EPROBE_DEFER}

    async def body(_: Device) -> int:
        return gate["result"]

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", ns=10 * MS, body=body))
        for name in "ab":
            await world.core.device_add(world.device(name))
        gate["result"] = 0
        await world.core.driver_register(world.driver("any", "any", ns=0))
        await world.core.device_add(world.device("c", "any"))
        await world.machine.sleep(5 * MS)  # a is being retried
        assert world.deferred() == ["b"]
        await world.core.device_del(world.bus.devices["b"])

    world.run(main)
    assert world.probed().count("drv b") == 1
    assert world.bound() == {"a": "drv", "c": "any"}


# ---- managed resources -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("result", "lines"), [(0, ["remove drv a"]), (-errno.EIO, []), (-EPROBE_DEFER, [])])
def test_managed_resources_go_in_reverse_also_after_a_failure(world: World, result: int, lines: list[str]) -> None:
    dev = world.device("a")

    async def body(_: Device) -> int:
        for name in ("irq", "memory", "clock"):
            world.core.devm_add_action(dev, name, releasing(world, name))
        return result

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", body=body))
        await world.core.device_add(dev)
        if result == 0:
            assert "release clock" not in world.log
            await world.core.unbind("plain", "drv", "a")

    world.run(main)
    assert world.log[2:] == [*lines, "release clock", "release memory", "release irq"]
    assert dev.p.devres == []


def test_a_release_that_raises_does_not_stop_the_others(world: World) -> None:
    dev = world.device("a")

    async def broken() -> None:
        raise RuntimeError("no clock")

    async def body(_: Device) -> int:
        world.core.devm_add_action(dev, "irq", releasing(world, "irq"))
        world.core.devm_add_action(dev, "clock", broken)
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", body=body))
        await world.core.device_add(dev)
        await world.core.device_del(dev)

    world.run(main)
    assert world.log[-1] == "release irq"
    (told,) = world.warnings("raised")
    assert re.fullmatch(r"a: release of clock raised RuntimeError: no clock \(.*test_core_remove.py:\d+\)", told)
    assert dev.state is DeviceState.REMOVED


def test_only_a_device_with_a_driver_manages_resources(world: World) -> None:
    dev = world.device("a")

    async def main() -> None:
        await world.core.device_add(dev)
        with pytest.raises(StateError, match="has no driver"):
            world.core.devm_add_action(dev, "irq", releasing(world, "irq"))

    world.run(main)


def test_a_bound_device_may_add_resources_later(world: World) -> None:
    dev = world.device("a")

    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(dev)
        world.core.devm_add_action(dev, "buffer", releasing(world, "buffer"))
        await world.core.unbind("plain", "drv", "a")

    world.run(main)
    assert world.log[-2:] == ["remove drv a", "release buffer"]
