"""What differs between kernel releases as far as probing sees it: a table of facts, with date and source of each.

A fact is a field of ``KernelProfile``; a row says from which release on it has which value. The profile of *any*
release is, for each field, the newest row that is not newer than it (``profile.kernel_profile``). Nobody else decides
what a release does.

*Read* names the sources in which the value was read (Debian's ``linux-source-*`` 5.10.223, 6.1.176, 6.12.107, 7.3);
*seen* the guests in which it was observed. Between two sources that were read, the date is that of the commit, as
far as it is known; ``dated`` says how it was come by.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from numaprobe.runtime.release import Release


class AffinityScope(StrEnum):
    """``enum wq_affn_scope``: how an unbound workqueue groups CPUs into pods, each served by one pool."""

    CPU = "cpu"
    SMT = "smt"
    CACHE = "cache"
    CACHE_SHARD = "cache_shard"
    NUMA = "numa"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Fact:
    """A value that a field of the profile has from a release on."""

    field: str
    since: Release
    value: object
    #: kernel file, function and commit that say so
    source: str
    #: how the date is known: the commit's release, or between which sources that were read it lies
    dated: str = ""
    #: releases of the guests in which it was observed
    seen: tuple[str, ...] = ()


#: The oldest release that has a profile: 5.1 brought per-device asynchronous probing and ``queue_work_node``.
OLDEST: Final = Release(5, 1)
#: The newest release whose source was read.
NEWEST: Final = Release(7, 3)

#: All facts, by field and release.
FACTS: Final = (
    Fact(
        "default_scope",
        OLDEST,
        value=AffinityScope.NUMA,
        source="workqueue.c, wq_update_unbound_numa: one pool for each node",
        dated="read in 5.10, 6.1",
        seen=("5.10", "6.1"),
    ),
    Fact(
        "default_scope",
        Release(6, 6),
        value=AffinityScope.CACHE,
        source="workqueue.c, wq_affn_dfl (63c5484e7495)",
        dated="release of the commit; read in 6.12",
        seen=("6.12",),
    ),
    Fact(
        "default_scope",
        Release(7, 1),
        value=AffinityScope.CACHE_SHARD,
        source="workqueue.c, wq_affn_dfl (4cdc8a7389d5)",
        dated="release of the commit; read in 7.3",
        seen=("7.2", "7.3"),
    ),
    Fact(
        "affinity_scopes",
        OLDEST,
        value=(),
        source="workqueue.c: no such parameter",
        dated="read in 5.10, 6.1",
        seen=("6.1",),
    ),
    Fact(
        "affinity_scopes",
        Release(6, 6),
        value=(
            AffinityScope.CPU,
            AffinityScope.SMT,
            AffinityScope.CACHE,
            AffinityScope.NUMA,
            AffinityScope.SYSTEM,
        ),
        source="workqueue.c, wq_affn_names (63c5484e7495)",
        dated="release of the commit; read in 6.12",
    ),
    Fact(
        "affinity_scopes",
        Release(7, 1),
        value=tuple(AffinityScope),
        source="workqueue.c, wq_affn_names (4cdc8a7389d5)",
        dated="release of the commit; read in 7.3",
    ),
    Fact(
        "hard_unbound_pools",
        OLDEST,
        value=True,
        source="workqueue.c, create_worker: workers are bound to the pool's CPUs",
        dated="read in 5.10, 6.1",
        seen=("6.1",),
    ),
    Fact(
        "hard_unbound_pools",
        Release(6, 6),
        value=False,
        source="workqueue.c, affn_strict and kick_pool (8639ecebc9b1)",
        dated="release of the commit; read in 6.12",
        seen=("6.12", "7.2", "7.3"),
    ),
    Fact(
        "cache_shard_size",
        OLDEST,
        value=8,
        source="workqueue.c, wq_cache_shard_size; without a meaning before 7.1",
        dated="read in 7.3",
    ),
    Fact(
        "llc_ids_from_zero",
        OLDEST,
        value=True,
        source="sched/topology.c, sd_llc_id: a static variable starts as 0",
        dated="read in 5.10, 6.1, 6.12",
        seen=("6.12",),
    ),
    Fact(
        "llc_ids_from_zero",
        Release(7, 2),
        value=False,
        source="sched/topology.c, sd_llc_id = -1",
        dated="after 7.0, by 7.2; 7.1 was not read",
        seen=("7.2", "7.3"),
    ),
    Fact(
        "unbound_mask_has_wq",
        OLDEST,
        value=True,
        source="workqueue.c, workqueue_init_early: HK_TYPE_WQ and HK_TYPE_DOMAIN",
        dated="read in 5.10, 6.1, 6.12",
        seen=("6.12",),
    ),
    Fact(
        "unbound_mask_has_wq",
        Release(7, 0),
        value=False,
        source="workqueue.c, workqueue_init_early: HK_TYPE_DOMAIN alone",
        dated="after 6.19, by 7.2",
        seen=("7.2", "7.3"),
    ),
    Fact(
        "partition_leaves_unbound_mask",
        OLDEST,
        value=False,
        source="workqueue.c, cpuset.c: nothing",
        dated="read in 5.10, 6.1",
        seen=("6.1",),
    ),
    Fact(
        "partition_leaves_unbound_mask",
        Release(6, 8),
        value=True,
        source="workqueue.c, workqueue_unbound_exclude_cpumask (fe28f631fa94)",
        dated="release of the commit; read in 6.12",
        seen=("6.12", "7.2"),
    ),
    Fact(
        "probe_returns_errno",
        OLDEST,
        value=False,
        source="base/dd.c, really_probe: 1 = bound, 0 = not",
        dated="read in 5.10",
        seen=("5.10",),
    ),
    Fact(
        "probe_returns_errno",
        Release(5, 14),
        value=True,
        source="base/dd.c, really_probe: 0 = bound, else the errno",
        dated="release of the commit; read in 6.1",
        seen=("6.1", "6.12", "7.2", "7.3"),
    ),
    Fact(
        "attach_means_bind",
        OLDEST,
        value=False,
        source="base/dd.c, __driver_attach: calls device_driver_attach for each device",
        dated="seen in 5.10",
        seen=("5.10",),
    ),
    Fact(
        "attach_means_bind",
        Release(5, 14),
        value=True,
        source="base/dd.c, __driver_attach: calls driver_probe_device",
        dated="after 5.10, by 6.1; taken as that of probe_returns_errno",
        seen=("6.1", "6.12", "7.2", "7.3"),
    ),
    Fact(
        "bh_pools_per_cpu",
        OLDEST,
        value=0,
        source="workqueue.c, cpu_worker_pools alone",
        dated="read in 5.10, 6.1",
        seen=("6.1",),
    ),
    Fact(
        "bh_pools_per_cpu",
        Release(6, 9),
        value=2,
        source="workqueue.c, bh_worker_pools (4cb1ef64609f)",
        dated="release of the commit; read in 6.12",
        seen=("6.12", "7.2", "7.3"),
    ),
    Fact(
        "detects_hogs",
        OLDEST,
        value=False,
        source="workqueue.c: CPU_INTENSIVE is a flag of the queue alone",
        dated="read in 5.10, 6.1",
    ),
    Fact(
        "detects_hogs",
        Release(6, 5),
        value=True,
        source="workqueue.c, wq_worker_tick (616db8779b1e)",
        dated="release of the commit; read in 6.12",
    ),
    Fact(
        "limit_is_shared",
        OLDEST,
        value=False,
        source="workqueue.c, pool_workqueue.max_active: each pool has the whole of it",
        dated="read in 5.10, 6.1; 6.6 to 6.8 count for each CPU (636b927eba5b), taken as for each pool",
    ),
    Fact(
        "limit_is_shared",
        Release(6, 9),
        value=True,
        source="workqueue.c, wq_update_node_max_active (5797b1c18919)",
        dated="release of the commit; read in 6.12",
    ),
    Fact("max_active", OLDEST, value=512, source="workqueue.h, WQ_MAX_ACTIVE", dated="read in 5.10, 6.1, 6.12"),
    Fact(
        "max_active",
        Release(6, 13),
        value=2048,
        source="workqueue.h, WQ_MAX_ACTIVE",
        dated="pull request for 6.13; read in 7.3",
    ),
    Fact(
        "pci_policy",
        OLDEST,
        value="work-on-cpu",
        source="pci-driver.c, pci_call_probe: work_on_cpu",
        dated="read in 5.10, 6.1, 6.12",
        seen=("5.10", "6.1", "6.12"),
    ),
    Fact(
        "pci_policy",
        Release(7, 0),
        value="probe-workqueue",
        source="pci-driver.c, pci_call_probe: pci_probe_wq",
        dated="after 6.19, by 7.2",
        seen=("7.2", "7.3"),
    ),
    Fact(
        "pci_holds_off_hotplug",
        OLDEST,
        value=True,
        source="pci-driver.c, pci_call_probe: cpu_hotplug_disable (1ddd45f8d76f, 4.13)",
        dated="read in 5.10, 6.1, 6.12, 7.3; no release is known that has it no more",
        seen=("6.1", "6.12", "7.3"),
    ),
    Fact(
        "runtime_isolation_followed",
        OLDEST,
        value=False,
        source="isolation.c: the mask is made at boot",
        dated="read in 6.12",
        seen=("6.12",),
    ),
    Fact(
        "runtime_isolation_followed",
        Release(7, 0),
        value=True,
        source="cpuset.c, housekeeping_update",
        dated="after 6.19, by 7.2",
        seen=("7.2", "7.3"),
    ),
    Fact(
        "hot_add_may_be_async",
        OLDEST,
        value=False,
        source="pci/bus.c, pci_bus_add_device: device_attach",
        dated="read in 5.10, 6.1, 6.12",
        seen=("6.1", "6.12"),
    ),
    Fact(
        "hot_add_may_be_async",
        Release(6, 17),
        value=True,
        source="pci/bus.c, pci_bus_add_device: device_initial_probe",
        dated="release of the commit; read in 7.3",
        seen=("7.2", "7.3"),
    ),
    Fact(
        "async_drivers",
        OLDEST,
        value=(),
        source="nvme/host/pci.c, nvme_driver: no probe_type; the other drivers of the lab: none either",
        dated="nvme read in 6.1",
        seen=("6.1",),
    ),
    Fact(
        "async_drivers",
        Release(6, 2),
        value=("nvme",),
        source="nvme/host/pci.c, nvme_driver: PROBE_PREFER_ASYNCHRONOUS, the whole of its start inside the probe",
        dated="after 6.1, by 6.12; taken as 6.2",
        seen=("6.12", "7.2", "7.3"),
    ),
)


def value_of(field: str, release: Release) -> object:
    """Return what a fact is in a release; for one that is older than all rows, what it is in the oldest."""
    rows = [fact for fact in FACTS if fact.field == field]
    return next((row.value for row in reversed(rows) if row.since <= release), rows[0].value)
