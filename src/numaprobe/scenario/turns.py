"""How a probe takes turns with others: the spans of its phases, cut where it has a shared resource and where not.

The time for which it has the resource is spread evenly over its computing, and over its sleep only for what is left. It
is taken in short turns, so that probes that want it at the same time mix, as they do where a kernel's lock is taken
hundreds of times: they end together, and not one after the other.

Nothing but computing and sleeping happens within a turn, and several resources are never had at once: so turns
cannot deadlock, whatever the phases around them wait for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from numaprobe.scenario.phases.base import MILLION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from numaprobe.runtime import Machine
    from numaprobe.scenario.waiting import Waiter, WatchedLock

#: Turns in which a probe has a resource: enough that probes mix. A run of many probes makes fewer, together as many.
TURNS: Final = 32
FEWEST_TURNS: Final = 4
TURNS_TOGETHER: Final = 40_000
#: No turn is shorter, in ns: a kernel's lock is not taken for less.
SHORTEST_TURN: Final = 1_000


@dataclass(slots=True)
class Resource:
    """A resource of a run, and how many probes that take it are under way."""

    lock: WatchedLock
    inside: int = 0


class Share(NamedTuple):
    """A driver's part in a resource."""

    resource: Resource
    #: how long one probe has it, in ns
    hold_ns: int
    #: how much longer it computes in company, in parts per million
    slowdown_ppm: int


def turns_of(probes: int) -> int:
    """Return in how many turns each of so many probes has a resource."""
    return max(FEWEST_TURNS, min(TURNS, TURNS_TOGETHER // max(1, probes)))


class Turns:
    """The turns of one probe.

    Args:
        machine: where it runs.
        waiter: the probe.
        shares: its driver's parts in resources.
        compute_ns: what its phases compute in all.
        sleep_ns: what they sleep.
        turns: in how many turns it has each resource.

    """

    def __init__(
        self,
        machine: Machine,
        waiter: Waiter,
        shares: Sequence[Share],
        compute_ns: int,
        sleep_ns: int,
        turns: int = TURNS,
    ) -> None:
        self._machine = machine
        self._waiter = waiter
        self._shares = shares
        self._totals = compute_ns, sleep_ns
        self._slows = any(share.slowdown_ppm for share in shares)
        self._held: list[tuple[int, int]] = []
        left = [compute_ns, sleep_ns]
        for share in shares:
            computing = min(share.hold_ns, left[0])
            sleeping = min(share.hold_ns - computing, left[1])
            left = [left[0] - computing, left[1] - sleeping]
            self._held.append((computing, sleeping))
        longest = max((sum(held) for held in self._held), default=0)
        self._turn = max(SHORTEST_TURN, -(-(longest or compute_ns) // turns))

    async def __aenter__(self) -> Self:
        for share in self._shares:
            share.resource.inside += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        for share in self._shares:
            share.resource.inside -= 1

    async def compute(self, ns: int) -> None:
        """Compute, in turns; longer in company."""
        await self._spend(ns, 0, self._compute)

    async def sleep(self, ns: int) -> None:
        """Sleep, in turns."""
        await self._spend(ns, 1, self._machine.sleep)

    async def _compute(self, ns: int) -> None:
        slowdown = max(share.slowdown_ppm if share.resource.inside > 1 else 0 for share in self._shares)
        await self._machine.compute(ns + ns * slowdown // MILLION)

    async def _spend(self, ns: int, kind: int, spend: Callable[[int], Awaitable[None]]) -> None:
        total = self._totals[kind]
        held = [share[kind] * ns // total if total else 0 for share in self._held]
        longest = max(held) or (ns if self._slows and kind == 0 else 0)
        count = max(1, -(-longest // self._turn))
        for turn in range(count):
            free = _part(ns - sum(held), turn, count)
            if free:
                await spend(free)
            for share, own in zip(self._shares, held, strict=True):
                if part := _part(own, turn, count):
                    async with share.resource.lock.taken_by(self._waiter):
                        await spend(part)


def _part(ns: int, turn: int, count: int) -> int:
    """Return the share of ``ns`` that one of ``count`` turns has; all together are ``ns``."""
    return ns * (turn + 1) // count - ns * turn // count
