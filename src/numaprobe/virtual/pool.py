"""Worker pools and their workers (``kernel/workqueue.c``: ``worker_thread``, ``process_one_work``, ``kick_pool``).

Theory of operation
===================

A pool has a list of items (one per queueing of a work) and workers. A pool of a CPU is *managed*: ``nr_running`` counts
its workers that execute and do not sleep, and the next worker is woken only when it is 0, that is when the running one
sleeps, or has hogged the CPU for ``cpu_intensive_ns`` and no longer counts. A worker that sleeps counts again when it
*runs* again. An unbound pool, or one whose CPU is off line, is not managed: each worker that takes an item wakes the
next one, so that as many run as there are items.

Idle workers are taken last-in first-out. A worker that leaves the idle list sees to it that one spare is left there,
and makes it if need be, with the smallest free id. Making a worker takes no time here; a worker that was idle for five
minutes while too many were is dropped when the pool is next used.

A worker is no endless coroutine: its ``send`` is ``_woken`` while it is idle and its work's coroutine's ``send`` while
it executes, so an idle machine holds no suspended code.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from numaprobe.virtual.task import State, VirtualTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.runtime import Work
    from numaprobe.virtual.blocking import Blocker
    from numaprobe.virtual.workqueue import ActiveLimit, VirtualWorkqueue

#: A worker idle for longer may be dropped (``IDLE_WORKER_TIMEOUT``).
IDLE_WORKER_TIMEOUT_NS: Final = 300 * 10**9
#: Idle workers are too many if more than 2 and more than a quarter of the busy ones (``MAX_IDLE_WORKERS_RATIO``).
MAX_IDLE_RATIO: Final = 4


class WorkState:
    """What the machine knows of a work (``work->data`` and the pools' busy hashes)."""

    __slots__ = ("pending", "worker")

    def __init__(self) -> None:
        #: its queueing that no worker has taken yet
        self.pending: Item | None = None
        #: who executes it; of two (it was queued on another workqueue meanwhile, which the kernel allows) the later
        self.worker: Worker | None = None


class Item:
    """One queueing of a work."""

    __slots__ = ("limit", "pool", "state", "waiters", "work", "wq")

    def __init__(self, work: Work, state: WorkState, wq: VirtualWorkqueue, pool: Pool, limit: ActiveLimit) -> None:
        self.work = work
        self.state = state
        self.wq = wq
        self.pool = pool
        self.limit = limit
        #: tasks that flush it
        self.waiters: list[VirtualTask] = []

    def __str__(self) -> str:
        worker = self.state.worker
        if worker is not None and worker.item is self:
            return f"work {self.work.name}, executed by {worker.comm}"
        if self in self.limit.inactive:
            return f"work {self.work.name}, not started: {self.limit.maximum} works of {self.wq.name} are active"
        busy = ", ".join(one.comm for one in self.pool.workers if one.item is not None)
        return f"work {self.work.name}, queued on pool {self.pool.label} behind {busy or 'nobody'}"


class Worker(VirtualTask):
    """A kworker."""

    __slots__ = (
        "current_at",
        "id",
        "intensive",
        "item",
        "last_active",
        "pool",
        "preparing",
        "rebound",
        "resting",
        "scheduled",
    )

    def __init__(self, pool: Pool, number: int, mask: int, cpu: int) -> None:
        super().__init__(f"kworker/{pool.label}:{number}", mask, cpu)
        self.id = number
        self.pool = pool
        self.item: Item | None = None
        #: items of the work that it executes, queued meanwhile: a work never runs twice at once
        self.scheduled: list[Item] = []
        self.last_active = 0
        #: ``executed`` when its work began or last woke
        self.current_at = 0
        # The flags of WORKER_NOT_RUNNING, and ``worker->sleeping``.
        self.preparing = True
        self.intensive = False
        self.rebound = False
        self.resting = False
        self.send = self._woken

    @property
    def is_worker(self) -> bool:
        """``PF_WQ_WORKER``: always."""
        return True

    @property
    def work(self) -> Work | None:
        """The work it executes now."""
        return self.item.work if self.item is not None else None

    @property
    def may_count(self) -> bool:
        """No flag of ``WORKER_NOT_RUNNING`` is set."""
        return self.pool.managed and not (self.preparing or self.intensive or self.rebound)

    @property
    def counts(self) -> bool:
        """It is one of ``nr_running``."""
        return self.may_count and not self.resting

    # ---- as the scheduler sees it ----------------------------------------------------------------------------------
    def scheduled_out(self) -> None:
        """It is about to sleep (``wq_worker_sleeping``): the next one may start."""
        if self.counts:
            self.resting = True
            self.pool.nr_running -= 1
            self.pool.kick()

    def scheduled_in(self) -> None:
        """It runs again (``wq_worker_running``)."""
        if self.resting:
            self.resting = False
            if self.may_count:
                self.pool.nr_running += 1
            self.current_at = self.executed

    def cpu_allowance(self, limit: int) -> int | None:
        """Return the CPU time left before it hogs the CPU; None if that changes nothing."""
        if not self.counts or not self.pool.detects_hogs:
            return None
        return max(0, limit - self.executed + self.current_at)

    def hogged(self, limit: int) -> None:
        """It computed on; past the limit it no longer counts (``wq_worker_tick``)."""
        if self.cpu_allowance(limit) == 0:
            self.intensive = True
            self.pool.nr_running -= 1
            self.pool.kick()

    # ---- its life --------------------------------------------------------------------------------------------------
    def _woken(self, _: None) -> object:
        """It left the idle list's sleep (``worker_thread``)."""
        pool = self.pool
        if not pool.need_more_worker():
            pool.rest(self)
            return None
        pool.idle.remove(self)
        if not pool.idle:
            pool.create_worker()
        self.preparing = self.rebound = False
        if self.may_count:
            pool.nr_running += 1
        item = pool.take_item()
        if item is None:
            self._enter_idle()
            return None
        self._execute(item)
        return self.send(None)

    def _execute(self, item: Item) -> None:
        """Begin ``item`` (``process_one_work``)."""
        state = item.state
        state.pending = None
        state.worker = self
        self.item = item
        self.current_at = self.executed
        self.start(item.work.function)
        if not self.may_count:
            self.pool.kick()

    def finished(self, result: object, error: Exception | None) -> None:  # noqa: ARG002  a work returns nothing
        """Its work is done: tell who waits, and go on with the next item or to rest."""
        if error is not None:
            raise error
        item, pool = self.item, self.pool
        assert item is not None  # noqa: S101  only a worker with an item is stepped to an end
        self.item = None
        if item.state.worker is self:
            item.state.worker = None
        self._clear_intensive()
        item.wq.done(item)
        following = self.scheduled.pop(0) if self.scheduled else None
        if following is None and pool.keep_working():
            following = pool.take_item()
        if following is None:
            self._enter_idle()
        else:
            self._execute(following)
            pool.loop.make_due(self)

    def _clear_intensive(self) -> None:
        if self.intensive:
            self.intensive = False
            if self.may_count:
                self.pool.nr_running += 1

    def _enter_idle(self) -> None:
        if self.counts:
            self.pool.nr_running -= 1
        self.preparing = True
        self.last_active = self.pool.loop.now
        self.send = self._woken
        self.pool.idle.append(self)
        self.pool.rest(self)


class Pool:
    """One pool (``struct worker_pool``).

    Attributes:
        id: the number the kernel gives it.
        label: what its workers' names hold: ``0``, ``u1025``.
        mask: CPUs that its workers may use.
        pod: CPUs on which they start; the same as ``mask`` if the pool is strict, or of one CPU.
        node: the node that holds ``pod``; -1 if none does.
        managed: see the module's text.
        detects_hogs: the kernel has the rule of ``cpu_intensive_ns`` (6.5 and newer).
        users: workqueues that queue here now; an unbound pool without any is dropped when it is empty.

    """

    def __init__(
        self,
        number: int,
        label: str,
        mask: int,
        pod: int,
        *,
        node: int,
        managed: bool,
        detects_hogs: bool,
        blocker: Blocker,
        distribute: Callable[[int], int],
    ) -> None:
        self.id = number
        self.label = label
        self.mask = mask
        self.pod = pod
        self.node = node
        self.managed = managed
        self.detects_hogs = detects_hogs
        self.blocker = blocker
        self.loop = blocker.loop
        self.distribute = distribute
        self.users = 0
        self.worklist: deque[Item] = deque()
        self.workers: list[Worker] = []
        self.idle: list[Worker] = []
        self.nr_running = 0
        self.free_ids: list[int] = []

    def need_more_worker(self) -> bool:
        """There is something to do, and nobody counts as doing it."""
        return bool(self.worklist) and not self.nr_running

    def keep_working(self) -> bool:
        """There is something to do, and at most the asking worker counts as running."""
        return bool(self.worklist) and self.nr_running <= 1

    def insert(self, item: Item) -> None:
        """Append ``item`` and see that somebody takes it."""
        self.worklist.append(item)
        self.kick()

    def kick(self) -> None:
        """Wake the idle worker that went idle last, if one is needed (``kick_pool``)."""
        if not self.need_more_worker():
            return
        if not self.workers:
            self.create_worker()
        if not self.idle:
            return
        self._cull()
        worker = self.idle[-1]
        if worker.state is not State.SLEEPING:
            return
        if not self.pod >> worker.cpu & 1:
            worker.cpu = self.distribute(self.pod)
        self.blocker.unblock(worker)

    def rest(self, worker: Worker) -> None:
        """Let an idle worker sleep."""
        self.blocker.block(worker, None)

    def create_worker(self) -> Worker:
        """Make an idle worker with the smallest free id."""
        number = heappop(self.free_ids) if self.free_ids else len(self.workers)
        worker = Worker(self, number, self.mask, self.distribute(self.pod))
        worker.last_active = self.loop.now
        self.workers.append(worker)
        self.idle.append(worker)
        return worker

    def take_item(self) -> Item | None:
        """Take the next item; one whose work a worker of this pool executes waits for that worker."""
        while self.worklist:
            item = self.worklist.popleft()
            busy = item.state.worker
            if busy is None or busy.pool is not self:
                return item
            busy.scheduled.append(item)
        return None

    def _cull(self) -> None:
        """Drop workers that are idle for too long while too many are (``too_many_workers``), oldest first."""
        horizon = self.loop.now - IDLE_WORKER_TIMEOUT_NS
        while self._too_many() and self.idle[0].last_active <= horizon:
            worker = self.idle.pop(0)
            worker.state = State.DEAD
            self.workers.remove(worker)
            heappush(self.free_ids, worker.id)

    def _too_many(self) -> bool:
        idle = len(self.idle)
        return idle > 2 and (idle - 2) * MAX_IDLE_RATIO >= len(self.workers) - idle  # noqa: PLR2004  one spare, one to work
