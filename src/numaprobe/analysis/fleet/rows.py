"""What is needed of each host: a few figures of its runs, and of each driver in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverFigures:
    """What one driver did on one host. Times in ns; retries and deferrals are no probes here."""

    driver: str
    #: devices it was called for, and calls
    devices: int
    probes: int
    #: of the cost of its probes
    median_ns: float
    worst_ns: float
    #: a quarter of its probes cost no more, and a quarter no less; None: not worked out
    low_ns: float | None = None
    high_ns: float | None = None
    #: the slowest device
    worst_device: str = ""
    #: probes whose two nodes are known, and those of them that started on another node than their device's
    placed: int = 0
    away: int = 0
    #: devices for which the firmware gave no node, of those of which that is known
    no_node: int = 0
    node_told: int = 0
    #: probes that ended with an error
    failed: int = 0
    #: of the probes of devices of each node: the median cost
    by_node: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFigures:
    """One host, as it was last seen or over several runs."""

    host: str
    #: which hosts it is compared with: those of the same word
    peers: str
    #: runs that the figures are of
    runs: int = 1
    makespan_ns: float | None = None
    #: what else is known of it: kernel, firmware, cmdline; None: not told
    facts: Mapping[str, str | None] = field(default_factory=dict)
    drivers: Mapping[str, DriverFigures] = field(default_factory=dict)
