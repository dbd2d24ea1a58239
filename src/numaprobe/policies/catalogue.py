"""The catalogue of policies: ours by name, and others' through the entry point group ``numaprobe.policies``.

A policy from outside is a subclass of ``Policy`` that a package names in its metadata::

    [project.entry-points."numaprobe.policies"]
    my-policy = "my_package.module:MyPolicy"

A *spec* is a name with options: ``probe-on-node+pin+skip-if-on-node``; ``no-`` switches an option off.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final

from numaprobe.errors import UnknownNameError, UsageError
from numaprobe.policies.base import Policy
from numaprobe.policies.exec_on_node import ExecOnNode
from numaprobe.policies.inline import Inline
from numaprobe.policies.migrate_caller import MigrateCaller
from numaprobe.policies.probe_on_node import ProbeOnNode
from numaprobe.policies.probe_workqueue import ProbeWorkqueue
from numaprobe.policies.queue_on_node import QueueOnNode
from numaprobe.policies.skip_in_worker import SkipInWorker
from numaprobe.policies.spread import Spread
from numaprobe.policies.strict_node import StrictNode
from numaprobe.policies.work_on_cpu import WorkOnCpu

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRY_POINT_GROUP: Final = "numaprobe.policies"

#: Ours, in the order of their history.
POLICIES: Final[Mapping[str, type[Policy]]] = {
    policy.name: policy
    for policy in (
        Inline,
        MigrateCaller,
        WorkOnCpu,
        ProbeWorkqueue,
        SkipInWorker,
        QueueOnNode,
        ExecOnNode,
        ProbeOnNode,
        StrictNode,
        Spread,
    )
}


def all_policies() -> dict[str, type[Policy]]:
    """Return ours and those of installed packages; ours win a clash of names.

    Raises:
        UsageError: an installed package names something that is no policy or cannot be imported.

    """
    from importlib.metadata import entry_points

    found: dict[str, type[Policy]] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            loaded = entry.load()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise UsageError(f"policy '{entry.name}' from {entry.value} cannot be loaded: {reason}") from error
        if not (isinstance(loaded, type) and issubclass(loaded, Policy)):
            raise UsageError(f"policy '{entry.name}' from {entry.value} is no subclass of numaprobe's Policy")
        found[entry.name] = loaded
    return found | dict(POLICIES)


def make_policy(spec: str, **options: bool) -> Policy:
    """Return a new policy from a spec, for one run.

    Args:
        spec: a name, with options appended: ``probe-on-node+pin``.
        options: the same options by field name.

    Raises:
        UnknownNameError: no policy, or no option of it, has this name.

    """
    name, *flags = spec.split("+")
    policy = POLICIES.get(name) or all_policies().get(name)
    if policy is None:
        raise UnknownNameError("policy", name, all_policies())
    known = policy_options(policy)
    for option in options.keys() - known.values():
        raise UnknownNameError(f"option of policy {name}", option, known.values() or ("none",))
    for flag in flags:
        plain = flag.removeprefix("no-")
        if flag in known:
            options[known[flag]] = True
        elif plain in known:
            options[known[plain]] = False
        else:
            raise UnknownNameError(f"option of policy {name}", flag, known or ("none",))
    return policy(**options)


def policy_options(policy: type[Policy]) -> dict[str, str]:
    """Return the options of a policy: name as in a spec -> field name."""
    return {f.name.replace("_", "-"): f.name for f in fields(policy) if f.init}
