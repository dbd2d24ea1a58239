"""The checks of the core can fail: each broken promise is seen and told with the device's story."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from numaprobe.drivercore import DeviceState
from numaprobe.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from core_world import World
    from numaprobe.drivercore.state import DeferredLists


def states(world: World, name: str, state: DeviceState) -> None:
    world.bus.devices[name].state = state


def lists(world: World) -> DeferredLists:
    return world.core.state.deferred


#: what is broken -> (how, what is said). "bound" is bound to "drv" and the child of "free", which no driver matches.
BROKEN: dict[str, tuple[Callable[[World, Any, Any, Any], object], str]] = {
    "bus": (lambda w, b, f, d: w.bus.devices.update(other=w.bus.devices.pop("bound")), "its bus knows another device"),
    "driver": (lambda w, b, f, d: d.devices.clear(), "its driver does not list it"),
    "no driver": (lambda w, b, f, d: setattr(b, "driver", None), "its driver does not list it"),
    "listed": (lambda w, b, f, d: lists(w).pending.update({b.key: b}), "bound and on the deferred list"),
    "drvdata": (lambda w, b, f, d: setattr(f, "drvdata", 1), "keeps something of a driver"),
    "devres": (lambda w, b, f, d: f.p.devres.append(("irq", None)), "keeps something of a driver"),
    "old driver": (lambda w, b, f, d: (setattr(f, "driver", d), f.tell(0, "probe: x")), "keeps something"),
    "two lists": (
        lambda w, b, f, d: (
            lists(w).pending.update({f.key: f}),
            lists(w).active.update({f.key: f}),
        ),
        "on both deferred lists",
    ),
    "probing": (lambda w, b, f, d: states(w, "free", DeviceState.PROBING), "nobody holds its lock"),
    "releasing": (lambda w, b, f, d: states(w, "free", DeviceState.RELEASING), "nobody holds its lock"),
    "parent": (lambda w, b, f, d: f.children.clear(), "its parent does not know it"),
    "passage": (lambda w, b, f, d: states(w, "free", DeviceState.REGISTERED), "state of passage"),
    "slot": (lambda w, b, f, d: setattr(f.p, "async_driver", d), "async attach is still pending"),
    "dead": (lambda w, b, f, d: setattr(f.p, "dead", True), "dead and still on its bus"),
    "registered": (lambda w, b, f, d: setattr(d, "registered", False), "it is not registered"),
    "stranger": (lambda w, b, f, d: d.devices.update({f.key: f}), "lists free, which is not bound to it"),
    "users": (lambda w, b, f, d: setattr(d, "users", 2), "2 calls use it"),
    "gone": (
        lambda w, b, f, d: lists(w).pending.update({("plain", "ghost"): w.device("ghost")}),
        "on the deferred list and on no bus",
    ),
    "count": (lambda w, b, f, d: w.core.state.probes.started(), "1 probes and 0 async calls are under way"),
    "active": (
        lambda w, b, f, d: lists(w).active.update({f.key: f}),
        "waits for a retry that nobody makes",
    ),
}


@pytest.mark.parametrize("what", list(BROKEN))
@pytest.mark.machines("fake")
def test_a_broken_promise_is_seen(world: World, what: str) -> None:
    free = world.device("free", "nothing")
    bound = world.device("bound", parent=free)
    drv = world.driver("drv")

    async def main() -> None:
        await world.core.driver_register(drv)
        await world.core.device_add(free)
        await world.core.device_add(bound)

    world.run(main)
    world.core.validate()
    how, said = BROKEN[what]
    how(world, bound, free, drv)
    world.broken = True
    with pytest.raises(InternalError, match=said):
        world.core.validate()


@pytest.mark.machines("fake")
def test_a_lock_held_at_the_end_is_seen_with_its_owner(world: World) -> None:
    dev = world.device("a")

    async def main() -> None:
        await world.core.device_add(dev)
        await dev.lock.acquire()
        world.core.validate(quiescent=False)

    world.run(main)
    world.broken = True
    with pytest.raises(InternalError, match=r"its lock is held by modprobe. Its story: .*add: registered"):
        world.core.validate()
