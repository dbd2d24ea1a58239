"""Every rule has a trace on which it must fire and one on which it must not."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic as s
from hypothesis import given, settings
from hypothesis import strategies as st

import numaprobe.analysis.findings as folder
from numaprobe.analysis import CATALOGUE, find
from numaprobe.analysis.findings.serial_sync import MIN_SAVING_NS
from numaprobe.cpuset import CpuSet
from numaprobe.records import Finding, Trace, finding_to_json
from numaprobe.topology import Housekeeping, Topology, symmetric

MS = s.MS


def of_kind(kind: str, trace: Trace) -> list[Finding]:
    return [finding for finding in find(trace) if finding.kind == kind]


def the(kind: str, trace: Trace) -> Finding:
    found = of_kind(kind, trace)
    assert len(found) == 1, [finding.kind for finding in find(trace)]
    return found[0]


# ---- same-cpu ----


def test_same_cpu_says_who_waited_for_whom() -> None:
    finding = the("same-cpu", s.nvme_before())
    assert finding.devices == ("0000:01:00.0", "0000:02:00.0", "0000:03:00.0")
    trace = s.nvme_before()
    assert finding.evidence["runnable_ns"] == sum(r.runnable_ns or 0 for r in trace.probes)
    for wait in finding.evidence["waits"]:
        others = wait["because_of"]
        assert wait["device"] not in others
        # Nothing but the three runs on this CPU: what one waited is what the others ran meanwhile.
        assert sum(others.values()) == wait["runnable_ns"]
    assert "128 CPUs of node 0" in finding.advice


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


def test_same_cpu_is_one_finding_when_many_cpus_are_shared() -> None:
    probes = [
        s.probe(f"d{i}", cpu=i % 8, comm=f"kworker/u1025:{i}", start_ns=i, cost_ns=10 * MS, runnable_ns=MS)
        for i in range(64)
    ]
    finding = the("same-cpu", s.trace(*probes, machine=s.epyc()))
    assert finding.evidence["shared_cpus"] == "0-7"
    assert finding.evidence["runnable_ns"] == 64 * MS
    assert "default_affinity_scope=numa" in finding.advice


# ---- remote, left-node ----


def test_remote_names_the_nodes_and_the_caller() -> None:
    finding = the("remote", s.nvme_inline())
    assert finding.evidence["node"] == 0
    assert finding.evidence["ran_on_nodes"] == {"1": 3}
    assert finding.evidence["memory_away_bytes"] == 3 * 2**20
    assert finding.evidence["distance"] == 20
    assert "numactl --cpunodebind=0" in finding.advice


@pytest.mark.parametrize(
    ("fields", "reason", "word"),
    [
        ({"comm": "kworker/u33:1", "asynchronous": False}, "worker without a node", "deferred"),
        ({"comm": "kworker/u33:1", "asynchronous": True}, "worker queued for the node", "strict-node"),
        (
            {"comm": "kworker/u33:1", "asynchronous": False, "caller_comm": "insmod"},
            "worker queued for the node",
            "idle CPU",
        ),
        ({"comm": "insmod", "asynchronous": False}, "caller", "numactl"),
    ],
)
def test_remote_advises_by_what_ran_it(fields: dict, reason: str, word: str) -> None:
    finding = the("remote", s.trace(s.probe(device_node=1, **fields), machine=s.small()))
    assert finding.evidence["ran_in"] == reason
    assert word in finding.advice


def test_remote_is_silent_on_the_node_and_without_one() -> None:
    assert not of_kind("remote", s.nvme_before())
    assert not of_kind("remote", s.trace(s.probe(device_node=-1, cpu_node=1), machine=s.small()))
    assert not of_kind("remote", s.trace(s.probe(device_node=None, cpu_node=1)))


def three_nodes(far: int) -> Topology:
    """Node 2 has memory only; node 1 is ``far`` from it and node 0 at 20."""
    machine = symmetric("memory-node", nodes=2, cores=4)
    from numaprobe.topology import Node

    distances = ((10, 20, 20), (20, 10, far), (20, far, 10))
    return replace(machine, nodes=(*machine.nodes, Node(2, CpuSet(), 2**30)), distances=distances)


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


def isolated(cpus: str) -> Topology:
    return symmetric("isolated", nodes=2, cores=4, housekeeping=Housekeeping(isolated=CpuSet.parse_list(cpus)))


@pytest.mark.parametrize("pool", [16, 32])
def test_machine_wide_in_either_numbering_of_pools(pool: int) -> None:
    probe = s.probe(device_node=1, cpu=2, cpu_node=0, comm=f"kworker/u{pool}:1")
    finding = the("machine-wide", s.trace(probe, machine=isolated("4-5")))
    assert finding.evidence["pool"] == pool
    assert finding.evidence["isolated_cpus"] == "4-5"
    assert finding.evidence["usable_cpus"] == "6-7"
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


def test_machine_wide_is_silent_where_the_pool_stayed_on_the_node() -> None:
    probe = s.probe(device_node=1, cpu=6, cpu_node=1, comm="kworker/u32:1")
    assert not of_kind("machine-wide", s.trace(probe, machine=isolated("4-5")))


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


def test_first_llc_says_how_much_room_is_left() -> None:
    finding = the("first-llc", s.nvme_after())
    assert finding.evidence["group"] == "LLC"
    assert finding.evidence["group_cpus"] == "0-7,128-135"
    assert finding.evidence["idle_groups"] == 7
    assert finding.evidence["most_in_flight"] == 3
    assert "costs nothing yet" in finding.advice


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


# ---- serial-sync, slow-sync, udev-timeout ----


def sync_probes(*costs: int, **fields: object) -> Trace:
    start, probes = 0, []
    for i, cost in enumerate(costs):
        values = {"asynchronous": False, "comm": "modprobe", "caller_comm": "modprobe", "driver": "slowdrv"} | fields
        probes.append(s.probe(f"d{i}", start_ns=start, cost_ns=cost, **values))
        start += cost + MS
    return s.trace(*probes, machine=s.small())


def test_serial_sync_bounds_the_saving() -> None:
    finding = the("serial-sync", sync_probes(500 * MS, 400 * MS, 300 * MS))
    assert finding.evidence["held_ns"] == 1200 * MS
    assert finding.evidence["saving_at_best_ns"] == 700 * MS
    assert "driver_async_probe=slowdrv" in finding.advice
    assert "panic" in finding.advice


def test_serial_sync_is_silent_on_one_device_short_ones_and_async() -> None:
    assert not of_kind("serial-sync", sync_probes(5000 * MS))
    assert not of_kind("serial-sync", sync_probes(MIN_SAVING_NS // 3, MIN_SAVING_NS // 3, MIN_SAVING_NS // 3))
    assert not of_kind("serial-sync", sync_probes(500 * MS, 400 * MS, asynchronous=True))
    assert not of_kind("serial-sync", sync_probes(500 * MS, 400 * MS, asynchronous=None))


def test_slow_sync_fires_on_one_slow_device_and_not_where_serial_sync_does() -> None:
    finding = the("slow-sync", sync_probes(5000 * MS, MS))
    assert finding.devices == ("d0",)
    assert finding.evidence["slowest_ns"] == 5000 * MS
    assert not of_kind("slow-sync", sync_probes(500 * MS, 400 * MS))
    assert not of_kind("slow-sync", sync_probes(90 * MS))
    assert not of_kind("slow-sync", sync_probes(5000 * MS, asynchronous=True))


def test_parallel_callers_of_one_name_are_not_one_caller() -> None:
    """Three shells that bind at once hold three shells, each for one probe."""
    probes = [s.probe(f"d{i}", asynchronous=False, caller_comm="sh", cost_ns=500 * MS) for i in range(3)]
    assert not of_kind("serial-sync", s.trace(*probes))
    assert the("slow-sync", s.trace(*probes)).evidence["held_ns"] == 500 * MS


def test_writes_to_bind_are_told_to_go_in_parallel_and_hold_no_registration() -> None:
    serial = sync_probes(500 * MS, 400 * MS, path="device_driver_attach(sysfs bind)", caller_comm="sh")
    assert "numaprobe bind" in the("serial-sync", serial).advice
    assert not of_kind("slow-sync", sync_probes(500 * MS, path="device_driver_attach"))


def test_udev_timeout_by_one_probe_or_by_many_in_one_caller() -> None:
    assert the("udev-timeout", sync_probes(100_000 * MS)).evidence["limit_ns"] == 180_000 * MS
    many = the("udev-timeout", sync_probes(*[1000 * MS] * 95, caller_comm="(udev-worker)"))
    assert many.evidence["caller"] == "(udev-worker)"
    assert many.evidence["held_ns"] == 95_000 * MS
    assert the("udev-timeout", sync_probes(100_000 * MS, asynchronous=True)).devices == ("d0",)


def test_udev_timeout_is_silent_below_half_of_it() -> None:
    assert not of_kind("udev-timeout", sync_probes(80_000 * MS))
    assert not of_kind("udev-timeout", sync_probes(*[1000 * MS] * 85))


# ---- deferral-chain ----


def attempt(device: str, start: int, result: str = "0", number: int = 1) -> object:
    return s.probe(device, start_ns=start * MS, cost_ns=MS, result=result, attempt=number)


def test_deferral_chain_finds_its_root() -> None:
    """phy waits for clk, mac for phy: clk is the root of both."""
    trace = s.trace(
        attempt("mac", 0, "EPROBE_DEFER"), attempt("phy", 1, "EPROBE_DEFER"), attempt("other", 2), attempt("clk", 50),
        attempt("phy", 52, "0", 2), attempt("mac", 54, "0", 2),
    )  # fmt: skip
    finding = the("deferral-chain", trace)
    assert finding.devices == ("clk", "phy", "mac")
    assert finding.evidence["after"] == {"phy": "clk", "mac": "phy"}
    assert finding.evidence["wasted_ns"] == 2 * MS
    assert finding.evidence["longest_delay_ns"] == 55 * MS


def test_deferral_chain_names_those_that_never_bound() -> None:
    finding = the("deferral-chain", s.trace(attempt("lost", 0, "EPROBE_DEFER"), attempt("lost", 9, "EPROBE_DEFER", 2)))
    assert finding.evidence["root"] is None
    assert finding.evidence["attempts"] == 2
    assert "devices_deferred" in finding.advice


def test_deferral_chain_is_silent_without_deferrals() -> None:
    assert not of_kind("deferral-chain", s.trace(attempt("a", 0), attempt("b", 1, "ENODEV")))


# ---- the catalogue ----


def test_the_folder_is_the_catalogue() -> None:
    helpers = {"__init__", "case", "catalogue", "blockers", "waiting"}
    stems = {path.stem for path in Path(folder.__file__).parent.glob("*.py")} - helpers
    rules = {stem.replace("_", "-") for stem in stems}
    assert {rule.KIND for rule in CATALOGUE} == rules
    assert len({rule.SUMMARY for rule in CATALOGUE}) == len(CATALOGUE)


RECORDS = st.builds(
    s.probe,
    device=st.sampled_from([f"d{i}" for i in range(6)]),
    driver=st.sampled_from(["nvme", "ixgbe"]),
    bus=st.sampled_from(["pci", None]),
    device_node=st.sampled_from([None, -1, 0, 1, 7]),
    cpu=st.sampled_from([None, 0, 3, 6, 500, 10**9]),
    cpu_node=st.sampled_from([None, 0, 1, -1]),
    comm=st.sampled_from([None, "modprobe", "kworker/0:1", "kworker/0:2", "kworker/u32:4", "kworker/u99999999999:1"]),
    asynchronous=st.sampled_from([None, True, False]),
    nested=st.sampled_from([None, True, False]),
    result=st.sampled_from([None, "0", "EPROBE_DEFER", "ENODEV"]),
    start_ns=st.one_of(st.none(), st.integers(0, 10**12)),
    cost_ns=st.integers(0, 10**12),
    runnable_ns=st.one_of(st.none(), st.integers(0, 10**9)),
    caller_comm=st.sampled_from([None, "sh", "kworker/u32:1"]),
    memory=st.sampled_from([None, {}, {0: 1, 1: 2}]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORDS, max_size=12), st.sampled_from([None, s.small(), isolated("4-5"), three_nodes(30)]))
def test_whatever_a_source_leaves_out_the_rules_stand_and_give_evidence(probes: list, machine: Topology | None) -> None:
    probes = [replace(p, end_ns=None) if p.start_ns is None else p for p in probes]
    known = {p.device for p in probes}
    for finding in find(s.trace(*probes, machine=machine)):
        assert finding.devices
        assert set(finding.devices) <= known
        assert finding.evidence
        assert finding.advice.endswith(".")
        json.dumps(finding_to_json(finding), allow_nan=False)


def test_ten_thousand_lost_devices_take_no_square() -> None:
    trace = s.trace(*(s.probe(f"d{i}", start_ns=i, result="EPROBE_DEFER") for i in range(10_000)))
    start = time.process_time()
    finding = the("deferral-chain", trace)
    assert len(finding.devices) == 10_000
    assert time.process_time() - start < 2


def test_ten_thousand_probes_take_no_square() -> None:
    """Four times the probes may take at most eight times as long: far from the sixteen of a square."""
    times = []
    for count in (2_500, 10_000):
        trace = s.many(count, per_cpu=True)
        start = time.process_time()
        find(trace)
        times.append(time.process_time() - start)
    assert times[1] < max(8 * times[0], 0.5)
    assert times[1] < 5


def test_the_handbook_explains_every_rule() -> None:
    text = (Path(__file__).parents[2] / "docs" / "findings.md").read_text(encoding="utf-8")
    for rule in CATALOGUE:
        assert f"\n## {rule.KIND}\n" in text
        assert f"| [`{rule.KIND}`]" in text
