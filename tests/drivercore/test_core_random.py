"""Random interleavings against a simple model: nothing lost, nothing bound twice, nothing held, no deadlock.

Several tasks do random things to one core at the same time, with random pauses. The model knows only what bodies saw
(who has which device) and what must be true when all is quiet: a device whose driver is there and whose suppliers are
bound is bound, unless a user took it away or told the bus not to probe.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from core_world import MS, World
from numaprobe.drivercore import EPROBE_DEFER, Bus, Device, Driver, ProbeType
from numaprobe.errors import StateError
from numaprobe.policies import make_policy
from numaprobe.testing import FakeMachine
from numaprobe.topology import symmetric
from numaprobe.virtual import VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.runtime import Machine

#: kind -> (async, first results of a device's probes; then 0)
KINDS: dict[str, tuple[bool, tuple[int, ...]]] = {
    "sync": (False, ()),
    "async": (True, ()),
    "later": (False, (-EPROBE_DEFER,)),
    "async-later": (True, (-EPROBE_DEFER, -EPROBE_DEFER)),
    "fails": (False, (-5,) * 1000),
    "async-fails": (True, (-5,) * 1000),
    "nest": (False, ()),
    "async-nest": (True, ()),
}
#: device -> (kind, suppliers, parent); a name is added and removed many times
DEVICES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "s0": ("sync", (), ""),
    "s1": ("sync", ("a0",), ""),
    "a0": ("async", (), ""),
    "a1": ("async", ("s0",), ""),
    "l0": ("later", ("a1",), ""),
    "l1": ("async-later", ("s1", "s0"), ""),
    "f0": ("fails", (), ""),
    "f1": ("async-fails", ("s0",), ""),
    "c0": ("sync", (), "a0"),
    "c1": ("async", ("c0",), "s0"),
    "n0": ("nest", (), ""),
    "n1": ("async-nest", ("n0",), "a0"),
}
POLICIES = ("inline", "exec-on-node", "probe-on-node+nested-inline", "strict-node", "spread", "migrate-caller")
MACHINES: dict[str, Callable[..., Machine]] = {"fake": FakeMachine, "virtual": VirtualMachine}


class Model:
    """The core under test, and what its bodies saw of it."""

    def __init__(self, machine: str, policy: str) -> None:
        self.world = World(MACHINES[machine](symmetric("m", nodes=2, cores=2)), make_policy(policy), None)
        self.core = self.world.core
        self.bus = self.core.bus_register(Bus("random"))
        self.bus.need_parent_lock = policy == "inline"
        #: device -> "probing" or "bound", as bodies saw it
        self.seen: dict[Device, str] = {}
        self.tries: dict[Device, int] = {}
        self.problems: list[str] = []
        self.taken_away: set[str] = set()
        self.autoprobe_was_off = False
        self.drivers = {kind: self._driver(kind) for kind in KINDS}

    def _driver(self, kind: str) -> Driver:
        asynchronous, results = KINDS[kind]

        async def probe(dev: Device) -> int:
            self._expect(dev, None)
            self.seen[dev] = "probing"
            if self.core.state.links.missing(dev):
                self.problems.append(f"{dev.name} is probed without its supplier")
            await self.world.machine.compute((ord(dev.name[-1]) % 3) * MS)
            await self.world.machine.sleep(2 * MS)
            self._expect(dev, "probing")
            if "nest" in kind:
                await self._add_kid(dev)
            attempt = self.tries[dev] = self.tries.get(dev, 0) + 1
            result = results[attempt - 1] if attempt <= len(results) else 0
            if result:
                del self.seen[dev]
            else:
                self.seen[dev] = "bound"
            return result

        async def remove(dev: Device) -> None:
            self._expect(dev, "bound")
            await self.world.machine.sleep(MS)
            for kid in tuple(dev.children.values()):
                if kid.name.endswith("-kid") and not kid.p.dead:
                    await self.core.device_del(kid)
            self.seen.pop(dev, None)

        wish = ProbeType.PREFER_ASYNCHRONOUS if asynchronous else ProbeType.FORCE_SYNCHRONOUS
        return Driver(name=kind, bus=self.bus, probe=probe, remove=remove, compatible=(kind,), probe_type=wish)

    async def _add_kid(self, dev: Device) -> None:
        kid = Device(
            name=f"{dev.name}-kid", bus=self.bus, compatible="sync" if dev.name == "n0" else "async", parent=dev
        )
        await self.core.device_add(kid)

    def _expect(self, dev: Device, state: str | None) -> None:
        if self.seen.get(dev) != state:
            self.problems.append(f"{dev.name} is {self.seen.get(dev)}, not {state}")

    # ---- what a task may do
    async def do(self, what: str, which: int) -> None:
        name = list(DEVICES)[which % len(DEVICES)]
        kind = DEVICES[name][0]
        driver = self.drivers[list(KINDS)[which % len(KINDS)]]
        machine: Any = self.world.machine
        actions: dict[str, Callable[[], Awaitable[Any]]] = {
            "add": lambda: self._add(name),
            "remove": lambda: self._remove(name),
            "register": lambda: self.core.driver_register(driver),
            "unregister": lambda: self.core.driver_unregister(driver),
            "bind": lambda: self.core.bind("random", kind, name),
            "unbind": lambda: self._unbind(kind, name),
            "rescan": lambda: self.core.drivers_probe("random", name),
            "block": self.core.device_block_probing,
            "unblock": self._unblock,
            "autoprobe": self._autoprobe,
            "wait": self.core.wait_for_device_probe,
            "cpu": lambda: self._hotplug(machine, 1 + which % 3),
        }
        with suppress(StateError):  # somebody else was there before
            await actions[what]()
        self.core.validate(quiescent=False)

    async def _add(self, name: str) -> None:
        kind, suppliers, parent = DEVICES[name]
        above = self.bus.devices.get(parent)
        dev = Device(name=name, bus=self.bus, node=-1 if above else len(name + kind) % 2, compatible=kind,
                     suppliers=suppliers, parent=above)  # fmt: skip
        await self.core.device_add(dev)

    async def _remove(self, name: str) -> None:
        if name in self.bus.devices:
            await self.core.device_del(self.bus.devices[name])

    async def _unbind(self, kind: str, name: str) -> None:
        self.taken_away.add(name)
        await self.core.unbind("random", kind, name)

    async def _unblock(self) -> None:
        self.core.device_unblock_probing()

    async def _autoprobe(self) -> None:
        self.bus.drivers_autoprobe = not self.bus.drivers_autoprobe
        self.autoprobe_was_off = True

    async def _hotplug(self, machine: Any, cpu: int) -> None:
        if hasattr(machine, "cpu_down"):
            await (machine.cpu_down(cpu) if cpu in machine.online else machine.cpu_up(cpu))

    async def task(self, steps: list[tuple[str, int, int]]) -> None:
        for what, which, pause in steps:
            await self.do(what, which)
            await self.world.machine.sleep(pause * MS // 2)

    # ---- when all is quiet
    async def settle(self) -> None:
        self.core.device_unblock_probing()
        for _ in range(4):  # more often than any probe defers
            self.core.deferred.trigger()
            await self.core.wait_for_device_probe()

    async def rescan(self) -> None:
        """Ask for every device by hand, in the order of suppliers: after that there is no excuse."""
        self.bus.drivers_autoprobe = True
        for _ in DEVICES:
            for name in tuple(self.bus.devices):
                await self.core.drivers_probe("random", name)
            await self.settle()

    def check(self, *, excuses: bool) -> None:
        assert self.problems == []
        self.world.validate()
        for name, dev in self.bus.devices.items():
            assert dev.is_bound == (self.seen.get(dev) == "bound"), name
            supplied = self.core.state.links.missing(dev) is None
            wanted = dev.compatible in self.bus.drivers and supplied and "fails" not in dev.compatible
            assert not dev.is_bound or wanted, f"{name} is bound and must not be"
            if wanted and not (excuses and (name in self.taken_away or self.autoprobe_was_off)):
                assert dev.is_bound, f"{name} is lost: {self.core.story(dev)}"


STEP = st.tuples(
    st.sampled_from(
        ["add"] * 6 + ["register"] * 5 + ["remove", "unregister", "bind", "unbind", "rescan"] * 2
        + ["block", "unblock", "wait", "autoprobe", "cpu"]
    ),
    st.integers(0, 59),
    st.integers(0, 9),
)  # fmt: skip


@settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(
    tasks=st.lists(st.lists(STEP, max_size=14), min_size=1, max_size=4),
    machine=st.sampled_from(sorted(MACHINES)),
    policy=st.sampled_from(POLICIES),
)
def test_nothing_is_lost_bound_twice_or_held(
    tasks: list[list[tuple[str, int, int]]], machine: str, policy: str
) -> None:
    model = Model(machine, policy)

    async def main() -> None:
        spawned = [
            model.world.machine.spawn(lambda steps=steps: model.task(steps), comm=f"task{number}")
            for number, steps in enumerate(tasks)
        ]
        for task in spawned:
            await model.world.machine.join(task)
        await model.settle()
        model.check(excuses=True)
        await model.rescan()
        model.check(excuses=False)

    model.world.run(main)
    model.check(excuses=False)
    note(str(model.core.records))


@settings(deadline=None, max_examples=60)
@given(
    order=st.permutations([*DEVICES, *KINDS]),
    machine=st.sampled_from(sorted(MACHINES)),
    policy=st.sampled_from(POLICIES),
    pauses=st.lists(st.integers(0, 6), min_size=len(DEVICES) + len(KINDS), max_size=len(DEVICES) + len(KINDS)),
)
def test_every_order_of_registration_gives_the_same_bindings(
    order: list[str], machine: str, policy: str, pauses: list[int]
) -> None:
    model = Model(machine, policy)

    async def main() -> None:
        for name, pause in zip(order, pauses, strict=True):
            if name in KINDS:
                await model.core.driver_register(model.drivers[name])
            else:
                await model._add(name)
            await model.world.machine.sleep(pause * MS)
        await model.settle()

    model.world.run(main)
    model.check(excuses=False)
    failing = {"f0", "f1"}
    bound = {name: kind for name, (kind, _, _) in DEVICES.items() if name not in failing}
    assert model.world.bound() == bound | {"n0-kid": "sync", "n1-kid": "async"}


@settings(deadline=None, max_examples=40)
@given(
    tasks=st.permutations([*DEVICES, *KINDS]).map(lambda order: [order[0::3], order[1::3], order[2::3]]),
    machine=st.sampled_from(sorted(MACHINES)),
)
def test_three_tasks_registering_at_once_give_the_same_bindings(tasks: list[list[str]], machine: str) -> None:
    model = Model(machine, "inline")

    async def register(names: list[str]) -> None:
        for name in names:
            await (model.core.driver_register(model.drivers[name]) if name in KINDS else model._add(name))

    async def main() -> None:
        spawned = [
            model.world.machine.spawn(lambda names=names: register(names), comm=f"task{number}", cpu=number)
            for number, names in enumerate(tasks)
        ]
        for task in spawned:
            await model.world.machine.join(task)
        await model.settle()

    model.world.run(main)
    model.check(excuses=False)
    assert len(model.world.bound()) == len(DEVICES)  # two fail, two have a child


@settings(deadline=None, max_examples=30)
@given(
    tasks=st.lists(st.lists(STEP, max_size=10), min_size=2, max_size=3),
    machine=st.sampled_from(sorted(MACHINES)),
    policy=st.sampled_from(POLICIES),
)
def test_a_run_is_repeatable(tasks: list[list[tuple[str, int, int]]], machine: str, policy: str) -> None:
    outcomes = []
    for _ in range(2):
        model = Model(machine, policy)

        async def main(model: Model = model) -> None:
            for number, steps in enumerate(tasks):
                model.world.machine.spawn(lambda steps=steps: model.task(steps), comm=f"task{number}")

        model.world.run(main)
        outcomes.append((model.core.records, model.world.machine.warnings, model.world.machine.now()))
    assert outcomes[0] == outcomes[1]


def test_the_model_sees_a_lost_device() -> None:
    """The check itself must be able to fail."""
    model = Model("fake", "inline")

    async def main() -> None:
        await model.do("add", 0)
        await model.do("register", 0)
        await model.core.unbind("random", "sync", "s0")

    model.world.run(main)
    with pytest.raises(AssertionError, match="s0 is lost"):
        model.check(excuses=False)
