"""The machine of a trace, as far as the trace tells it.

Rules ask two things of a machine: which node and LLC a CPU is in, and which CPUs were kept free of kernel work. A
trace without a machine block, or with one that holds no topology, answers with None; rules then rely on what the
records say by themselves.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from numaprobe.cpuset import MAX_CPUS, CpuSet
from numaprobe.errors import InputError, UsageError
from numaprobe.runtime.profile import AffinityScope, kernel_profile
from numaprobe.topology import SETTINGS, CommandLine
from numaprobe.topology.cmdline import MAX_CMDLINE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.records import ProbeRecord, Trace
    from numaprobe.runtime import KernelProfile
    from numaprobe.topology import Topology

_SCOPE, _SHARD = SETTINGS


def topology_of(trace: Trace) -> Topology | None:
    """Return the topology of the trace's machine block; None if there is none.

    Raises:
        InputError: there is a block and it is not what ``numaprobe topology --json`` writes.

    """
    if not trace.machine:
        return None
    from numaprobe.topology import from_json

    return from_json(trace.machine)


def kernel_of(trace: Trace, topology: Topology | None) -> KernelProfile | None:
    """Return the kernel that a trace was made on, with its settings as the machine shows them; None if it is not told.

    What a release does is ``runtime.profile``'s to say. A release that nothing is known of is None, too.
    """
    try:
        profile = kernel_profile(trace.kernel or "")
    except UsageError:
        return None
    for name, value in settings_of(topology).items():
        with suppress(InputError):  # a trace may say anything: what makes no sense was not said
            profile = profile.with_setting(name, value)
    return profile


def settings_of(topology: Topology | None) -> dict[str, str]:
    """Return the kernel parameters of ``SETTINGS`` as the machine shows them, else as its command line says."""
    if topology is None:
        return {}
    cmdline = CommandLine.parse(topology.info.get("cmdline", "")[:MAX_CMDLINE])
    told = {name: topology.info.get(name) or cmdline.get(name) for name in SETTINGS}
    return {name: value for name, value in told.items() if value}


def has_node_scope(topology: Topology | None) -> bool:
    """Tell whether the machine is known to serve a node's unbound work from the whole node, or from everywhere."""
    return settings_of(topology).get(_SCOPE) in {AffinityScope.NUMA, AffinityScope.SYSTEM}


def cpu_list(cpus: Iterable[int]) -> str:
    """Return CPUs as the kernel writes a list, ``0-3,8``; numbers that no kernel has (a damaged trace) are left out."""
    return str(CpuSet.of(cpu for cpu in cpus if 0 <= cpu < MAX_CPUS))


def cpu_node_of(record: ProbeRecord, topology: Topology | None) -> int | None:
    """Return the node on which the body started: the record's word, else the topology's; None if neither knows."""
    if record.cpu_node is not None:
        return record.cpu_node
    if topology is None or record.cpu is None or record.cpu not in topology.possible:
        return None
    return topology.node_of(record.cpu)
