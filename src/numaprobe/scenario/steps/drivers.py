"""Steps about drivers: modules that are loaded, drivers that are built in, and the core's switch for all of them."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from numaprobe.scenario.steps.base import OnNames, Shell, Step, StepRun
from numaprobe.scenario.tables import Names


class Load(OnNames):
    """Drivers, as one module: returns when its asynchronous probes are done, unless ``async_probe``."""

    load: Names
    #: the module's ``async_probe`` parameter
    async_probe: bool | None = None

    async def do(self, run: StepRun, where: str) -> None:
        """Load the module."""
        await run.core.load_module(*run.drivers(self.load), async_probe=self.async_probe)

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Load each driver's module."""
        return iter(guest.loaded(self.load, async_probe=self.async_probe))


class Register(OnNames):
    """Drivers, built in: no waiting at the end."""

    drivers: Names = Field(alias="register")

    async def do(self, run: StepRun, where: str) -> None:
        """Register them one after the other."""
        for driver in run.drivers(self.drivers):
            await run.core.driver_register(driver)

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Load each driver's module, or register it if it needs none."""
        return iter(guest.registered(self.drivers))


class Unregister(OnNames):
    """Drivers go."""

    unregister: Names

    async def do(self, run: StepRun, where: str) -> None:
        """Unregister them one after the other."""
        for driver in run.drivers(self.unregister):
            await run.core.driver_unregister(driver)

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Unload each driver's module, or unregister it if it has none."""
        return iter(guest.unregistered(self.unregister))


class LateInitcall(Step):
    """``deferred_probe_initcall()``: the end of booting (``booting``), from which on deferred devices are retried."""

    late_initcall: Literal[True]

    async def do(self, run: StepRun, where: str) -> None:
        """Retry them, twice, and wait."""
        await run.core.late_initcall()


class BlockProbing(Step):
    """``device_block_probing()`` / ``device_unblock_probing()``."""

    block_probing: bool

    async def do(self, run: StepRun, where: str) -> None:
        """Block it, or let it go on."""
        if self.block_probing:
            await run.core.device_block_probing()
        else:
            run.core.device_unblock_probing()
