"""Where a driver is slow: on which kernel, firmware, node, product.

A *place* is a value of one of these; the hosts that have it are compared with the other hosts that have the driver:
the same peers for kernel, firmware and node, everybody for the peers themselves. The test is ``verify``'s rank test
over hosts, each with the median cost of its probes, and Holm's rule holds the chance of *any* false claim to 5 %.

Of a node, a host gives one number to each side; that they are of one host makes the test miss more, not claim more.
Two places that the same hosts have cannot be told apart: they are one row, with both names.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.statistics import SIGNIFICANCE, holm, rank_test

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numaprobe.analysis.fleet.rows import HostFigures

#: Hosts that a place and its rest need; with fewer nothing can be shown among many figures.
LEAST_HOSTS: Final = 4
#: Less is shown, and hardly worth a row (our choice).
LEAST_RATIO: Final = 1.1
#: Facts that are places.
_FACTS: Final = ("kernel", "firmware")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowPlace:
    """A driver that takes longer somewhere than elsewhere."""

    driver: str
    #: what the place is called: (``kernel``, ``6.1.0``); several: the same hosts have all of them
    place: tuple[tuple[str, str], ...]
    #: among which peers; None: among all hosts
    peers: str | None
    hosts: int
    rest: int
    #: median over hosts, ns
    here_ns: float
    elsewhere_ns: float
    #: chance of ranks so far apart, and what it is worth among all that was looked at
    p_value: float
    adjusted_p: float

    @property
    def ratio(self) -> float:
        """How many times longer it takes here."""
        return self.here_ns / self.elsewhere_ns

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "driver": self.driver,
            "place": [{"what": what, "value": value} for what, value in self.place],
            "peers": self.peers,
            "hosts": self.hosts,
            "rest": self.rest,
            "here_ns": round(self.here_ns),
            "elsewhere_ns": round(self.elsewhere_ns),
            "ratio": round(self.ratio, 3),
            "p": self.p_value,
            "adjusted_p": self.adjusted_p,
        }


@dataclass(frozen=True, slots=True)
class _Cell:
    """A driver at one place: what it costs on the hosts there, and on the others."""

    driver: str
    what: str
    value: str
    peers: str | None
    hosts: frozenset[str]
    here: tuple[float, ...]
    elsewhere: tuple[float, ...]


def find_slow_places(hosts: Iterable[HostFigures]) -> list[SlowPlace]:
    """Return where drivers are shown to be slow, the largest ratio first."""
    cells = list(_cells(list(hosts)))
    p_values = [rank_test(cell.elsewhere, cell.here) for cell in cells]
    adjusted = holm(p_values, [1.0] * len(cells))
    found: dict[tuple[str, frozenset[str], str | None], SlowPlace] = {}
    for cell, p, worth in zip(cells, p_values, adjusted, strict=True):
        here, elsewhere = median(cell.here), median(cell.elsewhere)
        if worth > SIGNIFICANCE or not elsewhere or here < LEAST_RATIO * elsewhere:
            continue
        # a host has several nodes, so that the same hosts do not make two nodes one place
        key = cell.driver, cell.hosts, cell.value if cell.what == "node" else None
        before = found[key].place if key in found else ()
        found[key] = SlowPlace(
            driver=cell.driver,
            place=(*before, (cell.what, cell.value)),
            peers=cell.peers,
            hosts=len(cell.here),
            rest=len(cell.elsewhere),
            here_ns=here,
            elsewhere_ns=elsewhere,
            p_value=p,
            adjusted_p=worth,
        )
    return sorted(found.values(), key=lambda one: (-one.ratio, one.driver, one.place))


def _cells(hosts: Sequence[HostFigures]) -> Iterator[_Cell]:
    drivers = sorted({name for host in hosts for name in host.drivers})
    groups: dict[str, list[HostFigures]] = defaultdict(list)
    for host in hosts:
        groups[host.peers].append(host)
    for driver in drivers:
        having = [host for host in hosts if driver in host.drivers]
        yield from _compared(driver, "peers", None, [(host, host.peers, _cost(host, driver)) for host in having])
        for peers, group in groups.items():
            inside = [host for host in group if driver in host.drivers]
            for fact in _FACTS:
                told = [(host, text, _cost(host, driver)) for host in inside if (text := host.facts.get(fact))]
                yield from _compared(driver, fact, peers, told)
            nodes = [(host, str(node), ns) for host in inside for node, ns in host.drivers[driver].by_node.items()]
            yield from _compared(driver, "node", peers, nodes)


def _cost(host: HostFigures, driver: str) -> float:
    return host.drivers[driver].median_ns


def _compared(
    driver: str, what: str, peers: str | None, told: Sequence[tuple[HostFigures, str, float]]
) -> Iterator[_Cell]:
    """Yield each value against all others."""
    by_value: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for host, value, cost in told:
        by_value[value].append((host.host, cost))
    for value, inside in sorted(by_value.items()):
        rest = [cost for other, those in by_value.items() if other != value for _, cost in those]
        if len(inside) >= LEAST_HOSTS and len(rest) >= LEAST_HOSTS:
            names = frozenset(name for name, _ in inside)
            yield _Cell(driver, what, value, peers, names, tuple(cost for _, cost in inside), tuple(rest))
