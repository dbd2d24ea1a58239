"""A program as what is explored: any ``async def`` of a machine, be it a test of somebody's drivers.

The function gets a fresh ``ChoosingMachine`` for each run. It may put a ``DriverCore`` on it, spawn tasks, take locks,
queue works. What it returns is the run's outcome (its ``repr``); what it raises is a finding.

A program whose tasks share nothing but what the machine sees (locks, flags, works, tasks, ``things``) can say so with
``opaque=False``: then orders that differ only in steps which touch nothing in common are tried once.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numaprobe.errors import DeadlockError, InputError, NumaprobeError, UnknownNameError
from numaprobe.policies.from_file import module_of
from numaprobe.runtime import DEFAULT_PROFILE, kernel_profile
from numaprobe.schedules.attempt import attempt
from numaprobe.schedules.conductor import Conductor, Repeat, Stopped
from numaprobe.schedules.limits import Limits
from numaprobe.schedules.model import Ending, Verdict
from numaprobe.schedules.replay import asked_besides, digest_of, patience_of, read_schedule
from numaprobe.schedules.search import Search
from numaprobe.schedules.waits import WaitGraph, hang
from numaprobe.testing.choosing import ChoosingFake
from numaprobe.topology import symmetric
from numaprobe.virtual.choosing import ChoosingMachine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.runtime import KernelProfile
    from numaprobe.schedules.search import Explored
    from numaprobe.topology import Topology


class OrderError(NumaprobeError, AssertionError):
    """A program goes wrong in some order; the text has the schedule."""

    exit_code = 1


@dataclass(frozen=True, eq=False)
class Program:
    """See the module's text.

    Args:
        function: what is run.
        name: for headings.
        opaque: its tasks may share what the machine does not see.
        topology: of the machine; None: two nodes of two CPUs.
        profile: its kernel.
        patience: how many steps a task may be passed over; see ``Conductor``.
        fake: run it on the fake machine, for who has two in doubt: both must find the same.

    """

    function: Callable[[ChoosingMachine], Awaitable[Any]]
    name: str = ""
    opaque: bool = True
    topology: Topology | None = None
    profile: KernelProfile | str = DEFAULT_PROFILE
    fake: bool = False
    patience: int | None = None

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", getattr(self.function, "__qualname__", "program"))

    @cached_property
    def digest(self) -> str:
        """Of its name and source."""
        try:
            source = inspect.getsource(self.function)
        except (OSError, TypeError):
            source = ""
        return digest_of([self.name, source, str(self.profile)]) + asked_besides((), self.patience)

    def run(self, conductor: Conductor) -> Ending:
        """Run it once."""
        topology = self.topology or symmetric("explored", nodes=2, cores=2)
        machine: Any = ChoosingMachine(topology, self.profile, chooser=conductor)
        if self.fake:
            profile = kernel_profile(self.profile) if isinstance(self.profile, str) else self.profile
            machine = ChoosingFake(topology, profile, chooser=conductor)
        graph = WaitGraph(machine)
        waiting: dict[Any, object] = {}

        def look(blocked: Any) -> Ending | None:  # noqa: ANN401  tasks and what they wait for
            waiting.clear()
            waiting.update(blocked)
            return graph(blocked)

        conductor.watch, conductor.labels = look, machine.actors.labels
        try:
            value = machine.run(lambda: self.function(machine), comm="main")
            machine.validate()
        except Stopped as stopped:
            if stopped.ending is None:
                raise
            return stopped.ending
        except DeadlockError:
            return hang(waiting)
        except Exception as error:  # noqa: BLE001  whatever a program raises is how it ends
            text = f"{type(error).__name__}: {error}"
            return Ending(verdict=Verdict.ERROR, key=f"error: {text}", text=text)
        return Ending(verdict=Verdict.DONE, key=f"done: {value!r}", text="nothing is wrong", outcome=(repr(value),))


def load_program(spec: str) -> Program:
    """Return the program that ``FILE.py:FUNCTION`` names.

    Raises:
        InputError: the file cannot be read or does not run.
        UnknownNameError: it has no such ``async def``; the nearest one is named.

    """
    file, _, name = spec.rpartition(":")
    found = {key: value for key, value in vars(module_of(Path(file))).items() if inspect.iscoroutinefunction(value)}
    if name not in found:
        public = [key for key in found if not key.startswith("_")]
        raise UnknownNameError(f"async function in {file}", name, public or ("none: no 'async def' is here",))
    return Program(found[name], name=f"{Path(file).name}:{name}")


def explore(
    test: Callable[[ChoosingMachine], Awaitable[Any]],
    *,
    strategy: str = "portfolio",
    preemptions: int | None = None,
    depth: int = 3,
    runs: int = 1000,
    seed: int = 0,
    schedule: str | None = None,
    one_outcome: bool = False,
    opaque: bool = True,
) -> Explored | None:
    """Run a test of a machine in many orders, as Shuttle and Loom do; raise what it finds.

    Args:
        test: an ``async def`` of the machine that it gets.
        strategy: ``dfs``, ``pct``, ``random`` or ``portfolio``.
        preemptions: for dfs; None: as far as the runs go.
        depth: of the bugs that pct looks for.
        runs: at most so many.
        seed: of pct and random.
        schedule: run this one order, as an earlier failure printed it; None is returned.
        one_outcome: two values returned are a finding too.
        opaque: False: all that tasks share is the machine's, or ``things``; see ``Program``.

    Raises:
        OrderError: it hangs, raises or comes out differently in some order.
        InputError: the schedule is none, or of another test.

    """
    program = Program(test, opaque=opaque, patience=None if schedule is None else patience_of(schedule))
    if schedule is not None:
        strategy_ = Repeat(read_schedule(schedule, program.digest))
        _, found = attempt(program, strategy_)
        if strategy_.left:
            raise InputError(f"schedule {schedule[:40]}: {strategy_.left} of its choices never came: explore again")
        for run in found:
            if run.ending.wrong:
                raise OrderError(f"{program.name}: {run.ending.verdict}: {run.ending.text}")
        return None
    limits = Limits(strategy=strategy, preemptions=preemptions, depth=depth, runs=runs, seed=seed)
    result = Search(program, limits).explore()
    if result.findings:
        one = result.findings[0]
        raise OrderError(f"{program.name}: {one.ending.verdict}: {one.ending.text}; schedule='{one.schedule}'")
    if one_outcome and len(result.outcomes) > 1:
        texts = "; ".join(f"{one.ending.outcome[0]} (schedule='{one.schedule}')" for one in result.outcomes)
        raise OrderError(f"{program.name}: {len(result.outcomes)} outcomes: {texts}")
    return result
