"""Worker pools and their workers (``kernel/workqueue.c``: ``worker_thread``, ``process_one_work``, ``kick_pool``).

Theory of operation
===================

A pool has a list of items (one per queueing of a work) and workers. A pool of a CPU is *managed*: ``nr_running`` counts
its workers that execute and do not sleep, and the next worker is woken only when it is 0, that is when the running one
sleeps, or has hogged the CPU for ``cpu_intensive_thresh`` and no longer counts. A worker that sleeps counts again when
it *runs* again. An unbound pool, or one whose CPU is offline, is not managed: each worker that takes an item wakes the
next one, so that as many run as there are items.

Idle workers are taken last-in first-out. A worker that leaves the idle list sees to it that one spare is left there,
and has it made if need be, with the smallest free id. A worker that was idle for five minutes while too many were is
dropped when the pool is next used.

What a machine adds is a ``Seat``: it makes workers, wakes them, lets them sleep, and says whether the pool may grow. It
tells each worker what happens to it: ``begin`` when it was woken, ``finish`` when its work is done, ``sleeps`` and
``runs`` in between. The core asks the seat, never the machine; one owner calls all of this, and nothing here sleeps.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.workqueue.item import Item
    from numaprobe.workqueue.seat import Seat

#: A worker idle for longer may be dropped (``IDLE_WORKER_TIMEOUT``).
IDLE_WORKER_TIMEOUT_NS: Final = 300 * 10**9
#: Idle workers are too many if more than these (one to work, one spare) and more than a quarter of the busy ones
#: (``MAX_IDLE_WORKERS_RATIO``).
SPARE_WORKERS: Final = 2
MAX_IDLE_RATIO: Final = 4
#: A worker that computes for so long no longer counts (``wq_cpu_intensive_thresh_us``; 6.5 and newer).
CPU_INTENSIVE_NS: Final = 10_000_000

# Why a worker is not one of nr_running (``WORKER_NOT_RUNNING``): it is idle or not yet at work, it hogs the CPU, its
# CPU came back while it worked, its pool is not managed.
PREP: Final = 1
CPU_INTENSIVE: Final = 2
REBOUND: Final = 4
UNBOUND: Final = 8


class Worker:
    """A kworker (``struct worker``).

    Attributes:
        pool: whose it is.
        id: its number in the pool.
        task: what executes it; the machine's own.
        item: what it executes; None while it is idle.
        flags: why it is not one of ``nr_running``; 0 = it is, unless it sleeps.
        sleeping: it sleeps in the middle of a work.
        awake: it was woken, or works; an idle worker that is not awake waits for ``wake``.
        current_at: CPU time that its task had used when its work began, or when it last woke.
        last_active: when it went idle.

    """

    __slots__ = ("awake", "current_at", "flags", "id", "item", "last_active", "pool", "sleeping", "task")

    def __init__(self, pool: Pool, number: int, now: int) -> None:
        self.pool = pool
        self.id = number
        self.task: Any = None
        self.item: Item | None = None
        self.flags = PREP if pool.managed else PREP | UNBOUND
        self.sleeping = False
        self.awake = False
        self.current_at = 0
        self.last_active = now

    @property
    def comm(self) -> str:
        """Its name: ``kworker/0:1``, ``kworker/u1025:5``."""
        return f"kworker/{self.pool.label}:{self.id}"

    @property
    def counts(self) -> bool:
        """It is one of ``nr_running``."""
        return not self.flags and not self.sleeping

    # ---- its life, told by the seat --------------------------------------------------------------------------------
    def begin(self, executed: int) -> Item | None:
        """Take a work after it was woken (``worker_thread``); None = there is none, and it rests again.

        Args:
            executed: CPU time that its task has used so far, ns.

        """
        pool = self.pool
        if not pool.worklist or pool.nr_running:
            self._rest()
            return None
        if pool.idle[-1] is self:
            del pool.idle[-1]
        else:
            pool.idle.remove(self)
        self.flags &= ~(PREP | REBOUND)  # PREP is set: it was idle
        if not self.flags:
            pool.nr_running += 1
        item = pool.take()
        if not pool.idle:
            pool.grow()
        if item is None:
            self._enter_idle()
        else:
            self._assign(item, executed)
        return item

    def finish(self, executed: int) -> Item | None:
        """Its work is done: tell the tasks that wait, and return the next one; None = it rests."""
        item, pool = self._end_item(), self.pool
        following = None
        if item.followers:
            following = item.followers.pop(0)
            following.followers = item.followers
        elif pool.worklist and pool.nr_running <= 1:
            following = pool.take()
        if following is None:
            self._enter_idle()
        else:
            self._assign(following, executed)
        return following

    def die(self) -> None:
        """Leave the pool for ever, in the middle of a work or between two; others take what was to come after it."""
        if self.item is not None:
            followers = self._end_item().followers or ()
            self.pool.worklist.extendleft(reversed(followers))
            if self.counts:
                self.pool.nr_running -= 1
        self.pool.drop(self)
        self.pool.kick()

    def _assign(self, item: Item, executed: int) -> None:
        """Begin ``item`` (``process_one_work``)."""
        state, pool = item.state, self.pool
        state.pending = None
        state.running = self.item = item
        self.current_at = executed
        if pool.worklist:
            if self.flags:
                pool.kick()
            elif pool.watches:
                pool.watch()

    def _end_item(self) -> Item:
        item = self.item
        assert item is not None  # noqa: S101  only a worker with an item comes to an end of it
        self.item = None
        if item.state.running is item:
            item.state.running = None
        if self.flags & CPU_INTENSIVE:
            self._clear(CPU_INTENSIVE)
        if item.waiters is not None:
            flushed = self.pool.seat.flushed
            for task in item.waiters:
                flushed(task)
        item.limit.release()
        return item

    def _enter_idle(self) -> None:
        pool = self.pool
        if not self.flags:
            pool.nr_running -= 1
        self.flags |= PREP
        self.last_active = pool.seat.now()
        pool.idle.append(self)
        self._rest()

    def _rest(self) -> None:
        self.awake = False
        if not self.pool.seat.rest(self):
            self.pool.drop(self)

    def _clear(self, flags: int) -> None:
        before, self.flags = self.flags, self.flags & ~flags
        if before and not self.flags:
            self.pool.nr_running += 1

    # ---- concurrency management ------------------------------------------------------------------------------------
    def sleeps(self) -> None:
        """It is about to sleep (``wq_worker_sleeping``): the next one may start."""
        if not self.flags and not self.sleeping:
            self.sleeping = True
            self.pool.nr_running -= 1
            self.pool.kick()

    def runs(self, executed: int) -> None:
        """It runs again (``wq_worker_running``), beside whoever runs by now."""
        if self.sleeping:
            self.sleeping = False
            if not self.flags:
                self.pool.nr_running += 1
            self.current_at = executed

    def allowance(self, executed: int, limit: int = CPU_INTENSIVE_NS) -> int | None:
        """Return the CPU time left, of ``limit``, before it is a hog; None if that would change nothing."""
        if self.flags or self.sleeping or not self.pool.detects_hogs:
            return None
        return max(0, limit - executed + self.current_at)

    def tick(self, executed: int, limit: int = CPU_INTENSIVE_NS) -> None:
        """It computed on; past ``limit`` it no longer counts (``wq_worker_tick``)."""
        if self.allowance(executed, limit) == 0:
            self.flags |= CPU_INTENSIVE
            self.pool.nr_running -= 1
            self.pool.kick()


class Pool:
    """One pool (``struct worker_pool``).

    Args:
        number: the number the kernel gives it.
        label: what its workers' names hold: ``0``, ``u1025``.
        mask: CPUs that its workers may use, as bits.
        pod: CPUs on which they start; the same as ``mask`` if the pool is strict, or of one CPU.
        node: the node that holds ``pod``; -1 if none does.
        managed: see the module's text.
        detects_hogs: the kernel has the rule of CPU-intensive works.
        distribute: chooses a CPU out of some.
        make_seat: makes the seat of its workers.

    Attributes:
        users: workqueues that queue here now; an unbound pool without any is dropped when it is empty.
        workers: all of them, oldest first (a set with an order).
        idle: those without work, the last one to go idle last.

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
        distribute: Callable[[int], int],
        make_seat: Callable[[Pool], Seat[Worker]],
    ) -> None:
        self.id = number
        self.label = label
        self.mask = mask
        self.pod = pod
        self.node = node
        self.managed = managed
        self.detects_hogs = detects_hogs
        self.distribute = distribute
        self.users = 0
        self.worklist: deque[Item] = deque()
        self.workers: dict[Worker, None] = {}
        self.idle: list[Worker] = []
        self.nr_running = 0
        self._free_ids: list[int] = []
        self.seat = make_seat(self)
        #: the machine has no tick: the pool looks after hogs itself
        self.watches = detects_hogs and not self.seat.ticks
        self._watching = False

    # ---- works -----------------------------------------------------------------------------------------------------
    def insert(self, item: Item) -> None:
        """Append ``item`` and see that somebody takes it."""
        self.worklist.append(item)
        self.kick()

    def kick(self) -> None:
        """Wake the idle worker that went idle last, if there is something to do and nobody counts as doing it."""
        if not self.worklist:
            return
        if self.nr_running:
            if self.watches:
                self.watch()
            return
        if not self.idle and not self.grow():
            return
        if len(self.idle) > SPARE_WORKERS:
            self._cull()
        worker = self.idle[-1]
        if not worker.awake:
            worker.awake = True
            self.seat.wake(worker)

    def take(self) -> Item | None:
        """Take the next item; one whose work a worker of this pool executes waits for that worker."""
        while self.worklist:
            item = self.worklist.popleft()
            running = item.state.running
            if running is None or running.pool is not self:
                return item
            running.followed_by(item)
        return None

    def where(self, item: Item) -> str:
        """Say which worker executes ``item``, or behind which item it waits."""
        busy = [worker for worker in self.workers if worker.item is not None]
        for worker in busy:
            if worker.item is item:
                return f"executed by {worker.comm}"
        return f"queued on pool {self.label} behind {', '.join(worker.comm for worker in busy) or 'nobody'}"

    # ---- workers ---------------------------------------------------------------------------------------------------
    def grow(self) -> bool:
        """Have an idle worker with the smallest free id made; False = not now."""
        if not self.seat.may_grow():
            return False
        number = heappop(self._free_ids) if self._free_ids else len(self.workers)
        worker = Worker(self, number, self.seat.now())
        self.seat.create(worker)
        self.workers[worker] = None
        self.idle.append(worker)
        return True

    def drop(self, worker: Worker) -> None:
        """Forget a worker that ended."""
        if worker in self.idle:
            self.idle.remove(worker)
        del self.workers[worker]
        heappush(self._free_ids, worker.id)

    def wake_cpu(self, cpu: int) -> int:
        """Return where a worker wakes that last ran on ``cpu``: in the pod, if it is not there (``kick_pool``)."""
        return cpu if self.pod >> cpu & 1 else self.distribute(self.pod)

    def _cull(self) -> None:
        """End workers that are idle for too long while too many are (``too_many_workers``), oldest first."""
        while self._too_many():
            worker = self.idle[0]
            if worker.awake or worker.last_active > self.seat.now() - IDLE_WORKER_TIMEOUT_NS:
                return
            self.seat.end(worker)
            self.drop(worker)

    def _too_many(self) -> bool:
        idle = len(self.idle)
        return idle > SPARE_WORKERS and (idle - SPARE_WORKERS) * MAX_IDLE_RATIO >= len(self.workers) - idle

    # ---- hogs ------------------------------------------------------------------------------------------------------
    def watch(self) -> None:
        """See that a hog is noticed while works wait behind it."""
        if not self._watching:
            self._watching = True
            now = self.seat.now()
            left = [worker.allowance(now) for worker in self.workers if worker.counts]
            self.seat.call_later(min((one for one in left if one is not None), default=CPU_INTENSIVE_NS), self._look)

    def _look(self) -> None:
        self._watching = False
        now = self.seat.now()
        for worker in list(self.workers):
            worker.tick(now)
        self.kick()

    # ---- its CPU goes and comes ------------------------------------------------------------------------------------
    def unbind(self, mask: int) -> None:
        """Let its workers run anywhere in ``mask``, unmanaged: its CPU goes offline (``unbind_workers``)."""
        self.managed = False
        for worker in self.workers:
            worker.flags |= UNBOUND
        self.nr_running = 0
        self._move(mask)
        self.kick()

    def rebind(self, mask: int) -> None:
        """Bind its workers to its CPU, which is online again (``rebind_workers``)."""
        self.managed = True
        for worker in self.workers:
            worker.flags = worker.flags & ~UNBOUND | REBOUND
        self._move(mask)
        self.kick()

    def _move(self, mask: int) -> None:
        self.mask = self.pod = mask
        for worker in self.workers:
            self.seat.move(worker)

    def clear(self) -> None:
        """Forget all works and workers."""
        for item in self.worklist:
            item.state.pending = None
        for worker in self.workers:
            if worker.item is not None:
                worker.item.state.running = None
                for item in worker.item.followers or ():
                    item.state.pending = None
        self.worklist.clear()
        self.workers.clear()
        self.idle.clear()
        self._free_ids.clear()
        self.nr_running = 0
        self._watching = False
