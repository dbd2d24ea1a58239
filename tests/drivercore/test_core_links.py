"""Suppliers and consumers."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_world import MS
from numaprobe.testing import FakeMachine

if TYPE_CHECKING:
    from core_world import World


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_consumer_waits_for_its_supplier_and_is_retried_when_it_comes(world: World, asynchronous: bool) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv", asynchronous=asynchronous))
        await world.core.device_add(world.device("consumer", suppliers=("clk",)))
        await world.core.device_add(world.device("clk", "clk"))
        await world.core.asyncs.synchronize_full()
        assert world.bound() == {}
        assert world.deferred() == ["consumer"]
        await world.core.driver_register(world.driver("clk", "clk"))

    world.run(main)
    assert world.probed() == ["clk clk", "drv consumer"]
    assert world.bound() == {"clk": "clk", "consumer": "drv"}


@pytest.mark.parametrize("node", [0, 1])
def test_settle_waits_for_the_consumers_of_what_an_asynchronous_probe_bound(world: World, node: int) -> None:
    """Unlike ``wait_for_device_probe()``, which flushes the retries before it waits for asynchronous probes."""

    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.driver_register(world.driver("clk", "clk", asynchronous=True))
        await world.core.device_add(world.device("consumer", suppliers=("clk",), node=node))
        await world.core.device_add(world.device("clk", "clk", node=node))
        await world.core.settle()
        assert world.bound() == {"clk": "clk", "consumer": "drv"}

    world.run(main)


def test_the_body_never_runs_without_all_suppliers(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.driver_register(world.driver("sup", "s"))
        await world.core.device_add(world.device("consumer", suppliers=("one", "two")))
        await world.core.device_add(world.device("two", "s"))
        assert world.bound() == {"two": "sup"}
        await world.core.device_add(world.device("one", "s"))

    world.run(main)
    assert world.probed() == ["sup two", "sup one", "drv consumer"]
    assert [one.attempt for one in world.core.records] == [1, 1, 1]


def test_a_supplier_being_probed_is_no_supplier_yet(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("sup", "s", asynchronous=True, ns=10 * MS))
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(world.device("clk", "s"))
        await world.machine.sleep(5 * MS)
        await world.core.device_add(world.device("consumer", suppliers=("clk",)))
        assert world.deferred() == ["consumer"]

    world.run(main)
    assert world.bound() == {"clk": "sup", "consumer": "drv"}


def test_consumers_are_released_before_their_supplier_last_added_first(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("sup", "s"))
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(world.device("clk", "s"))
        for name in ("c1", "c2"):
            await world.core.device_add(world.device(name, suppliers=("clk",)))
        await world.core.device_add(world.device("c11", suppliers=("c1",)))
        world.log.clear()
        assert await world.core.unbind("plain", "sup", "clk") == 0

    world.run(main)
    assert world.log == ["remove drv c2", "remove drv c11", "remove drv c1", "remove sup clk"]
    assert world.bound() == {}


@pytest.mark.parametrize("how", ["unregister", "remove", "unbind"])
def test_consumers_come_back_with_their_supplier(world: World, how: str) -> None:
    sup = world.driver("sup", "s")
    core = world.core

    async def main() -> None:
        await core.driver_register(sup)
        await core.driver_register(world.driver("drv"))
        await core.device_add(world.device("clk", "s"))
        await core.device_add(world.device("consumer", suppliers=("clk",)))
        if how == "unregister":
            await core.driver_unregister(sup)
        elif how == "remove":
            await core.device_del(world.bus.devices["clk"])
        else:
            await core.unbind("plain", "sup", "clk")
        assert world.bound() == {}
        if how == "unregister":
            await core.driver_register(sup)
        elif how == "remove":
            await core.device_add(world.device("clk", "s"))
        else:
            assert await core.bind("plain", "sup", "clk") == 0

    world.run(main)
    assert world.bound() == {"clk": "sup", "consumer": "drv"}
    assert world.record("consumer", attempt=2).result == "0"


def test_a_release_waits_for_a_consumer_that_is_being_probed(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("sup", "s"))
        await world.core.driver_register(world.driver("drv", ns=10 * MS, asynchronous=True))
        await world.core.device_add(world.device("clk", "s"))
        await world.core.device_add(world.device("consumer", suppliers=("clk",)))
        while "probe drv consumer" not in world.log:  # on a busy computer its worker may start late
            await world.machine.sleep(MS)
        await world.core.unbind("plain", "sup", "clk")

    world.run(main)
    assert world.log[-4:] == ["probe drv consumer", "done drv consumer", "remove drv consumer", "remove sup clk"]


def test_a_release_waits_for_a_consumer_that_is_being_released(world: World) -> None:
    async def slow(_: object) -> None:
        world.log.append("remove begins")
        await world.machine.sleep(10 * MS)
        world.log.append("remove ends")

    async def main() -> None:
        await world.core.driver_register(world.driver("sup", "s"))
        await world.core.driver_register(world.driver("drv", remove=slow))
        await world.core.device_add(world.device("clk", "s"))
        await world.core.device_add(world.device("consumer", suppliers=("clk",)))
        going = world.machine.spawn(lambda: world.core.unbind("plain", "drv", "consumer"), comm="sh")
        await world.machine.sleep(5 * MS)
        await world.core.unbind("plain", "sup", "clk")
        await world.machine.join(going)

    world.run(main)
    assert world.log[-3:] == ["remove begins", "remove ends", "remove sup clk"]


def test_a_supplier_on_another_bus_and_by_bus_and_name(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.driver_register(world.driver("pdrv", bus=world.platform))
        await world.core.device_add(world.device("any", suppliers=("clk",)))
        await world.core.device_add(world.device("that", suppliers=("platform/clk",)))
        await world.core.device_add(world.device("clk"))  # the one on the plain bus
        await world.core.deferred.flush()
        assert world.bound() == {"clk": "drv", "any": "drv"}
        await world.core.device_add(world.device("clk", bus=world.platform))

    world.run(main)
    assert world.bound() == {"clk": "pdrv", "any": "drv", "that": "drv"}
    assert world.record("that").result == "0"


def test_of_two_suppliers_with_one_name_one_suffices(world: World) -> None:
    """A name without a bus means whichever is there: releasing one of them releases the consumer all the same."""

    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.driver_register(world.driver("pdrv", bus=world.platform))
        await world.core.device_add(world.device("clk"))
        await world.core.device_add(world.device("clk", bus=world.platform))
        await world.core.device_add(world.device("consumer", suppliers=("clk",)))
        await world.core.unbind("platform", "pdrv", "clk")
        assert "consumer" not in world.bound()
        assert await world.core.bind("plain", "drv", "consumer") == 0

    world.run(main)
    assert world.bound() == {"clk": "drv", "consumer": "drv"}


def test_a_consumer_of_itself_waits_for_ever_without_looping(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(world.device("a", suppliers=("b",)))
        await world.core.device_add(world.device("b", suppliers=("a",)))
        await world.core.device_add(world.device("c", suppliers=("c",)))
        assert await world.core.bind("plain", "drv", "c") == -errno.EAGAIN

    world.run(main)
    assert world.bound() == {}
    assert sorted(world.deferred()) == ["a", "b", "c"]


def test_a_removed_consumer_is_forgotten_by_its_supplier(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(world.device("consumer", suppliers=("clk",)))
        await world.core.device_del(world.bus.devices["consumer"])
        await world.core.device_add(world.device("clk"))

    world.run(main)
    assert world.deferred() == []
    assert world.probed() == ["drv clk"]


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_chain_in_any_order_binds_from_its_root(data: st.DataObject) -> None:
    from core_world import World

    world = World(FakeMachine(), None, None)
    count = data.draw(st.integers(1, 8))
    devices = [world.device(f"d{n}", suppliers=(f"d{n - 1}",) if n else ()) for n in range(count)]
    order = data.draw(st.permutations([*devices, None]))

    async def main() -> None:
        for dev in order:
            await (world.core.device_add(dev) if dev else world.core.driver_register(world.driver("drv")))

    world.run(main)
    assert [one.device for one in world.core.records] == [dev.name for dev in devices]
    world.validate()
