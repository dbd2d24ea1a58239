"""Checks of tasks, time, locks and events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.errors import DeadlockError, UsageError
from numaprobe.testing.contract.expect import (
    PATIENCE_NS,
    TICK_NS,
    Arrivals,
    comes,
    expect,
    expect_fails,
    expect_raises,
    in_a_task,
    time_stands,
)

if TYPE_CHECKING:
    from numaprobe.runtime.protocol import Machine, Task


def what_it_is(machine: Machine) -> None:
    """The topology holds its promises; online CPUs are present; housekeeping CPUs are possible and some are left."""
    from numaprobe.runtime.protocol import HkType

    machine.topology.validate()
    expect(machine.online, "a machine has a CPU online")
    expect(machine.online.issubset(machine.topology.present), "online CPUs are present")
    for kind in HkType:
        expect(machine.housekeeping(kind).issubset(machine.topology.possible), "housekeeping CPUs are possible")
        expect(machine.housekeeping(kind) & machine.topology.present, "a present CPU is left for housekeeping")
    expect(machine.system_dfl_wq.unbound and not machine.system_percpu_wq.unbound, "the two system workqueues")
    expect(machine.system_percpu_wq.name == machine.profile.percpu_wq_name, "workqueues have the profile's names")


def run_returns_and_raises(machine: Machine) -> None:
    """``run`` returns what main returns, raises what it raises, and can be called again afterwards."""

    async def good() -> int:
        await machine.sleep(1)
        return 42

    async def bad() -> int:
        await machine.sleep(1)
        raise LookupError("as asked")

    expect(machine.run(good) == 42, "run returns what main returned")  # noqa: PLR2004
    try:
        machine.run(bad)
    except LookupError:
        pass
    else:
        expect(kept=False, promise="run raises what main raised")
    before = machine.now()
    expect(machine.run(good) == 42, "run works again after a failure")  # noqa: PLR2004
    expect(machine.now() >= before, "the clock goes on over runs")


@in_a_task
async def run_is_not_reentrant(machine: Machine) -> None:
    """``run`` inside a run is refused."""

    async def inner() -> None:
        """Do nothing."""

    expect_raises(UsageError, lambda: machine.run(inner), "run inside a run is refused")


def run_outlasts_main(machine: Machine) -> None:
    """``run`` goes on until nothing is left to run: spawned tasks, timers; in virtual time in their order."""
    done: list[str] = []

    async def late() -> None:
        await machine.sleep(2 * TICK_NS)
        done.append("task")

    async def main() -> None:
        machine.spawn(late, comm="late")
        machine.timer(3 * TICK_NS, lambda: done.append("timer"))

    machine.run(main)
    expect(sorted(done) == ["task", "timer"], "run goes on until tasks and timers are done")
    expect(done[0] == "task" or not time_stands(machine), f"what is due first comes first: {done}")


def current_is_the_running_task(machine: Machine) -> None:
    """``current`` is the same task before and after an await, and no task outside of any."""
    seen: list[Task] = []

    async def main() -> None:
        before = machine.current
        await machine.sleep(TICK_NS)
        expect(machine.current is before, "current stays the same over an await")
        expect(before.comm == "sh", "run names its task")
        expect(not before.is_worker and before.work is None, "the main task is no worker")
        seen.append(before)

    expect_raises(UsageError, lambda: machine.current, "no task is current outside of a run")
    machine.run(main, comm="sh")
    expect(len(seen) == 1, "main ran once")


def run_starts_where_asked(machine: Machine) -> None:
    """``run(cpu=)`` puts the main task on that CPU."""
    wish = machine.online.last

    async def where() -> int:
        await machine.compute(1)
        return machine.current.cpu

    expect(machine.run(where, cpu=wish) == wish, "run puts main on the CPU asked for")


@in_a_task
async def spawn_and_join(machine: Machine) -> None:
    """``join`` returns what the task returned or raises what it raised, also long after its end."""

    async def good() -> str:
        await machine.sleep(TICK_NS)
        return machine.current.comm

    async def bad() -> None:
        raise LookupError("as asked")

    task = machine.spawn(good, comm="udev")
    expect(not task.is_worker, "a spawned task is no worker")
    expect(await machine.join(task) == "udev", "join returns what the task returned")
    expect(await machine.join(task) == "udev", "join returns it again")
    await expect_fails(LookupError, machine.join(machine.spawn(bad, comm="udev")), "join raises what the task raised")


@in_a_task
async def spawn_is_concurrent(machine: Machine) -> None:
    """A spawned task does not run before its creator waits, and then beside it."""
    order: list[str] = []
    both = machine.event("both children have begun")

    async def child() -> None:
        order.append("child")
        if order.count("child") > 1:
            both.set()
        await comes(both, "the second child begins while the first waits")
        order.append("child again")

    tasks = [machine.spawn(child, comm="udev") for _ in range(2)]
    order.append("main")
    for task in tasks:
        await machine.join(task)
    expect(order == ["main", "child", "child", "child again", "child again"], f"tasks run side by side: {order}")


@in_a_task
async def sleep_lasts(machine: Machine) -> None:
    """``sleep`` lasts at least as long as asked; time is an integer and does not run backwards."""
    start = machine.now()
    await machine.sleep(TICK_NS)
    expect(isinstance(start, int), "time is integer ns")
    expect(machine.now() >= start + TICK_NS, "sleep lasts at least as long as asked")
    expect(machine.now() == start + TICK_NS or not time_stands(machine), "in virtual time exactly so long")


@in_a_task
async def timer_fires_once_outside_tasks(machine: Machine) -> None:
    """A timer's function is called once, after its delay, outside any task."""
    calls: list[int] = []
    called = machine.event("the timer has called")

    def ring() -> None:
        expect_raises(UsageError, lambda: machine.current, "a timer's function runs outside any task")
        calls.append(machine.now())
        called.set()

    start = machine.now()
    timer = machine.timer(TICK_NS, ring)
    expect(timer.pending, "a timer is pending before its call")
    await comes(called, "a timer calls")
    await machine.sleep(2 * TICK_NS)
    expect(len(calls) == 1 and calls[0] >= start + TICK_NS, "a timer calls once, and not early")
    expect(calls[0] == start + TICK_NS or not time_stands(machine), "in virtual time at its time")
    expect(not timer.pending, "a timer is not pending after its call")
    timer.cancel()


@in_a_task
async def timer_cancel(machine: Machine) -> None:
    """A cancelled timer is not pending and calls nothing."""
    calls: list[int] = []
    timer = machine.timer(TICK_NS, lambda: calls.append(1))
    timer.cancel()
    expect(not timer.pending, "a cancelled timer is not pending")
    await machine.sleep(3 * TICK_NS)
    expect(not calls, "a cancelled timer calls nothing")


@in_a_task
async def lock_is_fifo(machine: Machine) -> None:
    """A lock goes to the task that asked first, and says which owns it."""
    lock = machine.lock("l")
    order: list[int] = []
    expect(lock.owner is None, "a new lock is free")
    await lock.acquire()
    expect(lock.owner is machine.current, "the lock belongs to the task that took it")

    asking = Arrivals(machine, "tasks that ask for the lock")

    async def contender(number: int) -> None:
        asking.arrive()  # it asks before any other code runs
        async with lock:
            order.append(number)
            await machine.sleep(1)

    tasks = []
    for number in range(4):
        tasks.append(machine.spawn(lambda number=number: contender(number), comm=f"t{number}"))  # type: ignore[misc]
        await asking.wait(number + 1)
    expect(not order, "a lock has one owner")
    lock.release()
    for task in tasks:
        await machine.join(task)
    expect(order == [0, 1, 2, 3], f"a lock goes to the task that asked first: {order}")
    expect(lock.owner is None, "a released lock is free")


@in_a_task
async def lock_release_needs_ownership(machine: Machine) -> None:
    """Only the owner releases; ``async with`` releases when its body raises."""
    lock = machine.lock("l")
    expect_raises(UsageError, lock.release, "a free lock cannot be released")

    async def thief() -> None:
        lock.release()

    async def fail() -> None:
        async with lock:
            raise LookupError("as asked")

    async with lock:
        await expect_fails(UsageError, machine.join(machine.spawn(thief, comm="thief")), "only the owner releases")
        expect(lock.owner is machine.current, "a refused release changes nothing")
    await expect_fails(LookupError, fail(), "async with lets the error through")
    expect(lock.owner is None, "async with releases when its body raises")


@in_a_task
async def event_wakes_all(machine: Machine) -> None:
    """``set`` wakes all tasks that wait; later ones pass; after ``clear`` they wait."""
    event = machine.event("e")
    waiting = Arrivals(machine, "tasks that wait for the event")

    async def waiter() -> bool:
        waiting.arrive()  # it waits before any other code runs
        return await event.wait()

    tasks = [machine.spawn(waiter, comm="t") for _ in range(3)]
    await waiting.wait(3)
    event.set()
    expect([await machine.join(task) for task in tasks] == [True] * 3, "set wakes all tasks that wait")
    expect(event.is_set and await event.wait() and await event.wait(0), "a task that comes later passes")
    event.clear()
    expect(not event.is_set and not await event.wait(0), "clear takes it back")


@in_a_task
async def event_timeout(machine: Machine) -> None:
    """``wait`` returns False after its timeout and not before; True if the flag comes in time."""
    event = machine.event("e")
    start = machine.now()
    expect(not await event.wait(TICK_NS), "wait returns False after its timeout")
    expect(machine.now() >= start + TICK_NS, "wait does not give up early")
    expect(machine.now() == start + TICK_NS or not time_stands(machine), "in virtual time on the dot")
    start = machine.now()
    machine.timer(TICK_NS, event.set)
    expect(await event.wait(PATIENCE_NS), "wait returns True if the flag comes in time")
    expect(machine.now() == start + TICK_NS or not time_stands(machine), "wait ends with the flag")


def deadlock_is_reported(machine: Machine) -> None:
    """Two tasks that wait for each other end the run with a report that names them and what they wait for."""

    async def main() -> None:
        first, second, taken = machine.lock("first"), machine.lock("second"), machine.event("taken")

        async def other() -> None:
            async with second:
                taken.set()
                await first.acquire()

        async with first:
            machine.spawn(other, comm="other")
            await taken.wait()
            async with second:
                expect(kept=False, promise="a lock has one owner")

    try:
        machine.run(main, comm="main")
    except DeadlockError as error:
        text = " ".join(error.waits)
        expect(all(word in text for word in ("main", "other", "first", "second")), f"the report names all: {text}")
    else:
        expect(kept=False, promise="a deadlock ends the run with DeadlockError")


CHECKS = (
    what_it_is,
    run_returns_and_raises,
    run_is_not_reentrant,
    run_outlasts_main,
    current_is_the_running_task,
    run_starts_where_asked,
    spawn_and_join,
    spawn_is_concurrent,
    sleep_lasts,
    timer_fires_once_outside_tasks,
    timer_cancel,
    lock_is_fifo,
    lock_release_needs_ownership,
    event_wakes_all,
    event_timeout,
    deadlock_is_reported,
)
