"""What was guaranteed of a probe's place, beside where it happened to run.

A record says where a probe ran *this time*. What holds it there is something else: the CPUs that its task may use, and
for a worker of an unbound pool the pod where it is woken. Four answers:

* *held*: every CPU that the task may use is on the device's node. It cannot be anywhere else.
* *soft*: it is woken on the node and may use more. It mostly stays; load balancing may move it in the middle.
* *anywhere*: nothing draws it to the node: a caller that nobody pinned, a worker of the machine-wide pool (whose idle
  worker wakes where it last ran, another node from one boot to the next), or of another node's pool.
* *away*: no CPU that it may use is on the node.

Where a record does not hold the two (a kernel's trace), names tell part of it: ``kworker/4:1`` is bound to CPU 4; the
first unbound pool is the machine-wide one; any other serves a pod, and a probe that started on the node was in a pod of
it. Its workers are free to leave since 6.6, and held before. Of other tasks names tell nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final

from numaprobe.analysis.machine import cpu_node_of, kernel_of
from numaprobe.cpuset import CpuSet
from numaprobe.runtime.facts import NEWEST, OLDEST
from numaprobe.runtime.profile import release_profile

if TYPE_CHECKING:
    from numaprobe.records import ProbeRecord, Trace
    from numaprobe.runtime import KernelProfile
    from numaprobe.topology import Topology

#: A bound worker, ``kworker/3:1``, and an unbound one, ``kworker/u1025:5`` (``format_worker_id``, kernel/workqueue.c).
_BOUND_WORKER: Final = re.compile(r"kworker/(\d{1,6}):\d{1,9}H?", re.ASCII)
_UNBOUND_WORKER: Final = re.compile(r"kworker/u(\d{1,9}):\d{1,9}H?", re.ASCII)


class Hold(StrEnum):
    """What was guaranteed; see the module's text."""

    HELD = "held"
    SOFT = "soft"
    ANYWHERE = "anywhere"
    AWAY = "away"


def bound_worker_cpu(comm: str | None) -> int | None:
    """Return the CPU of a per-CPU pool's worker, ``kworker/CPU:ID``; None for any other task."""
    match = _BOUND_WORKER.fullmatch(comm or "")
    return int(match[1]) if match else None


def unbound_pool(comm: str | None) -> int | None:
    """Return the pool of an unbound worker, ``kworker/uPOOL:ID``; None for any other task."""
    match = _UNBOUND_WORKER.fullmatch(comm or "")
    return int(match[1]) if match else None


@lru_cache(maxsize=1024)
def _cpus(text: str) -> CpuSet:
    return CpuSet.parse_list(text)


def allowed_cpus(record: ProbeRecord) -> CpuSet | None:
    """Return the CPUs that the task might use, by the record or by its name; None if neither tells."""
    if record.cpus_allowed is not None:
        return _cpus(record.cpus_allowed)
    cpu = bound_worker_cpu(record.comm)
    return CpuSet(1 << cpu) if cpu is not None and cpu == record.cpu else None


def pod_cpus(record: ProbeRecord) -> CpuSet | None:
    """Return the pod of the worker's pool; None if it is no worker of one, or the record does not tell."""
    return None if record.pod is None else _cpus(record.pod)


class Holds:
    """Answers for the records of one trace; None as the topology: nothing can be said."""

    def __init__(self, trace: Trace, topology: Topology | None) -> None:
        self._trace = trace
        self._topology = topology

    def of(self, record: ProbeRecord) -> Hold | None:
        """Return what was guaranteed of a probe; None: its device has no node, or the source does not tell."""
        node = None if self._topology is None else self._topology.node(-1 if (n := record.device_node) is None else n)
        if node is None or self._topology is None:
            return None
        allowed = allowed_cpus(record)
        if allowed is None:
            return self._by_pool(record)
        allowed = allowed & self._topology.online or allowed
        if not allowed & node.cpus:
            return Hold.AWAY
        if allowed.issubset(node.cpus):
            return Hold.HELD
        pod = pod_cpus(record)
        return Hold.SOFT if pod is not None and pod.issubset(node.cpus) else Hold.ANYWHERE

    def _by_pool(self, record: ProbeRecord) -> Hold | None:
        pool = unbound_pool(record.comm)
        if pool is None:
            return None
        if pool == self.machine_wide_pool or cpu_node_of(record, self._topology) != record.device_node:
            return Hold.ANYWHERE
        return Hold.HELD if self._kernel.hard_unbound_pools else Hold.SOFT

    @cached_property
    def _kernel(self) -> KernelProfile:
        """The trace's kernel; a new one if it does not tell."""
        return kernel_of(self._trace, self._topology) or release_profile(NEWEST)

    @cached_property
    def machine_wide_pool(self) -> int | None:
        """The id of the default unbound pool, the first one after the per-CPU pools; None without a topology.

        Names show a kernel that has no BH pools, whatever it calls itself: ids below four for each CPU.
        """
        if self._topology is None:
            return None
        comms = {comm for record in self._trace.probes for comm in (record.comm, record.caller_comm)}
        seen = [pool for comm in comms if (pool := unbound_pool(comm)) is not None]
        first = self._kernel.first_pool_id(self._topology)
        old = release_profile(OLDEST).first_pool_id(self._topology)
        return old if seen and min(seen) < first else first

    def count(self) -> Counter[Hold]:
        """Return how many probes of the trace were held how; those of which nothing is known are left out."""
        return Counter(hold for record in self._trace.probes if (hold := self.of(record)) is not None)
