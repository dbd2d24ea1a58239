"""What the live system lets this process use: allowed CPUs, isolation, the cgroup's CPU quota.

Read again whenever asked: a cpuset, a quota or a CPU may change while a machine runs. ``root`` is for tests and
containers that mount ``/sys`` or ``/proc`` elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.topology import Node, Topology, load_topology
from numaprobe.topology.model import default_distances

if TYPE_CHECKING:
    from collections.abc import Callable

_CPU_DIR: Final = "sys/devices/system/cpu"
_NODE_DIR: Final = "sys/devices/system/node"


def allowed_cpus() -> CpuSet:
    """Return the CPUs on which the calling thread may run: online, in its cpuset, in its affinity."""
    return CpuSet.of(os.sched_getaffinity(0))


def _read_set(path: Path) -> CpuSet | None:
    """Return the list in a sysfs file; None if there is none (``(null)`` is what a kernel without the feature says)."""
    try:
        return CpuSet.parse_list(path.read_text(encoding="ascii", errors="replace"))
    except (OSError, InputError):
        return None


def real_cpus(root: Path = Path("/")) -> CpuSet:
    """Return the possible CPUs of this system; those online if sysfs does not say."""
    return _read_set(root / _CPU_DIR / "possible") or allowed_cpus()


def isolated_cpus(root: Path = Path("/")) -> CpuSet:
    """Return the CPUs out of the scheduler's domains now (``isolcpus=``, isolated cpuset partitions)."""
    return _read_set(root / _CPU_DIR / "isolated") or CpuSet()


def nohz_full_cpus(root: Path = Path("/")) -> CpuSet:
    """Return the CPUs of ``nohz_full=``."""
    return _read_set(root / _CPU_DIR / "nohz_full") or CpuSet()


def memory_nodes(root: Path = Path("/")) -> CpuSet | None:
    """Return the nodes that have memory; None on a kernel without NUMA."""
    return _read_set(root / _NODE_DIR / "has_memory")


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many CPUs' time the cgroup of this process may use (0.5, 4.0); None without a limit.

    The tightest limit on the way to the root counts, in either version of cgroups (``cpu.max``,
    ``cpu.cfs_quota_us``).
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            quotas += _quotas(root / "sys/fs/cgroup", path, _quota_v2)
        elif "cpu" in controllers.split(","):
            quotas += _quotas(root / "sys/fs/cgroup" / controllers, path, _quota_v1)
            quotas += _quotas(root / "sys/fs/cgroup/cpu", path, _quota_v1)
    return min(quotas, default=None)


def _quotas(base: Path, path: str, read: Callable[[Path], float | None]) -> list[float]:
    """Return the limits of a cgroup and of all above it."""
    group = base / path.strip("/")
    found = []
    while True:
        quota = read(group)
        if quota is not None:
            found.append(quota)
        if group == base or base not in group.parents:
            return found
        group = group.parent


def _quota_v2(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()[:2]
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(group: Path) -> float | None:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = int((group / "cpu.cfs_period_us").read_text(encoding="ascii"))
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def this_computer() -> Topology:
    """Return this computer's topology; if sysfs cannot be read, one node with the CPUs this process may use."""
    try:
        return load_topology("host")
    except (InputError, OSError):
        return flat(allowed_cpus())


def flat(cpus: CpuSet) -> Topology:
    """Return a machine of one node and one LLC with these CPUs: what there is to know without sysfs."""
    return Topology(
        name="host",
        possible=cpus,
        present=cpus,
        online=cpus,
        nodes=(Node(0, cpus, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")),),
        cores=tuple(CpuSet.of([cpu]) for cpu in cpus),
        llcs=(cpus,),
        packages=(cpus,),
        distances=default_distances(1),
    )
