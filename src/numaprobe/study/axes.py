"""What a table of variations varies: axes, and one setting for each combination of their values.

An axis is a key and its values, as ``--vary KEY=A,B`` says them. A key is

* ``policy``, ``kernel``, ``machine``, ``cmdline`` (as a whole) or ``devices``: what the options of these names say;
* a parameter of the kernel: ``driver_async_probe``, ``isolcpus``, ``nvme.async_probe``; no value: it is not given;
* ``load_from`` (or ``nvme.load_from``): the CPU or node on which programs load modules (or that one);
* any key of the scenario, as for ``--set``: ``drivers.nvme.probe_type``.

Values are parted by commas. A comma inside of quotes or brackets parts nothing: ``driver_async_probe="nvme,ahci",ahci``
are two values. A key may come more than once; its values follow each other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final, Protocol

from numaprobe.errors import UsageError
from numaprobe.scenario import Scenario, parse_override
from numaprobe.scenario.choice import near
from numaprobe.scenario.doubts import PARAMETERS
from numaprobe.study.variation import vary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numaprobe.scenario import Setting

#: More rows than anybody reads, and than a machine's memory holds with all their probes.
MAX_VARIATIONS: Final = 1000
#: Keys that have an option of their own.
_OPTIONS: Final = ("policy", "kernel", "machine", "cmdline", "devices")
_LOAD_FROM: Final = "load_from"
#: A value: stretches in quotes or brackets, and anything else but commas.
_VALUE = re.compile(r'((?:"[^"]*"|\[[^\]]*\]|\{[^}]*\}|[^,])*)(?:,|$)')


class Varying(Protocol):
    """Whatever has a key, and makes arguments of ``vary`` of its values."""

    @property
    def key(self) -> str:
        """What varies."""
        ...

    def change(self, value: str) -> dict[str, Any]:
        """Return a value as an argument of ``vary``; see ``Axis.change``."""
        ...


@dataclass(frozen=True, slots=True)
class Axis:
    """One thing that varies."""

    key: str
    #: as the user wrote them, without the quotes around them
    values: tuple[str, ...]

    def name(self, value: str) -> str:
        """Return what a row is called for this value of the axis."""
        if self.key in ("policy", "machine"):
            return value
        if self.key in _OPTIONS:
            return f"{value} devices" if self.key == "devices" else f"{self.key} {value or 'empty'}"
        return f"{self.key}={value}" if value else f"no {self.key}"

    def change(self, value: str) -> dict[str, Any]:
        """Return this value as an argument of ``vary``.

        Raises:
            UsageError: a number of devices that is none, or no value where one belongs.

        """
        if not value and not is_parameter(self.key) and self.key != "cmdline":
            text = "an empty value takes a parameter of the kernel away, and this is none"
            raise UsageError(f"--vary {self.key[:60]}=: {text}")
        if self.key == "devices":
            if not (value.isascii() and value.isdigit() and int(value[:9])):
                raise UsageError(f"--vary devices={value[:40]}: write numbers from 1")
            return {"devices": int(value)}
        if self.key in _OPTIONS:
            return {self.key: value}
        if is_parameter(self.key):
            return {"parameters": {self.key: value or None}}
        if self.key == _LOAD_FROM:
            return {_LOAD_FROM: {None: value}}
        if self.key.endswith(f".{_LOAD_FROM}"):
            return {_LOAD_FROM: {self.key.removesuffix(f".{_LOAD_FROM}"): value}}
        return {"changes": dict([parse_override(f"{self.key}={value}")])}


@dataclass(frozen=True, slots=True)
class Variation:
    """One row of the table."""

    #: what varies, in words; a table's rows have different ones
    name: str
    #: the value of each axis
    values: dict[str, str]
    setting: Setting


def is_parameter(key: str) -> bool:
    """Tell whether a key is a parameter of the kernel that changes what is simulated."""
    name = key.replace("-", "_")
    return name in PARAMETERS or (name.endswith(".async_probe") and "[" not in name)


def parse_axes(texts: Iterable[str]) -> list[Axis]:
    """Return the axes that ``KEY=A,B`` say, in the order in which their keys came first.

    Raises:
        UsageError: a text is none, or names what cannot be varied.

    """
    values: dict[str, dict[str, None]] = {}
    for text in texts:
        key, equals, rest = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(f"'{text[:80]}' varies nothing; write for example driver_async_probe=,nvme")
        _check_key(key)
        values.setdefault(key, {}).update(dict.fromkeys(split_values(rest)))
    return [Axis(key, tuple(found)) for key, found in values.items()]


def split_values(text: str) -> list[str]:
    """Return the values that commas part; one that is wholly in quotes comes without them."""
    found = [match[1].strip() for match in _VALUE.finditer(text)]
    if not text.endswith(",") and len(found) > 1:  # the empty match at the very end
        found.pop()
    return [value[1:-1] if re.fullmatch(r'"[^"]*"', value) else value for value in found]


def _check_key(key: str) -> None:
    if key in _OPTIONS or key.rsplit(".", maxsplit=1)[-1] == _LOAD_FROM or is_parameter(key):
        return
    first = re.split(r"[.\[]", key)[0]
    known = Scenario.file_keys()
    if first not in known:
        hint = near(key, [*_OPTIONS, _LOAD_FROM, *PARAMETERS, *known])
        text = "a policy, kernel, machine, cmdline, parameter of the kernel, load_from, or key of the scenario can vary"
        raise UsageError(f"--vary {key[:60]}=: {text}{hint}")


def make_variations(setting: Setting, axes: Sequence[Axis]) -> list[Variation]:
    """Return the setting with every combination of values; the last axis changes fastest.

    Raises:
        NumaprobeError: see ``vary``.
        UsageError: more than ``MAX_VARIATIONS``, or an axis without a value.

    """
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count > MAX_VARIATIONS:
        raise UsageError(f"these are {count} variations; at most {MAX_VARIATIONS} are compared")
    varying = [axis for axis in axes if len(axis.values) > 1] or list(axes)
    found = []
    for values, varied in _combinations(setting, axes):
        name = ", ".join(axis.name(values[axis.key]) for axis in varying)
        found.append(Variation(name, values, varied))
    return found


def _combinations(setting: Setting, axes: Sequence[Axis]) -> Iterator[tuple[dict[str, str], Setting]]:
    """Yield each combination; those that differ in their policies alone are made of one setting."""
    made: dict[tuple[str, ...], Setting] = {}
    for combination in product(*(axis.values for axis in axes)):
        values = {axis.key: value for axis, value in zip(axes, combination, strict=True)}
        plain = tuple(value for key, value in values.items() if key != "policy")
        if plain not in made:
            arguments = together(axes, values)
            made[plain] = vary(setting, arguments.pop("changes", None), **arguments)
        policy = values.get("policy")
        yield values, made[plain] if policy is None else vary(made[plain], policy=policy)


def together(axes: Sequence[Varying], values: dict[str, str]) -> dict[str, Any]:
    """Return the arguments of ``vary`` for these values, policies left out."""
    found: dict[str, Any] = {}
    for axis in axes:
        if axis.key == "policy":
            continue
        for name, value in axis.change(values[axis.key]).items():
            if isinstance(value, dict):
                found.setdefault(name, {}).update(value)
            else:
                found[name] = value
    return found
