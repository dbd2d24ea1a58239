"""Kernel profiles: what a release does where probing can tell the difference, in one object.

Any release has a profile: ``kernel_profile("6.18")``, ``kernel_profile("5.14.0-503.el9")``. It is made of the facts of
``runtime.facts``, each at its newest value that is not newer than the release, and says what it had to assume. A
profile sets defaults; a scenario or the kernel's command line may still change the affinity scope or the shard size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import InputError, UsageError
from numaprobe.runtime.facts import FACTS, NEWEST, OLDEST, AffinityScope
from numaprobe.runtime.pods import pods
from numaprobe.runtime.release import Release, backporter, parse_release
from numaprobe.topology import SETTINGS, unbound_cpumask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numaprobe.cpuset import CpuSet
    from numaprobe.topology import Topology

#: Worker pools of a CPU: normal and high priority (``NR_STD_WORKER_POOLS``).
STANDARD_POOLS: Final = 2
#: ``workqueue.cache_shard_size=``: no LLC has more cores.
MAX_SHARD: Final = 4096

__all__ = [
    "DEFAULT_PROFILE",
    "PROFILES",
    "AffinityScope",
    "KernelProfile",
    "closest_profile",
    "kernel_profile",
    "release_profile",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelProfile:
    """One kernel release."""

    #: its first two numbers: ``6.12``
    name: str
    #: ``workqueue.default_affinity_scope``
    default_scope: AffinityScope
    #: what that parameter takes; empty: there is no such parameter
    affinity_scopes: tuple[AffinityScope, ...]
    #: unbound workers never leave their pool's CPUs
    hard_unbound_pools: bool
    #: BH workqueues take this many pool ids for each CPU, before the per-CPU pools
    bh_pools_per_cpu: int
    #: ``workqueue.cache_shard_size``: cores of a shard where the scope is cache_shard
    cache_shard_size: int
    #: the id of a last-level cache starts as 0, which CPUs that are in no scheduling domain keep (``runtime.pods``)
    llc_ids_from_zero: bool
    #: a work that hogs its CPU is no longer counted as running (``cpu_intensive_thresh_us``)
    detects_hogs: bool
    #: ``max_active`` of an unbound queue is shared among the nodes; else each pool has the whole of it
    limit_is_shared: bool
    #: ``WQ_MAX_ACTIVE``: the most works of a queue that may run; half of it if the queue does not say
    max_active: int
    #: name of the policy that this kernel's PCI core follows, and so which housekeeping masks it looks at
    pci_policy: str
    #: PCI's own node code lets no CPU go offline or come online while it probes a device (``cpu_hotplug_disable``)
    pci_holds_off_hotplug: bool
    #: a cpuset partition made at run time changes HK_TYPE_DOMAIN, and PCI follows it
    runtime_isolation_followed: bool
    #: a cpuset partition made at run time leaves the unbound cpumask
    partition_leaves_unbound_mask: bool
    #: the unbound cpumask is cut by HK_TYPE_WQ (``nohz_full=``) too
    unbound_mask_has_wq: bool
    #: hot-added PCI devices go through ``device_initial_probe``: async for drivers that ask
    hot_add_may_be_async: bool
    #: ``really_probe`` returns 0 for a device that is bound, and else the errno; before: 1 for bound, 0 for not bound
    probe_returns_errno: bool
    #: only a write to ``bind`` enters ``device_driver_attach``; before, loading a driver does, too
    attach_means_bind: bool
    #: drivers that set PROBE_PREFER_ASYNCHRONOUS: of those that the lab has devices for
    async_drivers: tuple[str, ...]
    #: names of the two general workqueues: per-CPU, unbound
    percpu_wq_name: str = "events"
    unbound_wq_name: str = "events_unbound"
    #: what was assumed of the release that was asked for, a line each; empty for a plain one that is known
    assumptions: tuple[str, ...] = ()

    def pods(self, topology: Topology, scope: AffinityScope | None = None) -> tuple[int, ...]:
        """Return the pods of a scope (None: the default one) on a machine, as bits; see ``runtime.pods``."""
        return pods(
            topology,
            scope or self.default_scope,
            shard_size=self.cache_shard_size,
            llc_ids_from_zero=self.llc_ids_from_zero,
        )

    def unbound_cpus(self, topology: Topology) -> CpuSet:
        """Return the CPUs that unbound workqueues may use after boot (``wq_unbound_cpumask``)."""
        return unbound_cpumask(topology, with_wq=self.unbound_mask_has_wq)

    def first_pool_id(self, topology: Topology) -> int:
        """Return the id of the first pool after the per-CPU ones: the machine-wide unbound pool."""
        return (self.bh_pools_per_cpu + STANDARD_POOLS) * len(topology.possible)

    def with_setting(self, name: str, value: str) -> KernelProfile:
        """Return the profile of a kernel that has one of the parameters ``topology.SETTINGS`` set so.

        Raises:
            InputError: no such value.

        """
        scope, _size = SETTINGS
        if name == scope:
            if value not in tuple(AffinityScope):
                raise InputError(f"{name}={value[:40]}: use one of {', '.join(AffinityScope)}")
            return replace(self, default_scope=AffinityScope(value))
        if not (value.isascii() and value.isdigit() and 0 < int(value[:9]) <= MAX_SHARD):
            raise InputError(f"{name}={value[:40]}: write a number from 1 to {MAX_SHARD}")
        return replace(self, cache_shard_size=int(value))

    @property
    def has_affinity_scopes(self) -> bool:
        """Whether ``workqueue.default_affinity_scope=`` is known: scopes came with pools that workers may leave."""
        return not self.hard_unbound_pools

    @property
    def settings(self) -> dict[str, str]:
        """What this kernel shows of the parameters ``topology.SETTINGS``, unless its command line says otherwise."""
        return dict(zip(SETTINGS, (str(self.default_scope), str(self.cache_shard_size)), strict=True))


@cache
def release_profile(release: Release) -> KernelProfile:
    """Return the profile of a release of mainline, by the facts that were known by then."""
    values: Mapping[str, Any] = {fact.field: fact.value for fact in FACTS if fact.since <= release}
    return KernelProfile(name=str(release), **values)


#: The releases whose profiles are documented row by row, oldest first: those that guests ran, and two that were read.
PROFILES: Final[dict[str, KernelProfile]] = {
    str(release): release_profile(release)
    for release in (Release(6, 1), Release(6, 12), Release(6, 19), Release(7, 0), Release(7, 2), Release(7, 3))
}

#: The kernel that the tables of the 2025-12-30 thread were measured on.
DEFAULT_PROFILE: Final = "6.19"


def kernel_profile(name: str) -> KernelProfile:
    """Return the profile of a release.

    Args:
        name: ``6.12``, or what ``uname -r`` says: ``6.8.0-51-generic``.

    Raises:
        UsageError: it starts with no two numbers, or is older than anything that is known.

    """
    shown = "".join(letter if letter.isprintable() else "?" for letter in name[:40])
    release = parse_release(name)
    if release is None:
        raise UsageError(f"kernel '{shown}' is no release: write 6.12, or what 'uname -r' says")
    if release < OLDEST:
        text = "the first with asynchronous probing for each device and queue_work_node"
        raise UsageError(f"kernel '{shown}' is older than {OLDEST}, {text}; there is no profile for it")
    return replace(release_profile(release), assumptions=tuple(_assumptions(shown, release)))


def closest_profile(release: str | None) -> KernelProfile:
    """Return the profile of a kernel that was met, whatever it calls itself; what was assumed stands in it.

    Args:
        release: what the kernel, a trace or a machine says; None or empty: it does not say.

    """
    if not release:
        text = f"which kernel it was is not known; taken to be {DEFAULT_PROFILE} (--kernel chooses another)"
        return replace(PROFILES[DEFAULT_PROFILE], assumptions=(text,))
    try:
        return kernel_profile(release)
    except UsageError as error:
        text = f"{error}; taken to be {DEFAULT_PROFILE} (--kernel chooses another)"
        return replace(PROFILES[DEFAULT_PROFILE], assumptions=(text,))


def _assumptions(name: str, release: Release) -> list[str]:
    lines = []
    if release > NEWEST:
        lines.append(f"kernel {name} is newer than {NEWEST}, the newest whose source was read; taken to be as {NEWEST}")
    if who := backporter(name):
        lines.append(
            f"kernel {name} is built by {who}, who take code of later releases; taken to be as {release} of mainline, "
            "which its worker names can disprove"
        )
    return lines
