"""What changed between two states of a fleet: two releases, two days, two labels.

Each host gives one number to a side: the median of its runs there. Peers are compared with peers alone, group by group,
since a side with more large machines is slower without any change; a group that is on one side only says nothing. The
statistics are ``verify``'s (rank test, Hodges' and Lehmann's shift, Holm's weighted rule): of the permitted chance of
any false claim the makespans of all groups have ``HEADLINE_SHARE``, all other figures the rest.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.statistics import SIGNIFICANCE, FigureChange, compare_runs, holm
from numaprobe.analysis.verify.figures import HEADLINE_SHARE, rounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numaprobe.analysis.fleet.rows import HostFigures

#: Hosts of a group that a side needs for anything to be shown.
LEAST_HOSTS: Final = 4
MAKESPAN: Final = "makespan"
#: of all placed probes: started on their device's node
ON_NODE: Final = "on node"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetChange:
    """One figure of one group of peers, before and after."""

    peers: str
    #: ``makespan``, ``on node`` (a share), or a driver: the median cost of its probes, ns
    figure: str
    change: FigureChange
    adjusted_p: float

    @property
    def shown(self) -> bool:
        """Whether the two sides are shown to differ."""
        return self.adjusted_p <= SIGNIFICANCE

    @property
    def worse(self) -> bool:
        """Whether it is shown to be slower, or less on node."""
        return self.shown and (self.change.shift.estimate > 0) is (self.figure != ON_NODE)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        change = self.change
        interval = change.shift.interval
        return {
            "peers": self.peers,
            "figure": self.figure,
            "unit": "share" if self.figure == ON_NODE else "ns",
            "hosts_before": change.base.size,
            "hosts_after": change.runs.size,
            "before": round(change.base.median, 4),
            "after": round(change.runs.median, 4),
            "change_percent": rounded(change.percent),
            "shift": round(change.shift.estimate, 4),
            "shift_interval": None if interval is None else [round(end, 4) for end in interval],
            "p": change.p_value,
            "adjusted_p": self.adjusted_p,
            "shown": self.shown,
        }


def compare_hosts(before: Iterable[HostFigures], after: Iterable[HostFigures]) -> list[FleetChange]:
    """Return every figure that a group of peers has on both sides, the makespans first."""
    first, second = _figures(before), _figures(after)
    keys = [
        key
        for key in sorted(first, key=lambda key: (key[1] != MAKESPAN, key[1] != ON_NODE, key))
        if min(len(first[key]), len(second.get(key, ()))) >= LEAST_HOSTS
    ]
    changes = [compare_runs(first[key], second[key]) for key in keys]
    adjusted = holm([change.p_value for change in changes], _weights([figure for _, figure in keys]))
    return [
        FleetChange(peers=peers, figure=figure, change=change, adjusted_p=worth)
        for (peers, figure), change, worth in zip(keys, changes, adjusted, strict=True)
    ]


def _weights(figures: list[str]) -> list[float]:
    headlines = figures.count(MAKESPAN)
    others = len(figures) - headlines
    if not headlines or not others:
        return [1.0] * len(figures)
    each = {True: HEADLINE_SHARE / headlines, False: (1 - HEADLINE_SHARE) / others}
    return [each[figure == MAKESPAN] for figure in figures]


def _figures(hosts: Iterable[HostFigures]) -> Mapping[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for host in hosts:
        if host.makespan_ns is not None:
            found[host.peers, MAKESPAN].append(host.makespan_ns)
        if placed := sum(one.placed for one in host.drivers.values()):
            away = sum(one.away for one in host.drivers.values())
            found[host.peers, ON_NODE].append(1 - away / placed)
        for name, one in host.drivers.items():
            found[host.peers, f"driver {name}"].append(one.median_ns)
    return found
