"""Where tasks may start and CPUs may go, what is said of it, and what is left when a run is cut short."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.errors import DeadlockError, RefusedError, UsageError
from numaprobe.runtime import AffinityScope, Work
from numaprobe.topology import Housekeeping, symmetric
from numaprobe.virtual import VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Make = Callable[..., VirtualMachine]

MS = 1_000_000
ISOLATED = symmetric("m", cores=6, housekeeping=Housekeeping(isolated=CpuSet.parse_list("4-5")))


async def nothing() -> None:
    """Be a task that ends at once."""


@pytest.mark.parametrize(
    ("cpus", "cpu", "said"),
    [
        ("9", None, "t cannot run on CPUs 9: none is online"),
        ("0-1", 9, "t cannot run on CPU 9: it is not online"),
        (None, 4, "t cannot start on CPU 4: it is isolated, only a task that is pinned to it runs there"),
        ("0-3", 4, "t cannot start on CPU 4: it is isolated, only a task that is pinned to it runs there"),  # init's
        ("0-1", 4, "t cannot run on CPU 4: it may run on CPUs 0-1 only"),
        ("0-1", 3, "t cannot run on CPU 3: it may run on CPUs 0-1 only"),
        ("4-5", 3, "t cannot run on CPU 3: it may run on CPUs 4-5 only"),
    ],
)
def test_why_a_task_cannot_start_there(make: Make, cpus: str | None, cpu: int | None, said: str) -> None:
    machine = make(ISOLATED)
    allowed = None if cpus is None else CpuSet.parse_list(cpus)
    with pytest.raises(UsageError) as caught:
        machine.spawn(nothing, comm="t", cpus=allowed, cpu=cpu)
    assert str(caught.value) == said
    machine.run(nothing)


def test_where_a_task_starts(make: Make) -> None:
    """Beside its maker, whose CPU is busy; where it is told, if that is idle; else on the first that it may use."""
    machine = make(ISOLATED)
    seen: list[int] = []

    async def look() -> None:
        seen.append(machine.current.cpu)

    async def main() -> None:
        for cpus, cpu in ((None, None), ("1-2,4", None), ("4-5", None), ("2-3", 3), ("0-5", 5)):
            allowed = None if cpus is None else CpuSet.parse_list(cpus)
            await machine.join(machine.spawn(look, comm="t", cpus=allowed, cpu=cpu))

    machine.run(main, cpu=3)
    assert seen == [0, 1, 4, 2, 5]


def test_where_all_of_init_s_cpus_are_offline_a_task_may_run_anywhere(make: Make) -> None:
    machine = make(ISOLATED)
    seen: list[int] = []

    async def look() -> None:
        seen.append(machine.current.cpu)

    async def main() -> None:
        for cpu in range(4):
            await machine.cpu_down(cpu)
        await machine.join(machine.spawn(look, comm="t", cpu=5))

    machine.run(main, cpu=2)
    assert seen == [5]


def test_what_cannot_go_or_come_is_refused_and_changes_nothing(make: Make) -> None:
    machine = make(symmetric("m", cores=2))

    async def refused(error: type[Exception], said: str, call: Awaitable[object]) -> None:
        with pytest.raises(error) as caught:
            await call
        assert str(caught.value) == said

    async def main() -> None:
        await refused(UsageError, "CPU 7 is not online; online: 0-1", machine.cpu_down(7))
        await refused(UsageError, "CPU 1 cannot come online: it is not present, or online already", machine.cpu_up(1))
        await refused(UsageError, "CPU 7 cannot come online: it is not present, or online already", machine.cpu_up(7))
        everything = CpuSet.parse_list("0-1")
        said = "CPUs 0-1 cannot be isolated: no CPU online would be left"
        await refused(UsageError, said, machine.isolate(everything))
        await machine.cpu_down(1)
        assert str(machine.online) == "0"
        await refused(RefusedError, "CPU 0 is the last one online; leave it on", machine.cpu_down(0))
        await refused(
            UsageError, "CPUs 0 cannot be isolated: no CPU online would be left", machine.isolate(CpuSet.of([0]))
        )
        await machine.cpu_up(1)
        assert str(machine.online) == "0-1"

    machine.run(main)


def test_the_unbound_cpumask_is_written_while_the_machine_runs(make: Make) -> None:
    """Workers that nothing holds to their pod go where the mask says, from their next work on."""
    machine = make(profile="7.3")
    wq = machine.alloc_workqueue("w", unbound=True, scope=AffinityScope.SYSTEM)
    seen: list[int] = []

    async def look() -> None:
        await machine.compute(1)
        seen.append(machine.current.cpu)

    async def main() -> None:
        for text, result in (("5-6", 0), ("40", -errno.EINVAL), ("2", 0)):
            assert await machine.set_unbound_cpumask(CpuSet.parse_list(text)) == result
            work = Work(look, "look_fn")
            machine.queue_work(wq, work)
            await machine.flush_work(work)

    machine.run(main)
    assert {seen[0], seen[1]} <= {5, 6}
    assert seen[2] == 2


def test_a_run_cut_short_unwinds_every_task_in_its_own_name(make: Make) -> None:
    """Also workers in the middle of a work; what one raises while it unwinds hides nothing."""
    machine = VirtualMachine(symmetric("m", cores=2))
    unwound: list[str] = []

    async def stuck() -> None:
        try:
            await machine.event("never").wait()
        finally:
            unwound.append(machine.current.comm)
            if machine.current.is_worker:
                raise LookupError("as asked")

    async def main() -> None:
        machine.queue_work_on(1, machine.system_percpu_wq, Work(stuck, "stuck_fn"))
        machine.spawn(stuck, comm="stuck")
        await stuck()

    with pytest.raises(DeadlockError) as caught:
        machine.run(main, comm="sh")
    assert sorted(unwound) == ["kworker/1:0", "sh", "stuck"]
    names = ("kworker/1:0 (executing stuck_fn)", "sh", "stuck")
    assert sorted(caught.value.waits) == [f"{name} waits for event 'never'" for name in names]
    with pytest.raises(UsageError, match="this call belongs into a task"):
        _ = machine.current


def test_a_timer_calls_where_it_was_armed(make: Make) -> None:
    machine = make()
    seen: list[int] = []

    async def armed() -> None:
        machine.timer(MS, lambda: machine.queue_work(machine.system_percpu_wq, Work(look, "look_fn")))

    async def look() -> None:
        seen.append(machine.current.cpu)

    async def main() -> None:
        for cpu in (5, 2):
            await machine.join(machine.spawn(armed, comm="t", cpus=CpuSet.of([cpu])))
        await machine.sleep(3 * MS)

    machine.run(main, cpu=0)
    assert seen == [5, 2]


def test_failures_that_nobody_joins_end_the_run_the_first_of_them(make: Make) -> None:
    machine = make()

    async def fail(text: str, ns: int) -> None:
        await machine.sleep(ns)
        raise LookupError(text)

    async def main() -> None:
        joined = machine.spawn(lambda: fail("joined", 1), comm="a")
        machine.spawn(lambda: fail("second", 3), comm="b")
        machine.spawn(lambda: fail("first", 2), comm="c")
        with pytest.raises(LookupError, match="joined"):
            await machine.join(joined)
        with pytest.raises(LookupError, match="joined"):
            await machine.join(joined)  # as often as one likes

    with pytest.raises(LookupError, match="first"):
        machine.run(main)


def test_a_task_that_had_not_begun_when_the_run_was_cut_short_never_begins(make: Make) -> None:
    machine = VirtualMachine(symmetric("m", cores=2))
    began: list[str] = []

    async def late() -> None:
        began.append("late")

    async def main() -> None:
        machine.spawn(late, comm="late")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        machine.run(main)
    assert began == []
    with pytest.raises(UsageError, match="cut short; make a new one"):
        machine.run(late)
