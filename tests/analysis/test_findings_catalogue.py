"""All rules together: complete, documented, robust against what a source leaves out, and without squares."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import synthetic as s
from hypothesis import given, settings
from hypothesis import strategies as st
from rules import isolated, the, three_nodes

import numaprobe.analysis.findings as folder
from counting import lines_run
from numaprobe.analysis import CATALOGUE, find
from numaprobe.policies import POLICIES
from numaprobe.records import RunWarning, Severity, Trace, finding_to_json
from numaprobe.scenario.doubts import PARAMETERS

if TYPE_CHECKING:
    from numaprobe.topology import Topology

MS = s.MS


# ---- the catalogue ----


def test_the_folder_is_the_catalogue() -> None:
    helpers = {"__init__", "case", "catalogue", "blockers", "remedies", "waiting"}
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
        assert not any(re.search(rf"\b{policy}\b", finding.advice) for policy in POLICIES)
        assert not any(f"{name}=" in finding.advice for name in PARAMETERS)
        json.dumps(finding_to_json(finding), allow_nan=False)


def test_ten_thousand_lost_devices_take_no_square() -> None:
    def lost(count: int) -> Trace:
        return s.trace(*(s.probe(f"d{i}", start_ns=i, result="EPROBE_DEFER") for i in range(count)))

    few, many = lost(500), lost(5000)
    assert lines_run(lambda: the("deferral-chain", many)) < 11 * lines_run(lambda: the("deferral-chain", few))
    assert len(the("deferral-chain", lost(10_000)).devices) == 10_000


def test_ten_thousand_probes_take_no_square() -> None:
    """Four times the probes: four times the work, some for sorting; a square would be sixteen."""
    traces = [s.many(count, per_cpu=True) for count in (1_000, 4_000)]
    few, many = (lines_run(lambda trace=trace: find(trace)) for trace in traces)  # type: ignore[misc]
    assert many < 8 * few


def test_costs_that_were_assumed_show_nothing_of_time() -> None:
    """600 network cards of 1 ms each, because nobody measured them: where they ran is known, what they lost is not."""
    probes = [
        s.probe(f"n{i}", driver="nic", asynchronous=False, caller_comm="modprobe", comm="modprobe",
                cpu=5, cpu_node=1, start_ns=i * MS, cost_ns=MS)
        for i in range(600)
    ]  # fmt: skip
    told = s.trace(*probes, machine=s.small())
    assert {finding.kind for finding in find(told)} == {"serial-sync", "remote"}
    warning = RunWarning(kind="assumed-cost", message="…", devices=tuple(record.device for record in probes))
    (finding,) = find(replace(told, warnings=(warning,)))
    assert finding.kind == "remote"
    assert "cost_ns" not in finding.evidence


def test_how_much_a_finding_matters() -> None:
    assert {f.kind: f.severity for f in find(s.nvme_before())} == {"same-cpu": Severity.HIGH}
    assert {f.kind: f.severity for f in find(s.nvme_after())} == {"first-llc": Severity.LOW}
    assert {f.kind: f.severity for f in find(s.nvme_inline())} == {"remote": Severity.MEDIUM}


def test_the_handbook_explains_every_rule() -> None:
    text = (Path(__file__).parents[2] / "docs" / "findings.md").read_text(encoding="utf-8")
    for rule in CATALOGUE:
        assert f"\n## {rule.KIND}\n" in text
        assert f"| [`{rule.KIND}`]" in text
