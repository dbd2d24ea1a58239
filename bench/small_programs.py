"""Random small programs of tasks, locks, memory, works and flushes: what two ways of searching are compared on.

A program is data: for each task a list of operations, for each work too. It is small enough that every order of it can
be tried, without leaving any out.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any

from numaprobe.runtime import Work
from numaprobe.schedules import Drain, Program, SharedCell
from numaprobe.schedules.attempt import attempt
from numaprobe.schedules.bounded import Bounded
from numaprobe.schedules.reduced import Reduced

if TYPE_CHECKING:
    from numaprobe.virtual.choosing import ChoosingMachine

    Operations = list[tuple[Any, ...]]

LOCKS, WORKS, CELLS = 2, 2, 1


class SmallProgram:
    """One program, drawn by a seed: two or three tasks, four to six points at which something is shared.

    Args:
        seed: the number of the program.
        spends: it computes or sleeps where it has something, just before it lets go of it.

    """

    def __init__(self, seed: int, *, spends: bool = False) -> None:
        self.spends = spends
        self._random = random.Random(f"small program {seed}")
        self.name = f"small program {seed}"
        self.limit = self._random.choice([1, 2, 0])
        self._left = self._random.randint(4, 6)
        count = self._random.choice([2, 2, 2, 3])
        self.tasks: list[Operations] = [[] for _ in range(count)]
        self.works: list[Operations] = [[self._operation(0, in_work=True)] for _ in range(WORKS)]
        while self._left > 0:
            self._random.choice(self.tasks).append(self._operation(1))

    def _operation(self, depth: int, *, in_work: bool = False) -> tuple[Any, ...]:
        draw = self._random
        self._left -= not in_work
        kinds = ["read", "write", "write", "lock", "flush", "gate"] + ([] if in_work else ["queue"])
        kind = draw.choice(kinds if depth or in_work else kinds[:4])
        if kind in ("read", "write"):
            return kind, draw.randrange(CELLS), draw.randint(1, 3)
        inner = [self._operation(depth - 1, in_work=in_work)] if depth > 0 and draw.random() < 0.7 else []
        if kind == "lock":
            return "lock", draw.randrange(LOCKS), inner
        if kind == "gate":
            return "gate", draw.random() < 0.5, inner
        self._left -= 2 if kind == "queue" else 0
        return kind, draw.randrange(WORKS)

    def program(self, *, fake: bool = False) -> Program:
        """Return it as what is explored, on the virtual or the fake machine."""
        return Program(self.run, name=self.name, opaque=False, fake=fake)

    async def run(self, m: ChoosingMachine) -> object:
        """Run it once; return what its tasks read, and what the memory holds in the end."""
        world = _World(m, self)
        tasks = [
            m.spawn(partial(world.do, operations, f"t{number}"), comm=f"t{number}")
            for number, operations in enumerate(self.tasks)
        ]
        for task in tasks:
            await m.join(task)
        for work in world.works:
            await m.flush_work(work)
        return sorted(world.seen.items()), [await cell.read() for cell in world.cells]


class _World:
    def __init__(self, m: ChoosingMachine, program: SmallProgram) -> None:
        self.m = m
        self.spends = program.spends
        self.locks = [m.lock(f"L{number}") for number in range(LOCKS)]
        self.cells = [SharedCell(m, f"C{number}", 0) for number in range(CELLS)]
        self.gate = Drain(m, "G")
        self.wq = m.alloc_workqueue("small", unbound=True, max_active=program.limit, min_active=1)
        self.works = [
            Work(partial(self.do, operations, f"w{number}"), f"w{number}")
            for number, operations in enumerate(program.works)
        ]
        self.seen: dict[str, list[int]] = {}

    async def do(self, operations: Operations, who: str) -> None:
        for operation in operations:
            await getattr(self, f"_{operation[0]}")(who, *operation[1:])

    async def _lock(self, who: str, number: int, inner: Operations) -> None:
        async with self.locks[number]:
            await self.do(inner, who)
            await self._spend(number)

    async def _spend(self, number: int) -> None:
        if self.spends:
            await (self.m.sleep(1) if number else self.m.compute(1))

    async def _gate(self, who: str, wait: bool, inner: Operations) -> None:
        if wait:
            await self.gate.wait()
            return
        async with self.gate:
            await self.do(inner, who)
            await self._spend(0)

    async def _read(self, who: str, number: int, _: int) -> None:
        self.seen.setdefault(who, []).append(await self.cells[number].read())

    async def _write(self, who: str, number: int, value: int) -> None:  # noqa: ARG002  all have one form
        await self.cells[number].write(value)

    async def _queue(self, who: str, number: int) -> None:  # noqa: ARG002  all have one form
        await self.m.point()
        self.m.queue_work(self.wq, self.works[number])

    async def _flush(self, who: str, number: int) -> None:  # noqa: ARG002  all have one form
        await self.m.flush_work(self.works[number])


def searches() -> list[Bounded | Reduced]:
    """Return the ways to search: every order; every order but for states seen before; one of each that differ."""
    return [Bounded(None, states=0), Bounded(None), Reduced()]


def keys_of(program: Program, search: Bounded | Reduced, most: int = 800) -> set[str] | None:
    """Return all endings that a search finds, by their keys; None if that takes too many runs."""
    found: set[str] = set()
    for _ in range(most):
        search.begin()
        conductor, runs = attempt(program, search)
        found.update(run.ending.key for run in runs)
        search.end(conductor.steps)
        if search.over:
            return found
    return None
