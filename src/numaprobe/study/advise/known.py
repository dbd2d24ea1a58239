"""What is known of drivers that bears on probing them asynchronously: the table ``drivers.toml``.

Nobody has such a list for all drivers. What is here has a source; what is not here is *not known*, and the advice says
so each time.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any, Literal

from numaprobe.runtime.parallel import ONE_BY_ONE, safety


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsafe:
    """Drivers whose probes must not run at the same time."""

    drivers: tuple[str, ...]
    why: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Synchronous:
    """Drivers that set PROBE_FORCE_SYNCHRONOUS."""

    drivers: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Names that the kernel gives in the order of probes."""

    drivers: tuple[str, ...]
    #: what stands before the number
    prefix: str
    #: a letter in place of the number: ``vda``
    letters: bool = False
    #: when a probe takes its number
    given: Literal["start", "end"]
    #: what to go by in place of such names
    instead: str
    #: udev renames them, unless ``net.ifnames=0``
    unless_renamed: bool = False

    def name(self, index: int) -> str:
        """Return the name of the device that came as the ``index``-th, counted from 0."""
        if not self.letters:
            return f"{self.prefix}{index}"
        text = ""
        while index >= 0:  # a … z, aa … as ``sd_format_disk_name`` counts
            index, letter = divmod(index, 26)
            text, index = chr(ord("a") + letter) + text, index - 1
        return self.prefix + text


@dataclass(frozen=True, slots=True)
class Known:
    """The table."""

    unsafe: tuple[Unsafe, ...]
    synchronous: tuple[Synchronous, ...]
    names: tuple[Family, ...]

    def unsafe_driver(self, driver: str) -> Unsafe | None:
        """Return why this driver's probes must not run at the same time; None: nothing is known."""
        known = safety(driver)
        if known.bind == ONE_BY_ONE:
            why = "its devices are not to be probed beside each other"
            return Unsafe(drivers=(driver,), why=why, source="; ".join(known.evidence))
        return next((entry for entry in self.unsafe if _matches(driver, entry.drivers)), None)

    def forced(self, driver: str) -> Synchronous | None:
        """Return who says that this driver is always synchronous; None: nothing is known."""
        return next((entry for entry in self.synchronous if _matches(driver, entry.drivers)), None)

    def family(self, driver: str) -> Family | None:
        """Return the names that this driver's devices get; None: none that depend on order, as far as is known."""
        return next((entry for entry in self.names if _matches(driver, entry.drivers)), None)


def _matches(driver: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(driver, pattern) for pattern in patterns)


@cache
def known_drivers() -> Known:
    """Return the table."""
    text = (resources.files("numaprobe.study.advise") / "drivers.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)

    def entries(key: str) -> list[dict[str, Any]]:
        return [entry | {"drivers": tuple(entry["drivers"])} for entry in data[key]]

    return Known(
        unsafe=tuple(Unsafe(**entry) for entry in entries("unsafe")),
        synchronous=tuple(Synchronous(**entry) for entry in entries("synchronous")),
        names=tuple(Family(**entry) for entry in entries("names")),
    )
