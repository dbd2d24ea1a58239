"""Times and sizes with units, as people write them; integers inside.

Inside the program a time is an integer count of nanoseconds and a size is an integer count of bytes. Units exist
only at the edge: in scenario files, on the command line, in tables.
"""

from __future__ import annotations

import re
from typing import Final

from numaprobe.errors import InputError

_TIME_UNITS: Final = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 10**9, "min": 60 * 10**9}
_SIZE_UNITS: Final = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
#: Short forms as hwloc and the kernel's command line write them; binary, as there.
_SIZE_ALIASES: Final = {"K": "KiB", "k": "KiB", "M": "MiB", "G": "GiB", "T": "TiB", "KB": "kB", "": "B"}

#: No probe, timeout or scenario lasts longer than this (one day): a larger figure is a mistake in the file.
MAX_TIME_NS: Final = 86_400 * 10**9
#: No machine has more memory than this (1 PiB) yet: a larger figure is a mistake in the file.
MAX_SIZE: Final = 2**50

_QUANTITY = re.compile("\\s*([0-9]{1,30}(?:[.][0-9]{1,12})?)\\s*([A-Za-z\u00b5\u03bc]*)\\s*")


def _quantity(text: str, kind: str, units: dict[str, int]) -> int:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise InputError(f"'{text[:40]}' is not a {kind}; write a number and a unit, one of {', '.join(units)}")
    number, unit = match[1], match[2].replace("\u03bc", "\u00b5")  # the Greek letter looks like the micro sign
    if unit not in units:
        raise InputError(f"'{text[:40]}' has no known {kind} unit; use one of {', '.join(units)}")
    whole, _, fraction = number.partition(".")
    scale = units[unit]
    return int(whole) * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)


def parse_time(text: str) -> int:
    """Return the nanoseconds that ``text`` ("25ms", "1.5 s", "800us") says.

    Raises:
        InputError: no number with a time unit, or more than a day.

    """
    value = _quantity(text, "time", _TIME_UNITS)
    if value > MAX_TIME_NS:
        raise InputError(f"'{text[:40]}' is longer than a day")
    return value


def parse_size(text: str) -> int:
    """Return the bytes that ``text`` ("32GiB", "4 MB", "64K") says; K, M, G, T alone are binary, as in hwloc.

    Raises:
        InputError: no number with a size unit, or more than 1 PiB.

    """
    units = _SIZE_UNITS | {alias: _SIZE_UNITS[unit] for alias, unit in _SIZE_ALIASES.items()}
    value = _quantity(text, "size", units)
    if value > MAX_SIZE:
        raise InputError(f"'{text[:40]}' is larger than 1 PiB")
    return value


def format_time(ns: int) -> str:
    """Return a time for people, three or more significant digits: ``34.766 ms``, ``5.000 s``, ``850 ns``."""
    for unit in ("s", "ms", "µs"):
        scale = _TIME_UNITS[unit]
        if abs(ns) >= scale:
            return f"{ns / scale:.3f} {unit}"
    return f"{ns} ns"


def format_time_exact(ns: int) -> str:
    """Return a time that ``parse_time`` reads back to the same number of nanoseconds: ``34.766123ms``, ``5s``."""
    for unit in ("s", "ms", "us"):
        whole, part = divmod(ns, _TIME_UNITS[unit])
        if whole:
            digits = len(str(_TIME_UNITS[unit])) - 1
            return f"{whole}.{part:0{digits}d}".rstrip("0").rstrip(".") + unit
    return f"{ns}ns"


def format_size(size: int) -> str:
    """Return a size for people in binary units: ``32 GiB``, ``1.5 MiB``, ``512 B``."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        scale = _SIZE_UNITS[unit]
        if size >= scale:
            return f"{size / scale:.4g} {unit}"
    return f"{size} B"


def format_size_exact(size: int) -> str:
    """Return a size that ``parse_size`` reads back to the same number of bytes: ``384GiB``, ``1000B``."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    return f"{size}B"
