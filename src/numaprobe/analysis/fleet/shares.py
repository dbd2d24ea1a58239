"""A share of hosts, and where the true share lies: Wilson's interval (1927), which is right for few and for none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

from numaprobe.analysis.statistics import SIGNIFICANCE

_Z: Final = NormalDist().inv_cdf(1 - SIGNIFICANCE / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingShare:
    """On how many hosts a finding was made."""

    kind: str
    #: hosts that have it in the run they were last seen in, and all
    hosts: int
    of: int
    #: of these hosts: findings of each severity
    severities: dict[str, int]
    #: the drivers, peers and kernels where it is, the most frequent first: name -> hosts
    drivers: dict[str, int]
    peers: dict[str, int]
    #: some hosts that have it
    examples: tuple[str, ...]
    #: of one of them
    advice: str

    @property
    def share(self) -> float:
        """Of all hosts."""
        return self.hosts / self.of

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "kind": self.kind,
            "hosts": self.hosts,
            "of": self.of,
            "share": round(self.share, 4),
            "share_interval": [round(end, 4) for end in share_interval(self.hosts, self.of)],
            "severities": self.severities,
            "drivers": self.drivers,
            "peers": self.peers,
            "examples": list(self.examples),
            "advice": self.advice,
        }


def share_interval(part: int, whole: int) -> tuple[float, float]:
    """Return where the true share of ``part`` in ``whole`` (at least one) lies with 95 % confidence."""
    share, square = part / whole, _Z * _Z
    middle = share + square / (2 * whole)
    width = _Z * math.sqrt(share * (1 - share) / whole + square / (4 * whole * whole))
    low, high = ((middle + sign * width) / (1 + square / whole) for sign in (-1, 1))
    return 0.0 if part == 0 else low, 1.0 if part == whole else high
