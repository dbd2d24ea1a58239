"""What to write for a selection: the line and where it stands, how to try it once, how to undo it, what it may break.

Files and tools are those of Linux systems at large; where distributions differ the line says what it is for, and the
boot loader's own menu is the way that works everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.drivercore.options import ASYNC_DRV_NAMES_MAX_LEN
from numaprobe.runtime.parallel import PARALLEL, safety
from numaprobe.study.advise.choices import ASYNC_LIST, SCOPE, Choice, Kind, async_names, toggled, with_choices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numaprobe.scenario import Setting
    from numaprobe.study.advise.choices import Selection
    from numaprobe.topology import Topology

_CMDLINE: Final = "kernel command line"
_MODPROBE: Final = "/etc/modprobe.d/numaprobe.conf"
_MENU: Final = "in the boot loader's menu press e and append it: it holds for this boot alone"
_BOOT_WITHOUT: Final = "boot without it; nothing else was changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line to write."""

    #: where it stands
    where: str
    text: str
    #: how to try it once, before it is written anywhere
    try_once: str
    undo: str
    #: what is taken for granted
    assumes: tuple[str, ...] = ()
    #: what could break
    risks: tuple[str, ...] = ()


def lines_of(setting: Setting, selection: Selection, modules: Mapping[str, str] | None = None) -> list[Line]:
    """Return the lines that make a selection of a setting; what they assume and risk stands with each.

    Args:
        setting: what it is a selection of.
        selection: some choices.
        modules: the names of drivers' modules, where they are known.

    """
    drivers = [choice for choice in selection if choice.kind in (Kind.ASYNC, Kind.SYNC)]
    found = [_async_list(setting, drivers)] if drivers else []
    machine = with_choices(setting, selection).plan.topology
    for choice in selection:
        found += _line(setting, machine, choice, modules or {})
    return found


def _async_list(setting: Setting, choices: Sequence[Choice]) -> Line:
    """Return the one line for all drivers that ``driver_async_probe=`` names, those that it names now included."""
    names = before = async_names(setting)
    for choice in choices:
        names = toggled(names, choice.driver)
    text = f"{ASYNC_LIST}={','.join(names)}"
    risks = ["whoever needs a device of it before its probe is over: initcalls and programs that do not wait for it"]
    if len(",".join(names)) >= ASYNC_DRV_NAMES_MAX_LEN:
        risks.append(f"the kernel keeps {ASYNC_DRV_NAMES_MAX_LEN - 1} characters of the list, and this one is longer")
    added = [choice.driver for choice in choices if choice.kind is Kind.ASYNC]
    assumes = [_may_be_asynchronous(driver) for driver in added]
    return Line(
        where=_CMDLINE,
        text=text if names else f"(without {ASYNC_LIST}=)",
        try_once=_MENU
        if names
        else "in the boot loader's menu press e and take it out: that holds for this boot alone",
        undo=f"boot with {ASYNC_LIST}={','.join(before)} again" if before else _BOOT_WITHOUT,
        assumes=tuple(assumes),
        risks=tuple(risks),
    )


def _may_be_asynchronous(driver: str) -> str:
    known = safety(driver)
    if known.bind == PARALLEL:
        return f"{driver} bears being probed beside its like ({known.evidence[0]})"
    return f"{driver} may be probed asynchronously: nothing is known that speaks against it, nor for it"


def _line(setting: Setting, machine: Topology, choice: Choice, modules: Mapping[str, str]) -> Iterator[Line]:
    known = modules.get(choice.driver)
    module = known or re.sub(r"\W", "_", choice.driver)
    named = () if known else (f"the module is called {module}, as its driver is",)
    match choice.kind:
        case Kind.MODULE_ASYNC:
            yield Line(
                where=_MODPROBE,
                text=f"options {module} async_probe=1",
                try_once=f"modprobe -r {module}, if nothing uses it, then modprobe {module} async_probe=1",
                undo="take the line out; make the initramfs again if the module is in it (update-initramfs, dracut)",
                assumes=named,
                risks=("modprobe returns before the devices are there: udevadm settle waits, a plain script does not",),
            )
        case Kind.LOAD_FROM:
            cpus = _usable_cpus(machine, int(choice.value))
            yield Line(
                where="where the module is loaded",
                text=f"taskset -c {cpus} modprobe {module}",
                try_once=f"modprobe -r {module}, if nothing uses it, then the line",
                undo="load it as before",
                assumes=(*named, f"CPUs {cpus} are the ones of node {choice.value} that are not isolated"),
                risks=("devices of other nodes are then remote", _udev(module, cpus)),
            )
        case Kind.SCOPE:
            yield _scope(setting, choice)
        case Kind.ISOLATION:
            yield _isolation(setting, choice)
        case Kind.BIND:
            yield _bind(choice.driver)


def _udev(module: str, cpus: str) -> str:
    line = f"install {module} taskset -c {cpus} modprobe --ignore-install {module}"
    return f"if udev loads it first, the line belongs into {_MODPROBE}: {line}"


def _scope(setting: Setting, choice: Choice) -> Line:
    file = f"/sys/module/{SCOPE.replace('.', '/parameters/')}"
    return Line(
        where=_CMDLINE,
        text=f"{SCOPE}={choice.value}",
        try_once=f"echo {choice.value} > {file}, then load the module again",
        undo=f"echo {setting.profile.default_scope} > {file}; {_BOOT_WITHOUT}",
        risks=("all unbound kernel work follows it, and not only probes: wider pods share caches less",),
    )


def _bind(driver: str) -> Line:
    """Return the commands that bind from the nodes; the choice is offered only where they are (``Around.can_bind``)."""
    program, plan = "numaprobe", f"{re.sub(r'[^A-Za-z0-9_-]', '_', driver)}.json"
    return Line(
        where="at boot",
        text=f"{program} rebind driver={driver} --save-plan {plan} && {program} install {plan}",
        try_once=f"{program} rebind driver={driver} --try 120s: what is in use is refused, all is put back afterwards",
        undo=f"{program} uninstall",
        assumes=("the devices may be held back until user space binds them",),
        risks=("what needs them before that finds none: they are bound later than the kernel would have",),
    )


def _isolation(setting: Setting, choice: Choice) -> Line:
    before = setting.plan.topology.housekeeping.isolated
    more = f" nohz_full={choice.value}" if choice.with_nohz else ""
    return Line(
        where=_CMDLINE,
        text=f"isolcpus={choice.value}{more}",
        try_once=_MENU,
        undo=f"boot with isolcpus={before} again",
        assumes=("which CPUs of a node are isolated does not matter to those who run there",),
        risks=(f"what is pinned to CPUs {before} by number moves along: taskset, CPUAffinity=, vcpupin, rcu_nocbs=",),
    )


def _usable_cpus(machine: Topology, node: int) -> str:
    found = machine.node(node)
    return "" if found is None else str((found.cpus & machine.online) - machine.housekeeping.isolated)
