"""The rules of workqueues with a machine that does nothing by itself: the test is the worker, the clock and the tick.

Every call of a seat is written down (``Rig.log``); what a worker would do next the test does: ``begin``, ``finish``.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from numaprobe.cpuset import CpuSet
from numaprobe.runtime import Work, kernel_profile
from numaprobe.topology import symmetric
from numaprobe.workqueue import Workqueues
from numaprobe.workqueue.validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.topology import Topology
    from numaprobe.workqueue import Pool, Worker
    from numaprobe.workqueue.item import Item


def bits(cpus: str) -> int:
    return CpuSet.parse_list(cpus).bits


async def nothing() -> None:
    """Is never run: no worker here executes anything."""


class ScriptedSeat:
    """Writes down what it is asked for."""

    def __init__(self, rig: Rig, pool: Pool) -> None:
        self.rig = rig
        self.pool = pool
        self.ticks = rig.ticks

    def now(self) -> int:
        return self.rig.now

    def may_grow(self) -> bool:
        return self.rig.may_grow

    def create(self, worker: Worker) -> None:
        worker.task = SimpleNamespace(comm=worker.comm)
        self.rig.log.append(f"create {worker.comm}")

    def wake(self, worker: Worker) -> None:
        self.rig.log.append(f"wake {worker.comm}")

    def rest(self, worker: Worker) -> bool:
        self.rig.log.append(f"rest {worker.comm}")
        return self.rig.keeps

    def end(self, worker: Worker) -> None:
        self.rig.log.append(f"end {worker.comm}")

    def move(self, worker: Worker) -> None:
        self.rig.log.append(f"move {worker.comm} to {CpuSet(worker.pool.mask)}")

    def flushed(self, task: Any) -> None:
        self.rig.log.append(f"flushed {task.comm}")

    def call_later(self, delay_ns: int, function: Callable[[], None]) -> None:
        self.rig.log.append(f"later {delay_ns}")
        self.rig.later.append(function)


class Rig:
    """The workqueues of a machine of two nodes, CPUs 0-3 and 4-7."""

    def __init__(
        self, profile: str = "6.12", topology: Topology | None = None, *, ticks: bool = True, **how: Any
    ) -> None:
        self.log: list[str] = []
        self.later: list[Callable[[], None]] = []
        self.warnings: list[tuple[str, str]] = []
        self.now = 0
        self.may_grow = self.keeps = True
        self.ticks = ticks
        self.topology = topology or symmetric("two nodes", nodes=2, cores=4)
        self.queues = Workqueues(
            self.topology,
            kernel_profile(profile),
            lambda pool: ScriptedSeat(self, pool),
            lambda *warning: self.warnings.append(warning),
            **how,
        )

    def told(self) -> list[str]:
        """What was asked of the seats since the last time."""
        told, self.log = self.log, []
        validate(self.queues)
        return told

    def works(self, *names: str) -> list[Work]:
        return [Work(nothing, name) for name in names]

    def queue(self, cpu: int, *works: Work) -> Pool:
        """Queue on a CPU's own pool."""
        for work in works:
            assert self.queues.queue_on(cpu, self.queues.system_percpu_wq, work)
        return self.queues.pools.per_cpu[cpu]

    def begin(self, worker: Worker, executed: int = 0) -> str | None:
        return name_of(worker.begin(executed))

    def finish(self, worker: Worker, executed: int = 0) -> str | None:
        return name_of(worker.finish(executed))


def name_of(item: Item | None) -> str | None:
    return None if item is None else item.work.name


def workers(pool: Pool) -> list[Worker]:
    return list(pool.workers)
