"""Deferred probing: lists, triggers, the race with a running probe, the timeout, blocking, waiting."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from core_world import MS
from numaprobe.drivercore import EPROBE_DEFER, CoreOptions
from numaprobe.drivercore import deferred as deferred_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from core_world import World

S = 10**9
DEFER = -EPROBE_DEFER


def gated(world: World, **more: object) -> tuple[dict[str, int], object]:
    """A driver for "x" that defers until ``gate["result"]`` says otherwise, and stays while ``gate["held"]``."""
    gate = {"result": DEFER, "held": 0}

    async def body(_: object) -> int:
        while gate["held"]:
            await world.machine.sleep(MS)
        return gate["result"]

    return gate, world.driver("gated", body=body, **more)


async def first_probe(world: World) -> None:
    """Wait until a probe has begun."""
    while not world.probed():
        await world.machine.sleep(MS)


async def bind_something(world: World) -> None:
    """Bind a device that has nothing to do with the others: each bind triggers the list."""
    if "any" not in world.bus.drivers:
        await world.core.driver_register(world.driver("any", "any", ns=0))
    await world.core.device_add(world.device(f"any{len(world.bus.devices)}", "any"))


# ---- lists -----------------------------------------------------------------------------------------------------------
def test_deferred_devices_are_retried_first_in_first_out(world: World) -> None:
    gate, drv = gated(world)

    async def main() -> None:
        await world.core.driver_register(drv)
        for name in "cab":
            await world.core.device_add(world.device(name))
        assert world.deferred() == ["c", "a", "b"]
        gate["result"] = 0
        await bind_something(world)

    world.run(main)
    assert world.probed() == ["gated c", "gated a", "gated b", "any any3", "gated c", "gated a", "gated b"]
    assert world.deferred() == []
    assert world.record("a", attempt=2).result == "0"


def test_a_device_is_listed_once(world: World) -> None:
    _, drv = gated(world)

    async def main() -> None:
        await world.core.driver_register(drv)
        await world.core.device_add(world.device("a"))
        await world.core.drivers_probe("plain", "a")
        await world.core.drivers_probe("plain", "a")

    world.run(main)
    assert world.deferred() == ["a"]
    assert len(world.probed()) == 3


def test_only_a_device_that_some_driver_matched_is_listed(world: World) -> None:
    dev = world.device("a")

    async def main() -> None:
        await world.core.device_add(dev)
        world.core.deferred.add(dev, "as asked")
        assert world.deferred() == []
        dev.p.can_match = True
        world.core.deferred.add(dev, "as asked")
        assert world.deferred() == ["a"]

    world.run(main)


def test_the_retry_runs_in_an_unbound_worker_of_no_node(make_world: Callable[..., World]) -> None:
    """The device is on node 1; the work that retries it goes where the trigger came from, CPU 0."""
    world = make_world()
    gate, drv = gated(world)

    async def main() -> None:
        await world.core.driver_register(drv)
        await world.core.device_add(world.device("a", node=1))
        gate["result"] = 0
        await bind_something(world)

    world.run(main)
    record = world.record("a", attempt=2)
    assert (record.comm or "").startswith("kworker/u")
    assert (record.cpu_node, record.asynchronous, record.path) == (0, False, "device_attach")


def test_a_retry_follows_the_rules_of_sync_and_async(world: World) -> None:
    gate, drv = gated(world, asynchronous=True)

    async def main() -> None:
        await world.core.driver_register(drv)
        await world.core.device_add(world.device("a", node=1))
        await world.core.asyncs.synchronize_full()
        gate["result"] = 0
        await bind_something(world)

    world.run(main)
    record = world.record("a", attempt=2)
    assert (record.asynchronous, record.path, record.cpu_node) == (True, "device_attach_async", 1)


def test_a_retry_needs_autoprobe(world: World) -> None:
    gate, drv = gated(world)

    async def main() -> None:
        await world.core.driver_register(drv)
        await world.core.device_add(world.device("a"))
        gate["result"] = 0
        world.bus.drivers_autoprobe = False
        await world.core.driver_register(world.driver("other", bus=world.platform))
        await world.core.device_add(world.device("b", bus=world.platform))

    world.run(main)
    assert world.probed() == ["gated a", "other b"]
    assert world.deferred() == []  # taken off the list for a retry that the bus did not want


@pytest.mark.parametrize("how", ["bound by hand", "removed"])
def test_a_device_leaves_the_list(world: World, how: str) -> None:
    gate, drv = gated(world)
    dev = world.device("a")

    async def main() -> None:
        await world.core.driver_register(drv)
        await world.core.device_add(dev)
        assert world.deferred() == ["a"]
        if how == "removed":
            await world.core.device_del(dev)
        else:
            gate["result"] = 0
            assert await world.core.bind("plain", "gated", "a") == 0
        assert world.deferred() == []

    world.run(main)
    assert dev.p.deferred_reason is None


# ---- triggers --------------------------------------------------------------------------------------------------------
def test_nothing_is_retried_before_late_initcall(make_world: Callable[..., World]) -> None:
    world = make_world(options=CoreOptions(booted=False, modules=False))
    gate, drv = gated(world)

    async def main() -> None:
        await world.core.driver_register(drv)
        await world.core.device_add(world.device("a"))
        gate["result"] = 0
        await bind_something(world)
        await world.core.wait_for_device_probe()
        assert world.deferred() == ["a"]
        await world.core.late_initcall()
        assert world.bound()["a"] == "gated"

    world.run(main)


def test_a_driver_bound_while_a_probe_defers_triggers_again(world: World) -> None:
    """The supplier comes while the probe runs: without the count of triggers the device would wait for ever."""
    gate, drv = gated(world)
    gate["held"] = 1

    async def main() -> None:
        await world.core.driver_register(drv)
        adding = world.machine.spawn(lambda: world.core.device_add(world.device("a")), comm="sh", cpu=1)
        await first_probe(world)
        await bind_something(world)
        assert world.deferred() == []
        gate["held"] = 0
        await world.machine.join(adding)
        gate["result"] = 0

    world.run(main)
    assert world.probed() == ["gated a", "any any1", "gated a"]
    assert world.bound()["a"] == "gated"


def test_without_a_trigger_meanwhile_a_deferred_device_waits(world: World) -> None:
    _, drv = gated(world)

    async def main() -> None:
        await world.core.driver_register(drv)
        await world.core.device_add(world.device("a"))

    world.run(main)
    assert world.probed() == ["gated a"]


def test_no_trigger_again_while_probing_is_blocked(world: World) -> None:
    gate, drv = gated(world)
    gate["held"] = 1

    async def main() -> None:
        await world.core.driver_register(drv)
        adding = world.machine.spawn(lambda: world.core.device_add(world.device("a")), comm="sh", cpu=1)
        await first_probe(world)
        await bind_something(world)
        gate["held"] = 0
        await world.core.device_block_probing()
        await world.machine.join(adding)
        assert world.probed() == ["gated a", "any any1"]

    world.run(main)
    assert world.deferred() == ["a"]
    (dev,) = world.core.state.deferred
    assert dev.p.deferred_reason == "probing is blocked"


def test_a_bind_of_a_failing_probe_triggers_nothing(world: World) -> None:
    gate, drv = gated(world)

    async def main() -> None:
        await world.core.driver_register(drv)
        await world.core.device_add(world.device("a"))
        gate["result"] = 0
        await world.core.driver_register(world.driver("fails", "y", results=(-errno.EIO,)))
        await world.core.device_add(world.device("b", "y"))

    world.run(main)
    assert world.deferred() == ["a"]


def test_a_probe_that_registers_a_child_and_defers_does_not_loop_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deferred_module, "MAX_RETRIGGERS", 20)
    children = iter(range(10**6))

    async def body(dev: object) -> int:
        await world.core.device_add(world.device(f"child{next(children)}", "child"))
        return DEFER

    async def main() -> None:
        await world.core.driver_register(world.driver("child", "child", ns=0))
        await world.core.driver_register(world.driver("parent", body=body))
        await world.core.device_add(world.device("a"))

    world.run(main)
    assert world.deferred() == ["a"]
    assert len(world.warnings("deferral-loop")) == 1
    assert 20 <= len([one for one in world.core.records if one.device == "a"]) <= 45


# ---- the timeout -----------------------------------------------------------------------------------------------------
def boot(world: World, then: Callable[[], object] | None = None, names: str = "ab") -> list[int]:
    """Boot with deferred devices; return when the timeout spoke."""
    _, drv = gated(world)

    async def main() -> None:
        await world.core.driver_register(drv)
        for name in names:
            await world.core.device_add(world.device(name))
        await world.core.late_initcall()
        if then is not None:
            await then()  # type: ignore[misc]

    world.run(main)
    return [one.time_ns or 0 for one in world.machine.warnings if one.kind == "deferred-probe-timeout"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (CoreOptions(booted=False), 10 * S),
        (CoreOptions(booted=False, modules=False), None),
        (CoreOptions(booted=False, deferred_probe_timeout_ns=3 * S), 3 * S),
        (CoreOptions(booted=False, deferred_probe_timeout_ns=0), None),
    ],
)
def test_the_timeout_names_each_device_still_pending(
    make_world: Callable[..., World], options: CoreOptions, expected: int | None
) -> None:
    world = make_world(options=options)
    times = boot(world)
    if expected is None:
        assert times == []
        return
    assert world.warnings("deferred-probe-timeout") == [
        f"plain {name}: deferred probe pending: its probe asked for a later try" for name in "ab"
    ]
    assert all(expected < one < expected + 0.1 * S for one in times)
    # added, retried twice by late_initcall, retried by the timeout
    assert world.probed().count("gated a") == 4


def test_the_timeout_is_silent_when_nothing_is_pending(make_world: Callable[..., World]) -> None:
    world = make_world(options=CoreOptions(booted=False))
    assert boot(world, names="") == []
    assert world.machine.now() >= 10 * S


def test_each_registered_driver_re_arms_the_timeout(make_world: Callable[..., World]) -> None:
    world = make_world(options=CoreOptions(booted=False))

    async def then() -> None:
        for number in range(2):
            await world.machine.sleep(6 * S)
            await world.core.driver_register(world.driver(f"late{number}", "nothing"))

    times = boot(world, then)
    assert all(22 * S < one < 22.1 * S for one in times)
    assert len(times) == 2


def test_after_it_expired_the_timeout_is_not_armed_again(make_world: Callable[..., World]) -> None:
    world = make_world(options=CoreOptions(booted=False))

    async def then() -> None:
        await world.machine.sleep(11 * S)
        await world.core.driver_register(world.driver("late", "nothing"))

    assert len(boot(world, then)) == 2
    assert world.machine.now() < 12 * S


def test_a_timeout_asked_for_runs_from_the_first_registration_on_a_booted_system(
    make_world: Callable[..., World],
) -> None:
    world = make_world(options=CoreOptions(deferred_probe_timeout_ns=5 * S))
    _, drv = gated(world)

    async def main() -> None:
        await world.core.device_add(world.device("a"))
        await world.core.driver_register(drv)

    world.run(main)
    assert len(world.warnings("deferred-probe-timeout")) == 1
    assert 5 * S < world.machine.now() < 5.1 * S


def test_a_device_whose_supplier_is_missing_says_so(make_world: Callable[..., World]) -> None:
    world = make_world(options=CoreOptions(booted=False))

    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(world.device("a", suppliers=("clk",)))
        await world.core.late_initcall()

    world.run(main)
    assert world.warnings("deferred-probe-timeout") == ["plain a: deferred probe pending: waiting for supplier clk"]


# ---- blocking --------------------------------------------------------------------------------------------------------
def test_while_blocked_every_probe_is_deferred(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_block_probing()
        await world.core.device_add(world.device("a"))
        assert await world.core.bind("plain", "drv", "a") == -errno.EAGAIN
        assert await world.core.drivers_probe("plain", "a") == -errno.EINVAL
        assert world.deferred() == ["a"]
        assert world.probed() == []
        world.core.device_unblock_probing()
        await world.core.wait_for_device_probe()
        assert world.bound() == {"a": "drv"}

    world.run(main)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_blocking_waits_for_the_probes_under_way(world: World, asynchronous: bool) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv", ns=10 * MS, asynchronous=asynchronous))
        adding = world.machine.spawn(lambda: world.core.device_add(world.device("a")), comm="sh", cpu=1)
        await world.machine.sleep(5 * MS)
        await world.core.device_block_probing()
        assert world.bound() == {"a": "drv"}
        assert world.machine.now() >= 10 * MS
        await world.machine.join(adding)

    world.run(main)


def test_a_probe_waiting_for_the_lock_is_deferred_by_the_block(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv", ns=10 * MS, results=(-errno.EIO, 0)))
        dev = world.device("a")
        adding = world.machine.spawn(lambda: world.core.device_add(dev), comm="sh", cpu=1)
        await world.machine.sleep(2 * MS)
        late = world.machine.spawn(lambda: world.core.driver_register(world.driver("late")), comm="sh", cpu=2)
        await world.machine.sleep(2 * MS)
        await world.core.device_block_probing()
        await world.machine.join(adding)
        await world.machine.join(late)
        assert world.probed() == ["drv a"]
        assert world.deferred() == ["a"]
        world.core.device_unblock_probing()

    world.run(main)
    assert world.bound() == {"a": "drv"}


# ---- waiting ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("asynchronous", [False, True])
def test_wait_for_device_probe_waits_for_retries_and_what_they_start(world: World, asynchronous: bool) -> None:
    gate, drv = gated(world, ns=20 * MS, asynchronous=asynchronous)

    async def main() -> None:
        await world.core.driver_register(drv)
        await world.core.device_add(world.device("a"))
        await world.core.wait_for_device_probe()
        assert world.deferred() == ["a"]
        gate["result"] = 0
        await bind_something(world)
        await world.core.wait_for_device_probe()
        assert world.bound()["a"] == "gated"

    world.run(main)


def test_wait_for_device_probe_returns_at_once_when_nothing_runs(world: World) -> None:
    async def main() -> int:
        await world.core.wait_for_device_probe()
        return world.machine.now()

    assert world.run(main) < MS


def test_wait_for_device_probe_does_not_wait_for_what_is_only_pending(world: World) -> None:
    _, drv = gated(world)

    async def main() -> None:
        await world.core.driver_register(drv)
        await world.core.device_add(world.device("a"))
        await world.core.wait_for_device_probe()

    world.run(main)
    assert world.deferred() == ["a"]
