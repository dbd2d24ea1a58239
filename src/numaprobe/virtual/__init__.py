"""The virtual machine: virtual time, run queues, workqueues, hotplug.

Read ``loop`` first, then ``task``, ``sched``, ``worker`` (and ``numaprobe.workqueue``); ``machine`` joins them.

Where it knowingly differs from a kernel
========================================

* Time: making a worker, waking, switching, migrating and hotplug take none. There is no timer tick: a turn ends, and a
  hog is noticed, to the nanosecond. SMT siblings do not slow each other down; remote memory costs nothing.
* Balancing is perfect: a task never waits while a CPU that it may use is idle, where a kernel's periodic and idle
  balancing gets there a little later. A woken task keeps neither sleeper credit nor debt, and never cuts a turn short.
* ``max_active`` waits in one FIFO per node, where the kernel lets the pools of a node take turns. 6.1 has the limits of
  newer kernels (default 1024, at most 2048), and its scheduler is EEVDF's here, not CFS.
* High-priority, BH, ordered, freezable and rescuer workqueues are not made; their pool ids are counted.
* The recursion check knows a worker that flushes the class it executes, not longer circles through other workers. It
  reports each class once, where lockdep switches itself off after its first report.
* A limit that grows lets waiting works in at once, where the kernel does when the next work is done.
* A node goes neither online nor offline; an idle worker is dropped when its pool is next used, not by a timer.
"""

from numaprobe.virtual.cpu import CpuModel
from numaprobe.virtual.machine import VirtualMachine

__all__ = ["CpuModel", "VirtualMachine"]
