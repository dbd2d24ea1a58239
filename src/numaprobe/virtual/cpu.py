"""The CPU model's parameters, and one CPU's run queue.

Every parameter has a meaning and a source, or says that it is an assumption; none is tuned to a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from numaprobe.virtual.task import SameCpus, VirtualTask

#: CPU time of a background task: more than any run.
ENDLESS: Final = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuModel:
    """How CPUs are shared between tasks.

    What is not modelled: the cost of a switch or a migration, SMT siblings sharing a core's units, frequency, the
    timer tick's granularity, the cost of remote memory.
    """

    #: False = as many CPUs as there are tasks: ``compute`` is a delay and nobody waits for a CPU
    enabled: bool = True
    #: a task's turn on a machine of one CPU, ns: ``sysctl_sched_base_slice`` (kernel/sched/fair.c, 6.6 and newer)
    base_slice_ns: int = 750_000
    #: the turn grows with 1 + log2(CPUs), of which at most so many count (``get_update_sysctl_factor``)
    slice_scale_cpus: int = 8
    #: CPU time without a sleep after which a worker no longer counts as running: ``workqueue.cpu_intensive_thresh_us``
    cpu_intensive_ns: int = 10_000_000
    #: a task's whole turn is its own: a waking task never cuts it short (``RUN_TO_PARITY``, the default since 6.6)
    run_to_parity: ClassVar[bool] = True
    #: the model switched off
    off: ClassVar[CpuModel]

    def slice_ns(self, cpus: int) -> int:
        """Return the length of a turn on a machine of ``cpus`` online CPUs: 3 ms from 8 CPUs on."""
        return self.base_slice_ns * min(self.slice_scale_cpus, max(1, cpus)).bit_length()


CpuModel.off = CpuModel(enabled=False)


class RunQueue:
    """One CPU: the task that runs, and those that wait for it.

    Waiting tasks are kept by the CPUs that they may use, so that an idle CPU finds one that it may take without a scan
    of those it may not.

    Attributes:
        cpu: its number; ``bit`` is 1 << cpu.
        current: the task that runs; None = idle.
        waiting: CPUs that they may use -> heap of (vruntime, serial, task).
        head: of those the one that is next: the least vruntime, the longest waiting of those; None if nobody waits.
        count: tasks on it, the running one included (``nr_running``).
        min_vruntime: never decreases; where a task that arrives takes its place.
        shared_since: when it last got a second task.
        slice_start: when the current turn began.
        due: time of the CPU event that is programmed; -1 = none.

    """

    __slots__ = (
        "bit",
        "core",
        "count",
        "cpu",
        "current",
        "due",
        "head",
        "llc",
        "min_vruntime",
        "node",
        "other_cores",
        "others",
        "shared_since",
        "slice_start",
        "waiting",
    )

    def __init__(self, cpu: int, core: int, llc: int, node: int) -> None:
        self.cpu = cpu
        self.bit = 1 << cpu
        #: all bits but its own
        self.others = ~self.bit
        #: CPUs of its core, its LLC, its node, as bits; and all bits but its core's
        self.core = core
        self.other_cores = ~core
        self.llc = llc
        self.node = node
        self.current: VirtualTask | None = None
        self.waiting: dict[SameCpus, list[tuple[int, int, VirtualTask]]] = {}
        self.head: tuple[int, int, VirtualTask] | None = None
        self.count = 0
        self.min_vruntime = 0
        self.shared_since = 0
        self.slice_start = 0
        self.due = -1

    def push(self, task: VirtualTask, cpus: SameCpus, serial: int) -> None:
        """Let ``task``, which may use ``cpus``, wait."""
        entry = task.vruntime, serial, task
        heap = self.waiting.get(cpus)
        if heap is None:
            self.waiting[cpus] = [entry]
        else:
            heappush(heap, entry)
        if self.head is None or entry < self.head:
            self.head = entry

    def pop(self, cpus: SameCpus) -> VirtualTask:
        """Take the first of the waiting tasks that may use these CPUs."""
        heap = self.waiting[cpus]
        task = heappop(heap)[2]
        self._shorter(cpus, heap)
        return task

    def remove(self, task: VirtualTask, cpus: SameCpus) -> None:
        """Take ``task``, which may use ``cpus``, out of the middle."""
        heap = self.waiting[cpus]
        heap[:] = [entry for entry in heap if entry[2] is not task]
        heapify(heap)
        self._shorter(cpus, heap)

    def _shorter(self, cpus: SameCpus, heap: list[tuple[int, int, VirtualTask]]) -> None:
        if not heap:
            del self.waiting[cpus]
        elif len(self.waiting) == 1:
            self.head = heap[0]
            return
        self.head = min((heap[0] for heap in self.waiting.values()), default=None)

    def update_min(self, now: int) -> int:
        """Bring ``min_vruntime`` up to date and return it."""
        current = self.current
        head = self.head
        if current is not None:
            least = current.vruntime + now - current.since
            if head is not None and head[0] < least:
                least = head[0]
        elif head is not None:
            least = head[0]
        else:
            return self.min_vruntime
        if least <= self.min_vruntime:
            return self.min_vruntime
        self.min_vruntime = least
        return least
