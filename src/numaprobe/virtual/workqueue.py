"""Workqueues: where a work goes (``kernel/workqueue.c``: ``__queue_work``, ``queue_work_node``, ``__flush_work``).

A workqueue of CPUs hands each work to the pool of a CPU; an unbound one to the pool of the pod that holds the CPU for
which the work was queued. Pools are shared: two unbound workqueues with the same CPUs, pod and strictness use the same
pool, and only what differs gets a pool, and an id, of its own.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from numaprobe.virtual.pool import Item, Pool, WorkState

if TYPE_CHECKING:
    from numaprobe.runtime import Work

#: ``WQ_DFL_ACTIVE``, ``WQ_MAX_ACTIVE``, ``WQ_DFL_MIN_ACTIVE`` (include/linux/workqueue.h)
DEFAULT_ACTIVE: Final = 1024
MAXIMUM_ACTIVE: Final = 2048
DEFAULT_MIN_ACTIVE: Final = 8


class ActiveLimit:
    """How many items may be active at once: per pool, or per node for an unbound workqueue (6.9 and newer).

    Items beyond it wait, first-in first-out. (The kernel lets the pools of one node take turns here.)
    """

    __slots__ = ("active", "inactive", "maximum")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.active = 0
        self.inactive: deque[Item] = deque()

    def admit(self, item: Item) -> None:
        """Let ``item`` in now, or when another is done."""
        if self.inactive or self.active >= self.maximum:
            self.inactive.append(item)
        else:
            self.active += 1
            item.pool.insert(item)

    def release(self) -> None:
        """One is done: let the next in."""
        self.active -= 1
        self.refill()

    def refill(self) -> None:
        """Let in who may."""
        while self.inactive and self.active < self.maximum:
            item = self.inactive.popleft()
            self.active += 1
            item.pool.insert(item)


class VirtualWorkqueue:
    """A workqueue.

    Attributes:
        name: as given to ``alloc_workqueue``.
        unbound: served by pools of a pod.
        max_active, min_active: see ``ActiveLimit``.
        pods: pods of its affinity scope, as bits; empty if it is not unbound.
        pod_of: possible CPU -> index in ``pods``.
        strict: its workers stay in their pod.
        pools: for each pod, the pool that serves it now.

    """

    def __init__(
        self, name: str, *, unbound: bool, max_active: int, min_active: int, pods: tuple[int, ...], strict: bool
    ) -> None:
        self.name = name
        self.unbound = unbound
        self.max_active = max_active
        self.min_active = min_active
        self.pods = pods
        self.strict = strict
        self.pod_of = {cpu: index for index, pod in enumerate(pods) for cpu in _bits(pod)}
        self.pools: list[Pool] = []
        #: pool id (per-CPU) or node (unbound) -> limit
        self.limits: dict[int, ActiveLimit] = {}

    def done(self, item: Item) -> None:
        """``item`` has run: wake who flushes it and let the next in."""
        for task in item.waiters:
            item.pool.blocker.unblock(task)
        item.limit.release()

    def __repr__(self) -> str:
        return f"<workqueue {self.name}>"


def new_item(work: Work, wq: VirtualWorkqueue, pool: Pool, limit: ActiveLimit) -> Item | None:
    """Return a new item of ``work``; None if it is pending already."""
    state: WorkState = work.state
    if state.pending is not None:
        return None
    worker = state.worker
    if worker is not None and worker.pool is not pool and worker.item is not None and worker.item.wq is wq:
        pool, limit = worker.pool, worker.item.limit
    state.pending = item = Item(work, state, wq, pool, limit)
    return item


def _bits(bits: int) -> list[int]:
    found = []
    while bits:
        low = bits & -bits
        found.append(low.bit_length() - 1)
        bits ^= low
    return found
