"""The workqueues' promises to themselves, checked one by one; tests run this after each test.

Each check looks at one promise from two sides: what a pool counts against its workers, what a limit counts against the
works it let in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.workqueue.item import Gate, Item
    from numaprobe.workqueue.pool import Pool, Worker
    from numaprobe.workqueue.queue import WorkqueueStruct
    from numaprobe.workqueue.workqueues import Workqueues


def hold(kept: bool, promise: str) -> None:
    """Raise if a promise is not kept.

    Raises:
        InternalError: it is not.

    """
    if not kept:
        raise InternalError(f"workqueues: broken promise: {promise}; please report it")


def validate(workqueues: Workqueues) -> None:
    """Hold every promise of ``workqueues``.

    Raises:
        InternalError: one is broken.

    """
    pools = workqueues.pools.all()
    for pool in pools:
        _check_pool(pool)
        for worker in pool.workers:
            _check_worker(worker)
    _check_limits(workqueues.workqueues, pools)
    held = [item for wq in workqueues.workqueues for limit in wq.limits.values() for item in limit.inactive]
    hold(set(held) == set(workqueues.held), "the works that a limit holds back are known to the machine")


def _check_pool(pool: Pool) -> None:
    running = sum(worker.counts for worker in pool.workers)
    where = f"pool {pool.label}"
    hold(pool.nr_running == running, f"{where} counts its running workers: {pool.nr_running}, {running}")
    hold(len({worker.id for worker in pool.workers}) == len(pool.workers), f"the ids in {where} differ")
    hold(set(pool.idle) <= set(pool.workers), f"the idle workers of {where} are its own")
    hold(pool.managed or not pool.nr_running, f"{where} is not managed and counts nobody")
    if pool.worklist and not pool.nr_running and pool.idle:
        hold(any(worker.awake for worker in pool.idle), f"somebody comes for the works of {where}")


def _check_worker(worker: Worker) -> None:
    hold((worker.item is None) == (worker in worker.pool.idle), f"{worker.comm} is idle iff it has no work")
    if worker.item is None:
        return
    hold(worker.awake, f"{worker.comm} works and is awake")
    running = worker.item.state.running
    hold(running is None or running.work is worker.item.work, f"{worker.comm} and its work know each other")


def _check_limits(workqueues: Iterable[WorkqueueStruct], pools: Iterable[Pool]) -> None:
    waiting: list[Item] = []
    active: dict[Gate, int] = {}
    for pool in pools:
        busy = [worker.item for worker in pool.workers if worker.item is not None]
        listed = [*pool.worklist, *(later for item in busy for later in item.followers or ())]
        waiting += listed
        for item in (*listed, *busy):
            active[item.limit] = active.get(item.limit, 0) + 1
    for wq in workqueues:
        for limit in wq.limits.values():
            waiting += limit.inactive
            hold(limit.active == active.get(limit, 0), f"{wq} counts its active works")
            hold(not limit.inactive or limit.active >= limit.maximum, f"{wq} keeps no work waiting for nothing")
    hold(len({id(item) for item in waiting}) == len(waiting), "a queued work is in one list")
    hold(all(item.state.pending is item for item in waiting), "a work in a list is pending")
