"""Hosts that are not like their peers, each with what shows it.

Two kinds of signs. A *measure* (a driver's median cost, its slowest probe, the share of probes off their node, the
makespan) is far from the peers' in widths of their own spread (``robust``), and far enough to matter. A *state*
(devices without a node, probes that fail, another number of devices) is one that hardly any peer has: it is no matter
of spread.

A host is compared with peers on its own kernel where these are enough, else with all its peers.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from operator import attrgetter
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.fleet.robust import limit_of, width_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numaprobe.analysis.fleet.rows import DriverFigures, HostFigures

#: Fewer peers are no company to be unlike.
LEAST_PEERS: Final = 8
#: Of one kernel, so many are enough to leave the others out.
LEAST_OF_KERNEL: Final = 30
#: What matters (our choice): half as slow again; twice as fast; a quarter of the probes.
SLOWER: Final = 1.5
FASTER: Final = 0.5
MORE_AWAY: Final = 0.25
#: Two boots of one host differ by so much (our choice): no spread is narrower. In logarithms of costs, and in shares.
LEAST_WIDTH: Final = 0.05
#: A state that this share of the peers has is one of several, and nobody's own.
RARE: Final = 0.01
#: A number of devices is the peers' if so many have it.
MOST: Final = 0.9
#: Of 100 normal numbers one is further below the median than so many widths.
_NINETY_NINE: Final = 2.33
#: Facts that a host may differ in: what it is told beside the signs, and no sign by itself.
_FACTS: Final = ("kernel", "firmware", "cmdline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """What shows that a host is unlike its peers."""

    #: ``slow-driver``, ``fast-driver``, ``slow-device``, ``off-node``, ``slow-run``; ``fails``, ``no-node``,
    #: ``devices``
    kind: str
    #: None: it is about the whole run
    driver: str | None = None
    #: of ``slow-device``
    device: str | None = None
    #: the host's own figure and the peers' median: ns, a share, or a number
    value: float
    typical: float
    unit: str
    #: widths between the two; None of a state
    score: float | None = None
    #: hosts it was compared with, itself not counted, and those of them that are as far off
    peers: int
    as_far: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "kind": self.kind,
            "driver": self.driver,
            "device": self.device,
            "value": round(self.value, 4),
            "typical": round(self.typical, 4),
            "unit": self.unit,
            "score": None if self.score is None else round(self.score, 2),
            "peers": self.peers,
            "as_far": self.as_far,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlikeHost:
    """A host and its signs, the strongest first."""

    host: str
    peers: str
    signs: tuple[Sign, ...]
    #: what it is beside that, where nine in ten peers are something else: fact -> its own, the peers'
    differs: dict[str, tuple[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "host": self.host,
            "peers": self.peers,
            "signs": [sign.to_dict() for sign in self.signs],
            "differs": {name: {"own": own, "peers": theirs} for name, (own, theirs) in self.differs.items()},
        }


@dataclass(frozen=True, slots=True)
class _Measure:
    """A figure of a driver that is compared as a measure.

    Attributes:
        kind: the sign if it is too large.
        low_kind: the sign if it is too small; None: that is no matter.
        unit: of the figure.
        value: takes it; None: there is none.
        scale: makes of it what is compared.
        matters: of the host's figure and the peers' median.

    """

    kind: str
    low_kind: str | None
    unit: str
    value: Callable[[DriverFigures], float | None]
    scale: Callable[[float], float]
    matters: Callable[[float, float], bool]


def _logarithm(ns: float) -> float:
    return math.log(max(ns, 1.0))


def _much_slower_or_faster(own: float, typical: float) -> bool:
    return own >= SLOWER * typical or own <= FASTER * typical


def _share_away(of: DriverFigures) -> float | None:
    return of.away / of.placed if of.placed else None


_MEASURES: Final = (
    _Measure("slow-driver", "fast-driver", "ns", lambda of: of.median_ns, _logarithm, _much_slower_or_faster),
    _Measure("slow-device", None, "ns", lambda of: of.worst_ns, _logarithm, lambda own, other: own >= SLOWER * other),
    _Measure("off-node", None, "share", _share_away, float, lambda own, other: own - other >= MORE_AWAY),
)
_STATES: Final[dict[str, Callable[[DriverFigures], int]]] = {
    "fails": lambda of: of.failed,
    "no-node": lambda of: of.no_node,
}


def find_unlike(hosts: Iterable[HostFigures]) -> list[UnlikeHost]:
    """Return the hosts that are unlike their peers, the strongest sign first."""
    groups = company(hosts)
    limit = limit_of(sum(_measured(group) for group in groups))
    found = [one for group in groups for one in _of_group(group, limit)]
    return sorted(found, key=lambda one: (-_strength(one.signs[0]), one.host))


@dataclass(frozen=True, slots=True, kw_only=True)
class SlownessSeen:
    """How much slower than its peers' a driver must be to be told: where it varies much between them, much slower."""

    driver: str
    peers: str
    hosts: int
    #: times the peers' median: what is told of a host whose driver is otherwise like the median one
    least: float
    #: what is told of 99 in 100 hosts, as some are quicker to begin with
    surely: float


def slowness_seen(hosts: Iterable[HostFigures]) -> list[SlownessSeen]:
    """Return from how many times its peers' cost on each driver of each group is told as slow, the blindest first."""
    groups = company(hosts)
    limit = limit_of(sum(_measured(group) for group in groups))
    found = []
    for group in groups:
        for driver in sorted({name for host in group for name in host.drivers}):
            costs = [_logarithm(host.drivers[driver].median_ns) for host in group if driver in host.drivers]
            if len(costs) >= LEAST_PEERS:
                width = width_of(costs, LEAST_WIDTH)
                told = max(math.log(SLOWER), limit * width.above)
                surely = math.exp(told + _NINETY_NINE * width.below)
                seen = SlownessSeen(
                    driver=driver, peers=group[0].peers, hosts=len(costs), least=math.exp(told), surely=surely
                )
                found.append(seen)
    return sorted(found, key=lambda one: (-one.surely, one.driver, one.peers))


def company(hosts: Iterable[HostFigures]) -> list[list[HostFigures]]:
    """Return who is compared with whom: groups of peers that are large enough, by kernel where these are, too."""
    by_peers: dict[str, list[HostFigures]] = defaultdict(list)
    for host in hosts:
        by_peers[host.peers].append(host)
    found = []
    for group in by_peers.values():
        by_kernel: dict[str | None, list[HostFigures]] = defaultdict(list)
        for host in group:
            by_kernel[host.facts.get("kernel")].append(host)
        if all(len(one) >= LEAST_OF_KERNEL for one in by_kernel.values()):
            found += list(by_kernel.values())
        elif len(group) >= LEAST_PEERS:
            found.append(group)
    return found


def _strength(sign: Sign) -> float:
    """Return what sorts signs: a state that nobody shares is as strong as any."""
    return math.inf if sign.score is None else abs(sign.score)


def _measured(group: Sequence[HostFigures]) -> int:
    return sum(1 + len(_MEASURES) * len(host.drivers) for host in group)


def _of_group(group: Sequence[HostFigures], limit: float) -> Iterator[UnlikeHost]:
    signs: dict[str, list[Sign]] = defaultdict(list)
    for name, sign in _signs(group, limit):
        signs[name].append(sign)
    facts = {name: Counter(host.facts.get(name) for host in group) for name in _FACTS}
    for host in group:
        if host.host in signs:
            yield UnlikeHost(
                host=host.host,
                peers=host.peers,
                signs=tuple(sorted(_told_once(signs[host.host]), key=lambda one: (-_strength(one), one.kind))),
                differs=_differs(host, facts, len(group)),
            )


def _told_once(signs: Sequence[Sign]) -> Iterator[Sign]:
    """Leave out a slowest probe where all probes of the driver are slow, and a run that these make slow."""
    slow = {sign.driver for sign in signs if sign.kind == "slow-driver"}
    for sign in signs:
        if sign.kind == "slow-device" and sign.driver in slow:
            continue
        yield sign


def _signs(group: Sequence[HostFigures], limit: float) -> Iterator[tuple[str, Sign]]:
    yield from _of_runs(group, limit)
    for driver in sorted({name for host in group for name in host.drivers}):
        having = {host.host: host.drivers[driver] for host in group if driver in host.drivers}
        counts = {host.host: having[host.host].devices if host.host in having else 0 for host in group}
        if len(having) >= LEAST_PEERS:
            for measure in _MEASURES:
                yield from _of_measure(driver, measure, having, limit)
            for kind, take in _STATES.items():
                yield from _of_state(kind, driver, {host: take(one) for host, one in having.items()}, typical=0)
        (usual, times), *_ = Counter(counts.values()).most_common(1)
        if times >= MOST * len(counts):
            yield from _of_state("devices", driver, counts, typical=usual)


def _of_runs(group: Sequence[HostFigures], limit: float) -> Iterator[tuple[str, Sign]]:
    values = {host.host: host.makespan_ns for host in group if host.makespan_ns is not None}
    if len(values) < LEAST_PEERS:
        return
    for host, value, typical, score in _far(values, _logarithm, limit):
        if value >= SLOWER * typical:
            far = sum(other >= value for other in values.values()) - 1
            yield host, _sign("slow-run", None, value, typical, "ns", score, len(values) - 1, far)


def _of_measure(
    driver: str, measure: _Measure, having: Mapping[str, DriverFigures], limit: float
) -> Iterator[tuple[str, Sign]]:
    taken = {host: measure.value(one) for host, one in having.items()}
    values = {host: value for host, value in taken.items() if value is not None}
    if len(values) < LEAST_PEERS:
        return
    for host, value, typical, score in _far(values, measure.scale, limit):
        kind = measure.kind if score > 0 else measure.low_kind
        if kind is None or not measure.matters(value, typical) or not _nearly_all(kind, host, having):
            continue
        far = sum((other >= value) if score > 0 else (other <= value) for other in values.values()) - 1
        device = having[host].worst_device if kind == "slow-device" else None
        yield host, _sign(kind, driver, value, typical, measure.unit, score, len(values) - 1, far, device)


def _nearly_all(kind: str, host: str, having: Mapping[str, DriverFigures]) -> bool:
    """Tell whether a driver is slow, or quick, in three of four probes: two slow devices of four are no slow driver."""
    if kind not in ("slow-driver", "fast-driver"):
        return True
    take = attrgetter("low_ns" if kind == "slow-driver" else "high_ns")
    own, theirs = take(having[host]), [ns for one in having.values() if (ns := take(one)) is not None]
    return own is None or _much_slower_or_faster(own, median(theirs))


def _far(
    values: Mapping[str, float], scale: Callable[[float], float], limit: float
) -> Iterator[tuple[str, float, float, float]]:
    """Yield the hosts whose value is beyond the limit: the value, the median of all, and the score."""
    scaled = {host: scale(value) for host, value in values.items()}
    width = width_of(list(scaled.values()), LEAST_WIDTH)
    ordered = sorted(values.values())
    typical = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    for host, value in scaled.items():
        if abs(score := width.score(value)) > limit:
            yield host, values[host], typical, score


def _of_state(kind: str, driver: str, values: Mapping[str, int], *, typical: int) -> Iterator[tuple[str, Sign]]:
    """Yield the hosts whose number is not the usual one, if hardly any peer's is so."""
    unusual = {host: value for host, value in values.items() if value != typical}
    if not unusual or len(unusual) > max(1, RARE * len(values)):
        return
    for host, value in unusual.items():
        yield host, _sign(kind, driver, value, typical, "", None, len(values) - 1, len(unusual) - 1)


def _sign(
    kind: str,
    driver: str | None,
    value: float,
    typical: float,
    unit: str,
    score: float | None,
    peers: int,
    far: int,
    device: str | None = None,
) -> Sign:
    return Sign(
        kind=kind,
        driver=driver,
        device=device,
        value=value,
        typical=typical,
        unit=unit,
        score=score,
        peers=peers,
        as_far=far,
    )


def _differs(host: HostFigures, facts: Mapping[str, Counter[str | None]], group: int) -> dict[str, tuple[str, str]]:
    found = {}
    for name, counted in facts.items():
        (usual, times), *_ = counted.most_common(1)
        own = host.facts.get(name)
        if own != usual and own is not None and usual is not None and times >= MOST * group:
            found[name] = (own, usual)
    return found
