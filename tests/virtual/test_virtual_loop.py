"""Virtual time, tasks, locks, events, deadlocks, and the end of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.errors import BodyError, DeadlockError, UsageError
from numaprobe.runtime import Work
from numaprobe.topology import symmetric
from numaprobe.virtual import CpuModel, VirtualMachine
from numaprobe.workqueue import work_on_cpu

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Make = Callable[..., VirtualMachine]


def test_time_is_virtual_and_goes_on_over_runs(make: Make) -> None:
    machine = make()
    for run in (1, 2):
        machine.run(lambda: machine.sleep(3600 * 10**9))
        assert machine.now() == run * 3600 * 10**9


def test_a_wait_belongs_to_the_task_that_calls_it(make: Make) -> None:
    """Also where a function hands back the machine's own awaitable."""
    machine = make()

    async def main() -> int:
        task = machine.spawn(lambda: machine.sleep(1000), comm="sleeper")
        work = Work(lambda: machine.compute(500), "compute_fn")
        machine.queue_work(machine.system_dfl_wq, work)
        assert machine.now() == 0
        await machine.flush_work(work)
        assert machine.now() == 500
        await machine.join(task)
        return machine.now()

    assert machine.run(main) == 1000


def test_equal_times_keep_the_order_of_asking(make: Make) -> None:
    machine = make(symmetric("wide", cores=64))
    order: list[int] = []

    async def body(number: int) -> None:
        await machine.sleep(1000)
        order.append(number)

    async def main() -> None:
        for number in range(50):
            machine.spawn(lambda number=number: body(number), comm=f"t{number}")

    machine.run(main)
    assert order == list(range(50))


def test_no_time_passes_without_a_wait(make: Make) -> None:
    machine = make()

    async def main() -> list[int]:
        times = [machine.now()]
        await machine.compute(0)
        times.append(machine.now())
        await machine.sleep(0)
        times.append(machine.now())
        assert await machine.call(max, 3, 4) == 4
        return times

    assert machine.run(main) == [0, 0, 0]


def test_a_timer_runs_outside_tasks_on_the_cpu_that_armed_it(make: Make) -> None:
    machine = make()
    seen: list[str] = []

    async def body() -> None:
        seen.append(machine.current.comm)

    def expire() -> None:
        with pytest.raises(UsageError, match="belongs into a task"):
            _ = machine.current
        machine.queue_work(machine.system_percpu_wq, Work(body, "timed_fn"))

    async def main() -> None:
        machine.timer(50, expire)

    machine.run(main, cpu=3)
    assert seen == ["kworker/3:0"]
    assert machine.now() == 50


def test_an_error_of_a_task_that_nobody_joins_ends_the_run(make: Make) -> None:
    machine = make()

    async def bad() -> None:
        await machine.sleep(5)
        raise LookupError("as asked")

    async def main() -> str:
        machine.spawn(bad, comm="bad")
        await machine.sleep(10)
        return "done"

    with pytest.raises(LookupError, match="as asked"):
        machine.run(main)

    async def joins() -> str:
        with pytest.raises(LookupError):
            await machine.join(machine.spawn(bad, comm="bad"))
        return "done"

    assert machine.run(joins) == "done"


def test_an_error_of_a_work_comes_out_of_run(make: Make) -> None:
    machine = make()

    async def bad() -> None:
        raise LookupError("a work must not raise")

    async def main() -> None:
        machine.queue_work(machine.system_dfl_wq, Work(bad, "bad_fn"))

    with pytest.raises(LookupError):
        machine.run(main)
    with pytest.raises(UsageError, match="make a new one"):
        machine.run(main)


def test_deadlock_names_the_chain(make: Make) -> None:
    machine = make()
    first, second = machine.lock("first"), machine.lock("second")

    async def inner() -> None:
        async with second:
            await machine.sleep(10)
            async with first:
                pass

    async def main() -> None:
        async with first:
            await work_on_cpu(machine, 2, inner)

    with pytest.raises(DeadlockError) as caught:
        machine.run(main)
    assert caught.value.waits == (
        "modprobe waits for work work_for_cpu_fn, executed by kworker/2:0",
        "kworker/2:0 (executing work_for_cpu_fn) waits for lock 'first' held by modprobe",
    )


@pytest.mark.parametrize(
    ("wait", "text"),
    [
        (lambda machine: machine.event("go").wait(), "event 'go'"),
        (lambda machine: machine.join(machine.current), "the end of modprobe"),
    ],
    ids=["event", "join"],
)
def test_deadlock_of_one(make: Make, wait: Callable[[VirtualMachine], Awaitable[object]], text: str) -> None:
    machine = make()
    with pytest.raises(DeadlockError, match=f"modprobe waits for {text}"):
        machine.run(lambda: wait(machine))


def test_deadlock_of_works_without_a_worker(make: Make) -> None:
    """An ordered workqueue whose first work flushes its second never gets there."""
    machine = make()
    wq = machine.alloc_workqueue("ordered", unbound=True, max_active=1)

    async def nothing() -> None:
        """Do nothing."""

    second = Work(nothing, "second_fn")

    async def main() -> None:
        async def first() -> None:
            await machine.flush_work(second)

        machine.queue_work(wq, Work(first, "first_fn"))
        machine.queue_work(wq, second)

    with pytest.raises(DeadlockError, match=r"first_fn\) waits for work second_fn, not started: 1 works of ordered"):
        machine.run(main)


def test_a_work_that_flushes_itself_is_a_deadlock_and_reported(make: Make) -> None:
    machine = make()
    works: list[Work] = []

    async def body() -> None:
        await machine.flush_work(works[0])

    works.append(Work(body, "self_fn"))

    async def main() -> None:
        machine.queue_work(machine.system_dfl_wq, works[0])

    with pytest.raises(DeadlockError, match="work self_fn, executed by kworker/u33:0"):
        machine.run(main)
    assert [warning.kind for warning in machine.warnings] == ["recursion"]


def test_ctrl_c_unwinds_every_task(make: Make) -> None:
    """KeyboardInterrupt comes out as it is; finally clauses run, also those that wait, and nothing complains."""
    machine = make()
    unwound: list[str] = []
    lock = machine.lock("dev")

    async def patient(name: str) -> None:
        try:
            async with lock:
                await machine.sleep(10**12)
        finally:
            unwound.append(name)
            await machine.sleep(1)

    async def worker() -> None:
        try:
            await machine.compute(10**12)
        finally:
            unwound.append("work")

    async def main() -> None:
        for name in ("a", "b"):
            machine.spawn(lambda name=name: patient(name), comm=name)
        machine.queue_work(machine.system_dfl_wq, Work(worker, "slow_fn"))
        machine.spawn(lambda: patient("never started"), comm="late", cpu=0)
        await machine.sleep(100)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        machine.run(main)
    assert {"a", "b", "work"} <= set(unwound)
    with pytest.raises(UsageError):
        machine.run(main)


def test_event_timeout_and_flag_at_once(make: Make) -> None:
    machine = make()
    event = machine.event("e")

    async def main() -> list[bool]:
        machine.timer(10, event.set)
        first = await event.wait(10)
        event.clear()
        second = await event.wait(5)
        return [first, second, event.is_set]

    assert machine.run(main) == [True, False, False]
    assert machine.now() == 15


def test_negative_times_are_refused(make: Make) -> None:
    machine = make()

    async def main() -> None:
        for call in (machine.sleep, machine.compute, machine.allocate):
            with pytest.raises(BodyError):
                await call(-1)
        with pytest.raises(UsageError):
            machine.timer(-1, lambda: None)

    machine.run(main)


def test_calls_outside_tasks_are_refused(make: Make) -> None:
    machine = make()

    async def outside() -> None:
        await machine.sleep(1)

    coroutine = outside()
    with pytest.raises(UsageError, match="belongs into a task"):
        coroutine.send(None)


def test_bad_places_are_refused(make: Make) -> None:
    machine = make()

    async def main() -> None:
        with pytest.raises(UsageError, match="it may run on CPUs 2 only"):
            machine.spawn(lambda: machine.sleep(1), comm="sh", cpus=CpuSet.of([2]), cpu=3)
        with pytest.raises(UsageError, match="not possible"):
            machine.queue_work_on(99, machine.system_dfl_wq, Work(main, "f"))
        with pytest.raises(UsageError, match="not possible"):
            machine.queue_work_on(99, machine.system_percpu_wq, Work(main, "f"))
        with pytest.raises(UsageError, match="none is online"):
            await machine.set_affinity(CpuSet())

    machine.run(main)
    with pytest.raises(UsageError, match="CPU 4000: it is not online"):
        machine.run(main, cpu=4000)


@pytest.mark.parametrize("model", [CpuModel(), CpuModel.off], ids=["modelled", "off"])
def test_two_runs_are_equal_to_the_byte(make: Make, model: CpuModel) -> None:
    assert _story(make, model) == _story(make, model)


def _story(make: Make, model: CpuModel) -> list[str]:
    machine = make(symmetric("m", nodes=2, llcs=2, cores=2, smt=2), cpu_model=model, timeline=True)
    machine.add_load(CpuSet.of([0, 1]))
    lines: list[str] = []
    lock = machine.lock("shared")

    async def probe() -> None:
        async def body() -> None:
            await machine.compute(2_500_000)
            async with lock:
                await machine.sleep(700_000)
            await machine.compute(4_000_000)

        _, usage = await machine.measure(body)
        lines.append(f"{machine.current.comm} {usage}")

    async def main() -> None:
        works = [Work(probe, f"probe_{n}_fn") for n in range(12)]
        for number, work in enumerate(works):
            machine.queue_work_node(number % 3, machine.system_dfl_wq, work)
            machine.queue_work_on(number % 4, machine.system_percpu_wq, Work(probe, "other_fn"))
        for work in works:
            await machine.flush_work(work)

    machine.run(main)
    assert len(lines) == 24
    return [*lines, *map(str, machine.warnings), str(machine.now())]


@pytest.mark.parametrize("model", [CpuModel(), CpuModel.off])
def test_a_task_returns_what_its_function_does_however_its_last_wait_ended(make: Make, model: CpuModel) -> None:
    machine = make(cpu_model=model)

    async def after(wait: Callable[[int], Awaitable[None]]) -> str:
        await wait(10)
        return "done"

    async def main() -> list[str]:
        tasks = [machine.spawn(lambda wait=wait: after(wait), comm="t") for wait in (machine.sleep, machine.compute)]
        return [await machine.join(task) for task in tasks]

    assert machine.run(main) == ["done", "done"]
