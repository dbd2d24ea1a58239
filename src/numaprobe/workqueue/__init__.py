"""The rules of ``kernel/workqueue.c``, once for all machines. No task, no thread, no clock.

Read ``pool`` first (workers and their concurrency), with ``seat`` for what a machine adds; then ``queue`` and
``workqueues`` (where a work goes). Below them: ``cpus`` (which CPUs may be used, and every fall-back), ``limit``
(``max_active``), ``item`` (one queueing of a work). ``oncpu`` stands on the machine protocol alone. What differs by
release, pods among it, is ``runtime.profile``'s.
"""

from numaprobe.workqueue.oncpu import run_as_work, work_on_cpu
from numaprobe.workqueue.pool import CPU_INTENSIVE_NS, Pool, Worker
from numaprobe.workqueue.queue import WorkqueueStruct
from numaprobe.workqueue.seat import Seat
from numaprobe.workqueue.workqueues import Workqueues

__all__ = [
    "CPU_INTENSIVE_NS",
    "Pool",
    "Seat",
    "Worker",
    "WorkqueueStruct",
    "Workqueues",
    "run_as_work",
    "work_on_cpu",
]
