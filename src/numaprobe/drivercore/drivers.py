"""Drivers and modules come and go.

Source: ``driver_register``, ``driver_unregister`` (``drivers/base/driver.c``), ``bus_add_driver``,
``bus_remove_driver`` (``drivers/base/bus.c``), ``do_init_module`` (``kernel/module/main.c``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.errors import StateError

if TYPE_CHECKING:
    from numaprobe.drivercore.asyncs import AsyncCalls
    from numaprobe.drivercore.binding import Binding
    from numaprobe.drivercore.deadlock import Deadlocks
    from numaprobe.drivercore.deferred import DeferredProbes
    from numaprobe.drivercore.model import Driver
    from numaprobe.drivercore.release import Releasing
    from numaprobe.drivercore.state import CoreState


class Drivers:
    """Registers the drivers of one core, and takes them away.

    Args:
        state: where they are kept.
        deadlocks: refuses what would never end.
        deferred: a driver is news, and puts off the timeout.
        binding: offers a driver the devices of its bus.
        release: has a driver that goes let its devices go.
        asyncs: waited for at the end of a module's load.

    """

    def __init__(
        self,
        state: CoreState,
        deadlocks: Deadlocks,
        deferred: DeferredProbes,
        binding: Binding,
        release: Releasing,
        asyncs: AsyncCalls,
    ) -> None:
        self._state = state
        self._machine = state.machine
        self._deadlocks = deadlocks
        self._deferred = deferred
        self._binding = binding
        self._release = release
        self._asyncs = asyncs

    async def register(self, drv: Driver) -> None:
        """See ``DriverCore.driver_register``."""
        key = drv.bus.name, drv.name
        if key in self._state.driver_names:
            raise StateError(f"driver {drv.name} is registered on bus {drv.bus.name} already")
        self._deadlocks.refuse_register(drv)
        self._deferred.note_request()
        self._state.driver_names.add(key)
        drv.idle = self._machine.event(f"driver {drv.name} unused")
        drv.registered = True
        drv.bus.drivers[drv.name] = drv
        if drv.bus.drivers_autoprobe:
            with drv.used():
                await self._binding.driver_attach(drv)
        self._deferred.extend_timeout()

    async def unregister(self, drv: Driver) -> None:
        """See ``DriverCore.driver_unregister``."""
        if not drv.registered:
            raise StateError(f"driver {drv.name} is not registered")
        self._deadlocks.refuse_unregister(drv, waits_for_async=drv.allows_async(self._state.options))
        drv.registered = False
        del drv.bus.drivers[drv.name]
        while drv.users and drv.idle is not None:
            await drv.idle.wait()
        await self._release.driver_detach(drv)
        self._state.driver_names.remove((drv.bus.name, drv.name))

    async def load_module(self, drivers: tuple[Driver, ...], name: str, *, async_probe: bool | None) -> None:
        """See ``DriverCore.load_module``."""
        module = name or (drivers[0].name if drivers else "")
        wanted = self._state.options.module_async(module) if async_probe is None else async_probe
        if not wanted:
            self._deadlocks.refuse_async_wait(f"loads module {module}")
        for drv in drivers:
            drv.async_requested = wanted
            await self.register(drv)
        if not wanted:
            await self._asyncs.synchronize_full()
