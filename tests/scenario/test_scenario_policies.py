"""A grammar's scenarios under every policy: nothing lost, the same outcome, the same bytes. `make random` does more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.random_scenarios.check import RUN_UNDER, judge, judged_case, prepared
from bench.random_scenarios.grammar import SORTS, make_case
from scenario_text import run

from numaprobe.policies import POLICIES
from numaprobe.scenario.phases import Phase
from numaprobe.scenario.steps import Step

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("first", range(0, 60, 4))
def test_random_scenarios_hold_under_every_policy(first: int) -> None:
    assert [line for seed in range(first, first + 4) for line in judged_case(seed)["wrong"]] == []


def test_another_hash_seed_gives_the_same_bytes() -> None:
    def digests(hash_seed: str) -> list[str]:
        command = [sys.executable, "-m", "bench.random_scenarios", "--slice", "0:8:1:600"]
        done = subprocess.run(
            command,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
        return [json.loads(line)["digest"] for line in done.stdout.splitlines()]

    assert len(first := digests("0")) == 8
    assert digests("4711") == first


def test_the_grammar_says_everything_that_a_scenario_can() -> None:
    """A key that it never writes would be attacked by nobody."""
    cases = [make_case(seed) for seed in range(400)]
    said = {key for case in cases for key in _keys(case.data)}
    assert set(Phase.kinds) <= said
    assert set(Step.kinds) <= said
    assert {
        "shared",
        "slowdown_most",
        "suppliers",
        "parent",
        "attempts",
        "jitter",
        "remove",
        "caller",
        "async_probe",
        "comm",
        "booting",
    } <= said
    assert {case.sort for case in cases} == set(SORTS)
    nodes = [node for case in cases for node in case.topology.nodes]
    assert any(not node.cpus for node in nodes)
    assert any(not node.memory for node in nodes)
    assert any(not node.online for node in nodes)
    assert any(case.topology.online != case.topology.possible for case in cases)
    assert {policy.partition("+")[0] for policy in RUN_UNDER} == set(POLICIES)


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for item in value.values() for key in _keys(item)}
    return {key for item in value for key in _keys(item)} if isinstance(value, list) else set()


def test_a_lost_record_and_a_torn_one_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check must be able to fail."""
    case = next(
        case for case in map(make_case, range(100)) if case.sort == "quiet" and judge(prepared(case), "inline").probes
    )
    monkeypatch.setattr("numaprobe.drivercore.recording.RecordKeeper.keep", lambda *_: None)
    assert any("0 records" in problem for problem in judge(prepared(case), "inline").problems)


# ---- what a policy does change ---------------------------------------------------------------------------------------
COUNTS = [{"sleep": "1ms"}, {"fail": "EPROBE_DEFER", "attempts": 4}]
NAMES = [{"sleep": "1ms"}, {"wait": {"supplier": "q1", "timeout": "0ns"}}]


def last_results(policy: str, phases: list[dict[str, Any]]) -> dict[str, str]:
    drivers = [{"name": "d", "probe_type": "async", "phases": phases}, {"name": "quick"}]
    devices = [
        {"name": "x{i}", "count": 4, "compatible": "d", "node": "spread"},
        {"name": "q{i}", "count": 2, "compatible": "quick", "node": 1},
    ]
    trace = run(policy, machine="2 nodes x 2 llcs x 2 cores", drivers=drivers, devices=devices).trace
    return {probe.device: probe.result for probe in trace.probes}


def test_who_counts_tries_may_end_differently_and_who_names_what_it_waits_for_does_not() -> None:
    """In the kernel as well: how often a deferred device is tried depends on which probes overlap."""
    named = [last_results(policy, NAMES) for policy in POLICIES]
    assert all(ends == dict.fromkeys(["x0", "x1", "x2", "x3", "q0", "q1"], "0") for ends in named)
    counted = [last_results(policy, COUNTS) for policy in POLICIES]
    assert {ends["q1"] for ends in counted} == {"0"}
    assert {ends["x0"] for ends in counted} == {"0", "EPROBE_DEFER"}


# ---- settle ----------------------------------------------------------------------------------------------------------
def chain(policy: str, cpu: int, *after: dict[str, Any]) -> list[bool]:
    """Let an asynchronous probe bring a supplier, whose consumer's asynchronous probe brings another one's."""
    drivers = [{"name": f"d{link}", "probe_type": kind} for link, kind in enumerate(("async", "async", "sync"))]
    devices = [
        {"name": f"x{link}-{{i}}", "count": 2, "compatible": f"d{link}", "node": "spread"}
        | ({"suppliers": [f"x{link - 1}-1"]} if link else {})
        for link in range(3)
    ]
    steps = [{"add": "*"}, {"load": ["d2", "d1"]}, {"settle": True}, {"register": "d0"}, {"settle": True}, *after]
    steps.append({"expect_bound": "*"})
    checks = run(policy, drivers=drivers, devices=devices, steps=steps, caller={"cpu": cpu}).checks
    return [check.passed for check in checks]


@pytest.mark.parametrize("cpu", [0, 2])
@pytest.mark.parametrize("policy", RUN_UNDER)
def test_settle_waits_for_the_retries_that_the_probes_make_it_waits_for(policy: str, cpu: int) -> None:
    """One wait_for_device_probe() does not: whether it saw a retry was up to who woke first, and so to the policy."""
    assert chain(policy, cpu) == [True]
    bus = {"autoprobe": {"bus": "platform", "on": False}}  # a retry that is late finds that it may not probe any more
    assert chain(policy, cpu, bus, {"wait": "1s"}) == [True]


@pytest.mark.parametrize("policy", RUN_UNDER)
def test_a_step_in_the_middle_of_a_retry_is_not_given_up_before_it_begins(policy: str) -> None:
    """The end of the scenario waits for the probe that a step is to meet, also if that is a retry."""
    body = [{"compute": "1ms"}]
    drivers = [
        {"name": "con", "probe_type": "sync", "phases": body},
        {"name": "sup", "probe_type": "async", "phases": body},
    ]
    devices = [
        {"name": "s", "compatible": "sup", "node": 0},
        {"name": "c", "compatible": "con", "node": 0, "suppliers": ["s"]},
    ]
    meeting = {"isolate": "", "during": {"probe": "c", "after": "100us"}}
    steps = [{"add": "*"}, {"load": "con"}, meeting, {"register": "sup"}]
    for cpu in (0, 2):
        outcome = run(policy, drivers=drivers, devices=devices, steps=steps, caller={"cpu": cpu})
        assert outcome.passed, outcome.checks
