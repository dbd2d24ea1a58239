"""A plan: which devices will be bound, unbound or rebound, in which order, and which are passed over and why.

A plan is a value and a file (``numaprobe.plan/1``). It says nothing that has to be looked up again to be carried out:
each change names its device's directory, the driver before and after, the node and its CPUs. Whoever carries it out
asks the guard again before each write.

Changes of one *wave* do not depend on each other; a wave begins when the one before has ended. Consumers are unbound
before their suppliers, suppliers bound before their consumers. Where devices of one plan depend on each other and all
are rebound, each has two changes, ``unbind`` in an early wave and ``bind`` in a later one; else ``rebind`` is one.

A plan comes from a file that anybody may have written, so reading it checks every name as if it were a path trick.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numaprobe.bringup.names import check_device, check_name
from numaprobe.bringup.reasons import Reason
from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.records import checks

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA: Final = "numaprobe.plan/1"
#: CPUs of a node that is unknown, or has none.
NO_CPUS: Final = CpuSet()
ACTIONS: Final = ("bind", "unbind", "rebind")
#: How a device comes to its driver: by the driver's ``bind`` file; after ``driver_override`` has named it, if need be.
ROADS: Final = ("bind", "override")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is done to one device.

    The driver before and after are those of this change: ``unbind`` has none after, ``bind`` none before.
    """

    #: its directory below ``/sys``: ``devices/pci0000:80/0000:80:01.0/0000:81:00.0``
    device: str
    bus: str
    name: str
    #: one of ``ACTIONS``
    action: str
    driver_before: str | None = None
    driver_after: str | None = None
    #: ``driver_override`` before; None: none set
    override_before: str | None = None
    #: ``driver_override`` when the change is done; while a device is bound by the road ``override`` it is the driver
    override_after: str | None = None
    #: one of ``ROADS``; without a meaning for ``unbind``
    road: str = "bind"
    #: the device's node; None: unknown
    node: int | None = None
    #: online CPUs of the node; empty: unknown, or a node without CPUs
    cpus: CpuSet = NO_CPUS
    #: a change begins when all of the waves before have ended; from 0
    wave: int = 0
    #: not beside another exclusive change of this driver (see ``runtime/parallel.toml``)
    exclusive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A device that was chosen and is passed over."""

    #: its directory below ``/sys``
    device: str
    bus: str
    name: str
    #: it is refused, and not only left as it is because there is nothing to do
    refused: bool
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """``--allow DEVICE=CODE``: one reason of one device that shall not refuse."""

    #: as the user named it: NAME or BUS/NAME
    device: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Changes in the order of their waves, and what is passed over."""

    changes: tuple[Change, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    #: most changes at one time
    jobs: int = 1
    #: longest time of one probe, ns; None: no limit
    deadline_ns: int | None = None
    allowances: tuple[Allowance, ...] = ()
    #: ``uname -r`` of the machine that it was made on; None: unknown
    kernel: str | None = None
    #: what its reader should know: drivers without evidence, devices without a node
    warnings: tuple[str, ...] = ()
    #: of a plan for the boot: what is loaded before its first change
    modules: tuple[str, ...] = ()

    def validate(self) -> None:
        """Accept a plan that can be carried out.

        Raises:
            InputError: a name that is none, a change that is none, two changes of a device that contradict each other.

        """
        seen: dict[str, Change] = {}
        for change in self.changes:
            _check_change(change)
            before = seen.get(change.device)
            pair = before is not None and (before.action, change.action) == ("unbind", "bind")
            if before is not None and not (pair and before.wave < change.wave):
                raise InputError(f"{change.bus}/{change.name} is changed twice; give each device one change", "plan")
            seen[change.device] = change
        for passed in self.skipped:
            _check_place(passed.device, passed.bus, passed.name)
        for module in self.modules:
            check_name(module, "module")


def _check_place(device: str, bus: str, name: str) -> None:
    check_device(device)
    check_name(bus, "bus")
    check_name(name, "device")
    if device.rpartition("/")[2] != name:
        raise InputError(f"'{device}' is not the directory of a device named '{name}'", "plan")


def _check_change(change: Change) -> None:
    _check_place(change.device, change.bus, change.name)
    drivers = (change.driver_before, change.driver_after, change.override_before, change.override_after)
    for driver in drivers:
        if driver is not None:
            check_name(driver, "driver")
    needs = {"bind": (False, True), "unbind": (True, False), "rebind": (True, True)}.get(change.action)
    if needs is None or change.road not in ROADS:
        raise InputError(f"{change.name}: '{change.action}' by '{change.road}' is no change", "plan")
    if needs != (change.driver_before is not None, change.driver_after is not None):
        raise InputError(f"{change.name}: {change.action} has the wrong drivers before and after", "plan")


# --- as JSON


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """Return the plan as ``numaprobe.plan/1``."""
    return {
        "schema": SCHEMA,
        "kernel": plan.kernel,
        "jobs": plan.jobs,
        "deadline_ns": plan.deadline_ns,
        "allow": [{"device": one.device, "code": one.code} for one in plan.allowances],
        "changes": [_plain(change) for change in plan.changes],
        "skipped": [_plain(passed) for passed in plan.skipped],
        "warnings": list(plan.warnings),
        **({"modules": list(plan.modules)} if plan.modules else {}),
    }


def dump_plan(plan: Plan) -> str:
    """Return the plan as JSON text."""
    return json.dumps(plan_to_dict(plan), indent=2, ensure_ascii=False) + "\n"


def change_to_dict(change: Change) -> dict[str, Any]:
    """Return one change as it stands in a plan."""
    found: dict[str, Any] = _plain(change)
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401  fields of frozen types
    if isinstance(value, CpuSet):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    slots = getattr(type(value), "__dataclass_fields__", None)
    return value if slots is None else {name: _plain(getattr(value, name)) for name in slots}


def _cpus(value: object, path: str) -> CpuSet:
    try:
        return CpuSet.parse_list(checks.text(value, path))
    except InputError as error:
        raise InputError(error.what, path) from None


def _object(make: Callable[..., Any], required: dict[str, Any], known: dict[str, Any]) -> checks.Check:
    def checked(value: object, path: str) -> Any:  # noqa: ANN401
        return make(**checks.fields(value, path, required, known))

    return checked


_REASON: Final = {"code": checks.text, "sentence": checks.text, "device": checks.text}
_CHANGE: Final = {"device": checks.text, "bus": checks.text, "name": checks.text, "action": checks.choice(*ACTIONS)}
_CHANGE_MORE: Final = {
    **dict.fromkeys(("driver_before", "driver_after", "override_before", "override_after"), checks.text),
    "road": checks.choice(*ROADS),
    "node": checks.count,
    "cpus": _cpus,
    "wave": checks.count,
    "exclusive": checks.flag,
}
_SKIPPED: Final = {
    **dict.fromkeys(("device", "bus", "name"), checks.text),
    "refused": checks.flag,
    "reasons": checks.each(_object(Reason, _REASON, {"flag": checks.text})),
}
_ALLOWANCE: Final = {"device": checks.text, "code": checks.text}
_PLAN: Final = {"schema": checks.choice(SCHEMA), "changes": checks.each(_object(Change, _CHANGE, _CHANGE_MORE))}
_PLAN_MORE: Final = {
    "kernel": checks.text,
    "jobs": checks.positive,
    "deadline_ns": checks.time,
    "allow": checks.each(_object(Allowance, _ALLOWANCE, {})),
    "skipped": checks.each(_object(Skipped, _SKIPPED, {})),
    "warnings": checks.each(checks.text),
    "modules": checks.each(checks.text),
}


def change_from_dict(value: object, path: str = "change") -> Change:
    """Return one change out of a plan or a journal, checked.

    Raises:
        InputError: it is none.

    """
    change: Change = _object(Change, _CHANGE, _CHANGE_MORE)(value, path)
    _check_change(change)
    return change


def plan_from_dict(value: object, where: str = "plan") -> Plan:
    """Return a plan out of its JSON value, validated.

    Raises:
        InputError: it holds no plan, or one that cannot be carried out.

    """
    found = checks.fields(value, where, _PLAN, _PLAN_MORE)
    del found["schema"]
    plan = Plan(allowances=found.pop("allow", ()), **found)
    plan.validate()
    return plan


def load_plan(data: bytes | str, where: str) -> Plan:
    """Return a plan out of a file's bytes.

    Raises:
        InputError: as ``plan_from_dict``; it is no JSON.

    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise InputError("is no JSON, and so no plan; bind --save-plan writes one", where) from None
    return plan_from_dict(value, where)
