"""Advice that was run: what a finding names was repeated on this very trace, and did what it was for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from numaprobe.analysis import find
from numaprobe.analysis.effect import helps, sentence
from numaprobe.records import Aim, Figures, Finding, Remedy
from numaprobe.scenario import machine_scenario, parse_scenario, run_scenario
from numaprobe.study import compare, diagnose, make_setting, read_trace, run, vary
from numaprobe.study.confirm import ProbeBudget, Repetitions, confirm
from numaprobe.topology import DeviceInfo, symmetric

GUEST = Path(__file__).parents[1] / "data" / "kernel" / "debian-7.2" / "two-nodes"
MS = 1_000_000


def advised(found: tuple[Finding, ...], kind: str) -> Finding:
    (finding,) = {finding.advice: finding for finding in found if finding.kind == kind}.values()
    return finding


def sync_drives(*phases: dict[str, str]) -> dict:
    return {
        "machine": "2 nodes x 4 cores",
        "kernel": "6.12",
        "drivers": [{"name": "ahci", "bus": "pci", "probe_type": "default", "phases": list(phases)}],
        "devices": [{"name": "0000:0{i}:00.0", "bus": "pci", "count": 4, "first": 1, "node": 0, "compatible": "ahci"}],
        "steps": [{"add": "*"}, {"load": "ahci"}],
    }


# ---- contradictions that there were -----------------------------------------------------------------------------


def test_a_serial_load_alone_is_promised_nothing_of_asynchronous_probing() -> None:
    """It said that this saves 285 ms at best. What the drives share is not known: the kernel got 10 % slower."""
    trace = read_trace(GUEST / "sync.1.trace.gz", machine=str(GUEST))
    finding = advised(diagnose(trace).findings, "serial-sync")
    assert finding.remedies == ()
    assert "driver_async_probe" not in finding.advice
    setting = make_setting(trace)
    changed = vary(setting, parameters={"driver_async_probe": "nvme"})
    low, high = run(changed).trace.makespan_range_ns or (0, 0)
    before = run(setting).trace
    assert low < max(r.end_ns or 0 for r in before.probes) - min(r.start_ns or 0 for r in before.probes) < high


def test_what_does_not_help_is_not_advised() -> None:
    """Probes that compute alone take as long on one CPU, whoever waits for them; those that sleep do not."""
    computing, sleeping = (
        make_setting(parse_scenario(sync_drives({kind: "100ms"}), "test")) for kind in ("compute", "sleep")
    )
    useless = advised(diagnose(run(computing).trace, computing).findings, "serial-sync")
    useful = advised(diagnose(run(sleeping).trace, sleeping).findings, "serial-sync")
    assert useless.remedies == ()
    assert "driver_async_probe" not in useless.advice
    assert "driver_async_probe=ahci: makespan 400.000 ms → 100.000 ms (-75.0 %)" in useful.advice


@pytest.mark.parametrize("name", ["isolated", "nvme-epyc", "mixed-bus", "busy", "parallel-binds", "small-shards"])
def test_a_policy_that_is_advised_stands_in_the_same_table_with_that_gain(name: str) -> None:
    """It advised a policy that the same table showed off the node."""
    comparison = compare(make_setting(name)).comparison
    rows = {entry.label: entry.summary for entry in comparison.entries}
    advice = 0
    for entry in comparison.entries:
        for finding in entry.trace.findings:
            assert "numaprobe compare" not in finding.advice
            for remedy in finding.remedies:
                if remedy.policy is None or remedy.after is None:
                    continue
                advice += 1
                assert f"policy {remedy.policy}" in finding.advice
                assert remedy.after.makespan_ns == rows[remedy.policy].makespan_ns
                assert remedy.after.local_share == rows[remedy.policy].local_share
                if (remedy.after.local_share or 1) < (entry.summary.local_share or 0):
                    assert "paid with remote memory" in finding.advice
    assert advice


def test_costs_that_were_assumed_make_no_finding_about_time() -> None:
    """600 network cards of 1 ms each, because nobody measured them."""
    cards = tuple(DeviceInfo(name=f"nic{i}", bus="platform", node=1, driver="unheard-of") for i in range(600))
    trace = run_scenario(machine_scenario(replace(symmetric("box", nodes=2, cores=4), devices=cards)), "inline")
    assert {finding.kind for finding in find(trace)} == {"remote"}


# ---- how it is done -------------------------------------------------------------------------------------------------


def test_a_setting_is_advised_before_a_policy_and_each_is_the_best_of_its_kind() -> None:
    setting = vary(make_setting("isolated"), policy="queue-on-node")
    finding = advised(diagnose(run(setting).trace, setting).findings, "machine-wide")
    assert [(one.parameter or one.policy) for one in finding.remedies] == [
        "workqueue.default_affinity_scope=numa",
        "strict-node",
    ]
    again = run(vary(setting, parameters={"workqueue.default_affinity_scope": "numa"})).trace
    assert not [one for one in find(again) if one.kind == "machine-wide"]


def test_a_driver_is_loaded_from_its_devices_node_where_that_helps() -> None:
    setting = vary(make_setting("mixed-bus"), policy="inline")
    finding = advised(diagnose(run(setting).trace, setting).findings, "remote")
    assert finding.remedies[0].load_from == "node1"
    assert "Loaded from node1 (numactl --cpunodebind=1): 100 % on node (0 % without)" in finding.advice


def test_what_is_set_already_is_not_advised() -> None:
    setting = make_setting("small-shards", cmdline="driver_async_probe=nvme workqueue.default_affinity_scope=numa")
    for policy in ("inline", "queue-on-node"):
        varied = vary(setting, policy=policy)
        for finding in diagnose(run(varied).trace, varied).findings:
            assert not [one for one in finding.remedies if one.parameter]


def test_a_trace_that_cannot_be_replayed_gets_no_such_advice_and_is_told_why() -> None:
    trace = replace(read_trace(GUEST / "sync.1.trace.gz", machine=str(GUEST)), machine={})
    diagnosed = diagnose(trace)
    finding = advised(diagnosed.findings, "serial-sync")
    assert finding.remedies == ()
    assert "driver_async_probe" not in finding.advice
    assert diagnosed.warnings[-1].kind == "not-tried"
    assert "on which machine it was recorded" in diagnosed.warnings[-1].message


def test_gains_on_a_recording_are_bounds_and_those_of_a_scenario_are_not() -> None:
    trace = read_trace(GUEST / "async.1.trace.gz", machine=str(GUEST))
    assert "(at most -" in advised(diagnose(trace).findings, "same-cpu").advice
    setting = make_setting("nvme-epyc")
    assert "at most" not in advised(diagnose(run(setting).trace, setting).findings, "same-cpu").advice


def test_a_change_that_leaves_a_device_unbound_helps_nobody() -> None:
    data = sync_drives({"sleep": "100ms"}) | {"steps": [{"add": "*"}, {"register": "ahci"}, {"expect_bound": "*"}]}
    setting = make_setting(parse_scenario(data, "test"))
    assert advised(diagnose(run(setting).trace, setting).findings, "serial-sync").remedies == ()
    unchecked = vary(setting, {"steps": data["steps"][:2]})
    assert advised(diagnose(run(unchecked).trace, unchecked).findings, "serial-sync").remedies


def test_nothing_is_tried_beyond_the_budget_and_that_is_told() -> None:
    setting = make_setting("nvme-epyc")
    trace = replace(run(setting).trace, findings=find(run(setting).trace))
    told = confirm(trace, Repetitions(setting, budget=ProbeBudget(left=3)), setting.policy.label)
    assert advised(told.findings, "same-cpu").remedies == ()
    assert told.warnings[-1].message == "3 changes that might help were not tried: too many probes"


# ---- what helps ------------------------------------------------------------------------------------------------


def changed(aim: Aim, before: Figures, after: Figures, doubt: tuple[float, float] | None = None) -> Remedy:
    return Remedy(aim=aim, policy="p", before=before, after=after, makespan_range_percent=doubt)


def test_time_is_saved_by_the_whole_or_by_the_slowest_of_a_whole_that_takes_as_long() -> None:
    base = Figures(makespan_ns=100 * MS, worst_ns=50 * MS, local_share=1.0)
    assert helps(changed(Aim.TIME, base, replace(base, makespan_ns=90 * MS, worst_ns=80 * MS)))
    assert helps(changed(Aim.TIME, base, replace(base, worst_ns=40 * MS)))
    assert not helps(changed(Aim.TIME, base, base))
    assert not helps(changed(Aim.TIME, base, replace(base, makespan_ns=110 * MS, worst_ns=40 * MS)))
    assert not helps(Remedy(aim=Aim.TIME, policy="p"))


def test_a_gain_that_is_in_doubt_helps_only_if_it_cannot_be_a_loss() -> None:
    base = Figures(makespan_ns=100 * MS, worst_ns=50 * MS)
    after = replace(base, makespan_ns=40 * MS)
    assert not helps(changed(Aim.TIME, base, after, (-60.0, 10.0)))
    likely = changed(Aim.TIME, base, after, (-60.0, 0.0))
    assert helps(likely)
    assert "makespan -60.0 to +0.0 % (what is shared is not known)" in sentence(likely, sure=False)


def test_a_gain_that_is_paid_with_remote_memory_says_so() -> None:
    base = Figures(makespan_ns=100 * MS, worst_ns=50 * MS, local_share=1.0)
    paid = changed(Aim.TIME, base, replace(base, makespan_ns=50 * MS, local_share=0.56))
    text = "Under the policy p: makespan 100.000 ms → 50.000 ms (-50.0 %), paid with remote memory: 56 % on node"
    assert sentence(paid, sure=True).startswith(text)


def test_place_is_more_probes_on_their_node_or_drawn_to_it_or_less_time_away() -> None:
    base = Figures(local_share=0.5, drawn_share=0.5, remote_ns=5 * MS)
    for better in ({"local_share": 0.6}, {"drawn_share": 0.9}, {"remote_ns": 0}):
        assert helps(changed(Aim.PLACE, base, replace(base, **better))), better
    assert not helps(changed(Aim.PLACE, base, replace(base, makespan_ns=1)))
    assert "90 % drawn to their node" in sentence(changed(Aim.PLACE, base, replace(base, drawn_share=0.9)), sure=True)
