"""Sets of CPUs (or nodes), and their text as the kernel reads and writes it.

Two formats, both of ``lib/bitmap-str.c``: the *list* (``0-3,8``; also ranges with a stride, ``0-31:2/4`` = the first
two of every four, ``N`` for the last possible one, ``all``; parts end at a comma or white space, empty ones are
skipped) and the *mask* (comma-separated groups of 32 bits, most significant first, ``ff,ffffffff``). A set is one
Python integer inside, so that and, or and difference of 4,096 CPUs are single operations.

Reading takes time linear in the text, which is bounded; nothing in a text can make a set larger than MAX_CPUS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: CONFIG_NR_CPUS is at most 8192 on x86-64 (MAXSMP); a larger number in a file is a mistake or an attack.
MAX_CPUS: Final = 8192

#: The longest sensible text, a list of every other CPU of 8192, has 20,000 characters; ten times that is an attack.
MAX_TEXT: Final = 200_000

_RANGE = re.compile(r"(?:(?:(\d{1,9}|N)(?:-(\d{1,9}|N))?)|([aA][lL][lL]))(?::(\d{1,9})/(\d{1,9}))?", re.ASCII)
_SEPARATOR = re.compile(r"[,\s]+", re.ASCII)
_GROUP = re.compile(r"[0-9a-fA-F]{1,8}", re.ASCII)


@dataclass(frozen=True, slots=True, order=False)
class CpuSet:
    """An immutable set of CPU numbers (or of node numbers: the kernel's nodemask has the same text).

    Attributes:
        bits: bit *n* set means that CPU *n* is in the set; never negative.

    """

    bits: int = 0

    @classmethod
    def of(cls, cpus: Iterable[int]) -> CpuSet:
        """Return the set of these CPU numbers.

        Raises:
            InputError: a number is negative or not below MAX_CPUS.

        """
        bits = 0
        for cpu in cpus:
            if not 0 <= cpu < MAX_CPUS:
                raise InputError(f"CPU {cpu} is not in 0-{MAX_CPUS - 1}")
            bits |= 1 << cpu
        return cls(bits)

    @classmethod
    def parse_list(cls, text: str, *, last: int | None = None) -> CpuSet:
        """Read the kernel's list format, as in ``/sys/devices/system/node/node0/cpulist`` or ``isolcpus=``.

        Args:
            text: the list; white space around it is ignored and an empty list is the empty set.
            last: the highest possible number, for ``N`` and ``all``; without it these two are refused.

        Raises:
            InputError: not a list, a range that runs backwards, a number that is not below MAX_CPUS.

        """
        _check_length(text)
        bits = 0
        for part in _SEPARATOR.split(text):
            if part:
                bits |= _parse_range(part, last)
        return cls(bits)

    @classmethod
    def parse_mask(cls, text: str) -> CpuSet:
        """Read the kernel's mask format, as in ``/sys/devices/virtual/workqueue/cpumask``; a ``0x`` is accepted.

        Raises:
            InputError: not groups of at most eight hexadecimal digits, or a bit that is not below MAX_CPUS.

        """
        _check_length(text)
        bits = 0
        groups = text.strip().removeprefix("0x").split(",")
        for group in groups:
            if not _GROUP.fullmatch(group):
                raise InputError(f"'{text[:60]}' is not a CPU mask; write hexadecimal groups such as ff,ffffffff")
            bits = bits << 32 | int(group, 16)
            if bits.bit_length() > MAX_CPUS:
                raise InputError(f"the mask '{text[:60]}' names a CPU that is not in 0-{MAX_CPUS - 1}")
        return cls(bits)

    @property
    def first(self) -> int | None:
        """The smallest number in the set (the kernel's ``cpumask_first``); None if the set is empty."""
        return (self.bits & -self.bits).bit_length() - 1 if self.bits else None

    @property
    def last(self) -> int | None:
        """The largest number in the set; None if the set is empty."""
        return self.bits.bit_length() - 1 if self.bits else None

    def to_mask(self, width: int = 0) -> str:
        """Write the mask format for ``width`` possible CPUs (padded as the kernel pads it)."""
        digits = max(1, (max(width, self.bits.bit_length()) + 3) // 4)
        text = f"{self.bits:0{digits}x}"
        head = len(text) % 8
        groups = [text[:head]] if head else []
        groups += [text[i : i + 8] for i in range(head, len(text), 8)]
        return ",".join(groups)

    def issubset(self, other: CpuSet) -> bool:
        """Tell whether every CPU of this set is in ``other``."""
        return not self.bits & ~other.bits

    def __str__(self) -> str:
        """Write the list format, the shortest one: ``0-3,8``."""
        parts = []
        bits, base = self.bits, 0
        while bits:
            start = (bits & -bits).bit_length() - 1
            run = bits >> start
            length = (~run & (run + 1)).bit_length() - 1
            low = base + start
            parts.append(str(low) if length == 1 else f"{low}-{low + length - 1}")
            bits = run >> length
            base = low + length
        return ",".join(parts)

    def __repr__(self) -> str:
        return f"CpuSet('{self}')"

    def __iter__(self) -> Iterator[int]:
        bits = self.bits
        while bits:
            low = bits & -bits
            yield low.bit_length() - 1
            bits ^= low

    def __len__(self) -> int:
        return self.bits.bit_count()

    def __bool__(self) -> bool:
        return self.bits != 0

    def __contains__(self, cpu: object) -> bool:
        return isinstance(cpu, int) and cpu >= 0 and bool(self.bits >> cpu & 1)

    def __and__(self, other: CpuSet) -> CpuSet:
        return CpuSet(self.bits & other.bits)

    def __or__(self, other: CpuSet) -> CpuSet:
        return CpuSet(self.bits | other.bits)

    def __sub__(self, other: CpuSet) -> CpuSet:
        return CpuSet(self.bits & ~other.bits)


def _check_length(text: str) -> None:
    if len(text) > MAX_TEXT:
        raise InputError(f"a text of {len(text)} characters is no set of at most {MAX_CPUS} CPUs")


def _number(text: str, last: int | None, part: str) -> int:
    if text == "N":
        if last is None:
            raise InputError(f"'{part}': N and all stand for the last CPU, which is not known here")
        return last
    value = int(text)
    if value >= MAX_CPUS:
        raise InputError(f"CPU {value} is not in 0-{MAX_CPUS - 1}")
    return value


def _parse_range(part: str, last: int | None) -> int:
    match = _RANGE.fullmatch(part)
    if match is None or (match[4] and not (match[2] or match[3])):
        raise InputError(f"'{part[:40]}' is not a CPU list; write for example 0-3,8")
    low = 0 if match[3] else _number(match[1], last, part)
    high = low if not (match[2] or match[3]) else _number(match[2] or "N", last, part)
    if high < low:
        raise InputError(f"'{part}' runs backwards; write {high}-{low}")
    used, group = int(match[4] or 1), int(match[5] or 1)
    if used > group or not group:
        raise InputError(f"'{part}': of every {group} CPUs {used} cannot be taken")
    return _stride(high - low + 1, used, group) << low


def _stride(length: int, used: int, group: int) -> int:
    """Return ``length`` bits, the first ``used`` of every ``group`` set: a pattern repeated by one division."""
    if used == group:
        return (1 << length) - 1
    group = min(group, length)
    used = min(used, group)
    repeats = -(-length // group)
    pattern = (1 << used) - 1
    return pattern * (((1 << group * repeats) - 1) // ((1 << group) - 1)) & ((1 << length) - 1)


def next_bit(bits: int, after: int) -> int:
    """Return the first set bit above ``after``, wrapping round (``for_each_cpu_wrap``)."""
    high = bits >> after + 1
    if high:
        return after + (high & -high).bit_length()
    return (bits & -bits).bit_length() - 1
