"""Changes that rules propose. None of them is advice before it was run on the trace in question (``study.confirm``).

A rule names its first choice first. Policies are for those who build kernels; a kernel parameter, and the place from
which a driver is loaded, are what everybody else has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.analysis.machine import has_node_scope
from numaprobe.cpuset import CpuSet
from numaprobe.records import Aim, Remedy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.analysis.findings.case import Case

#: The parameter that makes a node one pod, and the unbound pools serve all of it.
NODE_SCOPE: Final = "workqueue.default_affinity_scope=numa"
#: The caution that belongs to every proposal to switch a driver over.
CAUTION: Final = "some drivers panic when probed asynchronously: try it once by hand, and keep a boot entry without it"


def policies(aim: Aim, *labels: str) -> tuple[Remedy, ...]:
    """Return these policies as changes."""
    return tuple(Remedy(aim=aim, policy=label) for label in labels)


def node_scope(case: Case, aim: Aim) -> tuple[Remedy, ...]:
    """Return ``NODE_SCOPE``, unless it is so already or the kernel is known to have no affinity scopes (before 6.6)."""
    if has_node_scope(case.topology) or (case.kernel is not None and not case.kernel.has_affinity_scopes):
        return ()
    return (Remedy(aim=aim, parameter=NODE_SCOPE),)


def async_probe(aim: Aim, drivers: Iterable[str]) -> tuple[Remedy, ...]:
    """Return the parameter that lets these drivers probe asynchronously."""
    names = ",".join(sorted(set(drivers)))
    return (Remedy(aim=aim, parameter=f"driver_async_probe={names}", caution=CAUTION),)


def load_from(case: Case, node: int) -> tuple[Remedy, ...]:
    """Return a node as the place to load drivers from, if it has a usable CPU."""
    return (Remedy(aim=Aim.PLACE, load_from=f"node{node}"),) if case.usable_cpus(node) else ()


def isolate_last(case: Case, node: int) -> tuple[Remedy, ...]:
    """Return ``isolcpus=`` with as many of a node's last cores as it now takes of its others."""
    cpus = case.node_cpus(node)
    if case.topology is None or cpus is None:
        return ()
    isolated = case.topology.housekeeping.isolated
    cores = [core & cpus for core in case.topology.cores if core & cpus]
    taken = sum(bool(core & isolated) for core in cores)
    if not 0 < taken < len(cores):
        return ()
    last = CpuSet.of(cpu for core in cores[-taken:] for cpu in core)
    return (Remedy(aim=Aim.PLACE, parameter=f"isolcpus=domain,{(isolated - cpus) | last}"),)
