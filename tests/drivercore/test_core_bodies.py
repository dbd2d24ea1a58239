"""Bodies that misbehave: whatever other people's code does, the core goes on and says what happened."""

from __future__ import annotations

import asyncio
import errno
import re
from typing import TYPE_CHECKING, Any

import pytest

from core_world import MS, World
from numaprobe.drivercore import Bus, CoreOptions, DeviceState, Placement
from numaprobe.errors import BodyError, DeadlockError, StateError
from numaprobe.topology import symmetric
from numaprobe.virtual import VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Device, HasMachine
    from numaprobe.runtime import Machine


def probe_one(world: World, body: Callable[[Device], Awaitable[Any]], **more: Any) -> Device:
    """Probe device "a" with ``body``, then a well-behaved device: the core must be able to go on."""
    dev = world.device("a")

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", body=body, **more))
        await world.core.device_add(dev)
        await world.core.asyncs.synchronize_full()
        await world.core.driver_register(world.driver("well", "well"))
        await world.core.device_add(world.device("b", "well"))

    world.run(main)
    assert world.bound()["b"] == "well"
    return dev


# ---- results that are none -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (None, "0"),
        (0, "0"),
        (-19, "ENODEV"),
        (-517, "EPROBE_DEFER"),
        (-4094, "E4094"),
        (-4095, "E4095"),  # the last errno of all is nobody's, and stands for one that is not told
        (-4096, "EINVAL"),
        (10**30, "EINVAL"),
        (True, "EINVAL"),
        (False, "EINVAL"),
        ("", "EINVAL"),
        ("-5", "EINVAL"),
        (-5.0, "EINVAL"),
        (float("nan"), "EINVAL"),
        ([], "EINVAL"),
        (object(), "EINVAL"),
    ],
)
def test_what_a_body_returns(world: World, answer: object, result: str) -> None:
    async def body(_: Device) -> object:
        return answer

    dev = probe_one(world, body)
    assert world.record("a").result == result
    assert dev.is_bound == (result == "0")
    assert len(world.warnings("body")) == (result == "EINVAL")


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class NoTextError(Exception):
    def __str__(self) -> str:
        return "two\nlines"


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (RuntimeError("no"), "EIO"),
        (KeyError("k"), "EIO"),
        (NoTextError(), "EIO"),
        (BodyError("negative"), "EIO"),
        (StateError("no"), "EIO"),
        (OSError(errno.ENOENT, "none"), "ENOENT"),
        (OSError("without number"), "EIO"),
        (OSError(-5, "negative"), "EIO"),
        (OSError(4095, "the last one"), "E4095"),
        (OSError(4096, "too large"), "EIO"),
        (OSError("5", "text"), "EIO"),
        (TimeoutError(), "EIO"),
        (PermissionError(errno.EPERM, "no"), "EPERM"),
        (MemoryError(), "ENOMEM"),
        (MuteError(), "EIO"),
        (asyncio.CancelledError(), "EIO"),
        (GeneratorExit(), "EIO"),
        (SystemExit(3), "EIO"),
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_a_body_raises(world: World, error: BaseException, result: str, asynchronous: bool) -> None:
    async def body(_: Device) -> int:
        raise error

    dev = probe_one(world, body, asynchronous=asynchronous)
    assert world.record("a").result == result
    assert dev.state is DeviceState.UNBOUND
    assert world.warnings("body")[0].startswith("a: probe of drv raised")
    assert any("raised" in line for line in dev.story())


def test_a_body_that_would_wait_for_itself_is_told_so(world: World) -> None:
    async def body(_: Device) -> int:
        raise DeadlockError(["it waits for itself"])

    dev = probe_one(world, body)
    assert world.record("a").result == "EDEADLK"
    assert world.warnings("body") == [f"a: probe of drv {DeadlockError(['it waits for itself'])}"]
    assert dev.state is DeviceState.UNBOUND


def test_the_traceback_of_a_remove_is_kept_on_request(machine: Machine) -> None:
    world = World(machine, None, CoreOptions(keep_tracebacks=True))

    async def remove(_: Device) -> None:
        raise LookupError("in the remove")

    async def body(_: Device) -> int:
        return 0

    dev = probe_one(world, body, remove=remove)
    assert dev.traceback == ""

    async def main() -> None:
        await world.core.unbind("plain", "drv", "a")

    world.run(main)
    assert "LookupError: in the remove" in dev.traceback


def test_there_is_no_body_to_run_without_a_driver(world: World) -> None:
    dev = world.device("a")

    async def main() -> int:
        await world.core.device_add(dev)
        return await world.core.bodies.probe(dev)

    assert world.run(main) == -errno.ENODEV
    assert world.core.records == []


def test_ctrl_c_in_the_main_thread_is_no_outcome_of_a_body() -> None:
    """The virtual machine's bodies run where Python delivers Ctrl-C: it ends the run, and is not taken for a fault."""
    world = World(VirtualMachine(symmetric("2", cores=2)), None, None)

    async def body(_: Device) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probe_one(world, body)
    assert world.core.records == []


def test_a_body_that_is_no_coroutine_function(world: World) -> None:
    def plain(_: Device) -> int:
        return 0

    dev = world.device("a")

    async def main() -> None:
        drv = world.driver("drv")
        drv.probe = plain  # type: ignore[assignment]
        await world.core.driver_register(drv)
        await world.core.device_add(dev)

    world.run(main)
    assert world.record("a").result == "EIO"
    assert not dev.is_bound


def test_a_remove_that_raises_still_lets_go(world: World) -> None:
    async def remove(_: Device) -> None:
        raise RuntimeError("will not")

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", remove=remove))
        await world.core.device_add(world.device("a"))
        assert await world.core.unbind("plain", "drv", "a") == 0

    world.run(main)
    assert world.bound() == {}
    (told,) = world.warnings("raised")
    assert re.fullmatch(r"a: remove of drv raised RuntimeError: will not \(.*test_core_bodies.py:\d+\)", told)


@pytest.mark.parametrize("answer", [None, "yes", 1.5, [1], KeyError("no such id")])
def test_a_match_that_misbehaves_is_no_match(world: World, answer: object) -> None:
    def match(_: Device) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def main() -> None:
        await world.core.device_add(world.device("a"))
        await world.core.driver_register(world.driver("odd", match=match))
        await world.core.driver_register(world.driver("well"))
        assert world.bound() == {"a": "well"}

    world.run(main)
    told = world.warnings("body")[0]
    assert told.startswith("a: match of odd r")
    assert "returned" not in told or told == f"a: match of odd returned {answer!r}, which is no number"


@pytest.mark.parametrize(("answer", "bound"), [(True, True), (False, False)])
def test_a_match_may_be_a_truth_value(world: World, answer: bool, bound: bool) -> None:
    async def main() -> None:
        await world.core.device_add(world.device("a"))
        await world.core.driver_register(world.driver("drv", match=lambda _: answer))

    world.run(main)
    assert bool(world.bound()) is bound
    assert world.warnings("body") == []


def test_a_policy_that_raises_leaves_no_device_between_states(make_world: Callable[..., World]) -> None:
    class Broken(Placement):
        async def bus_probe(self, dev: Any, function: Any, *, under_parent: bool) -> int:
            raise RuntimeError("no such queue")

    class Policy:
        def place(self, core: HasMachine) -> Placement:
            return Broken(core)

    world = make_world(Policy())
    dev = world.device("a", bus=world.pci)

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", bus=world.pci))
        with pytest.raises(RuntimeError, match="no such queue"):
            await world.core.device_add(dev)

    world.run(main)
    assert (dev.state, dev.driver) == (DeviceState.UNBOUND, None)
    assert dev.story()[-1].endswith("fail: unbound RuntimeError")


# ---- waits for oneself -----------------------------------------------------------------------------------------------
def waits(world: World, what: str) -> Callable[[Device], Awaitable[Any]]:
    core = world.core
    return {
        "delete": core.device_del,
        "delete parent": lambda dev: core.device_del(dev.parent or dev),
        "unregister": lambda dev: core.driver_unregister(dev.driver),  # type: ignore[arg-type]
        "wait": lambda _: core.wait_for_device_probe(),
        "block": lambda _: core.device_block_probing(),
        "bind": lambda _: core.bind("plain", "drv", "a"),
        "unbind": lambda _: core.unbind("plain", "drv", "a"),
        "register": lambda _: core.driver_register(world.driver("too")),
        "delete supplier": lambda _: core.device_del(world.bus.devices["clk"]),
        "unbind supplier": lambda _: core.unbind("plain", "clk", "clk"),
        "unregister supplier": lambda _: core.driver_unregister(world.bus.drivers["clk"]),
    }[what]


WAITS = [
    "delete", "delete parent", "unregister", "wait", "block", "bind", "unbind", "register", "delete supplier",
    "unbind supplier", "unregister supplier",
]  # fmt: skip


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("what", WAITS)
def test_a_probe_that_waits_for_itself_fails_by_name_and_changes_nothing(
    world: World, what: str, asynchronous: bool
) -> None:
    wait = waits(world, what)
    parent, dev = world.device("parent", "none"), world.device("a", suppliers=("clk",))
    dev.parent = parent

    async def main() -> None:
        await world.core.driver_register(world.driver("clk", "clk"))
        await world.core.device_add(world.device("clk", "clk"))
        await world.core.device_add(parent)
        await world.core.driver_register(world.driver("drv", body=wait, asynchronous=asynchronous))
        await world.core.device_add(dev)

    world.run(main)
    assert world.record("a").result == "EDEADLK"
    assert dev.state is DeviceState.UNBOUND
    assert "deadlock: the body for a" in world.warnings("body")[0]
    assert list(world.bus.drivers) == ["clk", "drv"]
    assert list(world.bus.devices) == ["clk", "parent", "a"]
    assert world.bound() == {"clk": "clk"}


def test_blocking_from_inside_a_probe_does_not_block(world: World) -> None:
    async def body(_: Device) -> int:
        await world.core.device_block_probing()
        return 0

    probe_one(world, body)
    assert not world.core.state.deferred.blocked


@pytest.mark.parametrize("what", ["wait", "block"])
@pytest.mark.parametrize("where", ["bind", "remove"])
def test_bind_and_remove_are_not_counted_and_may_wait_for_all_probes(world: World, what: str, where: str) -> None:
    body = waits(world, what)

    async def main() -> None:
        world.bus.drivers_autoprobe = False
        drv = world.driver("drv", body=body) if where == "bind" else world.driver("drv", remove=body)
        await world.core.driver_register(drv)
        await world.core.device_add(world.device("a"))
        assert await world.core.bind("plain", "drv", "a") == 0
        world.core.device_unblock_probing()
        assert await world.core.unbind("plain", "drv", "a") == 0

    world.run(main)
    assert world.warnings("raised") == []
    assert world.record("a").result in {"0", "EINVAL"}


def test_a_managed_resource_whose_release_waits_for_its_device(world: World) -> None:
    dev = world.device("a")

    async def body(_: Device) -> int:
        world.core.devm_add_action(dev, "loop", lambda: world.core.device_del(dev))
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", body=body))
        await world.core.device_add(dev)
        await world.core.unbind("plain", "drv", "a")

    world.run(main)
    assert dev.state is DeviceState.UNBOUND
    assert "release of loop raised DeadlockError" in world.warnings("raised")[0]


@pytest.mark.parametrize("what", sorted({*WAITS} - {"wait", "block"}))
def test_a_remove_that_waits_for_itself_is_warned_of_and_goes_on(world: World, what: str) -> None:
    dev = world.device("a", suppliers=("clk",))
    dev.parent = parent = world.device("parent", "none")

    async def main() -> None:
        await world.core.driver_register(world.driver("clk", "clk"))
        await world.core.device_add(world.device("clk", "clk"))
        await world.core.device_add(parent)
        await world.core.driver_register(world.driver("drv", remove=waits(world, what)))
        await world.core.device_add(dev)
        assert await world.core.unbind("plain", "drv", "a") == 0

    world.run(main)
    assert dev.state is DeviceState.UNBOUND
    assert "DeadlockError" in world.warnings("raised")[0]
    assert world.bound() == {"clk": "clk"}


def test_a_wait_for_all_async_calls_from_inside_one(world: World) -> None:
    other = world.driver("other", "other", asynchronous=True)

    async def body(dev: Device) -> int:
        if dev.name == "a":
            await world.core.driver_unregister(other)
        else:
            await world.core.load_module(world.driver("new", "new"))
        return 0

    async def main() -> None:
        await world.core.driver_register(other)
        await world.core.driver_register(world.driver("drv", body=body, asynchronous=True))
        for name in "ab":
            await world.core.device_add(world.device(name))

    world.run(main)
    assert [one.result for one in world.core.records] == ["EDEADLK", "EDEADLK"]
    assert other.registered
    assert "new" not in world.bus.drivers


def test_a_sync_probe_may_load_a_module_and_unregister_another_driver(world: World) -> None:
    other = world.driver("other", "other", asynchronous=True)

    async def body(_: Device) -> int:
        await world.core.driver_unregister(other)
        await world.core.load_module(world.driver("new", "new", asynchronous=True))
        return 0

    async def main() -> None:
        await world.core.device_add(world.device("b", "other"))
        await world.core.device_add(world.device("c", "new"))
        await world.core.driver_register(other)
        await world.core.driver_register(world.driver("drv", body=body))
        await world.core.device_add(world.device("a"))

    world.run(main)
    assert world.bound() == {"a": "drv", "c": "new"}


def test_a_remove_may_unregister_an_async_driver(world: World) -> None:
    """That this device was once probed by an async worker must not be held against it."""
    other = world.driver("other", "other", asynchronous=True)

    async def remove(_: Device) -> None:
        await world.core.driver_unregister(other)

    async def main() -> None:
        await world.core.driver_register(other)
        await world.core.driver_register(world.driver("drv", remove=remove, asynchronous=True))
        await world.core.device_add(world.device("a"))
        await world.core.asyncs.synchronize_full()
        await world.core.unbind("plain", "drv", "a")

    world.run(main)
    assert not other.registered
    assert world.warnings("raised") == []


def test_a_body_may_register_a_driver_that_leaves_its_device_alone(world: World) -> None:
    async def body(_: Device) -> int:
        await world.core.driver_register(world.driver("helper", "helped"))
        return 0

    async def main() -> None:
        await world.core.device_add(world.device("b", "helped"))
        await world.core.driver_register(world.driver("drv", body=body))
        await world.core.device_add(world.device("a"))

    world.run(main)
    assert world.bound() == {"a": "drv", "b": "helper"}
    assert world.record("b").nested


def test_with_autoprobe_off_a_driver_may_be_registered_from_inside(world: World) -> None:
    async def body(_: Device) -> int:
        await world.core.driver_register(world.driver("too"))
        return 0

    async def main() -> None:
        world.bus.drivers_autoprobe = False
        await world.core.driver_register(world.driver("drv", body=body))
        await world.core.device_add(world.device("a"))
        assert await world.core.bind("plain", "drv", "a") == 0

    world.run(main)
    assert "too" in world.bus.drivers


def test_a_bus_that_locks_parents_refuses_a_driver_for_the_children(world: World) -> None:
    bus = world.core.bus_register(Bus("usb"))
    bus.need_parent_lock = True
    hub = world.device("hub", "hub", bus=bus)

    async def body(dev: Device) -> int:
        await world.core.device_add(world.device("port", bus=bus, parent=dev))
        with pytest.raises(DeadlockError, match="registers driver port"):
            await world.core.driver_register(world.driver("port", bus=bus))
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("hub", "hub", bus=bus, body=body))
        await world.core.device_add(hub)
        await world.core.driver_register(world.driver("port", bus=bus))

    world.run(main)
    assert world.bound() == {"hub": "hub", "port": "port"}


def test_a_hubs_body_cannot_make_others_let_its_children_go(world: World) -> None:
    """unbind and unregister take the parent's lock, which the hub's own body is under; nothing must be half done."""
    bus = world.core.bus_register(Bus("usb"))
    bus.need_parent_lock = True
    hub, port = world.device("hub", "hub", bus=bus), world.driver("port", bus=bus)
    refused: list[str] = []

    async def remove(_: Device) -> None:
        for attempt in (lambda: world.core.driver_unregister(port), lambda: world.core.unbind("usb", "port", "port")):
            with pytest.raises(DeadlockError):
                await attempt()
            refused.append("yes")

    async def main() -> None:
        await world.core.driver_register(port)
        await world.core.driver_register(world.driver("hub", "hub", bus=bus, remove=remove))
        await world.core.device_add(hub)
        await world.core.device_add(world.device("port", bus=bus, parent=hub))
        await world.core.unbind("usb", "hub", "hub")

    world.run(main)
    assert refused == ["yes", "yes"]
    assert world.bound() == {"port": "port"}
    assert port.registered


def test_a_child_of_a_consumer_may_remove_the_supplier(world: World) -> None:
    """The consumer is only released, and its child is left alone: nothing waits for the child's body."""
    consumer = world.device("consumer", suppliers=("clk",))

    async def body(_: Device) -> int:
        await world.core.device_del(world.bus.devices["clk"])
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("clk", "clk"))
        await world.core.driver_register(world.driver("drv"))
        await world.core.driver_register(world.driver("child", "child", body=body))
        await world.core.device_add(world.device("clk", "clk"))
        await world.core.device_add(consumer)
        await world.core.device_add(world.device("child", "child", parent=consumer))

    world.run(main)
    assert world.bound() == {"child": "child"}
    assert world.record("child").result == "0"


def test_a_hubs_remove_may_delete_its_children(world: World) -> None:
    """bus_remove_device releases without the parent's lock: no deadlock, though the hub's own lock is held."""
    bus = world.core.bus_register(Bus("usb"))
    bus.need_parent_lock = True
    hub = world.device("hub", "hub", bus=bus)

    async def remove(dev: Device) -> None:
        for child in tuple(dev.children.values()):
            await world.core.device_del(child)

    async def main() -> None:
        await world.core.driver_register(world.driver("hub", "hub", bus=bus, remove=remove))
        await world.core.driver_register(world.driver("port", bus=bus))
        await world.core.device_add(hub)
        await world.core.device_add(world.device("port", bus=bus, parent=hub))
        await world.core.unbind("usb", "hub", "hub")

    world.run(main)
    assert world.warnings("raised") == []
    assert list(bus.devices) == ["hub"]


# ---- nested probes ---------------------------------------------------------------------------------------------------
def test_a_nested_probe_says_so(world: World) -> None:
    async def body(dev: Device) -> int:
        await world.core.device_add(world.device("child", "y", parent=dev))
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("inner", "y"))
        await world.core.driver_register(world.driver("outer", body=body))
        await world.core.device_add(world.device("a", node=1))

    world.run(main)
    outer, inner = world.record("a"), world.record("child")
    assert (outer.nested, inner.nested) == (False, True)
    assert inner.device_node == 1
    assert (outer.start_ns or 0) < (inner.start_ns or 0) <= (inner.end_ns or 0) <= (outer.end_ns or 0)


def test_a_deadlock_between_two_tasks_is_named_by_the_machine(world: World) -> None:
    """A probe waits for a task that waits for the probe's device: nobody inside can see it."""
    dev = world.device("a")

    async def body(_: Device) -> int:
        task = world.machine.spawn(lambda: world.core.device_del(dev), comm="helper")
        await world.machine.join(task)
        return 0

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", body=body))
        await world.core.device_add(dev)

    world.broken = True
    with pytest.raises(DeadlockError) as caught:
        world.run(main)
    assert any("helper" in line and "device plain/a" in line for line in caught.value.waits)
    assert any("modprobe" in line and "helper" in line for line in caught.value.waits)


def test_records_add_up(world: World) -> None:
    async def body(_: Device) -> int:
        await world.machine.compute(2 * MS)
        await world.machine.allocate(4096)
        return 0

    probe_one(world, body, ns=3 * MS)
    record = world.record("a")
    assert record.cost_ns == (record.end_ns or 0) - (record.start_ns or 0)
    assert record.running_ns == 2 * MS
    assert (record.running_ns or 0) + (record.runnable_ns or 0) + (record.sleeping_ns or 0) == record.cost_ns
    assert record.memory == {0: 4096}
    assert (record.cpus or ())[0] == record.cpu
    assert (record.function, record.bus, record.caller_comm) == ("drv_probe", "plain", "modprobe")


@pytest.mark.parametrize("locks_parents", [True, False])
def test_a_body_cannot_remove_what_it_hangs_from_however_far_up(world: World, locks_parents: bool) -> None:
    """A removal takes the children's children first; and a device beside it, which nothing hangs from, may go."""
    world.bus.need_parent_lock = locks_parents
    made = {"top": world.device("top", "no")}
    for name, parent in (("middle", "top"), ("leaf", "middle"), ("beside", "top")):
        made[name] = world.device(name, "x" if name == "leaf" else "no", parent=made[parent])

    async def body(_: Device) -> int:
        for name in ("leaf", "middle", "top"):
            with pytest.raises(DeadlockError, match=f"removes {name}"):
                await world.core.device_del(made[name])
        await world.core.device_del(made["beside"])
        return 0

    async def main() -> None:
        for dev in made.values():
            await world.core.device_add(dev)
        await world.core.driver_register(world.driver("drv", body=body))

    world.run(main)
    assert world.bound() == {"leaf": "drv"}
    assert sorted(world.bus.devices) == ["leaf", "middle", "top"]
