"""What a scenario says and nothing will act on: told before it runs, as it runs all the same.

A real machine can have a device that no driver knows, a supplier that never comes and any parameter on its command
line, so these are warnings, kept in every trace of the scenario. What can only be a slip of the pen, the name of a bus
in other letters, is refused where the plan is made (``plan.py``).

Devices that probes register count with what their names can become. What is said of them by name may be wrong on the
side of silence, never on the other one.
"""

from __future__ import annotations

import difflib
import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from numaprobe.listing import first_few
from numaprobe.records import RunWarning
from numaprobe.scenario.phases import with_inner
from numaprobe.scenario.plan import all_phases, enabled_vfs, registered_groups
from numaprobe.scenario.quantities import expand_name, may_expand_to
from numaprobe.topology import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numaprobe.scenario.phases import DeviceGroup, Phase
    from numaprobe.scenario.plan import RunPlan
    from numaprobe.topology import CommandLine

#: Parameters that change what is simulated; ``<module>.async_probe`` besides.
PARAMETERS: Final = (
    "isolcpus",
    "nohz_full",
    "driver_async_probe",
    "deferred_probe_timeout",
    "module.async_probe",
    "workqueue.unbound_cpus",
    *SETTINGS,
)
#: How near a name must be to one that is known: ``isolcpu`` is, ``nohz`` (a parameter of its own) is not.
_NEAR: Final = 0.8
#: How many names are searched for a near one, and how many a sentence names.
_SEARCHED: Final = 10_000
_NAMED: Final = 3

#: What virtual functions are called is known when they are enabled; they look so.
_FUNCTION = re.compile(r"(?:[0-9a-fA-F]+:)+[0-9a-fA-F]{2}\.[0-7]|.*-vf\d+")


#: kinds of the warnings about a plan
OF_A_PLAN: Final = ("unmatched", "supplier")


def doubts_of_plan(plan: RunPlan) -> list[RunWarning]:
    """Return a warning for each thing of a scenario that nothing will act on."""
    return [
        *(RunWarning(kind="unmatched", message=line) for line in _unmatched(plan)),
        *(RunWarning(kind="supplier", message=line) for line in _suppliers(plan)),
    ]


def doubts_of_parameters(parameters: CommandLine) -> list[RunWarning]:
    """Return a warning for each parameter that nothing will act on."""
    return [RunWarning(kind="cmdline", message=line) for line in _parameters(parameters)]


# ---- the command line ----------------------------------------------------------------------------------------------
def _parameters(parameters: CommandLine) -> Iterator[str]:
    for name in parameters.names():
        if name in PARAMETERS or name.endswith(".async_probe"):
            continue
        near = difflib.get_close_matches(name.lower(), PARAMETERS, n=1, cutoff=_NEAR)
        if near:
            yield f"{name[:60]}=: no such parameter is known and nothing is done about it; did you mean {near[0]}=?"


# ---- drivers -------------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Kind:
    """The devices of one bus with one ``compatible``."""

    bus: str
    compatible: str
    names: list[str] = field(default_factory=list)


def _unmatched(plan: RunPlan) -> Iterator[str]:
    drivers = plan.scenario.drivers
    matched: dict[str, set[str]] = {}
    for driver in drivers:
        matched.setdefault(driver.bus, set()).update(driver.match or (driver.name,))
    for kind in _kinds(plan):
        here = matched.get(kind.bus, set())
        by_name = {driver.name for driver in drivers if driver.bus == kind.bus}
        if may_expand_to(kind.compatible, here) or any(name.partition(".")[0] in by_name for name in kind.names):
            continue
        elsewhere = [driver for driver in drivers if kind.compatible in (driver.match or (driver.name,))]
        near = difflib.get_close_matches(kind.compatible, sorted(here), n=1, cutoff=0.6)
        hint = f"; driver '{elsewhere[0].name}' is on bus {elsewhere[0].bus}" if elsewhere else ""
        hint = f"; did you mean '{near[0]}'?" if near and not hint else hint
        text = f"no driver on bus {kind.bus} matches compatible '{kind.compatible}' of {_names(kind.names)}"
        yield f"{text}, which nothing will probe{hint}"


def _kinds(plan: RunPlan) -> Iterable[_Kind]:
    """Return the kinds of devices for which the scenario says what they are compatible with."""
    kinds: dict[tuple[str, str], _Kind] = {}
    named = [(dev.bus, dev.compatible, dev.name) for dev in plan.devices if dev.compatible]
    children = [(group.bus, group.compatible, group.name) for group in _children(plan) if group.compatible]
    for bus, compatible, name in (*named, *children):
        kinds.setdefault((bus, compatible), _Kind(bus, compatible)).names.append(name)
    return kinds.values()


# ---- suppliers -----------------------------------------------------------------------------------------------------
def _suppliers(plan: RunPlan) -> Iterator[str]:
    children = _children(plan)
    names = {dev.name for dev in plan.devices}
    functions = any(enabled_vfs(all_phases(plan.scenario)))
    wanted: dict[str, list[str]] = {}
    for user, name in _wanted(plan, children):
        wanted.setdefault(name, []).append(user)
    for name, users in wanted.items():
        if name in names or "{" in name or (functions and _FUNCTION.fullmatch(name)):
            continue
        if any(may_expand_to(group.name, (name,)) for group in children):
            continue
        near = difflib.get_close_matches(name, list(itertools.islice(names, _SEARCHED)), n=1, cutoff=0.6)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        yield f"'{name}' is no device of this scenario, and {_names(users)} would wait for it for ever{hint}"


def _wanted(plan: RunPlan, children: Iterable[DeviceGroup]) -> Iterator[tuple[str, str]]:
    """Return which device waits for which, by name: suppliers, and what ``wait`` names."""
    for dev in plan.devices:
        yield from ((dev.name, name) for name in dev.suppliers)
    for group in children:
        for name in group.suppliers or ():
            yield group.name, expand_name(name, group.first) if "{parent}" not in name else name
    for driver in plan.scenario.drivers:
        yield from ((f"driver {driver.name}", name) for name in _waits((*driver.phases, *driver.remove)))
    for group in (*plan.scenario.devices, *children):
        yield from ((group.name, name) for name in _waits(group.phases or ()))


def _waits(phases: Iterable[Phase]) -> Iterator[str]:
    return (name for phase in with_inner(phases) if (name := phase.awaited()) is not None)


# ---- both ----------------------------------------------------------------------------------------------------------
def _children(plan: RunPlan) -> list[DeviceGroup]:
    """Return all groups of devices that probes register, those of their own probes included."""
    found: list[DeviceGroup] = []
    todo = list(registered_groups(all_phases(plan.scenario)))
    while todo:
        group = todo.pop()
        found.append(group)
        todo += registered_groups(group.phases or ())
    return found


def _names(names: list[str]) -> str:
    return first_few([f"'{name}'" for name in names], _NAMED)
