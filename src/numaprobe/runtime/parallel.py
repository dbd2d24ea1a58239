"""Which drivers' devices may be bound or unbound beside each other, and how anybody knows: ``parallel.toml``.

The driver core lets two probes of one driver run at once, and always has: each holds the lock of its own device. What
it does not protect is what the driver shares among its devices: a counter, a list, a table of numbers. So a driver
that nobody has looked at is taken one by one, and where that is overruled the plan says what may happen.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from numaprobe.errors import InternalError

PARALLEL: Final = "parallel"
ONE_BY_ONE: Final = "one by one"
UNKNOWN: Final = "unknown"

#: What a plan says of a driver that nobody knows. ``%s``: the driver.
WARNING: Final = (
    "nobody knows whether devices of %s may be bound beside each other: probes that share state without a lock"
    " have numbered two identical devices alike"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """What is known of one driver."""

    driver: str
    #: ``PARALLEL``, ``ONE_BY_ONE`` or ``UNKNOWN``
    bind: str = UNKNOWN
    unbind: str = UNKNOWN
    #: how it is known, a line each
    evidence: tuple[str, ...] = ()

    def of(self, action: str) -> str:
        """Return what is known of ``bind`` or ``unbind``."""
        return self.bind if action == "bind" else self.unbind


@cache
def safeties() -> dict[str, Safety]:
    """Return the table.

    Raises:
        InternalError: it says something that it must not.

    """
    data = tomllib.loads((files("numaprobe.runtime") / "parallel.toml").read_text(encoding="utf-8"))
    found = {name: Safety(driver=name, **{**row, "evidence": tuple(row["evidence"])}) for name, row in data.items()}
    for row in found.values():
        if not {row.bind, row.unbind} <= {PARALLEL, ONE_BY_ONE, UNKNOWN} or not row.evidence:
            raise InternalError(f"parallel.toml: {row.driver} says neither parallel nor one by one, or not why")
    return found


def safety(driver: str) -> Safety:
    """Return what is known of a driver: possibly nothing."""
    return safeties().get(driver, Safety(driver=driver))
