"""The sentence above a table: which rows lose, how much, why, and which avoid it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import synthetic as s

from numaprobe.analysis import compare, find
from numaprobe.analysis.chain import Because, critical_chain
from numaprobe.analysis.verdict import verdict, verdict_of_trace
from numaprobe.records import Reading, Trace
from numaprobe.scenario import builtin_names
from numaprobe.study import compare as compare_policies
from numaprobe.study import compare_variations, make_setting, parse_axes

MS = s.MS
#: ``host`` is another machine everywhere
NAMES = [name for name in builtin_names() if name != "host"]
GOLDEN = Path(__file__).parent / "verdicts.txt"


def test_the_built_in_scenarios_are_answered_as_they_were() -> None:
    """NUMAPROBE_GOLDEN=write writes the file: read it aloud."""
    lines = [f"{name}: {verdict(compare_policies(make_setting(name)).comparison)}\n" for name in NAMES]
    if os.environ.get("NUMAPROBE_GOLDEN") == "write":
        GOLDEN.write_text("".join(lines), encoding="utf-8")
    assert "".join(lines) == GOLDEN.read_text(encoding="utf-8")


def test_on_one_node_policies_cannot_differ_unless_they_do() -> None:
    alike = compare_policies(make_setting("lab-nvme", machine="1 node x 4 cores", overrides=["devices[0].node=0"]))
    assert verdict(alike.comparison) == "one node: policies cannot differ here"
    differ = compare_policies(make_setting("nvme-epyc", machine="1 node x 8 cores"))
    assert verdict(differ.comparison).startswith("work-on-cpu and probe-workqueue queue three drives on CPU 0")


def test_settings_are_called_variations_and_one_that_helps_is_named() -> None:
    setting = make_setting("nvme-epyc", policy="work-on-cpu")
    compared = compare_variations(setting, parse_axes(["devices=1,3"]))
    assert verdict(compared.comparison) == "no variation has a shorter makespan than 1 devices"
    better = compare_variations(setting, parse_axes(["policy=work-on-cpu,strict-node"]))
    words = "the shortest makespan has strict-node: -35.2 % of work-on-cpu's, 100 % on node"
    assert verdict(better.comparison) == words


def test_recorded_traces_stand_beside_the_base_by_name() -> None:
    before, after = (replace(trace, source="kernel", policy=None) for trace in (s.nvme_before(), s.nvme_after()))
    comparison = compare([before, after, before], labels=["before.json", "after.json", "again.json"])
    assert verdict(comparison) == "after.json: makespan -34.8 %; again.json takes as long, against before.json"


def test_a_gain_in_doubt_is_a_range_and_names_no_winner() -> None:
    doubted = replace(s.nvme_after(), readings=(Reading("least", 20 * MS, 20 * MS), Reading("most", 60 * MS, 60 * MS)))
    text = verdict(compare([s.nvme_before(), doubted]))
    assert text == (
        "queue-on-node changes the makespan by -62 to +13 % of work-on-cpu's: what these probes share is not known for"
        " sure"
    )


def diagnosed(trace: Trace) -> Trace:
    return replace(trace, findings=find(trace))


def test_a_loss_in_a_replay_of_a_recording_is_a_bound() -> None:
    recorded = replace(s.nvme_before(), source="kernel", policy="recorded")
    text = verdict(compare([recorded, s.nvme_before(), s.nvme_after()], "work-on-cpu"))
    assert text == "work-on-cpu queues three drives on CPU 0: at most +53 %; queue-on-node avoids it"


def test_one_trace_is_its_weightiest_finding() -> None:
    before = verdict_of_trace(diagnosed(s.nvme_before()))
    assert before == "three drives were queued on CPU 0: 54.600 ms of 157.500 ms were waiting"
    assert verdict_of_trace(diagnosed(s.nvme_inline())) == "three drives of node 0 were probed on node 1"
    after = verdict_of_trace(diagnosed(s.nvme_after()))
    assert after == "nothing was lost in three probes; three drives shared the first LLC of node 0"
    assert verdict_of_trace(s.trace(s.probe())) == "nothing stands out in one probe"
    assert verdict_of_trace(s.trace()) == "nothing was probed"


# ---- the critical chain ----


def test_the_chain_of_a_caller_that_does_one_after_the_other() -> None:
    chain = critical_chain(s.nvme_inline())
    assert [link.record.device for link in chain] == ["0000:03:00.0", "0000:02:00.0", "0000:01:00.0"]
    assert [link.because for link in chain] == [Because.CALLER, Because.CALLER, None]


def test_probes_that_run_beside_each_other_are_no_chain() -> None:
    (link,) = critical_chain(s.nvme_after())
    assert (link.record.device, link.because) == ("0000:03:00.0", None)


def test_a_pool_that_lets_one_through_at_a_time_is_a_chain() -> None:
    probes = [
        s.probe(
            f"d{i}", cpu=0, comm=f"kworker/0:{i}", caller_comm=f"kworker/u8:{i}", start_ns=i * 10 * MS, cost_ns=10 * MS
        )
        for i in range(3)
    ]
    assert [link.because for link in critical_chain(s.trace(*probes))] == [Because.WORKER, Because.WORKER, None]


def test_a_deferred_probe_waited_for_its_supplier_and_not_for_its_worker() -> None:
    probes = (
        s.probe("clk", cpu=2, comm="kworker/2:0", cost_ns=50 * MS),
        s.probe("mac", start_ns=MS, cost_ns=MS, result="EPROBE_DEFER"),
        s.probe("other", start_ns=3 * MS, cost_ns=MS),
        s.probe("mac", start_ns=51 * MS, cost_ns=9 * MS, attempt=2),
    )
    chain = critical_chain(s.trace(*probes))
    assert [(link.record.device, link.because) for link in chain] == [("mac", Because.SUPPLIER), ("clk", None)]


def test_what_long_idled_held_nobody_up_and_nested_probes_are_part_of_theirs() -> None:
    apart = (s.probe("a"), s.probe("b", start_ns=500 * MS))
    assert len(critical_chain(s.trace(*apart))) == 1
    outer = s.probe("pf", cost_ns=50 * MS)
    inner = s.probe("vf", start_ns=10 * MS, cost_ns=40 * MS, nested=True)
    assert [link.record.device for link in critical_chain(s.trace(outer, inner))] == ["pf"]
    assert critical_chain(s.seed_table("dec27", "work-on-cpu")) == []
