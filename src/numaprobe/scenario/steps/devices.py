"""Steps about devices: they come, go, are bound and let go through sysfs, and are checked."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from numaprobe.errors import InputError, InternalError
from numaprobe.scenario.choice import choose
from numaprobe.scenario.quantities import NamePattern
from numaprobe.scenario.steps.base import OnNames, Shell, Step, StepRun
from numaprobe.scenario.tables import Names, Table

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from numaprobe.drivercore import Device


class Add(OnNames):
    """Devices come."""

    add: Names

    async def do(self, run: StepRun, where: str) -> None:
        """Register them, in order."""
        await run.add(self.add)

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Find them again, if they are not there from the beginning."""
        return iter(guest.added(choose(self.add, guest.known), plugged=self.kind == "kthread"))


class Remove(OnNames):
    """Devices go."""

    remove: Names

    async def do(self, run: StepRun, where: str) -> None:
        """Remove those that are not being removed."""
        for dev in self.chosen(run):
            if not dev.p.dead:
                await run.core.device_del(dev)

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Take them away."""
        return iter(guest.removed(choose(self.remove, guest.known), pulled=self.kind == "kthread"))


class Bind(OnNames):
    """Write devices' names to a driver's ``bind``."""

    bind: Names
    #: None: the one that matches
    driver: NamePattern | None = None

    async def do(self, run: StepRun, where: str) -> None:
        """Bind them one after the other."""
        for dev in self.chosen(run):
            driver = self.driver or _matching(dev)
            run.told("bind", f"writing {dev.name} to bind", await run.core.bind(dev.bus.name, driver, dev.name))

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Write to the driver's ``bind``."""
        for name in choose(self.bind, guest.known):
            yield guest.write(name, "drivers/{driver}/bind", self.driver)


def _matching(dev: "Device") -> str:
    return next((driver.name for driver in dev.bus.drivers.values() if dev.bus.match(dev, driver) > 0), "")


class Unbind(OnNames):
    """Write devices' names to their drivers' ``unbind``."""

    unbind: Names

    async def do(self, run: StepRun, where: str) -> None:
        """Let them go one after the other."""
        for dev in self.chosen(run):
            driver = dev.driver.name if dev.driver else ""
            run.told("unbind", f"writing {dev.name} to unbind", await run.core.unbind(dev.bus.name, driver, dev.name))

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Write to the driver's ``unbind``."""
        for name in choose(self.unbind, guest.known):
            yield guest.write(name, "drivers/{driver}/unbind")


class DriversProbe(OnNames):
    """Write devices' names to their bus's ``drivers_probe``."""

    drivers_probe: Names

    async def do(self, run: StepRun, where: str) -> None:
        """Probe them one after the other."""
        for dev in self.chosen(run):
            result = await run.core.drivers_probe(dev.bus.name, dev.name)
            run.told("drivers_probe", f"writing {dev.name} to drivers_probe", result)

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Write to the bus's ``drivers_probe``."""
        for name in choose(self.drivers_probe, guest.known):
            yield guest.write(name, "drivers_probe")


class NumVfs(Table):
    """``sriov_numvfs``: of which device, and how many; 0 disables them."""

    device: NamePattern
    vfs: Annotated[int, Field(ge=0, le=65_535)]


class SriovNumvfs(Step):
    """Write to the ``sriov_numvfs`` of a physical function."""

    sriov_numvfs: NumVfs

    async def do(self, run: StepRun, where: str) -> None:
        """Have the bound driver enable or disable virtual functions, under the device's lock."""
        await _store(run, self.key, self.sriov_numvfs.device, self.sriov_numvfs.vfs)

    @property
    def what(self) -> str:
        """Its key, the device and how many."""
        return f"{self.key} {self.sriov_numvfs.device} {self.sriov_numvfs.vfs}"

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Write to the file, if the device has it."""
        return iter(guest.numvfs(self.sriov_numvfs.device, self.sriov_numvfs.vfs, where))


class Authorized(Table):
    """``authorized``: of which USB devices or interfaces, and whether."""

    device: NamePattern
    on: bool


class WriteAuthorized(Step):
    """Write to the ``authorized`` of USB devices or interfaces."""

    authorized: Authorized

    async def do(self, run: StepRun, where: str) -> None:
        """Have them come to life, or go."""
        await _store(run, self.key, self.authorized.device, int(self.authorized.on))

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Refuse: the lab has no USB device."""
        raise InputError(f"{where}: the lab has no USB device; run it on the virtual machine")


async def _store(run: StepRun, file: str, device: str, value: int) -> None:
    """Write to a file of these devices that their bus brings."""
    here = run.here([device])
    for name in choose([device], here):
        result = await here[name].bus.store(run.core, here[name], file, value)
        run.told(file, f"writing {value} for {name} to {file}", result)


class SysfsFile(Table):
    """``read``, ``write``: which file of which devices, one of their ``attributes``."""

    device: NamePattern
    file: NamePattern


class OnFile(Step):
    """A step about a file of a device."""

    #: in a warning, where it fails
    doing: ClassVar[str] = ""

    @property
    def file(self) -> str:
        """The file."""
        file: str = self.said.file
        return file

    @property
    def what(self) -> str:
        """Its key, the device and the file."""
        return f"{self.key} {self.said.device}/{self.file}"

    async def do(self, run: StepRun, where: str) -> None:
        """Have the file's function called, for one device after the other."""
        here = run.here([self.said.device])
        for name in choose([self.said.device], here):
            run.told("attribute", f"{self.doing} {name}/{self.file}", await self.call(run, here[name]))

    def call(self, run: StepRun, dev: "Device") -> "Awaitable[int]":
        """Call it."""
        raise InternalError(f"step '{self.key}' does nothing")


class ReadFile(OnFile):
    """Read a file of a device."""

    doing: ClassVar[str] = "reading"

    read: SysfsFile

    def call(self, run: StepRun, dev: "Device") -> "Awaitable[int]":
        """Read it."""
        return run.core.read(dev.bus.name, dev.name, self.file)


class WriteFile(OnFile):
    """Write a file of a device."""

    doing: ClassVar[str] = "writing"

    write: SysfsFile

    def call(self, run: StepRun, dev: "Device") -> "Awaitable[int]":
        """Write it."""
        return run.core.write(dev.bus.name, dev.name, self.file)


class Autoprobe(Table):
    """``autoprobe``: of which bus, and whether."""

    bus: NamePattern
    on: bool


class WriteAutoprobe(Step):
    """Write to a bus's ``drivers_autoprobe``."""

    shell_form: ClassVar[Literal["task", "command", "compound"]] = "command"

    autoprobe: Autoprobe

    async def do(self, run: StepRun, where: str) -> None:
        """Switch it."""
        run.core.bus(self.autoprobe.bus).drivers_autoprobe = self.autoprobe.on

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Write to the file."""
        yield f"echo {int(self.autoprobe.on)} > {guest.bus_file(self.autoprobe.bus, 'drivers_autoprobe')}"


class ExpectBound(OnNames):
    """Check that devices are bound now."""

    shell_form: ClassVar[Literal["task", "command", "compound"]] = "command"

    expect_bound: Names

    async def do(self, run: StepRun, where: str) -> None:
        """Check it."""
        devices = self.chosen(run)
        unbound = [dev.name for dev in devices if not dev.is_bound]
        shown = f"{len(devices) - len(unbound)} of {len(devices)} bound"
        detail = f"{shown}; not: {', '.join(unbound[:5])}" if unbound else shown
        run.check(self.check or f"bound: {' '.join(self.names)}", passed=not unbound, detail=detail)

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Fail unless each has a driver."""
        return (guest.bound(name) for name in choose(self.expect_bound, guest.known))
