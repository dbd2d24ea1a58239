"""What a sweep varies: axes with values, spans between two values, and the points that are to be run.

A point has one value, a text, for each axis. Points are numbered; they are

* every combination of the values, the policy changing fastest and then the last axis (one plan serves all policies);
* listed, one by one;
* or sampled: a Latin hypercube over all axes, so that each one is covered evenly by any number of points.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import InputError, UsageError
from numaprobe.study.axes import Axis, parse_axes
from numaprobe.units import parse_size, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Point = tuple[str, ...]

#: A day of a run a millisecond is 86 million; more than this is a mistake in the question.
MAX_RUNS: Final = 10_000_000
_SPAN: Final = re.compile(r"\s*([0-9][0-9.]*)\s*([A-Za-zµμ]*)\s*\.\.\s*([0-9][0-9.]*)\s*([A-Za-zµμ]*)\s*(:log)?\s*")
#: digits of a number that is neither a time nor a size nor whole
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class AxisSpan:
    """An axis whose values are all between two numbers: ``1ms..50ms``."""

    key: str
    least: float
    most: float
    #: "ns", "B", or nothing
    unit: str = ""
    #: only whole numbers
    whole: bool = False
    #: as many values between 1 and 10 as between 10 and 100
    log: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.least < self.most < math.inf) or (self.log and not self.least):
            text = "a span goes from a number to a larger one (and not from 0 if it is ':log')"
            raise UsageError(f"--vary {self.key[:60]}=: {text}")

    def at(self, place: float) -> str:
        """Return the value at a place from 0 to 1."""
        if self.log:
            value = self.least * (self.most / self.least) ** place
        elif self.whole:
            return str(min(int(self.most), math.floor(self.least + place * (self.most - self.least + 1))))
        else:
            value = self.least + place * (self.most - self.least)
        if self.unit or self.whole:
            return f"{min(round(value), int(self.most))}{self.unit}"
        return f"{value:.{_DIGITS}g}"

    def number(self, text: str) -> float | int:
        """Return a value as a number: ns, bytes, or what it says."""
        plain = text.removesuffix(self.unit) if self.unit else text
        return int(plain) if self.unit or self.whole else float(plain)

    def change(self, value: str) -> dict[str, Any]:
        """Return this value as an argument of ``vary``; see ``Axis.change``."""
        return Axis(self.key, (value,)).change(value)

    def name(self, value: str) -> str:
        """Return what a run is called for this value."""
        return f"{self.key}={value}"


def parse_space(texts: Iterable[str]) -> tuple[Axis | AxisSpan, ...]:
    """Return the axes that ``KEY=A,B`` and ``KEY=A..B`` say, in the order in which their keys came first.

    Raises:
        UsageError: a text is none, or names what cannot be varied.

    """
    found: dict[str, Axis | AxisSpan] = {}
    listed: dict[str, list[str]] = {}
    for text in texts:
        key, _, rest = text.partition("=")
        key = key.strip()
        if (span := parse_span(key, rest)) is not None:
            parse_axes([f"{key}="])  # is it a key at all?
            if key in found:
                raise UsageError(f"--vary {key[:60]}=: one span, or values, and not both")
            found[key] = span
            continue
        listed.setdefault(key, []).append(text)
        if isinstance(found.get(key), AxisSpan):
            raise UsageError(f"--vary {key[:60]}=: one span, or values, and not both")
        [axis] = parse_axes(listed[key])
        found[axis.key] = axis
    return tuple(found.values())


def parse_span(key: str, text: str) -> AxisSpan | None:
    """Return the span that a text says; None: it says something else.

    Raises:
        UsageError: it is one that makes no sense.

    """
    match = _SPAN.fullmatch(text)
    if match is None:
        return None
    first, unit, second, other, log = match.groups()
    if not (unit or other):
        whole = "." not in first + second
        return AxisSpan(key, float(first), float(second), whole=whole, log=bool(log))
    for name, parse in (("ns", parse_time), ("B", parse_size)):
        try:
            ends = parse(first + (unit or other)), parse(second + (other or unit))
        except InputError:
            continue
        return AxisSpan(key, *ends, unit=name, log=bool(log))
    raise UsageError(f"--vary {key[:60]}={text[:60]}: both ends are times (1ms..50ms), sizes or plain numbers")


@dataclass(frozen=True)
class Space:
    """All points of a sweep."""

    axes: tuple[Axis | AxisSpan, ...]
    #: the points one by one
    listed: tuple[Point, ...] | None = None
    #: so many points, drawn
    random: int | None = None
    seed: int = 0
    _order: tuple[int, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        spans = [axis.key for axis in self.axes if isinstance(axis, AxisSpan)]
        if spans and self.random is None and self.listed is None:
            raise UsageError(f"--vary {spans[0][:60]}= is a span, and spans are sampled: say how many with --random N")
        if self.random is not None and (self.listed is not None or not self.axes):
            raise UsageError("--random draws from what --vary says; points that are listed are not drawn")
        if not 0 < self.count <= MAX_RUNS:
            raise UsageError(f"these are {self.count} runs; a sweep has 1 to {MAX_RUNS:,}")
        places = sorted(range(len(self.axes)), key=lambda place: self.axes[place].key == "policy")
        object.__setattr__(self, "_order", tuple(places))

    @cached_property
    def count(self) -> int:
        """How many points there are."""
        if self.listed is not None:
            return len(self.listed)
        if self.random is not None:
            return self.random
        return math.prod(len(axis.values) for axis in self.axes if isinstance(axis, Axis))

    def points(self, first: int, count: int) -> list[Point]:
        """Return some points, from a number on."""
        last = min(first + count, self.count)
        if self.listed is not None:
            return list(self.listed[first:last])
        if self.random is not None:
            return [self._drawn(row) for row in self._sample[first:last].tolist()]
        return [self._combination(number) for number in range(first, last)]

    @property
    def digest(self) -> str:
        """What tells this space from another one: of sampled points those that were drawn, too."""
        told: list[Any] = [[axis_to_json(axis) for axis in self.axes], self.listed, self.random]
        found = hashlib.sha256(json.dumps(told).encode())
        if self.random is not None:
            found.update(self._sample.tobytes())
        return found.hexdigest()[:16]

    def _combination(self, number: int) -> Point:
        values = [""] * len(self.axes)
        for place in reversed(self._order):
            axis = self.axes[place]
            assert isinstance(axis, Axis)  # noqa: S101  spans are sampled: see above
            number, index = divmod(number, len(axis.values))
            values[place] = axis.values[index]
        return tuple(values)

    def _drawn(self, places: Sequence[float]) -> Point:
        return tuple(
            axis.at(place) if isinstance(axis, AxisSpan) else axis.values[int(place * len(axis.values))]
            for axis, place in zip(self.axes, places, strict=True)
        )

    @cached_property
    def _sample(self) -> Any:  # noqa: ANN401  an array of numpy's: points by axes, from 0 up to 1
        from numaprobe.study.sweep.sampling import latin_hypercube

        return latin_hypercube(len(self.axes), self.count, self.seed)


def axis_to_json(axis: Axis | AxisSpan) -> dict[str, Any]:
    """Return an axis as plain JSON."""
    if isinstance(axis, Axis):
        return {"key": axis.key, "values": list(axis.values)}
    return {name: getattr(axis, name) for name in AxisSpan.__dataclass_fields__}


def axis_from_json(block: dict[str, Any]) -> Axis | AxisSpan:
    """Return the axis that ``axis_to_json`` wrote.

    Raises:
        TypeError, KeyError: it did not.

    """
    if "values" in block:
        return Axis(str(block["key"]), tuple(str(value) for value in block["values"]))
    return AxisSpan(**block)
