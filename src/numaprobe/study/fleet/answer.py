"""What a question about a fleet is answered with: a sentence, rows, and what limits them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Version of the form.
FLEET_SCHEMA: Final = "numaprobe.fleet/1"


class FleetRow(Protocol):
    """A row of any answer."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverTotal:
    """What a driver costs over all hosts. Times in ns."""

    driver: str
    hosts: int
    probes: int
    #: median over hosts of a host's median probe; the slowest probe, and whose it is
    median_ns: float
    worst_ns: float
    worst_host: str
    #: of the time of all probes of all hosts
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "driver": self.driver,
            "hosts": self.hosts,
            "probes": self.probes,
            "median_ns": round(self.median_ns),
            "worst_ns": round(self.worst_ns),
            "worst_host": self.worst_host,
            "share": round(self.share, 4),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetAnswer:
    """The answer to one question."""

    #: one of ``QUESTIONS``
    question: str
    verdict: str
    #: hosts and runs that were looked at; their first and last day, None: not told
    hosts: int
    runs: int
    days: tuple[str | None, str | None]
    rows: Sequence[FleetRow]
    #: of ``slow``: what each driver costs
    drivers: Sequence[DriverTotal] = ()
    #: of ``changes``: what is before and what after, in words
    sides: tuple[str, str] | None = None
    #: what a reader must know, one line each
    limits: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return the ``numaprobe.fleet/1`` object."""
        return {
            "schema": FLEET_SCHEMA,
            "question": self.question,
            "verdict": self.verdict,
            "hosts": self.hosts,
            "runs": self.runs,
            "days": list(self.days),
            "sides": None if self.sides is None else list(self.sides),
            "rows": [row.to_dict() for row in self.rows],
            "drivers": [row.to_dict() for row in self.drivers],
            "limits": list(self.limits),
        }
