"""Small checks of JSON values: each takes a value and its path, and returns it as our types hold it, or raises.

By hand and not by a validation library: this floor is imported by everything, and importing it must cost nothing. An
error names the path of the value (``probes[3].cost_ns``), what stands there and what must. Numbers are held to
``ranges.py``, texts to what UTF-8 can carry, so that what was read can be written anywhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeVar

from numaprobe.errors import InputError
from numaprobe.records.ranges import MAX_ATTEMPT, MAX_CPU, MAX_FIGURE, MAX_NODE, MAX_TIME_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    #: takes a value and its path
    Check = Callable[[Any, str], Any]

T = TypeVar("T")

#: Free values (evidence, the machine's block) may nest this deep; no sane one comes near.
MAX_DEPTH: Final = 64

_KINDS: Final[Mapping[type, str]] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a fraction",
    type(None): "null",
}


def refuse(value: object, path: str, wanted: str) -> InputError:
    """Return the error for a value of the wrong kind."""
    return InputError(f"must be {wanted}, and is {_KINDS.get(type(value), type(value).__name__)}", path)


def whole(value: object, path: str) -> int:
    """Accept a whole number of 64 bits."""
    if type(value) is not int:
        raise refuse(value, path, "a whole number")
    if not -MAX_FIGURE <= value <= MAX_FIGURE:
        raise InputError("does not fit in 64 bits", path)
    return value


def count(value: object, path: str) -> int:
    """Accept a whole number that is not negative: a size."""
    number = whole(value, path)
    if number < 0:
        raise InputError(f"must not be negative, and is {number}", path)
    return number


def _at_most(limit: int, kind: str) -> Callable[[Any, str], int]:
    """Return a check of a whole number from 0 to ``limit``."""

    def checked(value: object, path: str) -> int:
        number = count(value, path)
        if number > limit:
            raise InputError(f"must be {kind}, at most {limit}, and is {number}", path)
        return number

    return checked


#: Accepts a time or a duration in ns.
time = _at_most(MAX_TIME_NS, "a time in ns")
#: Accepts a CPU.
cpu = _at_most(MAX_CPU, "a CPU")


def node(value: object, path: str) -> int:
    """Accept a node's number, or -1 for none."""
    number = whole(value, path)
    if not -1 <= number <= MAX_NODE:
        raise InputError(f"must be a node from 0 to {MAX_NODE}, or -1 for none, and is {number}", path)
    return number


def positive(value: object, path: str) -> int:
    """Accept a whole number from 1 on."""
    number = whole(value, path)
    if not 1 <= number <= MAX_ATTEMPT:
        raise InputError(f"must be 1 or more, at most {MAX_ATTEMPT}, and is {number}", path)
    return number


def share(value: object, path: str) -> float:
    """Accept a share: a number from 0 to 1."""
    if type(value) is bool or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise refuse(value, path, "a share from 0 to 1")
    return float(value)


def flag(value: object, path: str) -> bool:
    """Accept true or false."""
    if type(value) is not bool:
        raise refuse(value, path, "true or false")
    return value


def text(value: object, path: str) -> str:
    """Accept a text that UTF-8 can carry."""
    if type(value) is not str:
        raise refuse(value, path, "a text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InputError("holds half of a surrogate pair, which is no character", path) from None
    return value


def listing(value: object, path: str) -> list[Any]:
    """Accept a list."""
    if type(value) is not list:
        raise refuse(value, path, "a list")
    return value


def mapping(value: object, path: str) -> dict[str, Any]:
    """Accept an object."""
    if type(value) is not dict:
        raise refuse(value, path, "an object")
    return value


def each(check: Callable[[Any, str], T]) -> Callable[[Any, str], tuple[T, ...]]:
    """Return a check of a list whose elements pass ``check``."""

    def checked(value: object, path: str) -> tuple[T, ...]:
        return tuple(check(item, f"{path}[{index}]") for index, item in enumerate(listing(value, path)))

    return checked


def choice(*known: str) -> Callable[[Any, str], str]:
    """Return a check of a text that is one of ``known``."""

    def checked(value: object, path: str) -> str:
        if text(value, path) not in known:
            raise InputError(f"must be one of {', '.join(known)}, and is '{str(value)[:40]}'", path)
        return str(value)

    return checked


def free(value: object, path: str, depth: int = 0) -> Any:  # noqa: ANN401  any JSON value
    """Accept any JSON value (evidence, a machine's block) that can be written again."""
    if depth > MAX_DEPTH:
        raise InputError(f"nests more than {MAX_DEPTH} deep", path)
    if type(value) is dict:
        return {text(key, path): free(item, f"{path}.{key}", depth + 1) for key, item in value.items()}
    if type(value) is list:
        return [free(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    if type(value) is str:
        return text(value, path)
    if type(value) is float and not math.isfinite(value):
        raise InputError("must be a finite number", path)
    return value


def fields(value: object, path: str, required: Mapping[str, Check], known: Mapping[str, Check]) -> dict[str, Any]:
    """Return the fields of an object that are in ``required`` or ``known``, checked; others are passed over.

    Args:
        value: the object.
        path: where it stands.
        required: checks of the fields that must be there.
        known: checks of the fields that may be left out; null counts as left out.

    Raises:
        InputError: no object, a required field is missing, a check failed.

    """
    given = mapping(value, path)
    prefix = f"{path}." if path else ""
    found = {}
    for name, check in required.items():
        if name not in given:
            raise InputError(f"'{name}' is missing", path or "top")
        found[name] = check(given[name], prefix + name)
    for name, check in known.items():
        item = given.get(name)
        if item is not None:
            found[name] = check(item, prefix + name)
    return found
