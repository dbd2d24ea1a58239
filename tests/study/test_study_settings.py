"""Settings from whatever there is, and what the commands are made of: the same results as theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from numaprobe import study
from numaprobe.cli.main import run_command
from numaprobe.errors import InputError, UnknownNameError, UsageError
from numaprobe.records import dump_trace
from numaprobe.scenario import load_scenario
from numaprobe.study import RECORDED, compare, is_trace, make_setting, read_trace, run
from numaprobe.topology import load_topology

GUEST = Path(__file__).parents[1] / "data" / "kernel" / "debian-7.2" / "two-nodes"
TRACE = GUEST / "async.1.trace.gz"


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert run_command([str(one) for one in arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_scenario_by_name_file_or_object() -> None:
    by_name = make_setting("nvme-epyc", devices=2, overrides=["drivers[0].probe_type=sync"])
    by_object = make_setting(load_scenario("nvme-epyc"), devices=2, overrides=["drivers[0].probe_type=sync"])
    assert by_name == by_object
    assert (by_name.scenario.devices[0].count, by_name.policy.name) == (2, "work-on-cpu")


def test_a_trace_by_file_or_object_is_run_under_its_own_policy() -> None:
    by_file = make_setting(TRACE, machine=str(GUEST))
    trace = read_trace(TRACE, machine=load_topology(str(GUEST)))
    assert make_setting(trace) == by_file
    assert by_file.policy.name == "probe-workqueue"
    own = run(make_setting("nvme-epyc", policy="probe-on-node+pin")).trace
    assert make_setting(own).policy.label == "probe-on-node+pin"
    assert make_setting(own, policy="inline").policy.label == "inline"


def test_a_machine_is_whose_devices_are_meant() -> None:
    tree = load_topology(str(GUEST))
    if any(device.driver for device in tree.devices):
        assert make_setting("host", machine=tree).machine.devices == tree.devices
    with pytest.raises(InputError):
        make_setting("host", machine="2 nodes x 2 cores")


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(UsageError, match="devices of its trace"):
        make_setting(TRACE, devices=2)
    with pytest.raises(UsageError, match="is for recorded traces"):
        make_setting("nvme-epyc", kprobes=TRACE)
    with pytest.raises(UnknownNameError):
        make_setting("nvme-epic")


def test_what_is_a_trace() -> None:
    assert is_trace("-")
    assert is_trace(TRACE)
    assert is_trace(read_trace(TRACE))
    assert not any(map(is_trace, ["nvme-epyc", "x.toml", "no\0name", GUEST, load_scenario("nvme-epyc"), "n" * 5000]))


def test_compare_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    compared = compare(make_setting("mixed-bus", kernel="7.3"), ["spread", "inline"], baseline="exec-on-node")
    command = ["compare", "mixed-bus", "-k", "7.3", "-p", "spread", "-p", "inline", "-b", "exec-on-node", "--json"]
    assert printed(capsys, *command) == compared.comparison.to_dict()
    recorded = read_trace(TRACE, machine=str(GUEST))
    both = compare(make_setting(recorded), ["inline"], recorded=recorded)
    assert both.comparison.to_dict() == printed(capsys, "compare", TRACE, "-m", GUEST, "-p", "inline", "--json")
    assert both.comparison.entries[0].label == RECORDED


def test_run_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    trace = run(make_setting("sriov", policy="strict-node"), timeline=True).trace
    shown = printed(capsys, "run", "sriov", "-p", "strict-node", "--json")
    assert shown["probes"] == json.loads(dump_trace(trace))["probes"]


def test_the_failure_of_one_policy_is_raised_by_compare() -> None:
    late = study.vary(make_setting("nvme-epyc"), {"steps": [{"expect_bound": "nobody"}]})
    with pytest.raises(InputError):
        compare(late, ["inline"])


def test_failed_checks_are_told_with_their_policy() -> None:
    strict = study.vary(make_setting("nvme-epyc"), {"steps": [{"wait": "1ms", "at_most": "1us"}]})
    (line,) = compare(strict, ["work-on-cpu"]).failures
    assert line.startswith("work-on-cpu: check failed")


def test_names_are_those_that_are_promised() -> None:
    assert sorted(study.__all__) == dir(study)
    for name in study.__all__:
        assert getattr(study, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = study.nothing
    assert callable(study.run)
    assert callable(study.compare)
