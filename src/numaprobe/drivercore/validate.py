"""The cross-promises of the core, checked: what one object says of another must be what the other says too.

The test fixture runs this after each test, and the property test after each step; a user may at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.drivercore.deferred import CANNOT_MATCH
from numaprobe.drivercore.states import DeviceState
from numaprobe.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.drivercore.asyncs import AsyncCalls
    from numaprobe.drivercore.model import Device, Driver
    from numaprobe.drivercore.state import CoreState, DeferredLists


def validate_core(state: CoreState, asyncs: AsyncCalls, *, quiescent: bool) -> None:
    """Raise InternalError with the first broken promise and the device's story."""
    for bus in state.buses.values():
        for dev in bus.devices.values():
            for problem in _device_problems(state.deferred, dev, quiescent=quiescent):
                story = " | ".join(dev.story())
                raise InternalError(f"{dev!r}: {problem}. Its story: {story}")
        for drv in bus.drivers.values():
            for problem in _driver_problems(drv, quiescent=quiescent):
                raise InternalError(f"{drv!r}: {problem}")
    for problem in _core_problems(state, asyncs, quiescent=quiescent):
        raise InternalError(problem)


def _device_problems(deferred: DeferredLists, dev: Device, *, quiescent: bool) -> Iterator[str]:
    if dev.bus.devices.get(dev.name) is not dev:
        yield "its bus knows another device of this name"
    if dev.state is DeviceState.BOUND:
        if dev.driver is None or dev.driver.devices.get(dev.key) is not dev:
            yield "it is bound, but its driver does not list it"
        if dev in deferred and not (dev.p.deferred_reason or "").endswith(CANNOT_MATCH):
            yield "it is bound and on the deferred list"
    if dev.state is DeviceState.UNBOUND and (dev.drvdata is not None or dev.p.devres or _has_old_driver(dev)):
        yield "it is not bound, but keeps something of a driver"
    if dev.key in deferred.pending and dev.key in deferred.active:
        yield "it is on both deferred lists"
    if dev.state in (DeviceState.PROBING, DeviceState.RELEASING) and dev.lock.owner is None:
        yield "a driver is at it and nobody holds its lock"
    if dev.parent is not None and dev.parent.children.get(dev.key) is not dev:
        yield "its parent does not know it"
    yield from _file_problems(dev, quiescent=quiescent)
    if quiescent:
        yield from _quiescent_problems(dev)


def _file_problems(dev: Device, *, quiescent: bool) -> Iterator[str]:
    for file in (dev.p.files or {}).values():
        if dev.state is DeviceState.UNBOUND and file.attribute not in dev.attributes:
            yield f"it is not bound, but has the file {file.attribute.name} of a driver"
        if quiescent and file.inside:
            yield f"{next(iter(file.inside)).comm} is inside of its file {file.attribute.name}"


def _has_old_driver(dev: Device) -> bool:
    """Tell whether it names a driver and did not come with it, still to be bound (``_bind_preset``)."""
    return dev.driver is not None and any("  probe: " in line for line in dev.story())


def _quiescent_problems(dev: Device) -> Iterator[str]:
    if dev.lock.owner is not None:
        yield f"its lock is held by {dev.lock.owner.comm}"
    if dev.state not in (DeviceState.BOUND, DeviceState.UNBOUND):
        yield "it stands still in a state of passage"
    if dev.p.async_driver is not None:
        yield "an async attach is still pending"
    if dev.p.dead:
        yield "it is dead and still on its bus"


def _driver_problems(drv: Driver, *, quiescent: bool) -> Iterator[str]:
    if not drv.registered:
        yield "its bus lists it, but it is not registered"
    for dev in drv.devices.values():
        if dev.driver is not drv or dev.state not in (DeviceState.BOUND, DeviceState.RELEASING):
            yield f"it lists {dev.name}, which is not bound to it"
    if quiescent and drv.users:
        yield f"{drv.users} calls use it"


def _core_problems(state: CoreState, asyncs: AsyncCalls, *, quiescent: bool) -> Iterator[str]:
    for dev in state.deferred:
        if dev.bus.devices.get(dev.name) is not dev and not dev.p.dead:
            yield f"{dev.name} is on the deferred list and on no bus"
    if not quiescent:
        return
    probes = int(state.probes)
    if probes or asyncs.pending:
        yield f"{probes} probes and {asyncs.pending} async calls are under way"
    if state.deferred.active:
        yield f"{next(iter(state.deferred.active.values())).name} waits for a retry that nobody makes"
