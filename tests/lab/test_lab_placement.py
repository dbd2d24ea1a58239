"""One short guest of two nodes: the host machine places bodies and their memory as the virtual machine predicts.

``make lab`` does the same with every policy, and on four nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from numaprobe.placement.guest import observe_in_guest
from numaprobe.placement.report import make_report
from numaprobe.topology import load_topology

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.kernel.lab.tools import KernelImage, Tools

pytestmark = pytest.mark.guest

#: one of each kind: the caller, a per-CPU worker, a soft pool, a strict one
POLICIES = ("inline", "work-on-cpu", "queue-on-node", "strict-node")


def test_bodies_and_memory_are_on_the_node_that_was_predicted(
    tmp_path: Path, tools: Tools, kernel: KernelImage
) -> None:
    machine = load_topology("2 nodes x 2 cores, 1GiB per node")
    seen = observe_in_guest(machine, POLICIES, "6.19", kernel=kernel, tools=tools, folder=tmp_path, timeout=420)
    report = make_report(seen.observation)
    assert report.kernel == kernel.release
    assert [(node.id, str(node.cpus)) for node in report.topology.nodes] == [(0, "0-1"), (1, "2-3")]
    assert report.disagreements == ()
    assert report.passed
    assert {row.case.policy for row in report.rows} == set(POLICIES)
    places = set()
    for row in report.rows:
        assert row.observed is not None
        assert row.same_memory is True, "move_pages told"
        assert row.observed.glimpse.memory, "numa_maps told"
        if row.case.policy == "strict-node" and row.device_node >= 0:
            assert {report.topology.node_of(cpu) for cpu in row.observed.record.cpus or ()} == {row.device_node}
            places.add((row.device_node, *(row.observed.record.memory or ())))
    assert places == {(0, 0), (1, 1)}
