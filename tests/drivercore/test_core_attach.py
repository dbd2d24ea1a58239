"""Devices and drivers meet: device_add, driver_register, the scans, and what each result does to them."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from core_world import MS
from numaprobe.drivercore import EPROBE_DEFER, Bus, DeviceState
from numaprobe.errors import StateError, UnknownNameError

if TYPE_CHECKING:
    from core_world import World


# ---- device_add ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("own", "parents", "expected"), [(0, 1, 0), (-1, 1, 1), (1, -1, 1), (-1, -1, -1)])
def test_a_device_without_node_gets_its_parents(world: World, own: int, parents: int, expected: int) -> None:
    parent = world.device("parent", node=parents)
    child = world.device("child", node=own, parent=parent)

    async def main() -> None:
        await world.core.device_add(parent)
        await world.core.device_add(child)

    world.run(main)
    assert (parent.node, child.node) == (parents, expected)


def test_without_parent_there_is_no_node_to_get(world: World) -> None:
    dev = world.device("a")
    world.run(lambda: world.core.device_add(dev))
    assert dev.node == -1


def test_the_story_of_a_device_tells_its_steps_in_order(world: World) -> None:
    dev = world.device("a", node=1)

    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(dev)
        await world.core.device_del(dev)

    world.run(main)
    told = [line.partition("ns  ")[2].partition(":")[0] for line in world.core.story(dev)]
    assert told == ["add", "ready", "probe", "bind", "release", "released", "remove"]


def test_a_device_is_added_once_and_its_name_is_its_own(world: World) -> None:
    dev, same = world.device("a"), world.device("a")

    async def main() -> None:
        await world.core.device_add(dev)
        with pytest.raises(StateError, match="already"):
            await world.core.device_add(same)
        await world.core.device_del(dev)
        with pytest.raises(StateError, match="added once") as caught:
            await world.core.device_add(dev)
        assert caught.value.story == world.core.story(dev)

    world.run(main)
    assert same.state is DeviceState.NEW


def test_a_device_needs_a_registered_bus_and_parent(world: World) -> None:
    async def main() -> None:
        with pytest.raises(StateError, match="bus_register"):
            await world.core.device_add(world.device("a", bus=Bus("plain")))
        with pytest.raises(StateError, match="parent"):
            await world.core.device_add(world.device("a", parent=world.device("p")))
        with pytest.raises(StateError, match="never added"):
            _ = world.device("a").lock

    world.run(main)


def test_buses_have_names_of_their_own(world: World) -> None:
    with pytest.raises(StateError, match="registered already"):
        world.core.bus_register(Bus("pci"))
    with pytest.raises(UnknownNameError, match="did you mean 'plain'"):
        world.core.bus("plane")


# ---- either order ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("asynchronous", [False, True])
def test_registration_in_either_order_has_one_outcome(world: World, asynchronous: bool) -> None:
    early, late = world.device("early", node=1), world.device("late", node=1)
    drv = world.driver("drv", asynchronous=asynchronous)

    async def main() -> None:
        await world.core.device_add(early)
        await world.core.driver_register(drv)
        await world.core.device_add(late)
        await world.core.wait_for_device_probe()

    world.run(main)
    assert world.bound() == {"early": "drv", "late": "drv"}
    assert list(drv.devices.values()) == [early, late]
    first, second = world.record("early"), world.record("late")
    assert first.asynchronous is second.asynchronous is asynchronous
    assert (first.driver, first.result, first.cost_ns) == (second.driver, second.result, second.cost_ns)
    word = "async" if asynchronous else "sync"
    assert (first.path, second.path) == (f"driver_attach_{word}", "device_attach" + ("_async" if asynchronous else ""))


def test_a_driver_that_does_not_match_is_not_probed(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("other", "y"))
        await world.core.device_add(world.device("a"))
        await world.core.driver_register(world.driver("another", "z"))

    world.run(main)
    assert world.log == []
    assert world.bound() == {}


def test_a_bus_knows_only_its_own_devices_and_drivers(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv", bus=world.platform))
        await world.core.device_add(world.device("a"))
        await world.core.device_add(world.device("a", bus=world.platform))

    world.run(main)
    assert [(one.bus, one.device) for one in world.core.records] == [("platform", "a")]


# ---- sync then async -------------------------------------------------------------------------------------------------
def test_a_new_device_takes_a_sync_driver_before_an_earlier_async_one(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("first-async", asynchronous=True))
        await world.core.driver_register(world.driver("then-sync"))
        await world.core.device_add(world.device("a"))

    world.run(main)
    assert world.bound() == {"a": "then-sync"}
    assert world.probed() == ["then-sync a"]


def test_a_rescan_by_hand_knows_no_passes(world: World) -> None:
    """device_attach: allow_async is false, so drivers come in the order of registration, now."""

    async def main() -> None:
        world.bus.drivers_autoprobe = False
        await world.core.driver_register(world.driver("first-async", asynchronous=True))
        await world.core.driver_register(world.driver("then-sync"))
        await world.core.device_add(world.device("a"))
        assert await world.core.drivers_probe("plain", "a") == 0
        assert world.bound() == {"a": "first-async"}

    world.run(main)
    assert world.record("a").asynchronous is False
    assert world.record("a").path == "device_attach"


def test_device_add_does_not_wait_for_async_drivers(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv", asynchronous=True))
        await world.core.device_add(world.device("a"))
        assert world.bound() == {}

    world.run(main)
    record = world.record("a")
    assert world.bound() == {"a": "drv"}
    assert record.asynchronous is True
    assert (record.comm or "").startswith("kworker/u")


def test_the_async_pass_tries_only_async_drivers(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("sync", results=(-errno.EIO,)))
        await world.core.driver_register(world.driver("async1", asynchronous=True, results=(-errno.EIO,)))
        await world.core.driver_register(world.driver("async2", asynchronous=True))
        await world.core.device_add(world.device("a"))

    world.run(main)
    assert world.probed() == ["sync a", "async1 a", "async2 a"]
    assert world.bound() == {"a": "async2"}
    assert [one.asynchronous for one in world.core.records] == [False, True, True]


def test_no_async_pass_after_a_scan_that_stopped_with_an_error(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("async", asynchronous=True))
        await world.core.driver_register(world.driver("broken", match=lambda _: -errno.EINVAL))
        await world.core.device_add(world.device("a"))

    world.run(main)
    assert world.log == []


# ---- what results do to the scan -------------------------------------------------------------------------------------
@pytest.mark.parametrize("result", [-errno.EIO, -errno.ENODEV, -errno.ENXIO, -EPROBE_DEFER])
def test_after_a_probes_own_error_the_next_driver_tries(world: World, result: int) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("fails", results=(result,)))
        await world.core.driver_register(world.driver("works"))
        await world.core.device_add(world.device("a"))

    world.run(main)
    assert world.probed() == ["fails a", "works a"]
    assert world.bound() == {"a": "works"}
    assert world.deferred() == []


def test_a_bound_device_ends_the_scan(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("one"))
        await world.core.driver_register(world.driver("two"))
        await world.core.device_add(world.device("a"))

    world.run(main)
    assert world.probed() == ["one a"]


def test_an_infrastructure_error_ends_the_scan(world: World) -> None:
    """A missing supplier: -EPROBE_DEFER before the body; no other driver is asked, the device is listed."""
    dev = world.device("a", suppliers=("clk",))

    async def main() -> None:
        await world.core.driver_register(world.driver("one"))
        await world.core.driver_register(world.driver("two", match=lambda _: pytest.fail("the scan went on")))
        await world.core.device_add(dev)

    world.run(main)
    assert world.log == []
    assert world.deferred() == ["a"]
    assert dev.p.deferred_reason == "waiting for supplier clk"


def test_a_positive_result_ends_the_scan(world: World) -> None:
    """Only a bus (PCI) corrects a driver that returns a positive number; else it turns into an infrastructure error."""

    async def main() -> None:
        await world.core.driver_register(world.driver("odd", results=(5,)))
        await world.core.driver_register(world.driver("next"))
        await world.core.device_add(world.device("a"))

    world.run(main)
    assert world.probed() == ["odd a"]
    assert world.bound() == {}


def test_a_match_that_defers_ends_the_scan_and_lists_the_device(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("unsure", match=lambda _: -EPROBE_DEFER))
        await world.core.driver_register(world.driver("next"))
        await world.core.device_add(world.device("a"))
        assert world.deferred() == ["a"]
        assert await world.core.drivers_probe("plain", "a") == -errno.EINVAL

    world.run(main)
    assert world.probed() == []


def test_another_match_error_ends_the_scan_and_lists_nothing(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("broken", match=lambda _: -errno.EINVAL))
        await world.core.driver_register(world.driver("next"))
        await world.core.device_add(world.device("a"))

    world.run(main)
    assert world.probed() == []
    assert world.deferred() == []


def test_a_new_driver_goes_on_after_match_errors(world: World) -> None:
    """__driver_attach returns 0 whatever a device says; -EPROBE_DEFER lists it, other errors are forgotten."""
    answers = {"a": -EPROBE_DEFER, "b": -errno.EINVAL, "c": 0, "d": 1}

    async def main() -> None:
        for name in answers:
            await world.core.device_add(world.device(name))
        await world.core.driver_register(world.driver("drv", match=lambda dev: answers[dev.name]))

    world.run(main)
    assert world.probed() == ["drv d"]
    # the bind of d triggered the list: a was tried again, and its match still defers
    assert world.deferred() == ["a"]


def test_a_new_driver_that_cannot_match_yet_lists_even_a_bound_device(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(world.device("a"))
        await world.core.driver_register(world.driver("late", match=lambda _: -EPROBE_DEFER))

    world.run(main)
    assert world.bound() == {"a": "drv"}
    assert world.deferred() == ["a"]


def test_a_new_driver_goes_on_after_a_failed_probe(world: World) -> None:
    async def main() -> None:
        for name in "abc":
            await world.core.device_add(world.device(name))
        await world.core.driver_register(world.driver("drv", results=(0, -errno.EIO, 0)))

    world.run(main)
    assert world.probed() == ["drv a", "drv b", "drv c"]
    assert world.bound() == {"a": "drv", "c": "drv"}


def test_a_driver_that_leaves_during_a_scan_is_not_tried(world: World) -> None:
    leaving = world.driver("leaving")
    held = [True]

    async def fail_when_let_go(_: object) -> int:
        while held:
            await world.machine.sleep(MS)
        return -errno.EIO

    async def main() -> None:
        await world.core.driver_register(world.driver("fails", body=fail_when_let_go))
        await world.core.driver_register(leaving)
        await world.core.driver_register(world.driver("last"))
        adding = world.machine.spawn(lambda: world.core.device_add(world.device("a")), comm="sh", cpu=1)
        while not world.probed():
            await world.machine.sleep(MS)
        await world.core.driver_unregister(leaving)
        held.clear()
        await world.machine.join(adding)

    world.run(main)
    assert world.probed() == ["fails a", "last a"]


# ---- __driver_probe_device -------------------------------------------------------------------------------------------
def test_a_bound_device_is_busy(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("one"))
        await world.core.device_add(world.device("a"))
        await world.core.driver_register(world.driver("two"))
        return await world.core.bind("plain", "two", "a")

    assert world.run(main) == -errno.EBUSY
    assert world.probed() == ["one a"]


def test_a_device_that_is_not_ready_is_deferred_but_not_listed(world: World) -> None:
    """Between ADD and READY_TO_PROBE: device_add will scan by itself."""
    dev, drv = world.device("a"), world.driver("drv")

    async def main() -> int:
        world.bus.drivers_autoprobe = False
        await world.core.driver_register(drv)
        dev._lock = world.machine.lock("a")
        dev.step("add", 0)
        async with world.core.locked(dev):
            return await world.core.binding.driver_probe_device(drv, dev, is_async=False)

    assert world.run(main) == -EPROBE_DEFER
    assert world.deferred() == []
    assert world.log == []


def test_a_dead_device_is_no_device(world: World) -> None:
    dev, drv = world.device("a"), world.driver("drv")

    async def main() -> None:
        world.bus.drivers_autoprobe = False
        await world.core.driver_register(drv)
        await world.core.device_add(dev)
        await world.core.device_del(dev)
        async with world.core.locked(dev):
            assert await world.core.binding.driver_probe_device(drv, dev, is_async=False) == -errno.ENODEV
        assert await world.core.binding.device_attach(dev) == 0

    world.run(main)
    assert world.log == []


def test_leftover_managed_resources_are_busy(world: World) -> None:
    dev = world.device("a")

    async def nothing() -> None:
        return

    async def main() -> None:
        world.bus.drivers_autoprobe = False
        await world.core.driver_register(world.driver("drv"))
        await world.core.driver_register(world.driver("two"))
        await world.core.device_add(dev)
        dev.p.devres += [("left over", nothing), ("and more", nothing)]
        assert await world.core.bind("plain", "drv", "a") == -errno.EBUSY
        assert await world.core.drivers_probe("plain", "a") == -errno.EINVAL
        dev.p.devres.clear()
        assert await world.core.bind("plain", "drv", "a") == 0

    world.run(main)
    assert world.probed() == ["drv a"]
    assert world.warnings("devres") == ["a: managed resources before probing: left over, and more"] * 2


def test_a_failed_probe_leaves_nothing_behind(world: World) -> None:
    dev = world.device("a")

    async def body(dev: object) -> int:
        assert world.core.bus("plain").devices["a"] is dev
        world.core.bus("plain").devices["a"].drvdata = "state"
        return -errno.EIO

    drv = world.driver("drv", body=body)

    async def main() -> None:
        await world.core.driver_register(drv)
        await world.core.device_add(dev)

    world.run(main)
    assert (dev.state, dev.driver, dev.drvdata) == (DeviceState.UNBOUND, None, None)
    assert drv.devices == {}
    assert world.record("a").result == "EIO"


# ---- a device that comes with its driver -----------------------------------------------------------------------------
def test_a_preset_driver_is_bound_unprobed(world: World) -> None:
    drv = world.driver("drv", "nothing matches this")
    dev = world.device("a", driver=drv)

    async def main() -> None:
        await world.core.driver_register(drv)
        await world.core.device_add(dev)

    world.run(main)
    assert world.bound() == {"a": "drv"}
    assert world.log == []
    assert list(drv.devices.values()) == [dev]


def test_a_preset_driver_that_is_not_there_is_forgotten(world: World) -> None:
    """__device_attach clears it and returns 0: no scan this time."""
    dev = world.device("a", driver=world.driver("gone"))

    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(dev)
        assert world.bound() == {}
        assert await world.core.drivers_probe("plain", "a") == 0

    world.run(main)
    assert world.bound() == {"a": "drv"}


def test_a_preset_driver_waits_for_the_bus_to_probe(world: World) -> None:
    """As in the kernel: it stays named, so that nothing else takes the device."""
    drv = world.driver("drv")
    dev = world.device("a", driver=drv)

    async def main() -> None:
        world.bus.drivers_autoprobe = False
        await world.core.driver_register(drv)
        await world.core.driver_register(world.driver("other"))
        await world.core.device_add(dev)
        assert await world.core.bind("plain", "other", "a") == -errno.EBUSY
        world.validate()
        await world.core.device_del(dev)

    world.run(main)
    assert world.log == []


# ---- locks -----------------------------------------------------------------------------------------------------------
def test_the_device_lock_is_held_while_its_body_runs(world: World) -> None:
    dev = world.device("a")

    async def body(_: object) -> int:
        assert dev.lock.owner is world.machine.current
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", body=body))
        await world.core.device_add(dev)

    world.run(main)
    assert world.record("a").result == "0"
    assert dev.lock.owner is None


@pytest.mark.parametrize("needed", [True, False])
def test_who_takes_the_parents_lock(world: World, needed: bool) -> None:
    """Attach by a driver, bind, unbind and rescan do; a new device's scans and its removal do not."""
    bus = world.core.bus_register(Bus("usb"))
    bus.need_parent_lock = needed
    parent = world.device("hub", "hub", bus=bus)
    dev = world.device("port", bus=bus, parent=parent)
    seen: list[bool] = []

    async def look(_: object) -> int:
        seen.append(parent.lock.owner is not None)
        return 0

    async def removed(_: object) -> None:
        await look(None)

    drv = world.driver("drv", bus=bus, body=look, remove=removed)
    parallel = world.driver("par", bus=bus, body=look, remove=removed, asynchronous=True)
    core = world.core

    async def main() -> None:
        await core.device_add(parent)
        await core.driver_register(drv)
        await core.device_add(dev)  # no
        await core.unbind("usb", "drv", "port")  # yes
        await core.bind("usb", "drv", "port")  # yes
        await core.driver_unregister(drv)  # yes
        await core.driver_register(drv)  # yes
        await core.unbind("usb", "drv", "port")  # yes
        await core.drivers_probe("usb", "port")  # yes
        await core.driver_unregister(drv)  # yes
        await core.driver_register(parallel)  # async: yes
        await core.asyncs.synchronize_full()
        await core.device_del(dev)  # no
        await core.device_add(world.device("port2", bus=bus, parent=parent))  # async scan: no
        await core.asyncs.synchronize_full()

    world.run(main)
    assert seen == [needed and yes for yes in (False, *(True,) * 8, False, False)]


def test_sync_probes_of_one_caller_are_serial_and_of_two_callers_parallel(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv", ns=10 * MS))
        await world.core.device_add(world.device("a"))
        await world.core.device_add(world.device("b"))
        serial = world.machine.now()
        tasks = [
            world.machine.spawn(lambda name=name: world.core.device_add(world.device(name)), comm="sh", cpu=cpu)
            for name, cpu in (("c", 1), ("d", 2))
        ]
        for task in tasks:
            await world.machine.join(task)
        assert serial >= 20 * MS
        assert world.machine.now() - serial < 11 * MS

    world.run(main)
    assert len(world.bound()) == 4
