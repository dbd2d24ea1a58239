"""When a pool of threads gets one more worker.

A kernel makes a worker whenever there is work and nobody idle. A thread costs more, and one that computes in Python
wants the interpreter lock that the others have, so here a worker is *missing* only if one more would make the works end
sooner: not while they end one after the other as it is, nor while as many as there are CPUs compute. Where that cannot
be told now, the pool is looked at again in a moment.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.workqueue import Pool

#: While works come to an end faster than this one after the other, one more thread would only be in the way: bodies so
#: short wait for the interpreter lock. Below what making a thread takes, so that a pool of sleepers grows no slower.
FLOW_NS: Final = 100_000
#: Where every CPU has a worker and works do not sleep, one more thread would make none of them faster, only switch
#: between them: while works come to an end faster than this one after the other, there is none.
FULL_FLOW_NS: Final = 10_000_000
#: A work that was on a CPU, or waited for one, for this share of its time does not sleep.
_AWAKE: Final = 0.85
#: While works flow, the home thread is woken this seldom to see whether they still do.
_PATIENCE_NS: Final = 1_000_000
#: Workers that compute on every CPU get another beside them as seldom: a kernel's would be there at once, but with
#: bodies that are over soon it would only be in the way. So many of them are asked (20 us each).
_ASKED: Final = 4
#: The interpreter does not pause for longer (its garbage collector, other threads).
_PAUSE_NS: Final = 10_000_000


class WorkTimes(Protocol):
    """The task of a worker, as far as time goes."""

    #: when its work began, and its ``awake_ns`` at the end of the one before
    began_ns: int
    began_awake_ns: int

    @property
    def awake_ns(self) -> int:
        """Its time on a CPU and its wait for one so far."""
        ...


class PoolGrowth:
    """Watches the works of one pool.

    Args:
        pool: whose they are.
        cpus: how many workers can compute at once.
        call_later: calls a function after so many ns, outside any task.

    """

    def __init__(self, pool: Pool, cpus: int, call_later: Callable[[int, Callable[[], None]], None]) -> None:
        self._pool = pool
        self._cpus = cpus
        self._call_later = call_later
        #: no worker is missing until then, because works come to an end
        self._flows_until_ns = 0
        #: it looks again by itself in a moment: until then no worker is missing
        self.looks_again = False
        #: the next worker has waited for its turn, because the others compute
        self._waited = False
        #: how many works came to an end, and how many had at the last look
        self._ends = self._ends_seen = 0

    def worker_is_missing(self) -> bool:
        """Tell whether one more would help now; else the pool is kicked again in a moment.

        That none has ended for a moment must be seen twice, because the interpreter itself may have paused.
        """
        if self.looks_again:
            return False
        left = self._flows_until_ns - time.monotonic_ns()
        if left >= -_PAUSE_NS and (left > 0 or self._ends != self._ends_seen):
            self._waited = False
            self._look_later(FLOW_NS if left <= 0 else max(left, _PATIENCE_NS))
            return False
        if self._computes and not self._waited:
            self._waited = True
            self._look_later(_PATIENCE_NS)
            return False
        self._waited = False
        return True

    @property
    def _computes(self) -> bool:
        """Whether every CPU has a worker, and the newest ones are on a CPU or wait for one."""
        pool = self._pool
        if len(pool.workers) - len(pool.idle) < self._cpus:
            return False
        newest = [worker.task.thread for worker in islice(reversed(pool.workers), min(self._cpus, _ASKED))]
        return all(thread is not None and thread.is_runnable for thread in newest)

    def note_end(self, task: WorkTimes, now: int) -> None:
        """A work came to an end (and the next begins): so long the others do without one more worker."""
        awake = task.awake_ns
        full = len(self._pool.workers) >= self._cpus and awake - task.began_awake_ns > _AWAKE * (now - task.began_ns)
        self._flows_until_ns = now + (FULL_FLOW_NS if full else FLOW_NS)
        self._ends += 1
        task.began_ns, task.began_awake_ns = now, awake

    def _look_later(self, after_ns: int) -> None:
        self.looks_again, self._ends_seen = True, self._ends
        self._call_later(after_ns, self._look_again)

    def _look_again(self) -> None:
        self.looks_again = False
        self._pool.kick()
