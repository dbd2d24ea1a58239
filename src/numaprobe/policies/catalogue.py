"""The catalogue of policies: ours by name, others' through an entry point, anybody's from a file.

A *spec* is a name with options, ``probe-on-node+pin+skip-if-on-node`` (``no-`` switches an option off), or a class in a
file, ``./mine.py:MyPolicy+pin``. A package names its policies in the entry-point group ``numaprobe.policies``::

    [project.entry-points."numaprobe.policies"]
    my-policy = "my_package.module:MyPolicy"

Names are told apart: one that is taken is refused. A package whose policy cannot be loaded takes no other one down:
``broken_policies`` says what is wrong, and so does asking for it by name.
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
    from collections.abc import Iterable, Mapping
    from importlib.metadata import EntryPoint

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
    """Return those of installed packages, then ours; one that cannot be used is left out (``broken_policies``)."""
    found: dict[str, type[Policy]] = {}
    for name, entries in _installed().items():
        try:
            found[name] = _load(name, entries)
        except UsageError:
            continue
    return found | dict(POLICIES)


def broken_policies() -> list[str]:
    """Return a line for each installed policy that cannot be used: which, from where, why."""
    lines = []
    for name, entries in _installed().items():
        try:
            _load(name, entries)
        except UsageError as error:
            lines.append(str(error))
    return lines


def _installed() -> dict[str, list[EntryPoint]]:
    from importlib.metadata import entry_points

    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        found.setdefault(entry.name, []).append(entry)
    return found


def _load(name: str, entries: list[EntryPoint]) -> type[Policy]:
    where = ", ".join(entry.value for entry in entries)
    if name in POLICIES:
        raise UsageError(f"policy '{name}' from {where} is refused: the name is one of numaprobe's own")
    if len(entries) > 1:
        raise UsageError(f"policy '{name}' is refused: several packages give it ({where}); uninstall all but one")
    try:
        loaded = entries[0].load()
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"policy '{name}' from {where} cannot be loaded: {reason}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Policy)):
        raise UsageError(f"policy '{name}' from {where} is no subclass of numaprobe's Policy")
    if loaded.name != name:
        raise UsageError(f"policy '{name}' from {where} calls itself '{loaded.name}'; the two must agree")
    return loaded


def make_policy(spec: str, **options: bool) -> Policy:
    """Return the policy that a spec describes.

    Args:
        spec: a name or FILE.py:CLASS, with options appended: ``probe-on-node+pin``.
        options: the same options by field name.

    Raises:
        UnknownNameError: no policy, or no option of it, has this name.
        UsageError: a policy of a package or file that cannot be loaded, or whose name is taken.

    """
    name, *flags = _split(spec)
    policy = _find(name)
    known = policy_options(policy)
    for option in options.keys() - known.values():
        raise UnknownNameError(f"option of policy {policy.name}", option, known.values() or ("none",))
    for flag in flags:
        plain = flag.removeprefix("no-")
        if flag in known:
            options[known[flag]] = True
        elif plain in known:
            options[known[plain]] = False
        else:
            raise UnknownNameError(f"option of policy {policy.name}", flag, known or ("none",))
    return policy(**options)


def _split(spec: str) -> list[str]:
    """Return the name and the options of a spec; a file's folders may have a + in their names."""
    file, colon, rest = spec.rpartition(".py:")
    name, *flags = rest.split("+")
    return [f"{file}{colon}{name}", *flags]


def _find(name: str) -> type[Policy]:
    if name in POLICIES:
        return POLICIES[name]
    if ".py:" in name:
        from numaprobe.policies.from_file import load_policy

        policy = load_policy(name)
        _refuse_taken(policy.name, name, [*POLICIES, *_installed()])
        return policy
    installed = _installed()
    if name not in installed:
        raise UnknownNameError("policy", name, [*installed, *POLICIES])
    return _load(name, installed[name])


def _refuse_taken(name: str, where: str, taken: Iterable[str]) -> None:
    if name in taken:
        text = f"{where}: its name '{name}' is taken; give the class another one (name = 'my-{name}')"
        raise UsageError(text)


def policy_options(policy: type[Policy]) -> dict[str, str]:
    """Return the options of a policy: name as in a spec -> field name."""
    return {f.name.replace("_", "-"): f.name for f in fields(policy) if f.init}
