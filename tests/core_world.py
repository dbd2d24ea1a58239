"""A driver core on a machine, with bodies that note what is done to them: what the tests of the core stand on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numaprobe.buses import PciBus, PciDevice, PlatformBus
from numaprobe.drivercore import Bus, CoreOptions, Device, Driver, DriverCore, ProbeType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Placing
    from numaprobe.records import ProbeRecord
    from numaprobe.runtime import Machine

MS = 1_000_000


class World:
    """One core with a plain bus, a platform and a PCI bus.

    ``log`` holds "probe DRIVER DEVICE", "done DRIVER DEVICE" and "remove DRIVER DEVICE", in the order of happening.
    """

    def __init__(self, machine: Machine, policy: Placing | None, options: CoreOptions | None) -> None:
        self.machine = machine
        self.core = DriverCore(machine, policy, options)
        self.bus = self.core.bus_register(Bus("plain"))
        self.platform = self.core.bus_register(PlatformBus())
        self.pci = self.core.bus_register(PciBus())
        self.log: list[str] = []
        #: a test whose run deadlocks says so: then nothing can be held any more
        self.broken = False

    def run(self, main: Callable[[], Awaitable[Any]], *, cpu: int | None = 0) -> Any:
        return self.machine.run(main, cpu=cpu)

    def device(self, name: str, compatible: str = "x", *, bus: Bus | None = None, **more: Any) -> Device:
        bus = bus or self.bus
        kind = PciDevice if isinstance(bus, PciBus) else Device
        return kind(name=name, bus=bus, compatible=compatible, **more)

    def driver(
        self,
        name: str,
        *compatible: str,
        bus: Bus | None = None,
        results: tuple[Any, ...] = (0,),
        ns: int = MS,
        asynchronous: bool | None = False,
        body: Callable[[Device], Awaitable[Any]] | None = None,
        **more: Any,
    ) -> Driver:
        """A driver whose probe passes time, then gives the next of ``results`` (the last one for ever)."""
        rest = list(results)

        async def probe(dev: Device) -> Any:
            self.log.append(f"probe {name} {dev.name}")
            if ns:
                await self.machine.sleep(ns)
            answer = await body(dev) if body else rest.pop(0) if len(rest) > 1 else rest[0]
            self.log.append(f"done {name} {dev.name}")
            return answer

        async def remove(dev: Device) -> None:
            self.log.append(f"remove {name} {dev.name}")

        kinds = {None: ProbeType.DEFAULT, True: ProbeType.PREFER_ASYNCHRONOUS, False: ProbeType.FORCE_SYNCHRONOUS}
        return Driver(
            name=name,
            bus=bus or self.bus,
            probe=probe,
            compatible=compatible or ("x",),
            **{"remove": remove, "probe_type": kinds[asynchronous]} | more,
        )

    def probed(self) -> list[str]:
        """The probes so far, as "DRIVER DEVICE", in the order of their starts."""
        return [line.removeprefix("probe ") for line in self.log if line.startswith("probe ")]

    def record(self, device: str, attempt: int = 1) -> ProbeRecord:
        """The record of a device's ``attempt``-th probe."""
        return next(one for one in self.core.records if one.device == device and one.attempt == attempt)

    def bound(self) -> dict[str, str]:
        """Device name to driver name, of all bound devices."""
        devices = [dev for bus in self.core.buses.values() for dev in bus.devices.values()]
        return {dev.name: dev.driver.name for dev in devices if dev.is_bound and dev.driver}

    def deferred(self) -> list[str]:
        lists = self.core.state.deferred
        return [dev.name for dev in (*lists.active.values(), *lists.pending.values())]

    def warnings(self, kind: str) -> list[str]:
        return [one.message for one in self.machine.warnings if one.kind == kind]

    def validate(self) -> None:
        if not self.broken:
            self.core.validate()
            check = getattr(self.machine, "validate", None)
            if check is not None:
                check()
