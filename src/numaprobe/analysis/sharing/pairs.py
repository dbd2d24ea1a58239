"""What probes share, learnt from probes that were alone and probes in company: two traces of one machine, mostly.

Alone a probe sleeps for its device. In company it sleeps for the others, too: what its sleep *grew* by is the time
for which they had what it wanted. With n probes that want the same and mix, each waits for one hold of each other one:

    hold = growth of the sleep / (n - 1)

Where they end one after the other, the sums say half of it: the first waited for nobody. Where they shared a CPU, its
turns hide the lock's: of the waiting that company brought, the part that was *asleep* was for the lock, and the hold is
that part of what a probe computes.

With several members, what each of them holds follows from *how* they take turns, and that cannot be seen. With turns of
one length a probe waits for as much of each other one as it has itself, and who holds more waits more. With as many
turns for each a probe waits for all that the others have, and who holds more waits less. So one hold is told for all,
and its range goes from the least of both to the most, as often as that fits into the time that they spent together:
what a probe does by itself while others have it is no waiting, and hides as much of their holds.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean, median, quantiles
from typing import TYPE_CHECKING, Final

from numaprobe.analysis.sharing.company import meetings
from numaprobe.analysis.sharing.own import Own, middle_range, own_costs
from numaprobe.records import SharedHold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numaprobe.analysis.sharing.company import Met
    from numaprobe.analysis.sharing.own import OwnCost
    from numaprobe.records import Trace

#: A driver's sleep has grown if it did by this share of what its probe takes by itself, …
MIN_GROWTH: Final = 0.1
#: … and by this many times what the sleep of the middle half of its probes differs by when they are alone.
MIN_SPREAD: Final = 2.0
#: With fewer values than this the middle half is all of them.
_FEWEST_QUARTILES: Final = 4
#: Rounds until the holds of several drivers fit together.
_ROUNDS: Final = 40
#: A staircase has three steps at least, and the first is less than this share of the last.
_FEWEST_STEPS: Final = 3
_FIRST_STEP: Final = 1 / 3


@dataclass(frozen=True, slots=True)
class Growth:
    """What company did to one probe, beside what it takes by itself."""

    met: Met
    own: OwnCost

    @property
    def slept_ns(self) -> int:
        """By how much its sleep grew."""
        return max(0, self.met.sleeping_ns - self.own.sleeping_ns)

    @property
    def asleep(self) -> float:
        """Which share of the waiting that company brought was asleep, and not for a CPU."""
        waited = self.slept_ns + self.met.runnable_ns
        return self.slept_ns / waited if waited else 0.0


def learn_pairs(traces: Sequence[Trace]) -> tuple[tuple[SharedHold, ...], Own]:
    """Return what the probes of these traces of one machine share, and what each takes by itself.

    Nothing is shared, as far as this tells, where none met, or where none of a driver's was alone.
    """
    met = [meetings(trace.probes) for trace in traces]
    own = own_costs(met)
    groups: dict[str, list[Growth]] = defaultdict(list)
    for one in (one for trace in met for one in trace if not one.alone):
        if (cost := own.cost_of(one)) is not None:
            groups[one.driver].append(Growth(one, cost))
    sleeps = _sleeps_alone(met)
    waiting = {driver: group for driver, group in groups.items() if _has_grown(group, sleeps[driver])}
    slowed = tuple(sorted(driver for driver in groups if driver not in waiting and own.slowdown[driver][0]))
    shared = [_held(waiting, own)] if waiting else []
    shared += [_hold(f"shared-{len(shared) + 1}", slowed, own)] if slowed else []
    return tuple(shared), own


def _sleeps_alone(met: Sequence[Sequence[Met]]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for one in (one for trace in met for one in trace if one.alone):
        found[one.driver].append(one.sleeping_ns)
    return found


def _has_grown(group: Sequence[Growth], alone: Sequence[int]) -> bool:
    slept = median(growth.slept_ns for growth in group)
    return slept > MIN_GROWTH * median(growth.own.cost_ns for growth in group) and slept > MIN_SPREAD * _middle(alone)


def _middle(values: Sequence[int]) -> float:
    """Return how far the middle half of these lies apart."""
    if len(values) < _FEWEST_QUARTILES:
        return max(values) - min(values)
    low, _, high = quantiles(values, n=4, method="inclusive")
    return high - low


def _held(waiting: Mapping[str, Sequence[Growth]], own: Own) -> SharedHold:
    holds = {driver: median(_simple(growth, waiting) for growth in group) for driver, group in waiting.items()}
    for _ in range(_ROUNDS):
        fits = {driver: median(_fit(growth, holds) for growth in group) for driver, group in waiting.items()}
        holds = {driver: hold * fits[driver] for driver, hold in holds.items()}
    everyone = [growth for group in waiting.values() for growth in group]
    steps = 2 if _is_staircase(everyone) else 1
    estimates = [(growth.met.driver, _estimate(growth, holds, steps)) for growth in everyone]
    found = {driver: median(ns for name, ns in estimates if name == driver) for driver in holds}
    spread = middle_range(ns / max(1.0, found[driver]) for driver, ns in estimates)
    if len(found) > 1 and steps == 1:
        either = [*found.values(), *_by_equal_takes(waiting).values()]
        middle = fmean(found[growth.met.driver] for growth in everyone)
        full = max(1.0, _until_it_is_full(everyone, found))
        spread = min(either) * spread[0] / max(1.0, middle), max(either) * spread[1] * full / max(1.0, middle)
        found = dict.fromkeys(found, middle)
    return _hold("shared-1", tuple(sorted(waiting)), own, holds=found, spread=spread, takes=1 if steps > 1 else None)


def _by_equal_takes(waiting: Mapping[str, Sequence[Growth]]) -> dict[str, float]:
    """Return what each member holds if each takes it as often: what all hold together, less what it waited."""
    everyone = [growth for group in waiting.values() for growth in group]
    beside = fmean(sum(share for other, share in one.met.others if other.driver in waiting) for one in everyone)
    together = fmean(growth.slept_ns for growth in everyone) * (1 + beside) / max(1.0, beside)
    most = {driver: median(growth.own.cost_ns for growth in group) for driver, group in waiting.items()}
    waited = {driver: median(growth.slept_ns for growth in group) for driver, group in waiting.items()}
    return {driver: min(max(0.0, together - ns), most[driver]) for driver, ns in waited.items()}


def _differ(holds: Mapping[str, float]) -> bool:
    return len(set(holds.values())) > 1


def _until_it_is_full(everyone: Sequence[Growth], holds: Mapping[str, float]) -> float:
    """Return how many times these holds fit into the time that probes spent beside each other."""
    fits = []
    for growth in everyone:
        beside = sum(share * holds.get(other.driver, 0.0) for other, share in growth.met.others)
        fits.append((growth.met.end_ns - growth.met.start_ns) / max(1.0, holds[growth.met.driver] + beside))
    return median(fits)


def _hold(
    resource: str,
    members: tuple[str, ...],
    own: Own,
    *,
    holds: Mapping[str, float] | None = None,
    spread: tuple[float, float] = (1.0, 1.0),
    takes: int | None = None,
) -> SharedHold:
    middle = median(holds.values()) if holds else 0.0
    slowdowns = [own.slowdown[driver] for driver in members]
    return SharedHold(
        resource=resource,
        hold_ns=round(middle),
        hold_range_ns=(round(middle * spread[0]), round(middle * spread[1])),
        members=members,
        by_member={driver: round(ns) for driver, ns in sorted(holds.items())} if holds and _differ(holds) else {},
        slowdown=round(median(one for one, _, _ in slowdowns), 4),
        slowdown_range=(min(low for _, low, _ in slowdowns), max(high for _, _, high in slowdowns)),
        takes=takes,
        evidence="suspected",
        source="two-traces",
    )


def _simple(growth: Growth, members: Mapping[str, object]) -> float:
    """Return the hold by the rule at the top of this file."""
    beside = sum(share for other, share in growth.met.others if other.driver in members)
    return growth.slept_ns / max(1.0, beside)


def _fit(growth: Growth, holds: Mapping[str, float]) -> float:
    """Return by how much a probe's waiting exceeds what these holds make it wait: 1 = as much.

    Probes that mix have equal turns: while one has had what it needs, each other one has had as much, or all it needs.
    """
    mine = holds[growth.met.driver]
    waits = sum(share * min(mine, holds.get(other.driver, 0.0)) for other, share in growth.met.others)
    return growth.slept_ns / waits if waits else 1.0


def _estimate(growth: Growth, holds: Mapping[str, float], steps: int) -> float:
    """Return the hold that one probe's waiting speaks for: one that fits into it.

    If it waited for its CPU as well, it fits into what it computes.
    """
    hold = steps * holds[growth.met.driver] * _fit(growth, holds)
    shared_cpu = growth.met.runnable_ns > MIN_GROWTH * growth.slept_ns
    return min(hold, growth.asleep * growth.own.running_ns if shared_cpu else growth.own.cost_ns)


def _is_staircase(growths: Sequence[Growth]) -> bool:
    """Tell whether probes waited one after the other: the less, the earlier they ended, and the first one hardly."""
    slept = [growth.slept_ns for growth in sorted(growths, key=lambda growth: growth.met.end_ns)]
    return len(slept) >= _FEWEST_STEPS and slept == sorted(slept) and slept[0] < _FIRST_STEP * slept[-1]
