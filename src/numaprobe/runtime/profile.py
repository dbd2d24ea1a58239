"""Kernel profiles: what differs between kernel releases as far as probing sees it.

Each row is an observation of stock kernels in guests or read in their source (``docs/kernel-profiles.md``). A profile
sets defaults; a scenario or the kernel command line may still change the affinity scope or the shard size.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from numaprobe.errors import UnknownNameError


class AffinityScope(StrEnum):
    """``enum wq_affn_scope``: how an unbound workqueue groups CPUs into pods, each served by one pool."""

    CPU = "cpu"
    SMT = "smt"
    CACHE = "cache"
    CACHE_SHARD = "cache_shard"
    NUMA = "numa"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelProfile:
    """One kernel release (or a range that behaves alike)."""

    #: ``6.1``, ``6.12``, ``6.19``, ``7.0``, ``7.2``, ``7.3``
    name: str
    #: ``workqueue.default_affinity_scope``
    default_scope: AffinityScope
    #: unbound workers never leave their pool's CPUs (before 6.5: one pool per node, hard affinity)
    hard_unbound_pools: bool
    #: 2 since 6.9 (BH workqueues take pool ids before the per-CPU pools), else 0
    bh_pools_per_cpu: int
    #: ``workqueue.cache_shard_size``: cores of a shard where the scope is cache_shard
    cache_shard_size: int
    #: the id of a last-level cache starts as 0, which CPUs that are in no scheduling domain keep (``workqueue.pods``)
    llc_ids_from_zero: bool
    #: name of the policy that this kernel's PCI core follows
    pci_policy: str
    #: PCI's mask is node & HK_TYPE_DOMAIN & HK_TYPE_WQ (True) or node & HK_TYPE_DOMAIN (False)
    pci_mask_has_wq: bool
    #: a cpuset partition made at run time changes HK_TYPE_DOMAIN, and PCI follows it
    runtime_isolation_followed: bool
    #: the unbound cpumask is cut by HK_TYPE_WQ (``nohz_full=``) too
    unbound_mask_has_wq: bool
    #: hot-added PCI devices go through ``device_initial_probe``: async for drivers that ask (6.17)
    hot_add_may_be_async: bool
    #: names of the two general workqueues: per-CPU, unbound
    percpu_wq_name: str = "events"
    unbound_wq_name: str = "events_unbound"


def _profile(name: str, **changes: object) -> KernelProfile:
    base: dict[str, object] = {
        "default_scope": AffinityScope.CACHE,
        "hard_unbound_pools": False,
        "bh_pools_per_cpu": 2,
        "cache_shard_size": 8,
        "llc_ids_from_zero": True,
        "pci_policy": "work-on-cpu",
        "pci_mask_has_wq": True,
        "runtime_isolation_followed": False,
        "unbound_mask_has_wq": True,
        "hot_add_may_be_async": False,
    }
    return KernelProfile(name=name, **(base | changes))  # type: ignore[arg-type]


_MAINLINE_7: Final = {
    "pci_policy": "probe-workqueue",
    "pci_mask_has_wq": False,
    "runtime_isolation_followed": True,
    "unbound_mask_has_wq": False,
    "hot_add_may_be_async": True,
}

#: The catalogue, oldest first.
PROFILES: Final[dict[str, KernelProfile]] = {
    profile.name: profile
    for profile in (
        _profile("6.1", default_scope=AffinityScope.NUMA, hard_unbound_pools=True, bh_pools_per_cpu=0),
        _profile("6.12"),
        _profile("6.19", hot_add_may_be_async=True),
        _profile("7.0", **_MAINLINE_7),
        _profile("7.2", default_scope=AffinityScope.CACHE_SHARD, llc_ids_from_zero=False, **_MAINLINE_7),
        _profile("7.3", default_scope=AffinityScope.CACHE_SHARD, llc_ids_from_zero=False, **_MAINLINE_7),
    )
}

#: The seeds' kernel: the one their tables were measured on.
DEFAULT_PROFILE: Final = "6.19"


def kernel_profile(name: str) -> KernelProfile:
    """Return the profile of this name.

    Raises:
        UnknownNameError: there is none; the text offers the nearest.

    """
    try:
        return PROFILES[name]
    except KeyError:
        raise UnknownNameError("kernel profile", name, PROFILES) from None
