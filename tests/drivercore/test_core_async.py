"""Async calls with cookies, async attaching, and what happens to it when something comes between."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from core_world import MS
from numaprobe.drivercore import AsyncDomain, DeviceState, asyncs
from numaprobe.runtime import Work
from numaprobe.workqueue import run_as_work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core_world import World


def napping(world: World, ns: int, done: list[int] | None = None) -> Callable[[], Awaitable[None]]:
    async def nap() -> None:
        await world.machine.sleep(ns)
        if done is not None:
            done.append(ns)

    return nap


# ---- cookies and domains ---------------------------------------------------------------------------------------------
def test_cookies_count_from_one(world: World) -> None:
    async def main() -> list[int]:
        return [await world.core.asyncs.schedule_node(napping(world, 1), 0) for _ in range(3)]

    assert world.run(main) == [1, 2, 3]


def test_synchronize_cookie_waits_for_the_earlier_ones_only(world: World) -> None:
    done: list[int] = []
    calls = world.core.asyncs

    async def main() -> None:
        await calls.schedule_node(napping(world, 20 * MS, done), 0)
        third = await calls.schedule_node(napping(world, 10 * MS, done), 0) + 1
        assert await calls.schedule_node(napping(world, 90 * MS, done), 0) == third
        await calls.synchronize_cookie(third)
        assert done == [10 * MS, 20 * MS]
        assert world.machine.now() < 25 * MS
        await calls.synchronize_full()
        assert world.machine.now() >= 90 * MS

    world.run(main)


class BrokenEvent:
    """Throws out whoever waits, as a machine that ends does."""

    async def wait(self) -> None:
        raise LookupError("the machine ends")


@pytest.mark.parametrize("cookie", [None, 2])
def test_a_wait_that_is_cut_short_leaves_nothing_behind(
    world: World, monkeypatch: pytest.MonkeyPatch, cookie: int | None
) -> None:
    """Else it would be kept for as long as a call hangs, and every call that ends would look at it."""
    calls = world.core.asyncs

    async def main() -> None:
        await calls.schedule_node(napping(world, MS), 0)
        with monkeypatch.context() as patch:
            patch.setattr(type(world.machine), "event", lambda *_: BrokenEvent())
            with pytest.raises(LookupError):
                await calls.synchronize_cookie(cookie)
        assert (calls._waiters, calls._cookie_waits) == ([], 0)
        await calls.synchronize_full()

    world.run(main)


def test_the_lowest_pending_cookie_counts_not_how_many_are_done(world: World) -> None:
    """Cookie 2 and 3 are over, 1 is not: a task that waits for cookie 3 waits."""
    calls = world.core.asyncs

    async def main() -> None:
        await calls.schedule_node(napping(world, 50 * MS), 0)
        await calls.schedule_node(napping(world, MS), 0)
        await calls.synchronize_cookie(2)
        assert world.machine.now() >= 50 * MS

    world.run(main)


def test_an_exclusive_domain_is_not_part_of_the_global_wait(world: World) -> None:
    calls, own = world.core.asyncs, AsyncDomain("own", registered=False)

    async def main() -> None:
        await calls.schedule_node(napping(world, 50 * MS), 0, own)
        await calls.schedule_node(napping(world, 10 * MS), 0)
        await calls.synchronize_full()
        assert 10 * MS <= world.machine.now() < 15 * MS
        assert list(own.pending) == [1]
        await calls.synchronize_cookie(None, own)
        assert world.machine.now() >= 50 * MS

    world.run(main)


def test_a_domain_waits_for_its_own_calls_only(world: World) -> None:
    calls, own = world.core.asyncs, AsyncDomain("own")

    async def main() -> None:
        await calls.schedule_node(napping(world, 50 * MS), 0)
        await calls.schedule_node(napping(world, 10 * MS), 0, own)
        await calls.synchronize_cookie(None, own)
        assert world.machine.now() < 15 * MS
        await calls.synchronize_full()

    world.run(main)
    assert world.machine.now() >= 50 * MS


def test_synchronize_full_waits_for_what_is_scheduled_meanwhile(world: World) -> None:
    calls = world.core.asyncs
    done: list[int] = []

    async def again() -> None:
        await world.machine.sleep(MS)
        await calls.schedule_node(napping(world, 7 * MS, done), 0)

    async def main() -> None:
        await calls.schedule_node(again, 0)
        await calls.synchronize_full()
        assert done == [7 * MS]

    world.run(main)


def test_waiting_for_nothing_returns_at_once(world: World) -> None:
    async def main() -> int:
        await world.core.asyncs.synchronize_full()
        await world.core.asyncs.synchronize_cookie(7)
        return world.machine.now()

    assert world.run(main) < MS


@pytest.mark.machines("virtual")
def test_the_async_queue_is_unbound_and_never_throttled_below_1024(world: World) -> None:
    wq: Any = world.core.asyncs._wq
    assert (wq.name, wq.unbound, wq.min_active) == ("async", True, 1024)


def test_calls_run_near_their_node(world: World) -> None:
    cpus: list[int] = []

    async def note() -> None:
        cpus.append(world.machine.current.cpu)

    async def main() -> None:
        for node in (1, 0, -1):
            await world.core.asyncs.schedule_node(note, node)
            await world.core.asyncs.synchronize_full()

    world.run(main)
    assert [world.machine.topology.node_of(cpu) for cpu in cpus] == [1, 0, 0]


# ---- too many of them ------------------------------------------------------------------------------------------------
@pytest.mark.machines("virtual")
def test_more_than_32768_entries_run_in_the_caller(world: World) -> None:
    """With the true number, on one machine; the tests below have all of them."""
    calls = world.core.asyncs
    inline: list[int] = []

    async def note() -> None:
        inline.append(world.machine.current.cpu)

    async def main() -> None:
        gate = world.machine.event("gate")

        async def wait() -> None:
            await gate.wait()

        for _ in range(32769):
            await calls.schedule_node(wait, 0)
        assert calls.pending == 32769  # "more than": one above the limit is still queued
        assert await calls.schedule_node(note, 1) == 32770
        assert inline == [0]
        assert calls.pending == 32769
        assert not calls.schedule_node_nocall(note, 1)
        gate.set()
        await calls.synchronize_full()

    world.run(main)
    assert inline == [0]


@pytest.fixture
def full(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which no async call can be queued."""
    monkeypatch.setattr(asyncs, "MAX_WORK", -1)
    return world


def test_an_inline_call_is_on_no_list(full: World) -> None:
    async def main() -> None:
        calls = full.core.asyncs
        seen: list[int] = []

        async def look() -> None:
            seen.append(calls.pending)
            await calls.synchronize_full()  # would wait for itself if it were listed

        await calls.schedule_node(look, 0)
        assert seen == [0]

    full.run(main)


def test_a_new_driver_then_attaches_in_its_caller_without_deadlock(full: World) -> None:
    """b232b02bf3c2: the device lock is dropped before; trap (e): the probe is on the caller's node."""

    async def main() -> None:
        await full.core.device_add(full.device("a", node=1))
        await full.core.driver_register(full.driver("drv", asynchronous=True))
        assert full.bound() == {"a": "drv"}

    full.run(main)
    record = full.record("a")
    assert (record.asynchronous, record.comm, record.cpu_node) == (True, "modprobe", 0)


def test_a_new_device_is_then_probed_synchronously(full: World) -> None:
    """7.3: the async helper could not be queued, so device_initial_probe scans once more, all drivers now."""

    async def main() -> None:
        await full.core.driver_register(full.driver("drv", asynchronous=True))
        await full.core.device_add(full.device("a", node=1))
        assert full.bound() == {"a": "drv"}

    full.run(main)
    record = full.record("a")
    assert (record.asynchronous, record.path, record.comm) == (False, "device_attach", "modprobe")


def test_a_nested_probe_whose_async_call_runs_inline(full: World) -> None:
    async def body(dev: object) -> int:
        await full.core.device_add(full.device("child", "y", node=1, parent=full.bus.devices["a"]))
        return 0

    async def main() -> None:
        await full.core.driver_register(full.driver("child", "y", asynchronous=True))
        await full.core.driver_register(full.driver("parent", body=body))
        await full.core.device_add(full.device("a"))

    full.run(main)
    assert full.bound() == {"a": "parent", "child": "child"}
    assert full.record("child").nested


# ---- current_is_async ------------------------------------------------------------------------------------------------
def test_current_is_async_is_false_inside_a_nested_work(world: World) -> None:
    calls, machine = world.core.asyncs, world.machine
    seen: dict[str, bool] = {}

    async def nested() -> None:
        seen["nested work"] = calls.current_is_async()

    async def body() -> None:
        seen["async"] = calls.current_is_async()
        await run_as_work(machine, lambda work: machine.queue_work_node(0, machine.system_dfl_wq, work), nested, "n")
        seen["after"] = calls.current_is_async()

    async def main() -> None:
        seen["caller"] = calls.current_is_async()
        await calls.schedule_node(body, 0)
        work = Work(nested, "plain work")
        await calls.synchronize_full()
        machine.queue_work(machine.system_dfl_wq, work)
        await machine.flush_work(work)

    world.run(main)
    assert seen == {"caller": False, "async": True, "nested work": False, "after": True}


# ---- the async_driver slot -------------------------------------------------------------------------------------------
def test_the_slot_holds_the_first_async_driver(world: World) -> None:
    """As in the kernel: the second one finds the slot taken and does not come back, even if the first one fails."""
    dev = world.device("a")

    async def main() -> None:
        await world.core.device_add(dev)
        first = world.driver("first", asynchronous=True, ns=10 * MS, results=(-errno.EIO,))
        await world.core.driver_register(first)
        assert dev.p.async_driver is first
        await world.core.driver_register(world.driver("second", asynchronous=True))
        assert dev.p.async_driver is first
        await world.core.asyncs.synchronize_full()
        assert dev.p.async_driver is None

    world.run(main)
    assert world.probed() == ["first a"]
    assert world.bound() == {}


def test_a_bound_device_gets_no_slot(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(world.device("a"))
        await world.core.driver_register(world.driver("late", asynchronous=True))
        assert world.core.asyncs.pending == 0

    world.run(main)


def test_an_async_attach_looks_at_the_device_only_when_its_lock_is_free(world: World) -> None:
    """While the first driver probes, the device has one; once that has failed it is to be had."""
    machine, core = world.machine, world.core

    async def main() -> None:
        await core.device_add(world.device("a"))
        first = world.driver("first", ns=10 * MS, results=(-errno.EIO,))
        shell = machine.spawn(lambda: core.driver_register(first), comm="sh")
        while not world.probed():
            await machine.sleep(MS)
        await core.driver_register(world.driver("late", asynchronous=True))
        assert world.log[-1] == "done first a"
        await core.asyncs.synchronize_full()
        await machine.join(shell)

    world.run(main)
    assert world.probed() == ["first a", "late a"]
    assert world.bound() == {"a": "late"}


def test_a_sync_bind_overtakes_a_pending_slot(world: World) -> None:
    async def main() -> None:
        await world.core.device_add(world.device("a"))
        await world.core.driver_register(world.driver("slow", asynchronous=True))
        await world.core.driver_register(world.driver("quick"))

    world.run(main)
    assert world.probed() == ["quick a"]
    assert world.bound() == {"a": "quick"}


def test_async_scan_drops_a_device_that_was_bound_meanwhile(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("async", asynchronous=True))
        await world.core.device_add(world.device("a"))
        assert await world.core.bind("plain", "async", "a") == 0

    world.run(main)
    assert world.probed() == ["async a"]
    assert world.record("a").path == "device_driver_attach"


@pytest.mark.parametrize("driver_first", [True, False])
def test_removing_a_device_whose_async_attach_is_pending(world: World, driver_first: bool) -> None:
    dev = world.device("a")
    drv = world.driver("drv", asynchronous=True)

    async def main() -> None:
        if driver_first:
            await world.core.driver_register(drv)
            await world.core.device_add(dev)
        else:
            await world.core.device_add(dev)
            await world.core.driver_register(drv)
        assert world.core.asyncs.pending == 1
        await world.core.device_del(dev)

    world.run(main)
    assert world.log == []
    assert dev.state is DeviceState.REMOVED
    assert dev.p.async_driver is None


def test_removing_a_device_whose_async_probe_runs_waits_for_it(world: World) -> None:
    dev = world.device("a")

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", asynchronous=True, ns=10 * MS))
        await world.core.device_add(dev)
        await world.machine.sleep(5 * MS)
        await world.core.device_del(dev)
        assert world.machine.now() >= 10 * MS

    world.run(main)
    assert world.log == ["probe drv a", "done drv a", "remove drv a"]
    assert dev.state is DeviceState.REMOVED


@pytest.mark.parametrize("driver_first", [True, False])
@pytest.mark.parametrize("wait_ns", [0, 5 * MS])
def test_unregistering_a_driver_with_async_probes_in_flight(world: World, driver_first: bool, wait_ns: int) -> None:
    drv = world.driver("drv", asynchronous=True, ns=10 * MS)

    async def main() -> None:
        if driver_first:
            await world.core.driver_register(drv)
        for name in "abc":
            await world.core.device_add(world.device(name))
        if not driver_first:
            await world.core.driver_register(drv)
        await world.machine.sleep(wait_ns)
        await world.core.driver_unregister(drv)
        assert world.core.asyncs.pending == 0

    world.run(main)
    assert drv.devices == {}
    assert world.bound() == {}
    probes = world.log.count("probe drv a"), world.log.count("done drv a"), world.log.count("remove drv a")
    assert probes in {(0, 0, 0), (1, 1, 1)}
    assert probes == (1, 1, 1) or (wait_ns == 0 and driver_first)


def test_async_probes_of_one_driver_run_in_parallel(world: World) -> None:
    async def main() -> None:
        for name in "abc":
            await world.core.device_add(world.device(name, node=0))
        await world.core.load_module(world.driver("drv", asynchronous=True, ns=10 * MS))
        assert 10 * MS <= world.machine.now() < 12 * MS

    world.run(main)
    assert len(world.bound()) == 3
