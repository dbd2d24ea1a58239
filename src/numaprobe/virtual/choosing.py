"""The virtual machine whose every step is chosen: see ``numaprobe.runtime.choice``.

It is the virtual machine with its CPU model off (each task has a CPU to itself: who computes beside whom is a matter
of order, not of CPUs), with another loop, and with locks, flags, flushes and workers that say what they touch.
"""

from __future__ import annotations

from contextlib import nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from numaprobe.runtime import DEFAULT_PROFILE
from numaprobe.runtime.choice import Actors, SaysWhatItTouches
from numaprobe.virtual.cpu import CpuModel
from numaprobe.virtual.loop import PAUSE, EventLoop, ShutDown, VirtualTimer
from numaprobe.virtual.machine import VirtualMachine
from numaprobe.virtual.task import VirtualTask
from numaprobe.virtual.worker import VirtualSeat, VirtualWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from numaprobe.runtime import KernelProfile, Task, Work, Workqueue
    from numaprobe.runtime.choice import Chooser
    from numaprobe.topology import Topology
    from numaprobe.virtual.blocking import Blocker
    from numaprobe.workqueue import Worker

    #: what the heap holds: time, priority and serial, function (None: step the task), its argument
    Entry = tuple[int, int, Callable[[Any], None] | None, Any]


#: The thing that a CPU's going or coming changes, and that whoever holds it off looks at.
_CPU_HOTPLUG: Final = "cpu hotplug"
_NOBODY: Final[Mapping[Any, object]] = MappingProxyType({})


class ChoosingLoop(EventLoop):
    """The loop that asks who goes on."""

    __slots__ = ("_stepped", "actors", "blocked", "chooser", "patient", "stays")

    def __init__(self, chooser: Chooser, actors: Actors) -> None:
        super().__init__()
        self.chooser = chooser
        self.actors = actors
        #: the task that came to a point and could go on
        self.stays: VirtualTask | None = None
        #: tasks whose sleep ends only when nobody else can go on
        self.patient: set[VirtualTask] = set()
        #: what fires has run a task's code
        self._stepped = False
        #: tasks that wait for others (``Blocker.blocked``)
        self.blocked: dict[VirtualTask, None] = {}

    def at(self, time: int, priority: int, function: Callable[[Any], None], argument: object) -> None:
        """Call ``function(argument)`` when it is chosen."""
        if isinstance(argument, VirtualTimer):
            self.chooser.touch(self.actors.meet(argument, "timer", self.actors.fresh("~")))
        super().at(time, priority, function, argument)

    def make_due(self, task: VirtualTask) -> None:
        """Let ``task`` be chosen."""
        self.chooser.touch(self.actors.meet(task, task.comm, task.comm if task.is_worker else None))
        super().make_due(task)

    def run(self) -> None:
        """Let one after the other take a step, as it is chosen, until nothing live is left."""
        actors, chooser, blocked = self.actors, self.chooser, self.blocked
        named = actors.names.__getitem__
        try:
            while self.live > 0:
                entries = self._ready()
                later = self._later()
                if self.patient and (entries or any(entry[3] not in self.patient for entry in later)):
                    later = [entry for entry in later if entry[3] not in self.patient]
                names = [*map(named, entries), *[named(entry[3]) for entry in later]]
                if not names:
                    break
                goes_on, self.stays = self.stays is not None, None
                index = chooser.choose(names, goes_on=goes_on)
                actors.acting = names[index]
                chooser.touch(actors.acting)
                if index < len(entries):
                    self._step(entries[index])
                else:
                    self._fire(later[index - len(entries)])
                actors.acting = ""
                chooser.stepped({task: task.waits_for for task in blocked} if blocked else _NOBODY)
        finally:
            self.current = None

    def _ready(self) -> list[VirtualTask]:
        """Return the tasks that are ready, the one that stays first."""
        tasks = [task for task in self.ready if task.on_cpu]
        if self.stays is not None and self.stays in tasks:
            tasks.remove(self.stays)
            return [self.stays, *tasks]
        self.stays = None
        return tasks

    def _later(self) -> list[Entry]:
        """Return what is left in the heap but for timers that were cancelled, in the order of time."""
        self.heap.sort()  # a sorted list is a heap
        later = [entry for entry in self.heap if not isinstance(entry[3], VirtualTimer) or entry[3].pending]
        if len(later) != len(self.heap):
            self.heap[:] = later
        return later

    def step(self, task: VirtualTask) -> None:
        """Run the code of ``task`` up to its next wait or point: the one step of this choice."""
        self._stepped = True
        super().step(task)

    def _step(self, task: VirtualTask) -> None:
        self.ready.remove(task)
        task.due = False
        self.step(task)

    def _fire(self, entry: Entry) -> None:
        """Let time for this one be over; a task goes on at once, for one step."""
        time, _, function, argument = entry
        self.heap.remove(entry)
        self.now = max(self.now, time)
        if function is None:
            self.step(argument)
            return
        self._stepped = False
        function(argument)
        if not self._stepped and isinstance(argument, VirtualTask) and argument.due:
            self._step(argument)


class ChoosingWorker(VirtualWorker):
    """A worker that says when it touches its pool."""

    __slots__ = ("touch_work",)

    def __init__(self, worker: Worker, loop: EventLoop, cpu: int, touch_work: Callable[[Work], None]) -> None:
        super().__init__(worker, loop, cpu)
        self.touch_work = touch_work

    def _touch(self) -> None:
        if isinstance(self.loop, ChoosingLoop):
            self.loop.chooser.touch(f"pool {self.worker.pool.label}")
        if self.worker.item is not None:
            self.touch_work(self.worker.item.work)

    def _note(self, verb: str) -> None:
        if self.worker.item is not None and isinstance(self.loop, ChoosingLoop):
            self.loop.chooser.note(verb, self.worker.item.work.name)

    def _woken(self, _: None) -> object:
        self._touch()
        return super()._woken(_)

    def start(self, function: Callable[[], Any]) -> None:
        """Let it execute a work."""
        self._touch()
        self._note("begins")
        super().start(function)

    def finished(self, result: object, error: Exception | None) -> None:
        """Its work is done."""
        self._touch()
        self._note("ends")
        super().finished(result, error)

    def scheduled_out(self) -> None:
        """It is about to sleep."""
        if not self.worker.flags:
            self._touch()
        super().scheduled_out()

    def scheduled_in(self) -> None:
        """It runs again."""
        if self.worker.sleeping:
            self._touch()
        super().scheduled_in()


class ChoosingSeat(VirtualSeat):
    """The seat of all workers of a choosing machine."""

    __slots__ = ("_chooser", "_touch_work")

    def __init__(self, blocker: Blocker, chooser: Chooser, touch_work: Callable[[Work], None]) -> None:
        super().__init__(blocker)
        self._chooser = chooser
        self._touch_work = touch_work

    def create(self, worker: Worker) -> None:
        """Make the task, asleep, somewhere in the pod."""
        cpu = worker.pool.distribute(worker.pool.pod)
        worker.task = ChoosingWorker(worker, self._loop, cpu, self._touch_work)

    def wake(self, worker: Worker) -> None:
        """Wake the task, in its pod."""
        self._chooser.touch(f"pool {worker.pool.label}")
        super().wake(worker)


class ChoosingMachine(SaysWhatItTouches, VirtualMachine):
    """A virtual machine that asks a chooser for the order of its steps.

    Args:
        topology: the machine as it boots.
        profile: the kernel it stands for, or its name.
        chooser: who is asked; one for one run.

    """

    def __init__(self, topology: Topology, profile: KernelProfile | str = DEFAULT_PROFILE, *, chooser: Chooser) -> None:
        self.chooser = chooser
        self.actors = Actors()
        super().__init__(topology, profile, cpu_model=CpuModel.off)

    def _running(self) -> AbstractContextManager[None]:
        """Return nothing special: thousands of runs follow each other, and what one leaves must be collected."""
        return nullcontext()

    def _make_loop(self) -> EventLoop:
        return ChoosingLoop(self.chooser, self.actors)

    def _make_seat(self) -> VirtualSeat:
        if isinstance(self.loop, ChoosingLoop):
            self.loop.blocked = self.blocker.blocked
        return ChoosingSeat(self.blocker, self.chooser, self.touch_work)

    # ---- as ``runtime.choice`` wants it ----------------------------------------------------------------------------
    async def park(self, why: object) -> Any:  # noqa: ANN401  what ``wake`` gives
        """Leave the current task until it is woken."""
        return await self.blocker.park(why)

    def wake(self, task: Task, *, value: object = None) -> None:
        """Make ``task`` ready."""
        self.blocker.wake(task, value=value)

    async def point(self) -> None:
        """Let others go first, if the chooser wants them to."""
        task, loop = self.blocker.running(), self.loop
        if loop.closing:
            raise ShutDown
        if isinstance(loop, ChoosingLoop):
            loop.stays = task
        loop.make_due(task)
        await PAUSE

    async def pause(self, ns: int) -> None:
        """Sleep until nobody else can go on: what a caller means who waits long enough."""
        task, loop = self.blocker.running(), self.loop
        if not isinstance(loop, ChoosingLoop):
            return
        loop.patient.add(task)
        try:
            await self.sleep(ns)
        finally:
            loop.patient.discard(task)

    def joined_by(self, task: Any) -> list[VirtualTask]:  # noqa: ANN401  a task of this machine
        """Return the tasks whose end ``task`` waits for."""
        return [other for other in self.tasks.alive if task in other.waiters]

    def code_of(self, task: Any) -> Any:  # noqa: ANN401  a task of this machine, and its coroutine
        """Return what a suspended task executes."""
        return getattr(task.send, "__self__", None)

    # ---- what says what it touches ---------------------------------------------------------------------------------
    def cpu_hotplug_disable(self, holder: str) -> None:
        """Hold CPU hotplug off; who does so first, and who second, is all the same."""
        self.chooser.touch(_CPU_HOTPLUG, change=False)
        super().cpu_hotplug_disable(holder)

    def cpu_hotplug_enable(self, holder: str) -> None:
        """Take one ``cpu_hotplug_disable`` back."""
        self.chooser.touch(_CPU_HOTPLUG, change=False)
        super().cpu_hotplug_enable(holder)

    async def cpu_down(self, cpu: int) -> int:
        """Take ``cpu`` offline, if nobody holds that off now."""
        self.chooser.touch(_CPU_HOTPLUG)
        return await super().cpu_down(cpu)

    async def cpu_up(self, cpu: int) -> int:
        """Bring ``cpu`` online, if nobody holds that off now."""
        self.chooser.touch(_CPU_HOTPLUG)
        return await super().cpu_up(cpu)

    def queue_work(self, wq: Workqueue, work: Work) -> bool:
        """Queue on the local CPU if ``wq`` may use it."""
        return self.queued(work, queued=super().queue_work(wq, work))

    def queue_work_on(self, cpu: int, wq: Workqueue, work: Work) -> bool:
        """Queue on ``cpu``'s pool, or on the pool of the pod that holds it."""
        return self.queued(work, queued=super().queue_work_on(cpu, wq, work))

    def queue_work_node(self, node: int, wq: Workqueue, work: Work) -> bool:
        """Queue on an unbound ``wq`` near ``node``."""
        return self.queued(work, queued=super().queue_work_node(node, wq, work))

    async def flush_work(self, work: Work) -> bool:
        """Wait until the last queueing of ``work`` has run; return False if it was idle."""
        await self.point()
        self.flushes(work)
        return await super().flush_work(work)
