"""Waits that can never end, named before they begin.

A body (a probe or a remove) that asks for something which waits for that very body would hang in the kernel. Each
request that can be so is checked here *before* its first step, so that refusing it leaves everything as it was: the
body gets ``DeadlockError`` where its kernel counterpart would get no answer at all.

Only what the chain of the current task shows is found here. Deadlocks between tasks are the machine's to name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.drivercore.states import DeviceState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.drivercore.body import ProbeBodies
    from numaprobe.drivercore.chain import Chains
    from numaprobe.drivercore.links import DeviceLinks
    from numaprobe.drivercore.model import Device, Driver


class Deadlocks:
    """Refuses the requests of one core's bodies that would wait for the body itself."""

    def __init__(self, chains: Chains, links: DeviceLinks, bodies: ProbeBodies) -> None:
        self._chains = chains
        self._links = links
        self._bodies = bodies

    def refuse_release(self, devices: Iterable[Device], what: str) -> None:
        """Refuse to release ``devices`` from inside a body of one, of a consumer, or of a parent that is locked too.

        Raises:
            DeadlockError: we are inside such a body.

        """
        if self._chains.inside():
            locked = self._locked_by_release(devices)
            self._chains.refuse_inside(lambda dev: dev in locked, what)

    def refuse_remove(self, dev: Device) -> None:
        """Refuse to remove ``dev`` from inside a body that the removal would wait for.

        Raises:
            DeadlockError: we are inside such a body.

        """
        if self._chains.inside():
            locked = self._locked_by_release([dev], remove=True)
            self._chains.refuse_inside(lambda one: one in locked, f"removes {dev.name}")

    def refuse_register(self, drv: Driver) -> None:
        """Refuse to register a driver that matches the device whose body is running: attaching takes its lock.

        Raises:
            DeadlockError: we are inside such a body.

        """
        if not self._chains.inside() or not drv.bus.drivers_autoprobe:
            return
        locked = {dev for dev in drv.bus.devices.values() if self._bodies.match(dev, drv) > 0}
        if drv.bus.need_parent_lock:
            locked |= {dev.parent for dev in locked if dev.parent is not None}
        self._chains.refuse_inside(lambda dev: dev in locked, f"registers driver {drv.name}, which locks it")

    def refuse_unregister(self, drv: Driver, *, waits_for_async: bool) -> None:
        """Refuse to unregister a driver from inside a body that it would wait for: its own, its devices' consumers'.

        Raises:
            DeadlockError: we are inside such a body; or in an async probe, if unregistering ``waits_for_async`` calls.

        """
        what = f"unregisters driver {drv.name}"
        self._chains.refuse_inside(lambda dev: dev.driver is drv, what)
        self.refuse_release(drv.devices.values(), what)
        if waits_for_async:
            self.refuse_async_wait(what)

    def refuse_async_wait(self, what: str) -> None:
        """Refuse to wait for all async calls from inside one of them.

        Raises:
            DeadlockError: we are inside a probe that an async worker runs.

        """
        self._chains.refuse_inside(lambda dev: dev.state is DeviceState.PROBING and dev.p.probing_async, what)

    def refuse_wait(self) -> None:
        """Refuse to wait for all probes from inside one that is counted (``bind`` does not count).

        Raises:
            DeadlockError: we are inside one.

        """
        self._chains.refuse_inside(
            lambda dev: dev.state is DeviceState.PROBING and dev.p.path != "device_driver_attach",
            "waits for all probes",
        )

    def _locked_by_release(self, devices: Iterable[Device], *, remove: bool = False) -> set[Device]:
        """Return all whose locks are taken when ``devices`` are released: with consumers, and parents where needed.

        With ``remove`` the devices themselves go, their children before them, and none of these needs its parent's
        lock.
        """
        locked: set[Device] = set()
        todo = [(dev, remove) for dev in devices]
        seen: set[tuple[Device, bool]] = set()
        while todo:
            dev, goes = one = todo.pop()
            if one in seen:
                continue
            seen.add(one)
            locked.add(dev)
            if not goes and dev.bus.need_parent_lock and dev.parent is not None:
                locked.add(dev.parent)
            todo += [(consumer, False) for consumer in self._links.busy_consumers(dev)]
            todo += [(child, True) for child in dev.children.values()] if goes else []
        return locked
