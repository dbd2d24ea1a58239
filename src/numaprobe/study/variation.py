"""One setting with something changed: object to object, nothing is read again.

Everything that a run depends on can be changed: keys of the scenario, policy, kernel, machine, the command line as a
whole or a parameter of it, and from where programs load modules.

What does not depend on the change is taken over: another policy or kernel keeps the plan, another key keeps machine and
kernel. ``python -m bench vary`` says what a variation costs beside reading the file again.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import UsageError
from numaprobe.policies import make_policy
from numaprobe.scenario import change_scenario, prepare, with_loads_from
from numaprobe.scenario.setting import ISOLATION
from numaprobe.topology import CommandLine, Housekeeping, isolation_parameters, load_topology

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numaprobe.policies import Policy
    from numaprobe.runtime import KernelProfile
    from numaprobe.scenario import Scenario, Setting
    from numaprobe.topology import Topology

#: Keys of a scenario that a setting has already made something of: they have an argument of their own.
_OWN: Final = ("machine", "kernel", "cmdline")


def vary(
    setting: Setting,
    changes: Mapping[str, Any] | None = None,
    /,
    *,
    policy: Policy | str | None = None,
    kernel: KernelProfile | str | None = None,
    machine: Topology | str | None = None,
    cmdline: str | None = None,
    parameters: Mapping[str, str | None] | None = None,
    load_from: int | str | Mapping[str | None, int | str] | None = None,
    devices: int | None = None,
) -> Setting:
    """Return ``setting`` with something changed; what is None stays.

    Args:
        setting: what is varied; it stays as it is.
        changes: keys of the scenario: ``{"drivers[0].probe_type": "sync"}``. See ``scenario.change_scenario``.
        policy: a policy, or its name with options.
        kernel: profile, or a release. Where nobody chose a policy, its own comes along.
        machine: topology, or any text that names one: the same scenario happens there.
        cmdline: kernel parameters, in place of all there were.
        parameters: some of them, beside those there are: ``{"driver_async_probe": "nvme"}``; None takes one away. What
            the machine itself says of isolation stays unless it is named.
        load_from: a CPU, or a node (``node1``: the first CPU there that is not isolated), on which programs load
            modules; or that by driver, where None is every one.
        devices: so many in the scenario's first group.

    Raises:
        InputError: the scenario cannot say that, or not on this machine.
        UsageError: a path, name or release that is not known; ``machine``, ``kernel`` or ``cmdline`` as a key.

    """
    if own := next((key for key in _OWN if key in (changes or {})), None):
        raise UsageError(f"'{own}' is not varied as a key of the scenario: write vary(setting, {own}=…)")
    keys = dict(changes or {}) | ({} if devices is None else {"devices[0].count": devices})
    scenario = _without_kernel_assumptions(setting.scenario) if kernel is not None else setting.scenario
    scenario = change_scenario(scenario, keys)
    chosen = setting.machine if machine is None else machine
    text = setting.cmdline if cmdline is None else cmdline
    if parameters:
        chosen, text = _with_parameters(chosen, text, parameters)
    varied = setting
    if (
        scenario is not setting.scenario
        or kernel is not None
        or chosen is not setting.machine
        or text != setting.cmdline
    ):
        varied = _prepared(setting, scenario, setting.kernel if kernel is None else kernel, chosen, text)
    if load_from is not None:
        varied = _loaded_from(varied, load_from)
    if policy is None:
        return varied
    named = make_policy(policy) if isinstance(policy, str) else policy
    return replace(varied, policy=named, follows_kernel=False)


def _prepared(
    setting: Setting, scenario: Scenario, kernel: KernelProfile | str, machine: Topology | str, cmdline: str
) -> Setting:
    policy = None if setting.follows_kernel else setting.policy
    made = prepare(scenario, kernel=kernel, machine=machine, cmdline=cmdline, policy=policy, like=setting)
    return replace(made, page_ns=setting.page_ns)


def _with_parameters(
    machine: Topology | str, cmdline: str, parameters: Mapping[str, str | None]
) -> tuple[Topology | str, str]:
    """Return machine and command line with these parameters; isolation is said by the one or by the other."""
    line = CommandLine.parse(cmdline)
    isolating = any(name.replace("-", "_") in ISOLATION for name in parameters)
    if isolating and not any(name in line for name in ISOLATION):
        machine = load_topology(machine) if isinstance(machine, str) else machine
        line = CommandLine((*line.parameters, *isolation_parameters(machine.housekeeping)))
        machine = replace(machine, housekeeping=Housekeeping())
    for name, value in parameters.items():
        line = line.with_value(name, value)
    return machine, str(line)


def _loaded_from(setting: Setting, places: int | str | Mapping[str | None, int | str]) -> Setting:
    scenario = setting.scenario
    if isinstance(places, int | str):
        scenario = with_loads_from(scenario, cpu_of(setting, places))
    else:
        for driver, place in places.items():
            scenario = with_loads_from(scenario, cpu_of(setting, place), driver)
    return _prepared(setting, scenario, setting.kernel, setting.machine, setting.cmdline)


def cpu_of(setting: Setting, place: int | str) -> int:
    """Return the CPU that is meant by a number, ``cpu4`` or ``node1``: of a node the first that is not isolated.

    Raises:
        UsageError: it means none, or none of this machine that is online.

    """
    machine = setting.plan.topology
    text = str(place).strip()
    kind = text.rstrip("0123456789")
    number = int(text[len(kind) :][:9] or -1)
    if kind in {"", "cpu"} and number in machine.online:
        return number
    node = machine.node(number) if kind == "node" else None
    if node is None or not text.isascii():
        raise UsageError(f"'{text[:40]}' is no CPU or node of machine '{machine.name}'; write 4, cpu4 or node1")
    here = node.cpus & machine.online
    first = (here - machine.housekeeping.isolated or here).first
    if first is None:
        raise UsageError(f"node {number} of machine '{machine.name}' has no CPU that is online")
    return first


def _without_kernel_assumptions(scenario: Scenario) -> Scenario:
    """Return a scenario that does not tell any more what was assumed of the kernel that it comes with."""
    kept = tuple(warning for warning in scenario.warnings if warning.kind != "kernel-profile")
    if len(kept) == len(scenario.warnings):
        return scenario
    return scenario.with_origin(scenario.where, scenario.topology, kept)


def variations(
    setting: Setting,
    changes: Mapping[str, Iterable[Any]] | None = None,
    /,
    *,
    policy: Iterable[Policy | str] | None = None,
    kernel: Iterable[KernelProfile | str] | None = None,
    machine: Iterable[Topology | str] | None = None,
    cmdline: Iterable[str] | None = None,
    parameters: Iterable[Mapping[str, str | None]] | None = None,
    load_from: Iterable[int | str | Mapping[str | None, int | str]] | None = None,
    devices: Iterable[int] | None = None,
) -> list[Setting]:
    """Return one setting for each combination: every value of every argument with every other.

    The arguments are those of ``vary``, each with several values. Policies change fastest, so that those of one plan
    stand together.

    Raises:
        NumaprobeError: see ``vary``.

    """
    axes: dict[str, list[Any]] = {
        name: list(values)
        for name, values in (
            ("machine", machine),
            ("cmdline", cmdline),
            ("parameters", parameters),
            ("load_from", load_from),
            ("kernel", kernel),
            ("devices", devices),
        )
        if values is not None
    }
    keys = {path: list(values) for path, values in (changes or {}).items()}
    policies = [None] if policy is None else list(policy)
    found = []
    for arguments in product(*axes.values()):
        for values in product(*keys.values()):
            base = vary(setting, dict(zip(keys, values, strict=True)), **dict(zip(axes, arguments, strict=True)))
            found += [vary(base, policy=one) for one in policies]
    return found
