"""From chosen devices to a plan: what is done to each, in which order, and which devices are passed over.

1. Each device gets its change, or there is nothing to do.
2. The guard is asked about each change. A device that is refused leaves the plan, and then others may be refused that
   relied on it (a supplier whose consumer stays bound), so this repeats until nothing changes.
3. What depends on each other is put in waves: consumers are unbound before their suppliers, suppliers bound before
   their consumers. Devices that are rebound and depend on each other are all unbound first, then all bound.
4. Within a wave the nodes take turns: a stock kernel sends all PCI probes of a node to one CPU, so neighbours in the
   order should not be neighbours on a node.

A device below another one of the plan goes away with it and comes back as another: it is passed over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from numaprobe.bringup.guard import Intent
from numaprobe.bringup.modules import Modules
from numaprobe.bringup.plan import Change, Plan, Skipped
from numaprobe.bringup.reasons import Reason
from numaprobe.errors import MissingInterfaceError, UsageError
from numaprobe.listing import first_few
from numaprobe.runtime.parallel import ONE_BY_ONE, PARALLEL, UNKNOWN, WARNING, safety

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from numaprobe.bringup.guard import Guard, Survey
    from numaprobe.bringup.sysfs import Sysfs, SysfsDevice

#: Drivers of bridges: taking them away leaves the devices behind the bridge where they are.
_KEEPS_CHILDREN: Final = frozenset(("pcieport", "shpchp"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked for."""

    #: one of ``plan.ACTIONS``
    action: str
    #: the driver to bind to; None: the one that fits, or that it had
    driver: str | None = None
    #: most changes at one time; None: as the evidence allows, at most one for each online CPU
    jobs: int | None = None
    deadline_ns: int | None = None


def make_plan(sysfs: Sysfs, guard: Guard, devices: Sequence[SysfsDevice], wish: Wish) -> Plan:
    """Return what is to be done to these devices, and what is passed over.

    Args:
        sysfs: the machine.
        guard: what may be touched, and what the user allows.
        devices: those that were chosen.
        wish: what was asked for.

    Raises:
        MissingInterfaceError: the wished driver is not loaded.
        UsageError: a driver is wished for an unbind.

    """
    _check_wish(sysfs, devices, wish)
    modules = Modules(sysfs)
    begun = [_change(sysfs, modules, device, wish) for device in devices]
    changes = _without_below([one for one in begun if isinstance(one, Change)])
    skipped = [one for one in (*begun, *changes) if isinstance(one, Skipped)]
    survey = guard.survey(read_disks=True)
    by_path = {device.path: device for device in devices}
    kept, refused = _guarded(survey, guard, by_path, [one for one in changes if isinstance(one, Change)])
    ordered = tuple(in_turns(_in_waves(sysfs, [_with_safety(change, wish) for change in kept])))
    return Plan(
        changes=ordered,
        skipped=tuple(sorted((*skipped, *refused), key=lambda one: (one.bus, one.name))),
        jobs=wish.jobs or _most_at_once(sysfs, ordered),
        deadline_ns=wish.deadline_ns,
        allowances=guard.allowances,
        kernel=sysfs.root.text("proc/sys/kernel/osrelease"),
        warnings=tuple(_warnings(ordered, wish)),
    )


def _check_wish(sysfs: Sysfs, devices: Iterable[SysfsDevice], wish: Wish) -> None:
    if wish.driver is None:
        return
    if wish.action == "unbind":
        raise UsageError("unbind takes no driver; rebind gives a device to another")
    buses = sorted({device.bus for device in devices})
    missing = [bus for bus in buses if not sysfs.has_driver(bus, wish.driver)]
    if missing:
        raise MissingInterfaceError(f"driver '{wish.driver}' is not on bus {missing[0]}; modprobe {wish.driver}")


# --- 1. what is to be done


def _change(sysfs: Sysfs, modules: Modules, device: SysfsDevice, wish: Wish) -> Change | Skipped:
    if wish.action == "unbind":
        if device.driver is None:
            return _idle(device, "unbound", "has no driver")
        return _made(sysfs, device, "unbind", None)
    if device.driver is not None and wish.action == "bind":
        other = wish.driver not in (None, device.driver)
        return _idle(device, "bound", f"is bound to {device.driver}{'; rebind changes that' if other else ''}")
    driver = wish.driver or device.driver or _fitting(modules, device)
    if isinstance(driver, Skipped):
        return driver
    return _made(sysfs, device, "bind" if device.driver is None else "rebind", driver)


def _made(sysfs: Sysfs, device: SysfsDevice, action: str, driver: str | None) -> Change:
    # what was bound by an override (or an id given at run time) may match no more once it is unbound
    again = action == "rebind" or driver != device.driver
    through_override = again and driver not in (None, device.override) and device.has_override
    return Change(
        device=device.path,
        bus=device.bus,
        name=device.name,
        action=action,
        driver_before=device.driver,
        driver_after=driver,
        override_before=device.override,
        override_after=device.override,
        road="override" if through_override else "bind",
        node=device.node,
        cpus=sysfs.node_cpus(device.node),
    )


def _fitting(modules: Modules, device: SysfsDevice) -> str | Skipped:
    found = modules.drivers_for(device)
    if len(found) == 1:
        return found[0]
    if found:
        return _idle(device, "several-drivers", f"fits {', '.join(found)}; say which with --driver")
    known = sorted(modules.modules_for(device))
    hint = f"modprobe {known[0]}" if known else "name one with --driver"
    return _idle(device, "no-driver", f"no driver that is loaded fits it; {hint}")


def _idle(device: SysfsDevice | Change, code: str, sentence: str) -> Skipped:
    path = device.device if isinstance(device, Change) else device.path
    reason = Reason(code, f"{device.name} {sentence}", f"{device.bus}/{device.name}")
    return Skipped(device=path, bus=device.bus, name=device.name, refused=False, reasons=(reason,))


def _without_below(changes: Sequence[Change]) -> list[Change | Skipped]:
    """Pass over the devices that go away with another one of the plan."""
    takers = {one.device: one for one in changes if one.driver_before and one.driver_before not in _KEEPS_CHILDREN}
    found: list[Change | Skipped] = []
    for change in changes:
        parts = change.device.split("/")
        above = ("/".join(parts[:count]) for count in range(2, len(parts)))
        taker = next((takers[path] for path in above if path in takers), None)
        found.append(change if taker is None else _idle(change, "below", f"goes with {taker.name}, which is above it"))
    return found


# --- 2. which devices are refused


def _guarded(
    survey: Survey, guard: Guard, devices: dict[str, SysfsDevice], changes: list[Change]
) -> tuple[list[Change], list[Skipped]]:
    refused: list[Skipped] = []
    while True:
        planned = {change.device for change in changes}
        found = {change.device: _refusals(survey, guard, devices[change.device], change, planned) for change in changes}
        refused += [_refused(change, found[change.device]) for change in changes if found[change.device]]
        kept = [change for change in changes if not found[change.device]]
        if len(kept) == len(changes):
            return kept, refused
        changes = kept


def _refusals(
    survey: Survey, guard: Guard, device: SysfsDevice, change: Change, planned: Collection[str]
) -> tuple[Reason, ...]:
    intent = Intent(action=change.action, driver_after=change.driver_after)
    return guard.refusals(survey.reasons(device, intent, planned))


def _refused(change: Change, reasons: tuple[Reason, ...]) -> Skipped:
    return Skipped(device=change.device, bus=change.bus, name=change.name, refused=True, reasons=reasons)


# --- 3. the order


def _in_waves(sysfs: Sysfs, changes: Sequence[Change]) -> Iterator[Change]:
    suppliers = {change.device: set[str]() for change in changes}
    consumers = {change.device: set[str]() for change in changes}
    for link in sysfs.links():
        if link.consumer in suppliers and link.supplier in suppliers:
            suppliers[link.consumer].add(link.supplier)
            consumers[link.supplier].add(link.consumer)
    behind, before = _depths(suppliers), _depths(consumers)
    later = 1 + max(before.values(), default=0)
    for change in changes:
        path = change.device
        if change.action == "bind":
            yield replace(change, wave=behind[path])
        elif change.action == "rebind" and (suppliers[path] or consumers[path]):
            yield replace(change, action="unbind", driver_after=None, wave=before[path])
            yield replace(change, action="bind", driver_before=None, wave=later + behind[path])
        else:
            yield replace(change, wave=before[path])


def _depths(suppliers: dict[str, set[str]]) -> dict[str, int]:
    """Return how many of them stand one behind the other for each device; those in a circle count as none."""
    found: dict[str, int] = {}

    def depth(path: str, above: tuple[str, ...]) -> int:
        if path not in found:
            behind = [depth(one, (*above, path)) + 1 for one in suppliers[path] if one not in (*above, path)]
            found[path] = max(behind, default=0)
        return found[path]

    for path in suppliers:
        depth(path, ())
    return found


def in_turns(changes: Iterable[Change]) -> list[Change]:
    """Return changes wave by wave, in each the nodes taking turns."""
    waves: dict[int, dict[int, list[Change]]] = {}
    for change in changes:
        node = -1 if change.node is None else change.node
        waves.setdefault(change.wave, {}).setdefault(node, []).append(change)
    rounds = (
        row for wave in sorted(waves) for row in zip_longest(*(waves[wave][node] for node in sorted(waves[wave])))
    )
    return [change for row in rounds for change in row if change is not None]


# --- 4. how many at once


def _with_safety(change: Change, wish: Wish) -> Change:
    known = _verdicts(change)
    alone = ONE_BY_ONE in known or (wish.jobs is None and any(verdict != PARALLEL for verdict in known))
    return replace(change, exclusive=alone)


def _verdicts(change: Change) -> list[str]:
    pairs = ((change.driver_before, "unbind"), (change.driver_after, "bind"))
    return [safety(driver).of(action) for driver, action in pairs if driver is not None]


def _most_at_once(sysfs: Sysfs, changes: Sequence[Change]) -> int:
    cpus = len(sysfs.online_cpus()) or 1
    waves: dict[int, list[Change]] = {}
    for change in changes:
        waves.setdefault(change.wave, []).append(change)
    widest = max((_width(wave) for wave in waves.values()), default=1)
    return max(1, min(cpus, widest))


def _width(wave: Iterable[Change]) -> int:
    alone = {change.driver_after or change.driver_before for change in wave if change.exclusive}
    return len(alone) + sum(not change.exclusive for change in wave)


def _warnings(changes: Sequence[Change], wish: Wish) -> Iterator[str]:
    drivers = sorted({one for change in changes for one in (change.driver_before, change.driver_after) if one})
    for driver in drivers:
        touched = [change for change in changes if driver in (change.driver_before, change.driver_after)]
        if len(touched) > 1 and UNKNOWN in _known_of(driver, touched):
            beside = wish.jobs is not None and wish.jobs > 1
            yield f"{WARNING % driver}; {'--jobs takes them together' if beside else 'they are taken one by one'}"
    lost = [change.name for change in changes if change.node is None]
    if lost:
        yield f"no node is known for {first_few(lost, 3)}: no CPU is nearer than another"


def _known_of(driver: str, changes: Iterable[Change]) -> Iterator[str]:
    for change in changes:
        if change.driver_before == driver:
            yield safety(driver).of("unbind")
        if change.driver_after == driver:
            yield safety(driver).of("bind")
