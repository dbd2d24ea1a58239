"""What somebody can set on a stock kernel: choices, and a setting with some of them made.

A *choice* is one value of one thing that an administrator can write down: a parameter of the kernel or of a module,
from where a module is loaded. Choices of one *slot* exclude each other; any others go together. A *selection* is some
choices of different slots, and is always run as a whole: what two of them bring is not what each brings, added up.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle
from typing import TYPE_CHECKING, Final

from numaprobe.scenario import with_binds
from numaprobe.study.variation import vary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.scenario import Setting

#: ``workqueue.c``: the affinity scope of unbound workqueues that say nothing else
SCOPE: Final = "workqueue.default_affinity_scope"
ASYNC_LIST: Final = "driver_async_probe"


class Kind(StrEnum):
    """What a choice changes."""

    #: ``driver_async_probe=`` names the driver
    ASYNC = "async"
    #: it does not any more
    SYNC = "sync"
    #: the module's own ``async_probe``: whoever loads it does not wait either
    MODULE_ASYNC = "module-async"
    #: its module is loaded from a CPU of a node
    LOAD_FROM = "load-from"
    #: ``workqueue.default_affinity_scope=``
    SCOPE = "scope"
    #: ``isolcpus=`` names other CPUs
    ISOLATION = "isolation"
    #: the driver's devices are bound by ``numaprobe bind``, each from its node
    BIND = "bind"


@dataclass(frozen=True, slots=True, order=True)
class Choice:
    """One value of one thing that can be set."""

    #: choices of one slot exclude each other
    slot: str
    kind: Kind
    #: the driver that it is about; empty: the machine as a whole
    driver: str
    #: a node, a scope, a list of CPUs; of ``BIND``: ``together``, or nothing
    value: str = ""
    #: of ``ISOLATION``: ``nohz_full=`` names the same CPUs now, and moves along
    with_nohz: bool = False

    @property
    def name(self) -> str:
        """What tables call it."""
        together = ", together" if self.value else ""
        return {
            Kind.ASYNC: f"{ASYNC_LIST}={self.driver}",
            Kind.SYNC: f"{ASYNC_LIST}= without {self.driver}",
            Kind.MODULE_ASYNC: f"{self.driver}.async_probe=1",
            Kind.LOAD_FROM: f"{self.driver} loaded from node {self.value}",
            Kind.SCOPE: f"{SCOPE}={self.value}",
            Kind.ISOLATION: f"isolcpus={self.value}",
            Kind.BIND: f"{self.driver} bound from its nodes{together}",
        }[self.kind]


#: Some choices, at most one of each slot, in order.
Selection = tuple[Choice, ...]


def with_choices(setting: Setting, selection: Iterable[Choice]) -> Setting:
    """Return the setting with these choices made, beside everything that it says already.

    Raises:
        NumaprobeError: one of them cannot be made here; see ``vary``.

    """
    parameters: dict[str, str | None] = {}
    loads: dict[str | None, int | str] = {}
    binds: list[Choice] = []
    names = async_names(setting)
    for choice in selection:
        match choice.kind:
            case Kind.ASYNC | Kind.SYNC:
                names = toggled(names, choice.driver)
                parameters[ASYNC_LIST] = ",".join(names) or None
            case Kind.MODULE_ASYNC:
                parameters[f"{choice.driver}.async_probe"] = "1"
            case Kind.LOAD_FROM:
                loads[choice.driver] = f"node{choice.value}"
            case Kind.SCOPE:
                parameters[SCOPE] = choice.value
            case Kind.ISOLATION:
                parameters |= {"isolcpus": choice.value} | ({"nohz_full": choice.value} if choice.with_nohz else {})
            case Kind.BIND:
                binds.append(choice)
    varied = vary(setting, parameters=parameters or None, load_from=loads or None)
    for choice in binds:
        scenario = with_binds(
            varied.scenario, choice.driver, _places(varied, choice.driver), together=bool(choice.value)
        )
        varied = vary(varied, {"steps": scenario.steps})
    return varied


def _places(setting: Setting, driver: str) -> dict[str, tuple[str, int]]:
    """Return the devices of a driver: its bus, and a CPU of its node; those of a node take its CPUs in turn."""
    machine = setting.plan.topology
    matches = {
        (one.bus, name) for one in setting.scenario.drivers if one.name == driver for name in one.match or (driver,)
    }
    free = machine.online - machine.housekeeping.isolated or machine.online
    turns = {node.id: cycle(node.cpus & free) for node in machine.nodes if node.cpus & free}
    anywhere = cycle([setting.scenario.caller.cpu])
    mine = [spec for spec in setting.plan.devices if (spec.bus, spec.compatible or spec.name) in matches]
    return {spec.name: (spec.bus, next(turns.get(spec.node, anywhere))) for spec in mine}


def varied_as(setting: Setting, selection: Iterable[Choice]) -> list[str]:
    """Return the same as ``--vary`` takes it, one ``KEY=VALUE`` for each key; none where a driver is bound by hand."""
    selection = tuple(selection)
    if any(choice.kind is Kind.BIND for choice in selection):
        return []
    names = async_names(setting)
    found: dict[str, str] = {}
    for choice in selection:
        match choice.kind:
            case Kind.ASYNC | Kind.SYNC:
                names = toggled(names, choice.driver)
                found[ASYNC_LIST] = ",".join(names)
            case Kind.MODULE_ASYNC:
                found[f"{choice.driver}.async_probe"] = "1"
            case Kind.LOAD_FROM:
                found[f"{choice.driver}.load_from"] = f"node{choice.value}"
            case Kind.SCOPE:
                found[SCOPE] = choice.value
            case Kind.ISOLATION:
                found |= dict.fromkeys(("isolcpus", "nohz_full") if choice.with_nohz else ("isolcpus",), choice.value)
    return [f'{key}="{value}"' if "," in value else f"{key}={value}" for key, value in found.items()]


def async_names(setting: Setting) -> list[str]:
    """Return what ``driver_async_probe=`` names now."""
    return [name for name in setting.options.driver_async_probe.split(",") if name]


def toggled(names: list[str], driver: str) -> list[str]:
    """Return the list that asks for the other way of probing this driver: named once more, or not any more.

    With ``*`` in the list every driver is asynchronous but those that are named (``dd.c``), so that naming one is right
    there as well.
    """
    return [name for name in names if name != driver] if driver in names else [*names, driver]
