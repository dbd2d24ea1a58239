"""The fake machine whose every step is chosen: see ``runtime.choice``, and ``virtual.choosing`` for the other one.

What both find must be the same: what is explored stands on the protocol, and not on a machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numaprobe.runtime.choice import Actors, SaysWhatItTouches
from numaprobe.testing.fake import FakeMachine
from numaprobe.testing.fake_objects import FakeTask, TimerCall, suspend

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from numaprobe.runtime import KernelProfile
    from numaprobe.runtime.choice import Chooser
    from numaprobe.runtime.protocol import Task, Timer, Work, Workqueue
    from numaprobe.topology import Topology
    from numaprobe.workqueue import Worker


class ChoosingFake(SaysWhatItTouches, FakeMachine):
    """A fake machine that asks a chooser for the order of its steps; see ``ChoosingMachine``."""

    def __init__(
        self, topology: Topology | None = None, profile: KernelProfile | None = None, *, chooser: Chooser
    ) -> None:
        self.chooser = chooser
        self.actors = Actors()
        #: tasks that wait for others, and for what
        self.blocked: dict[FakeTask, object] = {}
        self._of: dict[TimerCall, FakeTask] = {}
        self._stays: FakeTask | None = None
        super().__init__(topology, profile)

    # ---- who goes on -----------------------------------------------------------------------------------------------
    def _drain(self) -> None:
        while self._heap:
            self._heap.sort(key=lambda entry: (entry[0], entry[1]))
            entries = [entry for entry in self._heap if entry[2].pending]
            if self._stays is not None:  # it came to a point: first of all
                entries.sort(key=lambda entry: self._of.get(entry[2]) is not self._stays)
            goes_on = self._stays is not None and bool(entries) and self._of.get(entries[0][2]) is self._stays
            self._stays = None
            if not entries:
                break
            names = [str(self.actors.name(self._of.get(entry[2], entry[2]))) for entry in entries]
            index = self.chooser.choose(names, goes_on=goes_on)
            self.actors.acting = names[index]
            self.chooser.touch(names[index])
            time, _, call = chosen = entries[index]
            self._heap.remove(chosen)
            self._now, call.pending = max(self._now, time), False
            call.function()
            self.actors.acting = ""
            self.chooser.stepped(self.blocked)
        self._heap.clear()
        super()._drain()

    def _later(self, delay_ns: int, task: FakeTask, value: object = None) -> None:
        name = task.comm if task.is_worker else None
        self.chooser.touch(self.actors.meet(task, task.comm, name))
        call = TimerCall(lambda: self._step(task, value))
        self._of[call] = task
        self._push(delay_ns, call)

    def timer(self, delay_ns: int, function: Callable[[], object]) -> Timer:
        """Call ``function`` when it is chosen."""
        call = super().timer(delay_ns, function)
        self.chooser.touch(self.actors.meet(call, "timer", self.actors.fresh("~")))
        return call

    async def point(self) -> None:
        """Let others go first, if the chooser wants them to."""
        task = self._stays = self.current
        self._later(0, task)
        await suspend("point")

    async def park(self, why: object) -> Any:  # noqa: ANN401  what ``wake`` gives
        """Leave the CPU until somebody wakes the task."""
        if why != "time":
            self.blocked[self.current] = why
        return await super().park(why)

    def wake(self, task: Task, *, value: object = None) -> None:
        """Make ``task`` ready; its await returns ``value``."""
        self.blocked.pop(self._mine(task), None)
        super().wake(task, value=value)

    # ---- for who looks at waits ------------------------------------------------------------------------------------
    def joined_by(self, task: Any) -> list[FakeTask]:  # noqa: ANN401  a task of this machine
        """Return the tasks whose end ``task`` waits for."""
        return [other for other in self._tasks if task in other.joiners]

    def code_of(self, task: Any) -> Coroutine[Any, Any, Any] | None:  # noqa: ANN401  a task of this machine
        """Return what a suspended task executes."""
        coroutine: Coroutine[Any, Any, Any] | None = task.coroutine
        return coroutine

    # ---- what says what it touches ---------------------------------------------------------------------------------
    def _step(self, task: FakeTask, value: object) -> None:
        if task.worker is not None:
            self._touch_worker(task.worker)
        super()._step(task, value)
        if task.worker is not None:
            self._touch_worker(task.worker)

    def _touch_worker(self, worker: Worker) -> None:
        self.chooser.touch(f"pool {worker.pool.label}")
        if worker.item is not None:
            self.touch_work(worker.item.work)

    def queue_work(self, wq: Workqueue, work: Work) -> bool:
        """Queue on the local CPU."""
        return self.queued(work, queued=super().queue_work(wq, work))

    def queue_work_on(self, cpu: int, wq: Workqueue, work: Work) -> bool:
        """Queue on ``cpu``'s pool, or on the pool of the pod that holds it."""
        return self.queued(work, queued=super().queue_work_on(cpu, wq, work))

    def queue_work_node(self, node: int, wq: Workqueue, work: Work) -> bool:
        """Queue near ``node``."""
        return self.queued(work, queued=super().queue_work_node(node, wq, work))

    async def flush_work(self, work: Work) -> bool:
        """Wait until the last queueing of ``work`` has run; return False if it was idle."""
        await self.point()
        self.flushes(work)
        return await super().flush_work(work)
