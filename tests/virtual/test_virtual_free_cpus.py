"""The CPU model switched off: what it says where the model would say the same, and where its tasks are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.cpuset import CpuSet
from numaprobe.runtime import AffinityScope, Work
from numaprobe.topology import Housekeeping, symmetric
from numaprobe.virtual import CpuModel, VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numaprobe.runtime import Usage

    Make = Callable[..., VirtualMachine]

MS = 1_000_000
#: what a task does: compute or sleep for so long, or move to its other CPU
STEPS = st.lists(st.tuples(st.sampled_from(["compute", "sleep", "move"]), st.integers(0, 5)), max_size=8)


def usages(model: CpuModel, scripts: Sequence[Sequence[tuple[str, int]]]) -> list[Usage]:
    """Run each script in a task with two CPUs of its own; return what it cost."""
    machine = VirtualMachine(symmetric("m", cores=2 * len(scripts)), cpu_model=model, timeline=True)
    found: list[Any] = [None] * len(scripts)

    async def act(script: Sequence[tuple[str, int]], cpus: tuple[int, int]) -> None:
        for number, (step, ms) in enumerate(script):
            if step == "move":
                await machine.set_affinity(CpuSet.of([cpus[(number + ms) % 2]]))
            else:
                await (machine.compute if step == "compute" else machine.sleep)(ms * MS)

    async def task(index: int) -> None:
        cpus = (2 * index, 2 * index + 1)
        await machine.set_affinity(CpuSet.of([cpus[0]]))
        _, found[index] = await machine.measure(lambda: act(scripts[index], cpus))

    async def main() -> None:
        for index in range(len(scripts)):
            machine.spawn(lambda index=index: task(index), comm="t", cpus=CpuSet.of([2 * index, 2 * index + 1]))  # type: ignore[misc]

    machine.run(main)
    machine.validate()
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=4))
def test_where_each_task_has_its_own_cpus_the_model_says_the_same(scripts: list[list[tuple[str, int]]]) -> None:
    assert usages(CpuModel.off, scripts) == usages(CpuModel(), scripts)


def test_a_task_stays_where_it_is_and_else_takes_the_first_cpu_that_it_may_use(make: Make) -> None:
    machine = make(cpu_model=CpuModel.off)
    seen: list[int] = []

    async def main() -> None:
        for cpus in ("3,5-6", "5", "4-6", "2", "1,3"):
            await machine.set_affinity(CpuSet.parse_list(cpus))
            seen.append(machine.current.cpu)
            await machine.sleep(1)
            seen.append(machine.current.cpu)
        await machine.cpu_down(1)
        await machine.sleep(1)
        seen.append(machine.current.cpu)
        await machine.cpu_down(3)
        await machine.sleep(1)  # none of its CPUs is online: it may run anywhere
        seen.append(machine.current.cpu)
        await machine.cpu_up(3)
        await machine.set_affinity(CpuSet.of([3]))
        await machine.sleep(1)
        seen.append(machine.current.cpu)

    machine.run(main, cpu=0)
    assert seen == [3, 3, 5, 5, 5, 5, 2, 2, 1, 1, 3, 0, 3]


def test_a_mask_that_changes_in_the_middle_of_a_computation_moves_the_task_at_once(make: Make) -> None:
    machine = make(cpu_model=CpuModel.off, timeline=True)
    found: list[Usage] = []
    wq = machine.alloc_workqueue("w", unbound=True, scope=AffinityScope.NUMA, strict=True)

    async def body() -> None:
        _, usage = await machine.measure(lambda: machine.compute(10 * MS))
        found.append(usage)

    async def main() -> None:
        work = Work(body, "work_fn")
        machine.queue_work_on(2, machine.system_percpu_wq, work)
        other = Work(body, "other_fn")
        machine.queue_work_node(1, wq, other)
        await machine.sleep(4 * MS)
        await machine.cpu_down(2)
        await machine.flush_work(work)
        await machine.flush_work(other)

    machine.run(main, cpu=0)
    (moved,) = [usage for usage in found if usage.cpus[0] == 2]
    assert [(s.start_ns, s.end_ns, s.cpu) for s in moved.segments or ()] == [(0, 4 * MS, 2), (4 * MS, 10 * MS, 0)]
    (stayed,) = [usage for usage in found if usage is not moved]
    assert (stayed.cpus, stayed.running_ns) == ((4,), 10 * MS)


def test_new_tasks_of_init_stay_off_isolated_cpus(make: Make) -> None:
    keep = Housekeeping(isolated=CpuSet.parse_list("0-1"))
    machine = make(symmetric("m", cores=4, housekeeping=keep), cpu_model=CpuModel.off)
    seen: list[int] = []

    async def look() -> None:
        seen.append(machine.current.cpu)

    async def main() -> None:
        await machine.join(machine.spawn(look, comm="t"))
        await machine.isolate(CpuSet.of([2]))
        await machine.sleep(1)
        seen.append(machine.current.cpu)
        await machine.join(machine.spawn(look, comm="t"))

    machine.run(main)
    assert seen == [2, 3, 3]


def test_background_load_keeps_nobody_waiting(make: Make) -> None:
    machine = make(symmetric("m", cores=1), cpu_model=CpuModel.off)
    machine.add_load(CpuSet.of([0]), 3)
    _, usage = machine.run(lambda: machine.measure(lambda: machine.compute(7 * MS)))
    assert (usage.running_ns, usage.runnable_ns, machine.now()) == (7 * MS, 0, 7 * MS)


def test_a_cpu_that_comes_back_takes_no_other_away(make: Make) -> None:
    machine = make(symmetric("m", cores=4), cpu_model=CpuModel.off)

    async def main() -> None:
        await machine.cpu_down(2)
        assert str(machine.online) == "0-1,3"
        await machine.cpu_up(2)
        assert str(machine.online) == "0-3"

    machine.run(main)


@pytest.mark.parametrize("model", [CpuModel(), CpuModel.off])
def test_what_a_task_raises_after_a_wait_reaches_whoever_joins_it(make: Make, model: CpuModel) -> None:
    machine = make(symmetric("m", cores=2), cpu_model=model)

    async def fails() -> None:
        await machine.sleep(MS)
        raise LookupError("after the sleep")

    async def main() -> str:
        try:
            await machine.join(machine.spawn(fails, comm="fails"))
        except LookupError as error:
            return str(error)
        return "nothing"

    assert machine.run(main) == "after the sleep"
