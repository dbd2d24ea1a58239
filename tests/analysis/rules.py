"""What the tests of the rules share: asking for one kind, and machines with something odd."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from numaprobe.analysis import find
from numaprobe.cpuset import CpuSet
from numaprobe.topology import Housekeeping, Node, Topology, symmetric

if TYPE_CHECKING:
    from numaprobe.records import Finding, Trace


def of_kind(kind: str, trace: Trace) -> list[Finding]:
    return [finding for finding in find(trace) if finding.kind == kind]


def the(kind: str, trace: Trace) -> Finding:
    """The only finding of this kind."""
    found = of_kind(kind, trace)
    assert len(found) == 1, [finding.kind for finding in find(trace)]
    return found[0]


def proposed(finding: Finding) -> list[str]:
    """What a rule proposes to try: policies, parameters, places."""
    return [one.policy or one.parameter or one.load_from or "" for one in finding.remedies]


def isolated(cpus: str) -> Topology:
    return symmetric("isolated", nodes=2, cores=4, housekeeping=Housekeeping(isolated=CpuSet.parse_list(cpus)))


def three_nodes(far: int) -> Topology:
    """Node 2 has memory only; node 1 is ``far`` from it and node 0 at 20."""
    machine = symmetric("memory-node", nodes=2, cores=4)
    distances = ((10, 20, 20), (20, 10, far), (20, far, 10))
    return replace(machine, nodes=(*machine.nodes, Node(2, CpuSet(), 2**30)), distances=distances)
