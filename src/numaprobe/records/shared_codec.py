"""JSON of what probes share (``shared.py``): waits of a record; shared holds and readings of a trace."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeVar

from numaprobe.errors import InputError
from numaprobe.records import checks
from numaprobe.records.shared import LockWait, Reading, SharedHold

if TYPE_CHECKING:
    from collections.abc import Mapping

Number = TypeVar("Number", int, float)


def _range(value: object, path: str) -> tuple[int, int]:
    return _pair(checks.each(checks.time)(value, path), path)


def _pair(numbers: tuple[Number, ...], path: str) -> tuple[Number, Number]:
    if len(numbers) != 2 or numbers[0] > numbers[1]:  # noqa: PLR2004  a low and a high
        raise InputError("must be [low, high]", path)
    return numbers[0], numbers[1]


def _factor(value: object, path: str) -> float:
    if type(value) not in (int, float) or not 0 <= value < math.inf:  # type: ignore[operator]
        raise InputError("must be a number that is not negative", path)
    return float(value)  # type: ignore[arg-type]


_WAIT_REQUIRED: Final[Mapping[str, checks.Check]] = {
    "lock": checks.text,
    "times": checks.count,
    **dict.fromkeys(("wait_ns", "longest_ns"), checks.time),
}
_HOLD_REQUIRED: Final[Mapping[str, checks.Check]] = {
    "resource": checks.text,
    "hold_ns": checks.time,
    "hold_range_ns": _range,
    "members": checks.each(checks.text),
    "evidence": checks.choice("seen", "suspected"),
    "source": checks.choice("lock-events", "wake-ups", "two-traces", "timeline", "scenario"),
}
_HOLD_KNOWN: Final[Mapping[str, checks.Check]] = {
    "takes": checks.count,
    "by_member": lambda value, path: {
        checks.text(key, path): checks.time(ns, f"{path}.{key}") for key, ns in checks.mapping(value, path).items()
    },
    "slowdown": _factor,
    "slowdown_range": lambda value, path: _pair(checks.each(_factor)(value, path), path),
}
_READING_KNOWN: Final[Mapping[str, checks.Check]] = dict.fromkeys(("makespan_ns", "worst_ns"), checks.time)


def wait_from_json(value: object, path: str) -> LockWait:
    """Return the wait that a JSON object holds.

    Raises:
        InputError: a field is missing or wrong.

    """
    found = checks.fields(value, path, _WAIT_REQUIRED, {"held_by": checks.text})
    return LockWait(**({"held_by": None} | found))


def hold_to_json(hold: SharedHold) -> dict[str, Any]:
    """Return a shared hold as a JSON object."""
    return {
        "resource": hold.resource,
        "hold_ns": hold.hold_ns,
        "hold_range_ns": list(hold.hold_range_ns),
        "takes": hold.takes,
        "members": list(hold.members),
        "by_member": dict(hold.by_member),
        "slowdown": hold.slowdown,
        "slowdown_range": list(hold.slowdown_range),
        "evidence": hold.evidence,
        "source": hold.source,
    }


def hold_from_json(value: object, path: str) -> SharedHold:
    """Return the shared hold that a JSON object holds.

    Raises:
        InputError: a field is missing or wrong.

    """
    return SharedHold(**checks.fields(value, path, _HOLD_REQUIRED, _HOLD_KNOWN))


def reading_to_json(reading: Reading) -> dict[str, Any]:
    """Return a reading as a JSON object."""
    return reading._asdict()


def reading_from_json(value: object, path: str) -> Reading:
    """Return the reading that a JSON object holds.

    Raises:
        InputError: a field is missing or wrong.

    """
    found = checks.fields(value, path, {"name": checks.text}, _READING_KNOWN)
    return Reading(**({"makespan_ns": None, "worst_ns": None} | found))
