"""May this device be touched, and if not, what uses it: the one place that answers.

A device is refused for its own uses (``uses.py``) and for those of what hangs on it: devices below it, its enabled VFs,
its active consumers, the partners that are handed over with it. Each such reason stays the other device's, with its
flag. A device that is only bound, and not taken from anybody, is refused for its IOMMU group alone.

``Survey`` answers for many devices from one moment; ``Guard.recheck`` answers for one, from a moment that begins after
it was asked, and is called right before each write. A moment is read when the first reason asks for it: a bind of what
nobody has asks for none. Between that answer and the write there is still an instant in
which somebody may open the device: the kernel has no "unbind unless in use". Nobody can close that gap from user
space; it is kept as short as the one pass over ``/proc``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from numaprobe.bringup.contents import Contents
from numaprobe.bringup.moment import Moments
from numaprobe.bringup.reasons import CODES, FINAL, Reason, make_reason
from numaprobe.bringup.things import Index, Walker
from numaprobe.bringup.uses import uses_of
from numaprobe.errors import UnknownNameError, UsageError
from numaprobe.listing import first_few

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from numaprobe.bringup.moment import Moment
    from numaprobe.bringup.plan import Allowance, Change, Plan
    from numaprobe.bringup.senses import Senses
    from numaprobe.bringup.sysfs import Sysfs, SysfsDevice
    from numaprobe.bringup.things import Finder, Things

#: A sentence names so many users of one kind; the others are counted.
_NAMED: Final = 3
#: States of a link whose consumer works with its supplier (drivers/base/core.c, device_link_show status).
_ACTIVE: Final = ("active", "consumer probing")
#: Bridges and their like stay with their drivers when their group is handed over (vfio_dev_driver_allowed).
_BYSTANDERS: Final = frozenset(("pcieport", "shpchp", "pci-stub"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What shall be done to a device."""

    #: one of ``plan.ACTIONS``
    action: str
    driver_after: str | None = None


class Survey:
    """Reasons of many devices, at one moment: that of the first question which needs one."""

    def __init__(self, sysfs: Sysfs, moment: Callable[[], Moment], finder: Finder, contents: Contents) -> None:
        self._sysfs, self._read_moment, self._finder, self.contents = sysfs, moment, finder, contents
        self._own: dict[str, tuple[Reason, ...]] = {}
        self._things: dict[str, Things] = {}
        self._devices: dict[str, SysfsDevice | None] = {}

    @cached_property
    def _moment(self) -> Moment:
        return self._read_moment()

    @property
    def denied(self) -> int:
        """How many processes have descriptors that may not be seen."""
        return len(self._moment.denied)

    def things(self, device: SysfsDevice) -> Things:
        """Return what a device gives to others."""
        if device.path not in self._things:
            self._things[device.path] = self._finder.things_of(device)
        return self._things[device.path]

    def own(self, device: SysfsDevice) -> tuple[Reason, ...]:
        """Return how a device is in use by itself: one reason of each code."""
        if device.path not in self._own:
            found: dict[str, list[str]] = {}
            for code, sentence in uses_of(device, self.things(device), self._moment, self.contents):
                sentences = found.setdefault(code, [])
                if sentence not in sentences:
                    sentences.append(sentence)
            self._own[device.path] = _reasons(device, found)
        return self._own[device.path]

    def reasons(self, device: SysfsDevice, intent: Intent, planned: Collection[str] = ()) -> tuple[Reason, ...]:
        """Return why a device may not be touched, without regard to what is allowed.

        Args:
            device: the device.
            intent: what shall be done.
            planned: directories of all devices of the plan.

        """
        found = [*self._partners(device, intent, planned)]
        if device.driver is not None or intent.action != "bind":
            found = [*self._taken(device, planned, set()), *found]
        return tuple(dict.fromkeys(found))

    def _taken(self, device: SysfsDevice, planned: Collection[str], seen: set[str]) -> Iterator[Reason]:
        """Yield the reasons of a device that is taken away, and of all that goes with it."""
        if device.path in seen:
            return
        seen.add(device.path)
        yield from self.own(device)
        functions = self._sysfs.virtual_functions(device.path) if device.bus == "pci" else []
        if functions:
            count = f"{len(functions)} virtual functions are enabled and would go"
            yield make_reason("vfs", count, device.bus, device.name)
        consumers = [path for path in self._active_consumers(device.path) if path not in planned]
        if consumers:
            names = _listing([path.rpartition("/")[2] for path in consumers])
            yield make_reason("consumers", f"{names} needs it and is bound", device.bus, device.name)
        for path in (*self.things(device).children, *functions, *consumers):
            other = self._device(path)
            if other is not None:
                yield from self._taken(other, planned, seen)

    def _active_consumers(self, path: str) -> list[str]:
        links = self._finder.consumers_of(path)
        return [link.consumer for link in links if link.status in _ACTIVE and self._sysfs.driver_of(link.consumer)]

    def _partners(self, device: SysfsDevice, intent: Intent, planned: Collection[str]) -> Iterator[Reason]:
        """Yield why a device's IOMMU group forbids it: it is one unit of isolation, and goes to user space whole."""
        if device.iommu_group is None:
            return
        paths = [path for path in self._sysfs.group_members(device.iommu_group) if path != device.path]
        partners = [other for path in paths if (other := self._device(path)) is not None]
        for other in partners:
            if other.driver is not None and "vfio" in other.driver and other.path not in planned:
                yield from (one for one in self.own(other) if one.code == "open")
        if "vfio" not in (intent.driver_after or ""):
            return
        bound = [
            other
            for other in partners
            if other.path not in planned
            and other.driver not in (None, *_BYSTANDERS)
            and "vfio" not in (other.driver or "")
        ]
        if bound:
            names = _listing([f"{other.name} ({other.driver})" for other in bound])
            text = f"{names} in the same IOMMU group {device.iommu_group} would be within its reach"
            yield make_reason("iommu-group", text, device.bus, device.name)

    def _device(self, path: str) -> SysfsDevice | None:
        if path not in self._devices:
            self._devices[path] = self._sysfs.at(path)
        return self._devices[path]


class Guard:
    """Looks at the machine, and knows what the user has allowed."""

    def __init__(self, sysfs: Sysfs, senses: Senses, allowances: Iterable[Allowance] = ()) -> None:
        self._sysfs, self._senses = sysfs, senses
        self._moments = Moments(sysfs, senses)
        self.allowances = tuple(allowances)
        for allowance in self.allowances:
            check_allowance(allowance)

    def survey(self, *, read_disks: bool) -> Survey:
        """Return the reasons of all devices, as of the first one that is asked for.

        Args:
            read_disks: read what every disk holds that is asked about, and do not take udev's word.

        """
        contents = Contents(self._sysfs.root, self._senses, read=read_disks)
        return Survey(self._sysfs, self._moments.fresh, Index(self._sysfs), contents)

    def refusals(self, reasons: Iterable[Reason]) -> tuple[Reason, ...]:
        """Return the reasons that the user has not allowed."""
        return tuple(one for one in reasons if not any(_allows(allowance, one) for allowance in self.allowances))

    def recheck(self, change: Change, plan: Plan) -> tuple[Reason, ...]:
        """Return why a change may not be made, as of a moment that began after this call: to be asked before a write.

        A device that is gone has no reason: the write will say so, and takes nothing. Of a bind of a device that has
        no driver the partners in its IOMMU group are asked about, and the machine itself only if VFIO has one of them.
        """
        device = self._sysfs.device(change.bus, change.name)
        if device is None or device.path != change.device:
            return ()
        contents = Contents(self._sysfs.root, self._senses, read=True)
        survey = Survey(self._sysfs, self._moments.fresh, Walker(self._sysfs), contents)
        intent = Intent(action=change.action, driver_after=change.driver_after)
        return self.refusals(survey.reasons(device, intent, {one.device for one in plan.changes}))


def check_allowance(allowance: Allowance) -> None:
    """Accept an allowance that can allow something.

    Raises:
        UnknownNameError: there is no such reason.
        UsageError: nothing overrides that reason.

    """
    if allowance.code not in CODES:
        raise UnknownNameError("reason", allowance.code, [code for code in CODES if code not in FINAL])
    if allowance.code in FINAL:
        text = f"nothing overrides '{allowance.code}' ({CODES[allowance.code]}); leave {allowance.device} alone"
        raise UsageError(text)


def _allows(allowance: Allowance, one: Reason) -> bool:
    return allowance.code == one.code and allowance.device in (one.device, one.device.partition("/")[2])


def _reasons(device: SysfsDevice, found: dict[str, list[str]]) -> tuple[Reason, ...]:
    ordered = sorted(found, key=list(CODES).index)
    return tuple(make_reason(code, _listing(found[code], "; "), device.bus, device.name) for code in ordered)


def _listing(texts: list[str], between: str = ", ") -> str:
    return first_few(texts, _NAMED, between=between, last=f"{between}and")
