"""Waits that can never end, named before they begin.

A body (a probe or a remove) that asks for something which waits for that very body would hang in the kernel. Each
request that can be so is checked here *before* its first step, so that refusing it leaves everything as it was: the
body gets ``DeadlockError`` where its kernel counterpart would get no answer at all.

Only what the chain of the current task shows is found here. Deadlocks between tasks are the machine's to name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.drivercore.device import DeviceState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.drivercore.core import DriverCore
    from numaprobe.drivercore.device import Device
    from numaprobe.drivercore.driver import Driver


def refuse_release(core: DriverCore, devices: Iterable[Device], what: str) -> None:
    """Refuse to release ``devices`` from inside a body of one of them, of a child, or of a consumer of these.

    Raises:
        DeadlockError: we are inside such a body.

    """
    if core.bodies.inside():
        closure = _released_with(core, devices)
        core.bodies.refuse_inside(lambda dev: dev in closure, what)


def refuse_remove(core: DriverCore, dev: Device) -> None:
    """Refuse to remove ``dev`` from inside a body that the removal would wait for.

    Raises:
        DeadlockError: we are inside such a body.

    """
    if core.bodies.inside():
        closure = _released_with(core, [dev], children=True)
        core.bodies.refuse_inside(lambda one: one in closure, f"removes {dev.name}")


def refuse_register(core: DriverCore, drv: Driver) -> None:
    """Refuse to register a driver that matches the device whose body is running: attaching takes its lock.

    Raises:
        DeadlockError: we are inside such a body.

    """
    if not core.bodies.inside() or not drv.bus.drivers_autoprobe:
        return
    locked = {dev for dev in drv.bus.devices.values() if core.bodies.match(dev, drv) > 0}
    if drv.bus.need_parent_lock:
        locked |= {dev.parent for dev in locked if dev.parent is not None}
    core.bodies.refuse_inside(lambda dev: dev in locked, f"registers driver {drv.name}, which locks it")


def refuse_async_wait(core: DriverCore, what: str) -> None:
    """Refuse to wait for all async calls from inside one of them.

    Raises:
        DeadlockError: we are inside a probe that an async worker runs.

    """
    core.bodies.refuse_inside(lambda dev: dev.state is DeviceState.PROBING and dev.p.probing_async, what)


def refuse_wait(core: DriverCore) -> None:
    """Refuse to wait for all probes from inside one that is counted (``bind`` does not count).

    Raises:
        DeadlockError: we are inside one.

    """
    core.bodies.refuse_inside(
        lambda dev: dev.state is DeviceState.PROBING and dev.p.path != "device_driver_attach", "waits for all probes"
    )


def _released_with(core: DriverCore, devices: Iterable[Device], *, children: bool = False) -> set[Device]:
    """Return ``devices`` and all whose release theirs waits for: consumers, with ``children`` these too."""
    found: set[Device] = set()
    todo = list(devices)
    while todo:
        dev = todo.pop()
        if dev not in found:
            found.add(dev)
            todo += core.links.busy_consumers(dev)
            todo += dev.children.values() if children else ()
    return found
