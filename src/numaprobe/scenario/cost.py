"""From a driver's phases to the body that the driver core calls.

Each phase becomes one step: an ``async def`` of the probe under way that awaits the machine and returns 0 or a negative
errno; the first step that returns something else than 0 ends the probe. Phases are translated once per driver, not once
per device; a device that has phases of its own has them translated when it is probed. What a probe registered is taken
back when the driver lets the device go, or when the probe fails.

Jitter is a function of (seed, driver, device, attempt, number of the draw) and of nothing else: the same device gets
the same costs under every policy, so that policies are compared on equal terms.
"""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from numaprobe.drivercore import EPROBE_DEFER, Device, errno_value
from numaprobe.records import NO_NODE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from numaprobe.runtime import Event, Lock, Machine
    from numaprobe.scenario.schema import Allocate, DeviceGroup, DriverModel, Hold, Phase, Wait

#: Parts per million: jitter is drawn in integers.
_MILLION: Final = 1_000_000


class Surroundings(Protocol):
    """What a body needs of the run it is part of."""

    machine: Machine

    def lock(self, name: str) -> Lock:
        """Return the lock that all bodies share by this name."""
        ...

    def phases_of(self, dev: Device) -> tuple[Phase, ...] | None:
        """Return the phases of this very device; None: its driver's."""
        ...

    def bound(self, device: str) -> Event:
        """Return the flag that is set while this device's driver has it."""
        ...

    async def register_children(self, parent: Device, groups: Iterable[DeviceGroup]) -> None:
        """Add the devices of these groups below ``parent``."""
        ...

    async def enable_vfs(self, parent: Device, count: int) -> None:
        """Enable virtual functions of ``parent``."""
        ...

    async def remove_children(self, parent: Device) -> None:
        """Take back what ``parent``'s probe registered."""
        ...


@dataclass(slots=True)
class Probe:
    """One call of a body."""

    device: Device
    attempt: int
    jitter_ppm: int
    seed: str
    draws: int = field(default=0)

    def scaled(self, ns: int) -> int:
        """Return ``ns`` scaled by the next draw, from 1 - jitter to 1 + jitter."""
        if not self.jitter_ppm:
            return ns
        self.draws += 1
        digest = hashlib.blake2b(f"{self.seed}/{self.attempt}/{self.draws}".encode(), digest_size=8).digest()
        offset = int.from_bytes(digest) % (2 * self.jitter_ppm + 1) - self.jitter_ppm
        return ns + ns * offset // _MILLION


def probe_body(driver: DriverModel, around: Surroundings, seed: int | None) -> Callable[[Device], Awaitable[int]]:
    """Return the probe function of a driver."""
    steps = [_step(phase, around) for phase in driver.phases]
    attempts: dict[str, int] = {}
    has_children = _registers(driver.phases)
    jitter_ppm = round(driver.jitter * _MILLION)

    async def body(dev: Device) -> int:
        attempts[dev.name] = attempts.get(dev.name, 0) + 1
        probe = Probe(dev, attempts[dev.name], jitter_ppm, f"{seed}/{driver.bus}/{driver.name}/{dev.name}")
        own = around.phases_of(dev)
        result = await _run(steps if own is None else [_step(phase, around) for phase in own], probe)
        if result == 0:
            around.bound(dev.name).set()
        elif has_children if own is None else _registers(own):
            await around.remove_children(dev)
        return result

    return body


def remove_body(driver: DriverModel, around: Surroundings) -> Callable[[Device], Awaitable[None]]:
    """Return the remove function of a driver."""
    steps = [_step(phase, around) for phase in driver.remove]

    async def body(dev: Device) -> None:
        around.bound(dev.name).clear()
        await around.remove_children(dev)
        await _run(steps, Probe(dev, 1, 0, ""))

    return body


def _registers(phases: Iterable[Phase]) -> bool:
    return any(p.children or p.enable_vfs or (p.hold and _registers(p.hold.phases)) for p in phases)


async def _run(steps: Iterable[Callable[[Probe], Awaitable[int]]], probe: Probe) -> int:
    for step in steps:
        result = await step(probe)
        if result:
            return result
    return 0


# ---- one function for each kind of phase ---------------------------------------------------------------------------
def _step(phase: Phase, around: Surroundings) -> Callable[[Probe], Awaitable[int]]:
    """Translate a phase. That exactly one of its keys is set was checked when it was read."""
    if phase.compute is not None:
        return _compute(phase.compute, around)
    if phase.sleep is not None:
        return _sleep(phase.sleep, around)
    if phase.hold is not None:
        return _hold(phase.hold, around)
    if phase.allocate is not None:
        return _allocate(phase.allocate, around)
    if phase.wait is not None:
        return _wait(phase.wait, around)
    return _register_or_fail(phase, around)


def _register_or_fail(phase: Phase, around: Surroundings) -> Callable[[Probe], Awaitable[int]]:
    if phase.children is not None:
        return _register(phase.children, around)
    if phase.enable_vfs is not None:
        return _enable_vfs(phase.enable_vfs, around)
    return _fail(phase)


def _compute(ns: int, around: Surroundings) -> Callable[[Probe], Awaitable[int]]:
    async def step(probe: Probe) -> int:
        await around.machine.compute(probe.scaled(ns))
        return 0

    return step


def _sleep(ns: int, around: Surroundings) -> Callable[[Probe], Awaitable[int]]:
    async def step(probe: Probe) -> int:
        await around.machine.sleep(probe.scaled(ns))
        return 0

    return step


def _hold(hold: Hold, around: Surroundings) -> Callable[[Probe], Awaitable[int]]:
    inner = [_step(phase, around) for phase in hold.phases]

    async def step(probe: Probe) -> int:
        async with around.lock(hold.lock):
            return await _run(inner, probe)

    return step


def _allocate(allocate: Allocate, around: Surroundings) -> Callable[[Probe], Awaitable[int]]:
    async def step(probe: Probe) -> int:
        where = allocate.where
        node = probe.device.node if where == "device" else None if where == "local" else where
        await around.machine.allocate(allocate.size, None if node == NO_NODE else node)
        return 0

    return step


def _register(groups: tuple[DeviceGroup, ...], around: Surroundings) -> Callable[[Probe], Awaitable[int]]:
    async def step(probe: Probe) -> int:
        await around.register_children(probe.device, groups)
        return 0

    return step


def _enable_vfs(count: int, around: Surroundings) -> Callable[[Probe], Awaitable[int]]:
    async def step(probe: Probe) -> int:
        await around.enable_vfs(probe.device, count)
        return 0

    return step


def _wait(wait: Wait, around: Surroundings) -> Callable[[Probe], Awaitable[int]]:
    name = wait.device or wait.supplier or ""
    late = -errno.ETIMEDOUT if wait.device else -EPROBE_DEFER

    async def step(_: Probe) -> int:
        return 0 if await around.bound(name).wait(wait.timeout) else late

    return step


def _fail(phase: Phase) -> Callable[[Probe], Awaitable[int]]:
    result = -errno_value(phase.fail or "0")

    async def step(probe: Probe) -> int:
        return result if phase.attempts is None or probe.attempt <= phase.attempts else 0

    return step
