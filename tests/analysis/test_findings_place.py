"""Probes in the wrong place: each rule has a trace on which it must fire and one on which it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic as s
from rules import isolated, of_kind, proposed, the, three_nodes

from numaprobe.analysis import summarize
from numaprobe.records import RunWarning
from numaprobe.scenario import load_scenario, run_scenario
from numaprobe.topology import Topology, symmetric

MS = s.MS


# ---- remote, left-node ----


def test_remote_names_the_nodes_and_the_caller() -> None:
    finding = the("remote", s.nvme_inline())
    assert finding.evidence["node"] == 0
    assert finding.evidence["ran_on_nodes"] == {"1": 3}
    assert finding.evidence["memory_away_bytes"] == 3 * 2**20
    assert finding.evidence["distance"] == 20
    assert "a caller on node 0 probes there" in finding.advice
    assert proposed(finding)[:2] == ["node0", "driver_async_probe=nvme"]


@pytest.mark.parametrize(
    ("fields", "reason", "word"),
    [
        ({"comm": "kworker/u33:1", "asynchronous": False}, "worker without a node", "probe-on-node"),
        ({"comm": "kworker/u33:1", "asynchronous": True}, "worker queued for the node", "strict-node"),
        (
            {"comm": "kworker/u33:1", "asynchronous": False, "caller_comm": "insmod"},
            "worker queued for the node",
            "strict-node",
        ),
        ({"comm": "insmod", "asynchronous": False}, "caller", "node1"),
    ],
)
def test_remote_advises_by_what_ran_it(fields: dict, reason: str, word: str) -> None:
    finding = the("remote", s.trace(s.probe(device_node=1, **fields), machine=s.small()))
    assert finding.evidence["ran_in"] == reason
    assert word in proposed(finding)


def test_remote_is_silent_on_the_node_and_without_one() -> None:
    assert not of_kind("remote", s.nvme_before())
    assert not of_kind("remote", s.trace(s.probe(device_node=-1, cpu_node=1), machine=s.small()))
    assert not of_kind("remote", s.trace(s.probe(device_node=None, cpu_node=1)))


def test_remote_accepts_the_nearest_node_where_the_own_has_no_cpu() -> None:
    probe = s.probe(device_node=2, cpu=5, cpu_node=1)
    assert not of_kind("remote", s.trace(probe, machine=three_nodes(far=15)))
    assert "no CPU" in the("remote", s.trace(probe, machine=three_nodes(far=40))).advice


def test_left_node_fires_on_time_away_only() -> None:
    away = s.probe(remote_ns=5 * MS, cpus=(1, 6), comm="kworker/u33:2")
    finding = the("left-node", s.trace(away, s.probe("d2", remote_ns=0), machine=s.small()))
    assert finding.devices == ("0000:01:00.0",)
    assert finding.evidence["remote_ns"] == 5 * MS
    assert finding.evidence["outside_cpus"] == [6]
    assert "strict" in finding.advice


def test_left_node_is_silent_when_it_stayed_or_was_never_there() -> None:
    stayed = s.probe(cpus=(1, 2, 3), remote_ns=0)
    never = s.probe("d2", cpu=6, cpu_node=1, cpus=(6,), remote_ns=30 * MS)
    assert not of_kind("left-node", s.trace(stayed, never, machine=s.small()))


def test_left_node_by_the_cpus_visited() -> None:
    assert the("left-node", s.trace(s.probe(cpus=(1, 6)), machine=s.small())).evidence["outside_cpus"] == [6]


# ---- machine-wide, unknown-node, first-llc ----


@pytest.mark.parametrize("pool", [16, 32])
def test_machine_wide_in_either_numbering_of_pools(pool: int) -> None:
    probe = s.probe(device_node=1, cpu=2, cpu_node=0, comm=f"kworker/u{pool}:1")
    finding = the("machine-wide", s.trace(probe, machine=isolated("4-5")))
    assert finding.evidence["pool"] == pool
    assert finding.evidence["isolated_cpus"] == "4-5"
    assert finding.evidence["usable_cpus"] == "6-7"
    assert proposed(finding)[1] == "isolcpus=domain,6-7"
    assert finding.evidence["outside_ns"] == 30 * MS


@pytest.mark.parametrize(
    ("comm", "machine"),
    [
        ("kworker/u34:1", isolated("4-5")),
        ("kworker/u32:1", isolated("")),
        ("kworker/u32:1", isolated("0-1")),
        ("kworker/u32:1", isolated("4-7")),
        ("modprobe", isolated("4-5")),
        ("kworker/4:1", isolated("4-5")),
    ],
    ids=["a pod's pool", "nothing isolated", "another node", "whole node isolated", "no worker", "a bound worker"],
)
def test_machine_wide_is_silent(comm: str, machine: Topology) -> None:
    probe = s.probe(device_node=1, cpu=2, cpu_node=0, comm=comm, caller_comm=comm)
    assert not of_kind("machine-wide", s.trace(probe, machine=machine))


def test_machine_wide_fires_also_where_every_probe_happened_to_stay() -> None:
    """The pool's idle worker wakes where it last ran: on the node in this boot, perhaps not in the next."""
    probe = s.probe(device_node=1, cpu=6, cpu_node=1, comm="kworker/u32:1")
    finding = the("machine-wide", s.trace(probe, machine=isolated("4-5")))
    assert finding.evidence["outside_node"] == 0
    assert "none ran outside is this boot's luck" in finding.advice


def test_machine_wide_names_a_pool_of_another_node() -> None:
    """Up to 7.0 isolated CPUs are in the pod of CPU 0, whose pool then serves node 1."""
    probe = s.probe(device_node=1, cpu=2, cpu_node=0, comm="kworker/u33:1", cpus_allowed="0-3,6-7", pod="0-3")
    finding = the("machine-wide", s.trace(probe, machine=isolated("4-5")))
    assert (finding.evidence["pool"], finding.evidence["pool_cpus"]) == (33, "0-3")
    assert "the pool of CPUs 0-3 serves them" in finding.advice


def test_machine_wide_is_silent_where_the_pod_is_the_nodes() -> None:
    probe = s.probe(device_node=1, cpu=2, cpu_node=0, comm="kworker/u32:1", cpus_allowed="0-3,6-7", pod="6-7")
    assert not of_kind("machine-wide", s.trace(probe, machine=isolated("4-5")))


def test_isolating_the_first_cache_of_a_node_is_found_though_all_ran_at_home() -> None:
    trace = run_scenario(load_scenario("nvme-epyc"), "queue-on-node", cmdline="isolcpus=domain,0-7")
    assert all(record.local for record in trace.probes)
    finding = the("machine-wide", trace)
    assert finding.evidence["pool_cpus"] == "8-255"
    assert summarize(trace).held_share == 0


def test_unknown_node_says_what_it_costs() -> None:
    lost = s.probe(device_node=-1, cost_ns=50 * MS, memory={1: 4096})
    placed = s.probe("d2", cost_ns=30 * MS)
    finding = the("unknown-node", s.trace(lost, placed, machine=s.small()))
    assert finding.devices == ("0000:01:00.0",)
    assert finding.evidence["extra_mean_ns"] == 20 * MS
    assert finding.evidence["memory_bytes"] == {"1": 4096}
    assert "/sys/bus/pci/devices/0000:01:00.0/numa_node" in finding.advice


def test_unknown_node_is_silent_on_one_node_and_when_unknown_to_us() -> None:
    assert not of_kind("unknown-node", s.trace(s.probe(device_node=-1), machine=symmetric("one", cores=4)))
    assert not of_kind("unknown-node", s.trace(s.probe(device_node=None), machine=s.small()))


def test_unknown_node_is_silent_on_what_a_replay_assumed() -> None:
    trace = s.trace(s.probe(device_node=-1), machine=s.small())
    assert of_kind("unknown-node", trace)
    assumed = RunWarning(kind="unknown-node", message="0000:01:00.0: the node is not known; replayed without one (-1)")
    assert not of_kind("unknown-node", replace(trace, warnings=(assumed,)))


def test_first_llc_says_how_much_room_is_left() -> None:
    finding = the("first-llc", s.nvme_after())
    assert finding.evidence["group"] == "LLC"
    assert finding.evidence["group_cpus"] == "0-7,128-135"
    assert finding.evidence["idle_groups"] == 7
    assert finding.evidence["most_in_flight"] == 3
    assert "costs nothing yet" in finding.advice


def test_first_llc_proposes_nothing_where_it_costs_nothing_and_no_parameter_that_is_set() -> None:
    assert not proposed(the("first-llc", s.nvme_after()))
    waiting = [
        s.probe(f"d{i}", cpu=i % 8, comm=f"kworker/u1025:{i}", start_ns=i, runnable_ns=9 * MS) for i in range(20)
    ]
    costly = s.trace(*waiting, machine=s.epyc(), kernel="6.12")
    assert proposed(the("first-llc", costly))[0] == "workqueue.default_affinity_scope=numa"
    asked = replace(s.epyc(), info={"cmdline": "quiet workqueue.default_affinity_scope=numa"})
    for kernel in ("6.12", None):
        assert not of_kind("first-llc", s.trace(*waiting, machine=asked, kernel=kernel))


def test_a_kernel_without_affinity_scopes_is_not_asked_to_change_its_own() -> None:
    probe = s.probe(device_node=1, cpu=2, cpu_node=0, comm="kworker/u16:1")
    for kernel, first in (("6.1", "isolcpus=domain,6-7"), ("6.12", "workqueue.default_affinity_scope=numa")):
        assert proposed(the("machine-wide", s.trace(probe, machine=isolated("4-5"), kernel=kernel)))[0] == first


def test_first_llc_is_silent_on_policies_whose_queue_serves_the_node() -> None:
    assert not of_kind("first-llc", replace(s.nvme_after(), policy="strict-node"))


def test_first_llc_looks_at_shards_of_a_single_llc() -> None:
    machine = symmetric("big-llc", nodes=2, cores=32)
    probes = [s.probe(f"d{i}", cpu=i, comm=f"kworker/u513:{i}", start_ns=i) for i in range(8)]
    finding = the("first-llc", s.trace(*probes, machine=machine, kernel="7.2.12-amd64"))
    assert (finding.evidence["group"], finding.evidence["group_cpus"]) == ("shard", "0-7")
    spread = [replace(record, cpu=4 * i) for i, record in enumerate(probes)]
    assert not of_kind("first-llc", s.trace(*spread, machine=machine, kernel="7.2"))
    for kernel in ("7.0", "6.19", None):
        assert not of_kind("first-llc", s.trace(*probes, machine=machine, kernel=kernel))


def test_first_llc_says_what_it_cost() -> None:
    def advice(**fields: object) -> str:
        probes = [s.probe(f"d{i}", cpu=i % 8, comm=f"kworker/u1025:{i}", start_ns=i, **fields) for i in range(20)]
        return the("first-llc", s.trace(*probes, machine=s.epyc())).advice

    assert "waited 200.000 ms for its 16 CPUs" in advice(runnable_ns=10 * MS)
    assert "costs nothing yet: no probe waited" in advice(runnable_ns=0)
    assert "More probes at once" in advice()


def test_first_llc_is_silent_on_bound_workers_few_probes_and_other_llcs() -> None:
    assert not of_kind("first-llc", s.nvme_before())
    pf = s.probe("pf", comm="kworker/u1025:1", cost_ns=90 * MS)
    vfs = [s.probe(f"vf{i}", comm="kworker/u1025:1", start_ns=i * MS, cost_ns=MS, nested=True) for i in range(5)]
    assert not of_kind("first-llc", s.trace(pf, *vfs, machine=s.epyc()))
    two = s.nvme_after().probes[:2]
    assert not of_kind("first-llc", s.trace(*two, machine=s.epyc()))
    away = [s.probe(f"d{i}", cpu=i * 8, comm=f"kworker/u{1025 + i}:1", start_ns=i) for i in range(4)]
    assert not of_kind("first-llc", s.trace(*away, machine=s.epyc()))
