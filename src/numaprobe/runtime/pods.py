"""Pods: how an affinity scope groups CPUs (``kernel/workqueue.c``, ``wq_pod_type``).

A pod is made at boot and never changes; what changes is which of its CPUs a workqueue may use.

In the cache scopes two CPUs share a pod if the scheduler gives them the same id of a last-level cache (``sd_llc_id``,
``cpus_share_cache``). CPUs that are isolated or offline at boot are in no scheduling domain and keep the id that the
variable starts with, so that they are one group, wherever they are. It starts with 0 up to 7.0, and that is the id of
CPU 0's cache too (an id is the first CPU of the domain): they join it, unless CPU 0 is one of them. Work for a node
whose first CPU is isolated is then served by *CPU 0's* pool, and not by the machine-wide one. Since the ids of caches
are counted through (7.1 or 7.2; kernel/sched/topology.c) it starts with -1, which is no cache's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.runtime.facts import AffinityScope
from numaprobe.topology import hk_domain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.topology import Topology


def pods(topology: Topology, scope: AffinityScope, *, shard_size: int, llc_ids_from_zero: bool) -> tuple[int, ...]:
    """Return the pods of ``scope`` as bits, by first CPU. They are a partition of the possible CPUs.

    Args:
        topology: the machine as it boots.
        scope: how to group.
        shard_size: cores of a shard, for ``cache_shard``.
        llc_ids_from_zero: see ``KernelProfile``, whose ``pods`` is the front door.

    """
    groups: Iterable[int]
    if scope is AffinityScope.CPU:
        groups = (1 << cpu for cpu in topology.possible)
    elif scope is AffinityScope.SMT:
        groups = (core.bits for core in topology.cores)
    elif scope is AffinityScope.CACHE:
        groups = _cache_pods(topology, llc_ids_from_zero=llc_ids_from_zero)
    elif scope is AffinityScope.CACHE_SHARD:
        cached = _cache_pods(topology, llc_ids_from_zero=llc_ids_from_zero)
        groups = (shard for pod in cached for shard in _shards(topology, pod, shard_size))
    elif scope is AffinityScope.NUMA:
        groups = _node_pods(topology)
    else:
        groups = (topology.possible.bits,)
    return tuple(sorted((bits for bits in groups if bits), key=lambda bits: bits & -bits))


def _cache_pods(topology: Topology, *, llc_ids_from_zero: bool) -> list[int]:
    """Return the CPUs by the id of their last-level cache."""
    domain = (topology.online & hk_domain(topology)).bits
    groups = [llc.bits & domain for llc in topology.llcs]
    outside = topology.possible.bits & ~domain
    for index, group in enumerate(groups):
        if llc_ids_from_zero and group & 1:
            groups[index] |= outside
            return groups
    return [*groups, outside]


def _node_pods(topology: Topology) -> list[int]:
    groups = [node.cpus.bits for node in topology.nodes]
    homeless = topology.possible.bits & ~sum(groups)
    return [*groups, homeless]


def _shards(topology: Topology, pod: int, size: int) -> list[int]:
    """Cut a cache pod into max(1, round(cores / size)) shards of whole cores, as even as they come."""
    cores = [core.bits & pod for core in topology.cores if core.bits & pod]
    count = max(1, (2 * len(cores) + size) // (2 * size)) if cores else 0
    shards = []
    for index in range(count):
        part = cores[index * len(cores) // count : (index + 1) * len(cores) // count]
        shards.append(sum(part))
    return shards
