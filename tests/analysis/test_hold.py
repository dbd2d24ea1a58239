"""What was guaranteed of a probe's place, by what the record says and, without it, by names."""

from __future__ import annotations

from typing import Any

import pytest
import synthetic as s

from numaprobe.analysis import summarize
from numaprobe.analysis.hold import Hold, Holds
from numaprobe.scenario import load_scenario, run_scenario


@pytest.mark.parametrize(
    ("fields", "hold"),
    [
        ({"cpus_allowed": "0-3", "comm": "kworker/u35:0", "pod": "0-3"}, Hold.HELD),
        ({"cpus_allowed": "0-7", "comm": "kworker/u33:0", "pod": "0-3"}, Hold.SOFT),
        ({"cpus_allowed": "0-7", "comm": "kworker/u32:0", "pod": "0-7"}, Hold.ANYWHERE),
        ({"cpus_allowed": "0-7", "comm": "kworker/u34:0", "pod": "4-7"}, Hold.ANYWHERE),
        ({"cpus_allowed": "0-7", "comm": "modprobe"}, Hold.ANYWHERE),
        ({"cpus_allowed": "2", "comm": "sh"}, Hold.HELD),
        ({"cpus_allowed": "4", "comm": "sh"}, Hold.AWAY),
        ({"comm": "kworker/1:0"}, Hold.HELD),
        ({"comm": "kworker/5:0", "cpu": 5, "cpu_node": 1}, Hold.AWAY),
        ({"comm": "kworker/u33:0"}, Hold.SOFT),
        ({"comm": "kworker/u32:0"}, Hold.ANYWHERE),
        ({"comm": "kworker/u34:0", "cpu": 5, "cpu_node": 1}, Hold.ANYWHERE),
        ({"comm": "modprobe"}, None),
        ({"comm": "kworker/1:0", "device_node": -1}, None),
        ({"comm": "kworker/1:0", "device_node": None}, None),
    ],
)
def test_what_was_guaranteed(fields: dict[str, Any], hold: Hold | None) -> None:
    trace = s.trace(s.probe(**fields), machine=s.small())
    assert Holds(trace, s.small()).of(trace.probes[0]) == hold
    assert Holds(trace, None).of(trace.probes[0]) is None


def test_workers_of_kernels_before_6_5_do_not_leave() -> None:
    trace = s.trace(s.probe(comm="kworker/u17:0"), machine=s.small(), kernel="6.1.0-56-amd64")
    assert Holds(trace, s.small()).of(trace.probes[0]) is Hold.HELD


@pytest.mark.parametrize(
    ("policy", "held"), [("probe-workqueue", 1), ("queue-on-node", 0), ("strict-node", 1), ("spread", 1)]
)
def test_all_run_at_home_and_only_some_had_to(policy: str, held: float) -> None:
    summary = summarize(run_scenario(load_scenario("nvme-epyc"), policy, kernel="7.3"))
    assert summary.local_share == 1
    assert summary.held_share == held
    assert sum(summary.holds.values()) == 3
