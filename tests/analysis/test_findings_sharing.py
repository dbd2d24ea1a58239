"""Probes that share a CPU or take turns: each rule has a trace on which it must fire and one on which it must not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import synthetic as s
from rules import of_kind, proposed, the

from numaprobe.topology import symmetric

if TYPE_CHECKING:
    from numaprobe.records import Trace

MS = s.MS


# ---- same-cpu ----


def test_same_cpu_says_who_waited_for_whom() -> None:
    finding = the("same-cpu", s.nvme_before())
    assert finding.devices == ("0000:01:00.0", "0000:02:00.0", "0000:03:00.0")
    trace = s.nvme_before()
    assert finding.evidence["runnable_ns"] == sum(r.runnable_ns or 0 for r in trace.probes)
    for wait in finding.evidence["waits"]:
        others = wait["because_of"]
        assert wait["device"] not in others
        assert wait["others"] == 2
        # Nothing but the three runs on this CPU: what one waited is what the others ran meanwhile.
        assert sum(others.values()) == wait["runnable_ns"]
    assert "node 0 has 128 CPUs for them" in finding.advice
    assert proposed(finding) == ["probe-on-node", "queue-on-node", "strict-node"]


def test_same_cpu_is_silent_when_each_has_its_own() -> None:
    assert not of_kind("same-cpu", s.nvme_after())


def test_same_cpu_is_silent_on_a_serial_run() -> None:
    assert not of_kind("same-cpu", s.nvme_inline())


def test_same_cpu_on_the_seeds_tables_by_names_alone() -> None:
    finding = the("same-cpu", s.seed_table("dec27", "work-on-cpu"))
    assert finding.evidence["workers"] == ["kworker/0:1", "kworker/0:2", "kworker/0:3"]
    assert "overlap_ns" not in finding.evidence
    assert not of_kind("same-cpu", s.seed_table("dec27", "skip-in-worker"))
    assert not of_kind("same-cpu", s.seed_table("dec30", "queue-on-node"))


def queued(*starts: int, **fields: object) -> Trace:
    """Async probes of 10 ms on CPU 0 in one worker, from a caller each."""
    values = {"cpu": 0, "comm": "kworker/0:1", "cost_ns": 10 * MS} | fields
    probes = [
        s.probe(f"d{i}", start_ns=start, **({"caller_comm": f"kworker/u8:{i}"} | values))
        for i, start in enumerate(starts)
    ]
    return s.trace(*probes, machine=s.small())


def test_same_cpu_when_the_pool_let_one_through_at_a_time() -> None:
    """Probes that never sleep do not overlap on a per-CPU pool: the next starts when the last is done."""
    finding = the("same-cpu", queued(0, 10 * MS, 20 * MS))
    assert finding.evidence["overlap_ns"] == 0
    assert finding.evidence["queued_ns"] == 20 * MS


@pytest.mark.parametrize(
    "trace",
    [
        queued(0, 10 * MS, 20 * MS, asynchronous=False),
        queued(0, 10 * MS, 20 * MS, caller_comm="insmod"),
        queued(0, 500 * MS, 1000 * MS),
    ],
    ids=["synchronous", "one caller", "far apart"],
)
def test_same_cpu_is_silent_when_nobody_waited(trace: Trace) -> None:
    assert not of_kind("same-cpu", trace)


def test_same_cpu_leaves_nested_probes_alone() -> None:
    outer = s.probe("pf", cpu=0, comm="kworker/0:1", cost_ns=50 * MS)
    inner = s.probe("vf", cpu=0, comm="kworker/0:1", start_ns=10 * MS, cost_ns=20 * MS, nested=True)
    assert not of_kind("same-cpu", s.trace(outer, inner, machine=s.small()))
    assert not of_kind("same-cpu", s.trace(outer, replace(inner, nested=None), machine=s.small()))


def test_same_cpu_is_silent_where_the_node_has_no_other_cpu() -> None:
    machine = symmetric("tiny", nodes=2, cores=1)
    assert not of_kind("same-cpu", replace(queued(0, MS, 2 * MS), machine=s.trace(machine=machine).machine))


def test_same_cpu_looks_at_the_cpus_of_the_time_and_not_of_the_whole_boot() -> None:
    """Later probes on the node's other CPUs do not excuse that they idled before."""
    later = [s.probe(f"l{i}", cpu=i, start_ns=10_000 * MS * (i + 1), cost_ns=MS) for i in range(4)]
    together = queued(0, MS, 2 * MS).probes
    assert the("same-cpu", s.trace(*together, *later, machine=s.small())).devices == ("d0", "d1", "d2")
    busy = [s.probe(f"b{i}", cpu=i, comm=f"kworker/{i}:9", cost_ns=10 * MS) for i in (1, 2, 3)]
    assert not of_kind("same-cpu", s.trace(*together, *busy, machine=s.small()))


def test_same_cpu_is_one_finding_when_many_cpus_are_shared() -> None:
    probes = [
        s.probe(f"d{i}", cpu=i % 8, comm=f"kworker/u1025:{i}", start_ns=i, cost_ns=10 * MS, runnable_ns=MS)
        for i in range(64)
    ]
    finding = the("same-cpu", s.trace(*probes, machine=s.epyc()))
    assert finding.evidence["shared_cpus"] == "0-7"
    assert finding.evidence["runnable_ns"] == 64 * MS
    assert proposed(finding) == ["workqueue.default_affinity_scope=numa", "strict-node", "spread"]


# ---- serial-async ----


def async_probes(*spans: tuple[int, int], **fields: object) -> Trace:
    probes = [
        s.probe(f"d{i}", cpu=i % 4, comm=f"kworker/u33:{i}", start_ns=a, cost_ns=b - a, **fields)
        for i, (a, b) in enumerate(spans)
    ]
    return s.trace(*probes, machine=s.small())


def test_serial_async_one_after_the_other_on_different_cpus() -> None:
    finding = the("serial-async", async_probes((0, 10 * MS), (10 * MS, 20 * MS), (20 * MS, 30 * MS)))
    assert finding.evidence["sign"] == "one-after-the-other"
    assert finding.evidence["span_ns"] == 30 * MS


def test_serial_async_staircase_of_a_lock() -> None:
    probes = [
        s.probe(f"d{i}", cpu=i, comm=f"kworker/u33:{i}", cost_ns=10 * MS * (i + 1), running_ns=9 * MS, runnable_ns=0,
                sleeping_ns=10 * MS * (i + 1) - 9 * MS)
        for i in range(4)
    ]  # fmt: skip
    finding = the("serial-async", s.trace(*probes, machine=s.small()))
    assert finding.evidence["sign"] == "staircase"
    assert "perf lock" in finding.advice


def test_serial_async_is_silent_when_they_run_together() -> None:
    assert not of_kind("serial-async", s.nvme_after())
    assert not of_kind("serial-async", async_probes((0, 10 * MS), (0, 20 * MS), (0, 35 * MS)))
    assert not of_kind(
        "serial-async", async_probes((0, 10 * MS), (10 * MS, 20 * MS), (20 * MS, 30 * MS), asynchronous=False)
    )
