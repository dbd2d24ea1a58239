"""One setting with something changed: object to object, nothing is read again.

What does not depend on the change is taken over: another policy or kernel keeps the plan, another key keeps machine and
kernel. ``python -m bench vary`` says what a variation costs beside reading the file again.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import UsageError
from numaprobe.policies import make_policy
from numaprobe.scenario import change_scenario, prepare

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
    if (scenario, kernel, machine, cmdline) == (setting.scenario, None, None, None):
        varied = setting
    else:
        varied = prepare(
            scenario,
            kernel=setting.kernel if kernel is None else kernel,
            machine=setting.machine if machine is None else machine,
            cmdline=setting.cmdline if cmdline is None else cmdline,
            policy=None if setting.follows_kernel else setting.policy,
            like=setting,
        )
        varied = replace(varied, page_ns=setting.page_ns)
    if policy is None:
        return varied
    chosen = make_policy(policy) if isinstance(policy, str) else policy
    return replace(varied, policy=chosen, follows_kernel=False)


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
        for name, values in (("machine", machine), ("cmdline", cmdline), ("kernel", kernel), ("devices", devices))
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
