"""Deferral loops: devices whose deferrals keep each other awake are named and stopped, and none of them is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core_world import MS, World
from numaprobe.drivercore import EPROBE_DEFER, DriverCore, deferred
from numaprobe.policies import POLICIES, make_policy
from numaprobe.topology import symmetric
from numaprobe.virtual import VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Device


def loop_world(policy: str, count: int) -> tuple[World, object]:
    """Devices of an async driver on every node whose supplier ``late`` is not there, and one that starts the loop."""
    world = World(VirtualMachine(symmetric("m", nodes=2, llcs=2, cores=2, smt=2)), make_policy(policy), None)

    async def main() -> None:
        for number in range(count):
            dev = world.device(f"w{number}", "waits", bus=world.pci, node=number % 2, suppliers=("late",))
            await world.core.device_add(dev)
        for number in range(3):
            await world.core.device_add(world.device(f"q{number}", "quick", node=0))
        await world.core.load_module(world.driver("waits", "waits", bus=world.pci, asynchronous=True, ns=0))
        await world.core.load_module(world.driver("quick", "quick", ns=0))
        await world.core.wait_for_device_probe()

    return world, main


def attempts(core: DriverCore, name: str) -> int:
    """How often a device was deferred, from its story."""
    dev = core.state.links._by_name[name][0]
    return sum("deferred: waiting" in line for line in dev.story())


@pytest.mark.parametrize("policy", POLICIES)
def test_a_loop_of_deferrals_ends_and_names_devices_and_supplier(policy: str) -> None:
    world, main = loop_world(policy, 24)
    world.run(main)
    world.validate()
    assert sorted(world.deferred()) == sorted(f"w{number}" for number in range(24))
    assert max(attempts(world.core, f"w{number}") for number in range(24)) <= deferred.MAX_ECHOES + 10
    told = world.warnings("deferral-loop")
    assert len(told) == (policy in ("strict-node", "spread"))  # what goes to another queue and back overlaps
    for text in told:
        assert "w0, w1, w2, w3 and 20 more" in text
        assert "waiting for supplier late, which is not there" in text


def test_a_device_of_a_loop_is_probed_when_its_supplier_comes() -> None:
    world, main = loop_world("spread", 24)

    async def then() -> None:
        await main()
        assert world.warnings("deferral-loop")
        await world.core.device_add(world.device("late", "quick"))
        await world.core.wait_for_device_probe()

    world.run(then)
    world.validate()
    assert world.deferred() == []
    assert {name for name in world.bound() if name.startswith("w")} == {f"w{number}" for number in range(24)}


def test_each_new_binding_starts_no_loop_again() -> None:
    """Who was in a loop has one retry for each piece of news; else every binding would cost the whole loop again."""
    world, main = loop_world("spread", 24)

    async def then() -> None:
        await main()
        for number in range(40):
            await world.core.device_add(world.device(f"new{number}", "quick", node=0))
            await world.core.wait_for_device_probe()

    world.run(then)
    assert attempts(world.core, "w0") <= deferred.MAX_ECHOES + 10 + 3 * 40
    assert len(world.warnings("deferral-loop")) == 1


def test_a_probe_that_adds_the_same_child_and_defers_is_a_loop_at_once(world: World) -> None:
    """The kernel's documentation warns of it: its core would try for ever."""

    async def body(dev: object) -> int:
        child = world.device("child", "child")
        await world.core.device_add(child)
        await world.core.device_del(child)
        return -EPROBE_DEFER

    async def main() -> None:
        await world.core.driver_register(world.driver("child", "child", ns=0))
        await world.core.driver_register(world.driver("parent", body=body, ns=MS))
        await world.core.device_add(world.device("a"))

    world.run(main)
    (text,) = world.warnings("deferral-loop")
    assert text.startswith("a: each deferral made the next try")
    assert "its probe asked for a later try" in text
    assert len([one for one in world.core.records if one.device == "a"]) <= deferred.MAX_ECHOES + 2


def test_what_is_still_deferred_is_told_with_the_fate_of_its_supplier(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("fails", "fails", results=(-12,)))
        await world.core.driver_register(world.driver("x"))
        await world.core.device_add(world.device("bad", "fails"))
        await world.core.device_add(world.device("idle", "nobody"))
        for name, supplier in (
            ("a", "bad"),
            ("b", "bad"),
            ("c", "idle"),
            ("d", "gone"),
            ("e", "a"),
            ("f", "plain/bad"),
        ):
            await world.core.device_add(world.device(name, suppliers=(supplier,)))

    world.run(main)
    assert world.core.deferred.unfinished() == [
        "a, b: waiting for supplier bad, which was probed and failed: ENOMEM",
        "c: waiting for supplier idle, which no driver has bound",
        "d: waiting for supplier gone, which is not there",
        "e: waiting for supplier a, which is deferred too",
        "f: waiting for supplier plain/bad, which was probed and failed: ENOMEM",
    ]


def test_probes_that_bind_a_child_and_defer_wake_each_other_not_for_ever(world: World) -> None:
    """Each child's binding is an ordinary trigger, for the other parent: no race is needed for this loop."""

    def body(name: str) -> Callable[[Device], Awaitable[int]]:
        async def probe(dev: Device) -> int:
            child = world.device(f"{name}-child", "child", parent=dev)
            await world.core.device_add(child)
            await world.core.device_del(child)
            return -EPROBE_DEFER

        return probe

    async def main() -> None:
        await world.core.driver_register(world.driver("child", "child", ns=0))
        for name in "ab":
            await world.core.driver_register(world.driver(name, name, body=body(name), ns=0))
        for name in "ab":
            await world.core.device_add(world.device(name, name))
        await world.core.wait_for_device_probe()
        before = len(world.core.records)
        await world.core.driver_register(world.driver("late", "late"))
        await world.core.device_add(world.device("new", "late"))
        await world.core.wait_for_device_probe()
        assert {record.device for record in world.core.records[before:]} >= {"a", "b", "new"}  # news: one more try each
        assert len(world.core.records) - before < 20

    world.run(main)
    world.validate()
    assert sorted(world.deferred()) == ["a", "b"]
    (text,) = world.warnings("deferral-loop")
    assert text.startswith(("a, b: ", "b, a: "))
    for name in "ab":
        assert len([one for one in world.core.records if one.device == name]) <= deferred.MAX_ECHOES + 10


def test_each_piece_of_news_gives_a_device_of_a_loop_one_more_try(world: World) -> None:
    async def body(dev: Device) -> int:
        child = world.device("child", "child")
        await world.core.device_add(child)
        await world.core.device_del(child)
        return -EPROBE_DEFER

    def tries() -> int:
        return len([one for one in world.core.records if one.device == "a"])

    async def main() -> None:
        await world.core.driver_register(world.driver("child", "child", ns=0))
        await world.core.driver_register(world.driver("parent", body=body, ns=MS))
        await world.core.device_add(world.device("a"))
        await world.core.deferred.flush()
        assert world.warnings("deferral-loop")
        for _ in range(3):
            before = tries()
            world.core.deferred.trigger()
            await world.core.deferred.flush()
            assert tries() == before + 1

    world.run(main)


def test_triggers_while_the_work_that_retries_runs_cost_one_try_each_and_lose_none(world: World) -> None:
    """Two triggers come while a retried probe runs: it defers once more, is tried again, and then binds."""

    async def body(dev: Device) -> int:
        tried = dev.p.attempts.get("waits", 0)
        if tried == 1:
            world.core.deferred.trigger()
            world.core.deferred.trigger()
        return 0 if tried > 1 else -EPROBE_DEFER

    async def main() -> None:
        await world.core.driver_register(world.driver("waits", body=body))
        await world.core.device_add(world.device("a"))
        assert world.deferred() == ["a"]
        world.core.deferred.trigger()
        await world.core.deferred.flush()

    world.run(main)
    world.validate()
    assert [one.result for one in world.core.records] == ["EPROBE_DEFER", "EPROBE_DEFER", "0"]
    assert (world.deferred(), world.bound()) == ([], {"a": "waits"})


def test_a_loop_tells_the_reason_of_each_of_its_devices(world: World) -> None:
    """One waits for a supplier that is not there, the other asks for a later try: both keep each other awake."""

    async def body(dev: Device) -> int:
        child = world.device(f"{dev.name}-child", "child", parent=dev)
        await world.core.device_add(child)
        await world.core.device_del(child)
        return -EPROBE_DEFER

    async def main() -> None:
        await world.core.driver_register(world.driver("child", "child", ns=0))
        await world.core.driver_register(world.driver("x", body=body, ns=0))
        await world.core.device_add(world.device("waits", suppliers=("late",)))
        await world.core.device_add(world.device("asks"))
        await world.core.wait_for_device_probe()

    world.run(main)
    (text,) = world.warnings("deferral-loop")
    assert text.startswith("waits, asks: ")
    assert "waiting for supplier late, which is not there; its probe asked for a later try" in text


def test_so_many_triggers_again_make_a_loop_even_where_each_brings_something_new(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deferred, "MAX_RETRIGGERS", 5)
    number = 0

    async def body(dev: Device) -> int:
        nonlocal number
        number += 1
        child = world.device(f"child{number}", "child", parent=dev)
        await world.core.device_add(child)
        await world.core.device_del(child)
        return -EPROBE_DEFER

    async def main() -> None:
        await world.core.driver_register(world.driver("child", "child", ns=0))
        await world.core.driver_register(world.driver("x", body=body, ns=0))
        await world.core.device_add(world.device("a"))
        await world.core.wait_for_device_probe()

    world.run(main)
    assert len(world.warnings("deferral-loop")) == 1
    assert len([one for one in world.core.records if one.device == "a"]) == 1 + 5
