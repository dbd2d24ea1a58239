"""What company adds to probes, fitted: the growth with which a replay takes as long as its trace did.

Turns, CPUs and sleep do not explain all of a parallel trace: caches, switches and a busy hypervisor take their part.
What is left is one figure, found by halving: replays get longer with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.errors import NumaprobeError
from numaprobe.policies import make_policy
from numaprobe.scenario.readas import ReadAs
from numaprobe.scenario.run import figures_of, read_setting
from numaprobe.scenario.setting import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numaprobe.policies import Policy
    from numaprobe.records import Trace
    from numaprobe.scenario.schema import Scenario
    from numaprobe.scenario.sharing import SharedModel

#: Growth is looked for between these, in so many halvings: to a hundredth.
LEAST_GROWTH: Final = -0.5
MOST_GROWTH: Final = 8.0
_HALVINGS: Final = 10


def find_growth(makespan: Callable[[float], int], wanted: int, least: float = 0.0) -> float:
    """Return the growth at which ``makespan`` is ``wanted``; the nearest end if it is at none."""
    if makespan(0.0) < wanted:
        low, high = 0.0, MOST_GROWTH
    elif least < 0:
        low, high = least, 0.0
    else:
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if makespan(middle) < wanted:
            low = middle
        else:
            high = middle
    return round((low + high) / 2, 4)


def makespan_of(scenario: Scenario, trace: Trace) -> int:
    """Return how long a scenario takes, as expected, under the policy that ``trace`` was recorded under."""
    return recorded_makespan(read_setting(prepare(scenario, policy=_policy(trace))).trace)


def _policy(trace: Trace) -> Policy | None:
    """Return a trace's policy; None: the kernel's own."""
    try:
        return make_policy(trace.policy) if trace.policy else None
    except NumaprobeError:
        return None


def recorded_makespan(trace: Trace) -> int:
    """Return a trace's makespan; 0 if it has no times."""
    return figures_of(trace, ReadAs.EXPECTED).makespan_ns or 0


def slowed(tables: Iterable[SharedModel], growth: float) -> list[SharedModel]:
    """Return shared resources of which those that were seen slow their members by ``growth`` at least."""
    return [_slowed(table, growth) if table.evidence == "seen" else table for table in tables]


def _slowed(table: SharedModel, growth: float) -> SharedModel:
    most = max(growth, table.slowdown_as(ReadAs.MOST))
    return table.model_copy(update={"slowdown": growth, "slowdown_least": growth, "slowdown_most": most})
