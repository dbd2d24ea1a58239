"""Pods: how an affinity scope groups CPUs (``kernel/workqueue.c``, ``wq_pod_type``).

A pod is made at boot and never changes; what changes is which of its CPUs a workqueue may use. CPUs that are isolated
at boot have no scheduling domain, hence share no cache as far as the kernel can see: in the cache scopes each is a pod
of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.runtime.profile import AffinityScope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.topology import Topology


def pods(topology: Topology, scope: AffinityScope, shard_size: int) -> tuple[int, ...]:
    """Return the pods of ``scope`` as bits, by first CPU. They are a partition of the possible CPUs.

    Args:
        topology: the machine.
        scope: how to group.
        shard_size: cores of a shard, for ``cache_shard``.

    """
    groups: Iterable[int]
    if scope is AffinityScope.CPU:
        groups = (1 << cpu for cpu in topology.possible)
    elif scope is AffinityScope.SMT:
        groups = (core.bits for core in topology.cores)
    elif scope is AffinityScope.CACHE:
        groups = _cache_pods(topology)
    elif scope is AffinityScope.CACHE_SHARD:
        groups = (shard for pod in _cache_pods(topology) for shard in _shards(topology, pod, shard_size))
    elif scope is AffinityScope.NUMA:
        groups = _node_pods(topology)
    else:
        groups = (topology.possible.bits,)
    return tuple(sorted((bits for bits in groups if bits), key=lambda bits: bits & -bits))


def _cache_pods(topology: Topology) -> list[int]:
    isolated = topology.housekeeping.isolated & topology.possible
    return [llc.bits & ~isolated.bits for llc in topology.llcs] + [1 << cpu for cpu in isolated]


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
