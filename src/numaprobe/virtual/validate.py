"""The machine's promises to itself, checked one by one; tests run this after each test.

Each check looks at one promise from two sides: what the scheduler counts against the queues it counts, what a task
waits for against what would wake it. What pools and limits promise is held by ``numaprobe.workqueue.validate``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.errors import InternalError
from numaprobe.runtime.sync import FifoLock, Flag
from numaprobe.virtual.loop import VirtualTimer
from numaprobe.virtual.sched import Scheduler
from numaprobe.virtual.task import State, VirtualTask
from numaprobe.virtual.worker import VirtualWorker
from numaprobe.workqueue.item import Item
from numaprobe.workqueue.validate import validate as validate_workqueues

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.virtual.blocking import Blocker, SchedulerLike
    from numaprobe.virtual.cpu import RunQueue
    from numaprobe.virtual.loop import EventLoop
    from numaprobe.virtual.tasks import Tasks
    from numaprobe.workqueue import Pool, Workqueues


def hold(kept: bool, promise: str) -> None:
    """Raise if a promise is not kept.

    Raises:
        InternalError: it is not.

    """
    if not kept:
        raise InternalError(f"virtual machine: broken promise: {promise}; please report it")


def validate(workqueues: Workqueues, known: Tasks, scheduler: SchedulerLike, blocker: Blocker, loop: EventLoop) -> None:
    """Hold every promise of a machine of these parts.

    Raises:
        InternalError: one is broken.

    """
    workers: list[VirtualTask] = [worker.task for worker in workqueues.workers()]
    tasks = [*known.alive, *known.loads, *workers]
    if isinstance(scheduler, Scheduler):
        _check_scheduler(scheduler, tasks)
    validate_workqueues(workqueues)
    for pool in workqueues.pools.all():
        _check_pool(pool)
    for task in tasks:
        hold(task.on_cpu == (task.state is State.RUNNING), f"{task} is on a CPU iff it runs")
        _check_blocked(task, blocker.blocked)
    _check_live(loop, tasks)


# ---- run queues ----------------------------------------------------------------------------------------------------
def _check_scheduler(scheduler: Scheduler, tasks: Iterable[VirtualTask]) -> None:
    for queue in scheduler.queues:
        if queue is not None:
            _check_queue(scheduler, queue)
    shared = [queue.shared_since for queue in scheduler.queues if queue is not None and queue.count > 1]
    hold(scheduler.shared == len(shared), "CPUs with two tasks are counted")
    hold(min(shared, default=scheduler.shared_from) >= scheduler.shared_from, "no CPU is shared for longer than any")
    for task in tasks:
        queue = scheduler.queue(task.cpu)
        waiting = sum(entry[2] is task for heap in queue.waiting.values() for entry in heap)
        hold((queue.current is task) == (task.state is State.RUNNING), f"{task} runs iff its CPU runs it")
        hold(waiting == (task.state is State.RUNNABLE), f"{task} waits in one queue iff it is runnable")
        if task.state in (State.RUNNING, State.RUNNABLE):
            hold(bool(scheduler.allowed(task) & queue.bit), f"{task} is on a CPU that it may use")
    _check_no_waste(scheduler)


def _check_queue(scheduler: Scheduler, queue: RunQueue) -> None:
    waiting = sum(len(heap) for heap in queue.waiting.values())
    online = bool(scheduler.online & queue.bit)
    where = f"CPU {queue.cpu}"
    hold(queue.count == waiting + (queue.current is not None), f"{where} counts its tasks")
    hold(queue.current is not None or not waiting, f"{where} does not idle while tasks wait for it")
    hold(online or not queue.count, f"{where} is offline and has no task")
    hold(bool(scheduler.idle & queue.bit) == (online and not queue.count), f"{where} is known as idle iff it is")
    for count, level in enumerate([scheduler.idle, *scheduler.levels[1:]]):
        hold(bool(level & queue.bit) == (online and queue.count == count), f"{where} is in level {queue.count} alone")
    core = queue.core & scheduler.online
    hold(
        bool(scheduler.whole & queue.bit) == (online and not core & ~scheduler.idle),
        f"{where} is known as part of an idle core iff it is",
    )
    for cpus, heap in queue.waiting.items():
        hold(all(entry[2].mask == cpus.mask for entry in heap), f"{where} keeps waiting tasks by their CPUs")
        if cpus.may_move:
            hold(bool(scheduler.overloaded.get(cpus, 0) & queue.bit), f"{where} is known as overloaded")
    hold(queue.head == min((heap[0] for heap in queue.waiting.values()), default=None), f"{where} knows who is next")


def _check_no_waste(scheduler: Scheduler) -> None:
    between_steps = sum(
        queue.bit for queue in scheduler.queues if queue and queue.current and not queue.current.remaining
    )
    for usable, cpus in scheduler.overloaded.items():
        hold(bool(cpus), "an entry of the overloaded CPUs has a CPU")
        idle = usable.mask & scheduler.idle & scheduler.domain
        for queue in scheduler.queues:
            if queue is not None and queue.bit & cpus & scheduler.domain & ~between_steps:
                hold(not idle & queue.llc, "no task waits while a CPU of its LLC that it may use is idle")


# ---- pools ---------------------------------------------------------------------------------------------------------
def _check_pool(pool: Pool) -> None:
    hold(not pool.workers or bool(pool.idle), f"pool {pool.label} has a spare worker")
    for worker in pool.idle:
        hold(worker.awake == (worker.task.state is not State.SLEEPING), f"{worker.comm} is awake iff it does not sleep")


# ---- waiting -------------------------------------------------------------------------------------------------------
def _check_blocked(task: VirtualTask, blocked: dict[VirtualTask, None]) -> None:
    reason = task.waits_for
    hold((reason is not None) == (task in blocked), f"{task} is known as blocked iff it is")
    if reason is None:
        return
    hold(task.state is State.SLEEPING, f"{task} is blocked and sleeps")
    if isinstance(reason, FifoLock):
        hold(reason.owner is not None, f"{task} waits for a lock that is owned")
    elif isinstance(reason, Flag):
        hold(not reason.is_set, f"{task} waits for a flag that is not set")
    elif isinstance(reason, Item):
        hold(task in (reason.waiters or ()), f"{task} waits for {reason}, which knows it")


def _check_live(loop: EventLoop, tasks: Iterable[VirtualTask]) -> None:
    awake = sum(_is_live(task) for task in tasks)
    timers = sum(isinstance(entry[3], VirtualTimer) and entry[3].pending for entry in loop.heap)
    hold(loop.live == awake + timers, f"{loop.live} live = {awake} tasks + {timers} timers")


def _is_live(task: VirtualTask) -> bool:
    if task.load or task.waits_for is not None:
        return False
    resting = isinstance(task, VirtualWorker) and task.worker.item is None and task.state is State.SLEEPING
    return not resting
