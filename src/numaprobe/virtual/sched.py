"""The scheduler: which task runs on which CPU (``kernel/sched/fair.c``, reduced to what placement depends on).

Rules
=====

* Tasks of one CPU have equal weight. The one that has run least (``vruntime``) is next; its turn lasts a slice. With
  one runnable task there are no slices and a ``compute`` is a single event, however long it is.
* A task that wakes or arrives starts at the queue's ``min_vruntime``: it keeps neither credit nor debt. It waits for
  the end of the running task's turn (no wake-up preemption).
* Where a task wakes, and where a new one starts, is said in ``runqueues``.
* Load balancing: a CPU that goes idle takes over a waiting task of its LLC or its node at once, so that no task waits
  while a CPU of its LLC that it may use is idle. Farther CPUs take part only when a CPU has been shared for as long as
  the kernel lets pass between two looks at that domain: a millisecond for each of its CPUs (``sd->balance_interval``).
  Then a CPU that goes idle takes from other nodes too, and a task whose turn is over moves to an idle CPU there: so a
  worker that nothing holds leaves its node in the middle of a probe. (What a kernel moves, and when, depends on mean
  loads over tens of milliseconds, which are not modelled: a prediction of *which* leaves is no promise.)
* CPUs without a scheduling domain (isolated) take part in no balancing: only tasks placed there run there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.cpuset import next_bit
from numaprobe.virtual.cpu import ENDLESS
from numaprobe.virtual.loop import PRIORITY_CPU
from numaprobe.virtual.runqueues import RunQueues
from numaprobe.virtual.task import State, VirtualTask

if TYPE_CHECKING:
    from numaprobe.virtual.cpu import RunQueue
    from numaprobe.virtual.task import SameCpus


class Scheduler(RunQueues):
    """Which task runs on which CPU, and for how long."""

    # ---- what tasks ask for ----------------------------------------------------------------------------------------
    def wake(self, task: VirtualTask) -> None:
        """Make a sleeping task runnable (``try_to_wake_up``)."""
        task.account(self.loop.now)
        self._enqueue(task, self.select(task))

    def wake_new(self, task: VirtualTask) -> None:
        """Make a new task runnable (``wake_up_new_task``)."""
        task.account(self.loop.now)
        self._enqueue(task, self.select_new(task))

    def sleep(self, task: VirtualTask) -> None:
        """Take the running task off its CPU until it is woken."""
        task.scheduled_out()
        self._leave(task, State.SLEEPING)

    def exit(self, task: VirtualTask) -> None:
        """Take the running task off its CPU for ever."""
        self._leave(task, State.DEAD)

    def compute(self, task: VirtualTask, ns: int) -> None:
        """Let the running task use its CPU for ``ns``; then it is stepped."""
        task.remaining = ns
        self._program(self.queue(task.cpu))

    def set_mask(self, task: VirtualTask, mask: int) -> None:
        """Change where ``task`` may run, and move it if it must."""
        if mask == task.mask:
            return
        if task.state is State.RUNNABLE:
            queue = self.queue(task.cpu)
            self._unqueue(queue, task)
            task.mask = mask
            self._enqueue(task, self.select_new(task))
        else:
            task.mask = mask
            if task.state is State.RUNNING and not self.queue(task.cpu).bit & self.allowed(task):
                self._leave(task, State.RUNNABLE)
                self._enqueue(task, self.select_new(task))

    # ---- one CPU's queue -------------------------------------------------------------------------------------------
    def _enqueue(self, task: VirtualTask, cpu: int) -> None:
        queue = self.queue(cpu)
        task.state = State.RUNNABLE
        task.cpu = cpu
        task.vruntime = queue.update_min(self.loop.now)
        self._change_count(queue, 1)
        if queue.current is None:
            self._run(queue, task)
        else:
            self._wait(queue, task)
            self._contend(queue)

    def _wait(self, queue: RunQueue, task: VirtualTask) -> None:
        self.loop.serial += 1
        cpus = self.same_cpus(task)
        queue.push(task, cpus, self.loop.serial)
        if cpus.may_move:
            self.overloaded[cpus] = self.overloaded.get(cpus, 0) | queue.bit

    def _unqueue(self, queue: RunQueue, task: VirtualTask) -> None:
        """Take a waiting task off ``queue``."""
        task.account(self.loop.now)
        cpus = self.same_cpus(task)
        queue.remove(task, cpus)
        self._no_longer_waiting(queue, cpus)
        self._change_count(queue, -1)

    def _no_longer_waiting(self, queue: RunQueue, cpus: SameCpus) -> None:
        if cpus.may_move and cpus not in queue.waiting:
            left = self.overloaded[cpus] & queue.others
            if left:
                self.overloaded[cpus] = left
            else:
                del self.overloaded[cpus]

    def _leave(self, task: VirtualTask, state: State) -> None:
        """Take the running task off its CPU and let the next one run."""
        queue = self.queue(task.cpu)
        self._stop(queue, task)
        task.state = state
        self._change_count(queue, -1)
        self._pick(queue)

    def _stop(self, queue: RunQueue, task: VirtualTask) -> None:
        self._book(task)
        queue.update_min(self.loop.now)
        queue.current = None
        queue.due = -1
        task.on_cpu = False

    def _book(self, task: VirtualTask) -> None:
        """Book what the running task has run."""
        if task.since == self.loop.now:
            return
        ran = task.account(self.loop.now)
        if ran:
            task.vruntime += ran
            task.executed += ran
            if not task.load:
                task.remaining -= ran

    def _pick(self, queue: RunQueue) -> None:
        """Run the next task of ``queue``, or one of another queue if it has none."""
        head = queue.head
        if head is not None:
            cpus = self.same_cpus(head[2])
            task = queue.pop(cpus)
            self._no_longer_waiting(queue, cpus)
            self._run(queue, task)
        else:
            self._pull(queue)

    def _pull(self, queue: RunQueue) -> None:
        """Take over a task that waits elsewhere and may run here (``sched_balance_newidle``)."""
        if not self.overloaded or not queue.bit & self.domain & self.online:
            return
        there = [(cpus, busy & self.domain) for cpus, busy in self.overloaded.items() if cpus.mask & queue.bit]
        for near in (queue.llc, queue.node, -1) if there else ():
            for cpus, busy in there:
                candidates = busy & near
                source = self._source(queue, candidates) if candidates else None
                if source is not None:
                    self._take_over(queue, source, cpus)
                    return

    def _take_over(self, queue: RunQueue, source: RunQueue, cpus: SameCpus) -> None:
        task = source.pop(cpus)
        self._no_longer_waiting(source, cpus)
        self._change_count(source, -1)
        task.account(self.loop.now)
        task.cpu = queue.cpu
        task.vruntime = queue.min_vruntime
        self._change_count(queue, 1)
        self._run(queue, task)

    def _run(self, queue: RunQueue, task: VirtualTask) -> None:
        task.account(self.loop.now)
        task.state = State.RUNNING
        task.on_cpu = True
        queue.current = task
        queue.slice_start = self.loop.now
        if task.frames:
            task.visited()
        task.scheduled_in()
        if task.remaining:
            self._program(queue)
        else:
            self.loop.make_due(task)

    # ---- turns -----------------------------------------------------------------------------------------------------
    def _contend(self, queue: RunQueue) -> None:
        """Somebody waits now: the running task's turn gets an end."""
        now = self.loop.now
        queue.slice_start += (now - queue.slice_start) // self.slice_ns * self.slice_ns
        current = queue.current
        if current is not None and current.remaining and not current.due:
            end = queue.slice_start + self.slice_ns
            if queue.due < 0 or end < queue.due:
                self._program_at(queue, end)

    def _program(self, queue: RunQueue) -> None:
        """Set the event at which something happens to the task that computes on ``queue``."""
        task = queue.current
        assert task is not None  # noqa: S101  only a running task computes
        now = self.loop.now
        time = ENDLESS if task.load else now + task.remaining
        if queue.waiting:
            end = queue.slice_start + self.slice_ns
            if end <= now:
                self._turn_over(queue, task)
                return
            time = min(time, end)
        allowance = task.cpu_allowance(self.model.cpu_intensive_ns)
        if allowance is not None and now + allowance < time:
            time = now + allowance
        if time < ENDLESS:
            self._program_at(queue, time)

    def _program_at(self, queue: RunQueue, time: int) -> None:
        queue.due = time
        self.loop.at(time, PRIORITY_CPU, self._fire, queue)

    def _fire(self, queue: RunQueue) -> None:
        """The programmed event of ``queue``; one that was overtaken finds another time or another turn."""
        task = queue.current
        now = self.loop.now
        if queue.due != now or task is None:
            return
        queue.due = -1
        self._book(task)
        if task.remaining <= 0:
            self.loop.step(task)
            return
        task.hogged(self.model.cpu_intensive_ns)
        self._program(queue)

    def _turn_over(self, queue: RunQueue, task: VirtualTask) -> None:
        """The turn is at its end and somebody waits: go on, move to an idle CPU, or let the next one run."""
        head = queue.head
        if head is not None and head[0] > task.vruntime:
            queue.slice_start = self.loop.now
            self._program(queue)
            return
        self._stop(queue, task)
        task.state = State.RUNNABLE
        reached = self._reach(queue) & self.idle & self.domain if queue.bit & self.domain else 0
        idle = self._idle_near(queue, reached & self.allowed(task)) if reached else None
        if idle is None:
            self._wait(queue, task)
        else:
            self._change_count(queue, -1)
            self._enqueue(task, idle)
        self._pick(queue)

    # ---- CPUs come and go ------------------------------------------------------------------------------------------
    def set_offline(self, cpu: int) -> None:
        """Take ``cpu`` offline: whoever is on it goes elsewhere."""
        queue = self.queue(cpu)
        self.online &= queue.others
        self._note_domain()
        self.idle &= queue.others
        self.whole &= queue.others
        self.levels[queue.count] &= queue.others
        self.shared -= queue.count > 1
        core = queue.core & self.online
        if not core & ~self.idle:
            self.whole |= core
        moved = [entry[2] for heap in queue.waiting.values() for entry in heap]
        for task in moved:
            self._unqueue(queue, task)
        if queue.current is not None:
            moved.insert(0, queue.current)
            self._leave(queue.current, State.RUNNABLE)
        for task in moved:
            self._enqueue(task, self.select_new(task))

    def set_online(self, cpu: int) -> None:
        """Bring ``cpu`` online: it is idle, and takes what waits elsewhere."""
        queue = self.queue(cpu)
        self.online |= queue.bit
        self._note_domain()
        self.idle |= queue.bit
        core = queue.core & self.online
        if not core & ~self.idle:
            self.whole |= core
        self._pull(queue)

    def set_domain(self, domain: int) -> None:
        """Change which CPUs take part in load balancing; idle ones near those that join take what waits."""
        joined = domain & ~self.domain & self.online
        self.domain = domain
        self._note_domain()
        while joined:
            queue = self.queue(next_bit(joined, -1))
            joined &= queue.others
            idle = queue.llc & self.idle & domain
            while idle:
                near = self.queue(next_bit(idle, -1))
                idle &= near.others
                self._pull(near)
