"""What one core knows: buses, taken names, links, deferred devices, counters. Nothing here decides or awaits.

The procedures of the core (``binding.py``, ``devices.py``, ``drivers.py``, ...) are given this, and of each other only
what they call. Between two awaits of a procedure the state is whole: no lock guards it, its machine runs one task of
the core at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from numaprobe.drivercore.links import DeviceLinks
from numaprobe.drivercore.placement import Placement
from numaprobe.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.drivercore.model import Bus, Device
    from numaprobe.drivercore.options import CoreOptions
    from numaprobe.runtime import Event, Machine


class DeferredLists:
    """The deferred devices.

    Attributes:
        pending: those that wait for a trigger, oldest first.
        active: those that the retrying work will take next, oldest first.
        enabled: late_initcall has come (``driver_deferred_probe_enable``).
        blocked: every probe is deferred (``defer_all_probes``).
        trigger_count: triggers so far (``deferred_trigger_count``).

    """

    def __init__(self, *, enabled: bool) -> None:
        self.pending: OrderedDict[tuple[str, str], Device] = OrderedDict()
        self.active: OrderedDict[tuple[str, str], Device] = OrderedDict()
        self.enabled = enabled
        self.blocked = False
        self.trigger_count = 0

    def __contains__(self, dev: Device) -> bool:
        return dev.key in self.pending or dev.key in self.active

    def __iter__(self) -> Iterator[Device]:
        yield from self.pending.values()
        yield from self.active.values()


class ProbeCount:
    """How many probes are under way (``probe_count``)."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._count = 0
        #: made by the first task that waits for it
        self._idle: Event | None = None

    def __int__(self) -> int:
        return self._count

    def started(self) -> None:
        """Count a probe."""
        self._count += 1

    def ended(self) -> None:
        """Uncount a probe and wake the tasks that wait for none to be left."""
        self._count -= 1
        if self._count == 0 and self._idle is not None:
            self._idle.set()
            self._idle = None

    @property
    def idle(self) -> Event:
        """What is set when the last probe ends; another one for each time that none is left."""
        self._idle = self._idle or self._machine.event("no probe under way")
        return self._idle


class CoreState:
    """What one core knows.

    Attributes:
        machine: what runs the core.
        options: what the command line said.
        placement: what the policy gave for this core; it is asked where each probe goes.
        buses: by name.
        device_names: the devices whose names are taken: until the very end of their removal, as their folders in sysfs.
        driver_names: the drivers likewise: until they have let go all their devices.
        links: which device supplies which.
        deferred: the deferred devices.
        probes: how many probes are under way.

    """

    def __init__(self, machine: Machine, options: CoreOptions) -> None:
        self.machine = machine
        self.options = options
        self.placement = Placement(self)
        self.buses: dict[str, Bus] = {}
        self.device_names: set[tuple[str, str]] = set()
        self.driver_names: set[tuple[str, str]] = set()
        self.links = DeviceLinks()
        self.deferred = DeferredLists(enabled=options.booted)
        self.probes = ProbeCount(machine)

    def bus(self, name: str) -> Bus:
        """Return the bus of this name.

        Raises:
            UnknownNameError: there is none.

        """
        try:
            return self.buses[name]
        except KeyError:
            raise UnknownNameError("bus", name, self.buses) from None

    def devices(self) -> Iterator[Device]:
        """Return all registered devices, bus by bus, in the order of adding."""
        return (dev for bus in self.buses.values() for dev in bus.devices.values())
