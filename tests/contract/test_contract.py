"""One suite over every machine."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.errors import DeadlockError, InternalError
from numaprobe.hostmachine import HostMachine
from numaprobe.runtime import HkType, Work
from numaprobe.testing import CHECKS, FakeMachine, check_machine
from numaprobe.topology import Housekeeping, Topology, symmetric
from numaprobe.virtual import VirtualMachine
from numaprobe.workqueue.validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from numaprobe.runtime import Machine, Timer, Workqueue

    Make = Callable[[Topology], AbstractContextManager[Machine]]

MS = 1_000_000


class PluggableHost(HostMachine):
    """Takes CPUs from the process, as a cpuset would: to the machine they are offline then."""

    async def _allow(self, cpus: CpuSet) -> None:
        home = self.runner.core._thread
        assert home is not None
        os.sched_setaffinity(home.native_id or 0, cpus)
        await self.sleep(2 * MS)  # it is looked at again after one
        assert self.online == cpus & self.topology.possible

    async def cpu_down(self, cpu: int) -> int:
        refusal = self._holds.refusal(cpu, "online")
        if not refusal:
            await self._allow(self.online - CpuSet.of([cpu]))
        return refusal

    async def cpu_up(self, cpu: int) -> int:
        refusal = self._holds.refusal(cpu, "offline")
        if not refusal:
            await self._allow(self.online | CpuSet.of([cpu]))
        return refusal

    def __exit__(self, *what: object) -> None:
        super().__exit__(*what)  # type: ignore[arg-type]
        validate(self._workqueues)


def make_fake(topology: Topology) -> AbstractContextManager[Machine]:
    return contextlib.nullcontext(FakeMachine(topology))


def make_virtual(topology: Topology) -> AbstractContextManager[Machine]:
    return contextlib.nullcontext(VirtualMachine(topology))


def make_host(topology: Topology) -> AbstractContextManager[Machine]:
    return PluggableHost(topology)


MACHINES: dict[str, Make] = {"fake": make_fake, "virtual": make_virtual, "host": make_host}
#: the real CPUs that there are at least
SMALL = symmetric("two nodes of a CPU", nodes=2, cores=1)
LARGE = symmetric("two nodes", nodes=2, cores=2)

CASES = [
    pytest.param(make, SMALL if machine == "host" else LARGE, check, id=f"{machine}-{name}")
    for machine, make in MACHINES.items()
    for name, check in CHECKS.items()
]


@pytest.mark.parametrize(("make", "topology", "check"), CASES)
def test_promise(make: Make, topology: Topology, check: Callable[[Machine], None]) -> None:
    with make(topology) as machine:
        check(machine)
        if isinstance(machine, FakeMachine | VirtualMachine):
            machine.validate()


@pytest.mark.parametrize("kind", [HkType.DOMAIN, HkType.WQ, HkType.UNBOUND])
@pytest.mark.parametrize("make", MACHINES.values(), ids=MACHINES)
def test_housekeeping_has_a_present_cpu(make: Make, kind: HkType) -> None:
    """What would be left is CPU 1, which is possible and not there: then nothing is taken away at all."""
    first = CpuSet.of([0])
    keep = Housekeeping(isolated=first, nohz_full=first, unbound_cpus=first)
    topology = replace(SMALL, present=first, online=first, housekeeping=keep)
    with make(topology) as machine:
        assert machine.housekeeping(kind) & first, str(machine.housekeeping(kind))


@pytest.mark.parametrize("make", [make_fake, make_host], ids=["fake", "host"])
def test_workqueues_outlive_a_run_that_was_cut_short(make: Make) -> None:
    """After a deadlock the same workqueues and the same works go on; the virtual machine refuses another run."""
    with make(SMALL) as machine:
        wq = machine.alloc_workqueue("one", unbound=True, max_active=1, min_active=1)
        never, runs = machine.event("never"), 0

        async def stuck() -> None:
            await never.wait()

        async def run() -> None:
            nonlocal runs
            runs += 1

        works = [Work(stuck, "stuck_fn"), Work(run, "held_fn"), Work(run, "pending_fn")]

        async def main() -> None:
            for queue, work in zip((wq, wq, machine.system_percpu_wq), works, strict=True):
                machine.queue_work(queue, work)
            await machine.flush_work(works[1])

        with pytest.raises(DeadlockError, match="held_fn, not started: 1 works of one are active"):
            machine.run(main)
        before = runs

        async def again() -> None:
            for work in works[1:]:
                for queue in (wq, machine.system_percpu_wq):
                    assert machine.queue_work(queue, work)
                    await machine.flush_work(work)

        machine.run(again)
        assert runs == before + 4


def test_the_whole_contract_in_one_call() -> None:
    check_machine(lambda: make_fake(LARGE))


class Greedy(FakeMachine):
    """Breaks one promise: a pending work is queued again."""

    def queue_work(self, wq: Workqueue, work: Work) -> bool:
        super().queue_work(wq, work)
        return True


class Deaf(FakeMachine):
    """Breaks another: warnings are lost."""

    def warn(self, kind: str, message: str) -> None:
        """Keep nothing."""


class Drowsy(FakeMachine):
    """Breaks the order of virtual time: a task that sleeps comes later than a timer that is due after it."""

    async def sleep(self, ns: int) -> None:
        await super().sleep(2 * ns)


class Early(FakeMachine):
    """Breaks another: what is called later, and so a sleep too, comes before its time."""

    def timer(self, delay_ns: int, function: Callable[[], object]) -> Timer:
        return super().timer(delay_ns - delay_ns // 4, function)


class Beside(FakeMachine):
    """Breaks another: what is queued again while it runs never runs."""

    def queue_work(self, wq: Workqueue, work: Work) -> bool:
        return any(task.work is work for task in self._tasks) or super().queue_work(wq, work)


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        (Greedy, "queue_once_while_pending"),
        (Deaf, "warnings_are_kept"),
        (Drowsy, "run_outlasts_main"),
        (Early, "sleep_lasts"),
        (Beside, "work_is_not_reentrant"),
    ],
)
def test_a_broken_machine_is_found_out(broken: type[FakeMachine], name: str) -> None:
    with pytest.raises(InternalError, match=rf"^{name}: machine contract"):
        check_machine(lambda: contextlib.nullcontext(broken()))


PAGE = Path(__file__).parents[2] / "docs" / "machine-authors.md"


@pytest.mark.parametrize(
    ("code", "expected"), re.findall(r"```python\n(.*?)```\n```text\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
)
def test_the_page_for_authors_shows_what_is(code: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, str(PAGE), "exec"), {"__name__": "example"})  # noqa: S102  our own page
    assert capsys.readouterr().out == expected
