"""From a driver's phases to the functions that the driver core calls.

What a probe registered is taken back when the driver lets the device go, or when the probe fails. A device that has
phases of its own is probed by them, whichever driver does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from numaprobe.drivercore import Attribute
from numaprobe.scenario.phases import Phase, Probe, Surroundings, do_all, spans_of, with_inner
from numaprobe.scenario.phases.base import MILLION
from numaprobe.scenario.turns import Share, Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from numaprobe.drivercore import Device
    from numaprobe.runtime import Event
    from numaprobe.scenario.phases import AttributeModel
    from numaprobe.scenario.schema import DriverModel


#: When a function began that is no probe, where waits are written down by that.
_NO_PROBE: Final = -1


class BodySurroundings(Surroundings, Protocol):
    """What a driver's functions need of the run besides what phases do."""

    def phases_of(self, dev: Device) -> tuple[Phase, ...] | None:
        """Return the phases of this very device; None: its driver's."""
        ...

    def watched(self, device: str) -> Event | None:
        """Return the flag to be set while this device's probe runs, if a step waits for that."""
        ...

    def shares(self, driver: str) -> tuple[Share, ...]:
        """Return the parts that a probe of this driver has in shared resources."""
        ...

    #: in how many turns a probe has one of these
    turns: int

    async def remove_children(self, parent: Device) -> None:
        """Take back what ``parent``'s probe registered."""
        ...


def probe_body(driver: DriverModel, around: BodySurroundings, seed: int | None) -> Callable[[Device], Awaitable[int]]:
    """Return the probe function of a driver."""
    attempts: dict[str, int] = {}
    jitter_ppm = round(driver.jitter * MILLION)
    spread_ppm = round(driver.spread_as(around.read_as) * MILLION)

    async def body(dev: Device) -> int:
        attempt = attempts[dev.name] = attempts.get(dev.name, 0) + 1
        name = f"{seed}/{driver.bus}/{driver.name}/{dev.name}"
        probe = Probe(dev, around, attempt, jitter_ppm, spread_ppm, name, start_ns=around.machine.now())
        own = around.phases_of(dev)
        phases = driver.phases if own is None else own
        watched = around.watched(dev.name)
        if watched is None:
            result = await do_shared(phases, probe)
        else:
            watched.set()
            try:
                result = await do_shared(phases, probe)
            finally:
                watched.clear()
        if result == 0:
            around.bound(dev.name).set()
        elif any(phase.registers for phase in with_inner(phases)):
            await around.remove_children(dev)
        return result

    async def do_shared(phases: tuple[Phase, ...], probe: Probe) -> int:
        shares = around.shares(driver.name)
        if not shares:
            return await do_all(phases, probe)
        compute, sleep = spans_of(phases, around.read_as)
        async with Turns(around.machine, probe.waiter, shares, compute, sleep, around.turns) as turns:
            probe.turns = turns
            return await do_all(phases, probe)

    return body


def remove_body(driver: DriverModel, around: BodySurroundings) -> Callable[[Device], Awaitable[None]]:
    """Return the remove function of a driver."""

    async def body(dev: Device) -> None:
        around.bound(dev.name).clear()
        await around.remove_children(dev)
        await do_all(driver.remove, Probe(dev, around))

    return body


def attributes_of(models: Iterable[AttributeModel], around: BodySurroundings) -> tuple[Attribute, ...]:
    """Return files of sysfs."""

    def function(phases: tuple[Phase, ...] | None) -> Callable[[Device], Awaitable[int]] | None:
        if phases is None:
            return None
        return lambda dev: do_all(phases, Probe(dev, around, start_ns=_NO_PROBE))

    return tuple(
        Attribute(name=one.name, show=function(one.show), store=function(one.store), locked=one.locked)
        for one in models
    )
