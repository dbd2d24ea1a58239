"""Worker pools on threads (``kernel/workqueue.c``: ``worker_pool``, ``worker_thread``, ``process_one_work``).

As in the kernel: a pool has a list of works and workers named after it, with the smallest free id; idle workers are
taken last-in first-out; a worker is made when there is work and nobody idle, one at a time, so that short works do not
make threads that nobody needs: the next one when the last one has its thread, or waits without needing any. A CPU's
pool is *managed*: the next work starts when no counted worker runs. The machine tells the pool when a worker waits or
sleeps in a way that it can see; what a body does inside plain Python it cannot, and there the kernel's own second rule
helps: a worker that has kept the CPU for 10 ms is not counted.

All of this runs in the core's loop and needs no lock.
"""

from __future__ import annotations

import heapq
import sys
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

from numaprobe.host.task import HostTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.host.attributes import Attributes
    from numaprobe.host.job import Ticket
    from numaprobe.host.workqueue import ActiveLimit, HostWorkqueue
    from numaprobe.runtime import Work

#: ``wq_cpu_intensive_thresh_us``: after this long on its CPU a worker is not counted.
HOG_SECONDS: Final = 0.010
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
#: Idle workers with a thread beyond this many end; the kernel lets them idle for five minutes first, but a thread is
#: dearer here.
IDLE_KEPT: Final = 64


class PoolHost(Protocol):
    """What a pool needs of its machine."""

    def start_worker(self, worker: Worker) -> None:
        """Let the worker serve its pool."""
        ...

    def hand(self, worker: Worker, item: Item) -> None:
        """Give an idle worker a work."""
        ...

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call ``function`` in the core's loop, outside any task."""
        ...


class Item:
    """One queueing of a work: who waits for exactly this one, and what comes after it."""

    __slots__ = ("followers", "limit", "pool", "waiters", "work", "wq")

    followers: list[Item] | None
    waiters: list[HostTask] | None

    def __init__(self, work: Work, wq: HostWorkqueue, pool: Pool, limit: ActiveLimit) -> None:
        self.work = work
        self.wq = wq
        self.pool = pool
        self.limit = limit
        self.waiters = None
        #: the same work queued again while it runs: never two at once
        self.followers = None


class WorkState:
    """What ``Work.state`` holds."""

    __slots__ = ("pending", "running")

    def __init__(self) -> None:
        self.pending: Item | None = None
        self.running: Item | None = None


class Worker(HostTask):
    """A kworker."""

    def __init__(self, comm: str, number: int, cpu: int, pool: Pool) -> None:
        super().__init__(comm, cpu, pool.wish, pool)
        self.number = number
        #: where it waits for a work
        self.inbox: Ticket | None = None
        #: it is one of ``nr_running``
        self.counted = False
        #: how often it slept: a hog has not
        self.slept = 0
        #: when its work began, and its ``awake_ns`` then
        self.began_ns = self.began_awake_ns = 0

    @property
    def awake_ns(self) -> int:
        """Its time on a CPU and its wait for one so far, as last read."""
        return self.running_ns + (self.thread.run_delay_seen_ns if self.thread is not None else 0)


class Pool:
    """A pool of workers that are alike.

    Args:
        name: the part of the workers' names before the colon: ``0``, ``u1025``.
        wish: attributes of its threads.
        cpu: where its workers are expected before anything is known.
        managed: concurrency managed: a CPU's pool.
        host: makes workers; see ``HostMachine``.

    """

    def __init__(self, name: str, wish: Attributes, cpu: int, *, managed: bool, host: PoolHost) -> None:
        self.name = name
        self.wish = wish
        self.cpu = cpu
        self.managed = managed
        #: the node that holds all its CPUs, if one does: its share of a workqueue's max_active
        self.node = -1
        #: all of them, oldest first (a set with an order)
        self.workers: dict[Worker, None] = {}
        self.nr_running = 0
        self._host = host
        #: how many workers can compute at once; a managed pool counts them itself
        self._cpus = len(wish.cpus or ()) if not managed else sys.maxsize
        self._works: deque[Item] = deque()
        self._idle: list[Worker] = []
        self._idle_threads = 0
        self._making: Worker | None = None
        self._free_ids: list[int] = []
        self._watching = False
        #: no worker is missing until then, because works come to an end
        self._flows_until_ns = 0
        self._looks_again = False
        #: the next worker has waited for its turn, because the others compute
        self._waited = False
        #: how many works came to an end, and how many had at the last look
        self._ends = self._ends_seen = 0

    # ---- works -----------------------------------------------------------------------------------------------------
    def insert(self, item: Item) -> None:
        """Take a work that may run."""
        self._works.append(item)
        self.kick()

    def kick(self) -> None:
        """Start what may start now."""
        while self._works and not (self.managed and self.nr_running):
            if not self._idle:
                self._make_worker()
                return
            worker = self._idle.pop()
            self._idle_threads -= worker.thread is not None
            worker.began_ns, worker.began_awake_ns = time.monotonic_ns(), worker.awake_ns
            self._host.hand(worker, self._take(worker))
        if self._works and self.managed:
            self._watch()

    def _take(self, worker: Worker) -> Item:
        if self.managed:
            worker.counted = True
            self.nr_running += 1
        return self._works.popleft()

    def next_for(self, worker: Worker) -> Item | None:
        """Return the next work for a worker that has just finished one; None = go idle."""
        if worker.counted:
            self._uncount(worker)
        if self._making is worker:
            self._making = None
        self._note_end(worker)
        if not self._works or (self.managed and self.nr_running):
            return None
        item = self._take(worker)
        if self._works and not self._looks_again:
            self.kick()
        return item

    # ---- workers ---------------------------------------------------------------------------------------------------
    def _make_worker(self) -> None:
        if self._making is not None or self._flows():
            return
        number = heapq.heappop(self._free_ids) if self._free_ids else len(self.workers)
        worker = Worker(f"kworker/{self.name}:{number}", number, self.cpu, self)
        self.workers[worker] = None
        self._making = worker
        self._host.start_worker(worker)

    def _flows(self) -> bool:
        """Whether no worker is missing now, because works end one after the other or compute; looks again in a moment.

        That none has ended for a moment must be seen twice, because the interpreter itself may have paused.
        """
        if self._looks_again:
            return True
        left = self._flows_until_ns - time.monotonic_ns()
        if left >= -_PAUSE_NS and (left > 0 or self._ends != self._ends_seen):
            self._waited = False
            self._look_later(FLOW_NS if left <= 0 else max(left, _PATIENCE_NS))
            return True
        if self._computes and not self._waited:
            self._waited = True
            self._look_later(_PATIENCE_NS)
            return True
        self._waited = False
        return False

    @property
    def _computes(self) -> bool:
        """Whether every CPU has a worker, and the newest ones are on a CPU or wait for one."""
        if len(self.workers) - len(self._idle) < self._cpus:
            return False
        newest = islice(reversed(self.workers), min(self._cpus, _ASKED))
        return all(worker.thread is not None and worker.thread.is_runnable for worker in newest)

    def _look_later(self, after_ns: int) -> None:
        self._looks_again, self._ends_seen = True, self._ends
        self._host.call_later(after_ns / 1e9, self._look_again)

    def _note_end(self, worker: Worker) -> None:
        """A work came to an end (and the next begins): so long the others do without one more worker."""
        now, awake = time.monotonic_ns(), worker.awake_ns
        full = len(self.workers) >= self._cpus and awake - worker.began_awake_ns > _AWAKE * (now - worker.began_ns)
        self._flows_until_ns = now + (FULL_FLOW_NS if full else FLOW_NS)
        self._ends += 1
        worker.began_ns, worker.began_awake_ns = now, awake

    def _look_again(self) -> None:
        self._looks_again = False
        self.kick()

    def made(self, worker: HostTask) -> None:
        """A worker has a thread now, or waits without one: if it is the new one, the next may be made."""
        if self._making is worker:
            self._making = None
            self.kick()

    def idle(self, worker: Worker) -> bool:
        """Keep a worker for later; False = there are enough, it shall end."""
        if worker.thread is not None:
            if self._idle_threads >= IDLE_KEPT:
                return False
            self._idle_threads += 1
        self._idle.append(worker)
        self.kick()
        return True

    def gone(self, worker: Worker) -> None:
        """Forget a worker that ended."""
        self.made(worker)
        self._uncount(worker)
        self.workers.pop(worker, None)
        if worker in self._idle:
            self._idle.remove(worker)
            self._idle_threads -= worker.thread is not None
        heapq.heappush(self._free_ids, worker.number)

    # ---- concurrency management ------------------------------------------------------------------------------------
    def sleeping(self, task: HostTask) -> None:
        """A worker leaves its CPU (``wq_worker_sleeping``): the next may start."""
        if isinstance(task, Worker) and self.managed:
            task.slept += 1
            self._uncount(task)
            self.kick()
        self.made(task)

    def waking(self, task: HostTask) -> None:
        """A worker is ready again and counts again (``wq_worker_running``), beside whoever runs by now."""
        if isinstance(task, Worker) and self.managed and task.work is not None and not task.counted:
            task.counted = True
            self.nr_running += 1

    def _uncount(self, worker: Worker) -> None:
        if worker.counted:
            worker.counted = False
            self.nr_running -= 1

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            suspects = [(worker, worker.slept, worker.work) for worker in self.workers if worker.counted]
            self._host.call_later(HOG_SECONDS, lambda: self._check_hogs(suspects))

    def _check_hogs(self, suspects: list[tuple[Worker, int, Any]]) -> None:
        self._watching = False
        for worker, slept, work in suspects:
            if worker.counted and worker.slept == slept and worker.work is work:
                self._uncount(worker)
        self.kick()
