"""A recorded trace where a command takes a scenario: replayed, compared, kept, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from command import refused

from numaprobe.policies import POLICIES
from numaprobe.records import json_schema

GUEST = Path(__file__).parents[1] / "data" / "kernel" / "debian-7.2" / "two-nodes"
TRACE = GUEST / "async.1.trace.gz"


def labels(result: str) -> list[str]:
    return [entry["policy"] for entry in json.loads(result)["policies"]]


def test_compare_puts_every_policy_beside_the_record(run: Any) -> None:
    text = run("compare", TRACE, "--machine", GUEST, "--json")
    result = json.loads(text)
    jsonschema.validate(result, json_schema("numaprobe.compare/1"))
    assert labels(text) == ["recorded", *POLICIES]
    assert (result["baseline"], result["scenario"]) == ("probe-workqueue", "async.1.trace.gz")
    recorded, base = (entry for entry in result["policies"] if entry["policy"] in ("recorded", "probe-workqueue"))
    assert recorded["cpus"] == base["cpus"] == [4]
    spread = next(entry for entry in result["policies"] if entry["policy"] == "probe-on-node")
    assert len(spread["cpus"]) > 1
    assert spread["worst_ns"] < base["worst_ns"]


def test_the_record_can_be_the_base_and_policies_be_chosen(run: Any) -> None:
    text = run("compare", TRACE, "-m", GUEST, "-b", "recorded", "-p", "inline", "-p", "probe-on-node+pin", "--json")
    assert labels(text) == ["recorded", "inline", "probe-on-node+pin"]
    assert json.loads(text)["baseline"] == "recorded"


def test_a_virtual_trace_is_compared_with_the_policy_that_made_it(run: Any, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    run("run", "nvme-epyc", "--policy", "probe-on-node+pin", "-o", kept)
    result = json.loads(run("compare", kept, "-p", "work-on-cpu", "--json"))
    assert (result["baseline"], [e["policy"] for e in result["policies"]]) == (
        "probe-on-node+pin",
        ["recorded", "probe-on-node+pin", "work-on-cpu"],
    )
    worst = {entry["policy"]: entry["worst_ns"] for entry in result["policies"]}
    assert worst["recorded"] == worst["probe-on-node+pin"] < worst["work-on-cpu"]


def test_several_traces_are_not_replayed(run: Any) -> None:
    other = GUEST / "async.2.trace.gz"
    assert len(labels(run("compare", TRACE, other, "-m", GUEST, "--json"))) == 2
    assert len(labels(run("compare", TRACE, "-m", GUEST, "--no-replay", "--json"))) == 1
    assert "one trace at a time" in refused("compare", TRACE, other, "--replay")


def test_run_replays_under_the_kernels_policy_or_another(run: Any) -> None:
    own = json.loads(run("run", TRACE, "-m", GUEST, "--json"))
    jsonschema.validate(own, json_schema("numaprobe.trace/1"))
    assert (own["policy"], {probe["cpu"] for probe in own["probes"]}) == ("probe-workqueue", {4})
    other = json.loads(run("run", TRACE, "-m", GUEST, "-p", "probe-on-node", "--kernel", "6.12", "--json"))
    assert (other["policy"], other["kernel"]) == ("probe-on-node", "6.12")
    assert len({probe["cpu"] for probe in other["probes"]}) > 1


def test_a_replay_can_be_kept_changed_and_run(run: Any, tmp_path: Path) -> None:
    kept = tmp_path / "mine.toml"
    costs = [
        p["cost_ns"] for p in json.loads(run("run", TRACE, "-m", GUEST, "--save-scenario", kept, "--json"))["probes"]
    ]
    assert (tmp_path / "mine.machine.json").is_file()
    again = json.loads(run("run", kept, "--policy", "probe-workqueue", "--json"))
    assert [probe["cost_ns"] for probe in again["probes"]] == costs
    sync = json.loads(run("run", TRACE, "-m", GUEST, "--set", "drivers[0].probe_type=sync", "--json"))
    assert {probe["asynchronous"] for probe in sync["probes"]} == {False}


def test_the_meaning_of_kprobes_can_be_given(run: Any, tmp_path: Path) -> None:
    alone = tmp_path / "alone.gz"
    alone.write_bytes(TRACE.read_bytes())
    result = json.loads(run("run", alone, "-m", GUEST, "--kprobes", GUEST / "machine.txt", "--json"))
    assert {probe["function"] for probe in result["probes"]} == {"nvme_probe"}


def test_one_line_says_what_is_missing(tmp_path: Path) -> None:
    for command in ("compare", "run"):
        assert "pass --machine MACHINE" in refused(command, TRACE)
        assert "--devices is for scenarios" in refused(command, TRACE, "-m", GUEST, "--devices", "2")
        assert "--kprobes is for recorded traces" in refused(command, "nvme-epyc", "--kprobes", GUEST / "machine.txt")
    assert "--replay is for recorded traces" in refused("compare", "nvme-epyc", "--replay")
    assert "ends in .toml" in refused("run", "nvme-epyc", "--save-scenario", tmp_path / "x.json")


HOSTILE = {
    "schema": "numaprobe.trace/1",
    "source": "kernel",
    "machine": {"schema": "numaprobe.machine/1", "name": "m", "nodes": [{"id": 0, "cpus": "0-1"}]},
}


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        ({"cost_ns": 10**18}, "lasts longer than an hour"),
        ({"cost_ns": 1, "start_ns": 0, "end_ns": 2**62 - 1}, "lasts longer than an hour"),
        ({"cost_ns": 1, "start_ns": 0, "end_ns": 2**62}, "must be a time in ns, at most"),
        ({"cost_ns": 1, "memory": {"0": 2**60}}, "more than 1 PiB"),
        ({"cost_ns": 1, "device": "a/b"}, "holds no probe that can be replayed"),
        ({"cost_ns": -1}, "must not be negative"),
    ],
)
def test_absurd_traces_are_one_line(tmp_path: Path, probe: dict[str, Any], reason: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps({**HOSTILE, "probes": [{"device": "d", "driver": "e"} | probe]}))
    assert reason in refused("compare", file)


def test_a_trace_of_ours_without_a_machine_takes_the_one_given(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    probe = {"device": "d", "driver": "e", "cost_ns": 1000, "device_node": 1}
    file.write_text(json.dumps({"schema": "numaprobe.trace/1", "source": "kernel", "probes": [probe]}))
    assert "pass --machine MACHINE" in refused("run", file)
    machine = "2 nodes x 1 llc x 1 cores"
    assert json.loads(run("run", file, "-m", machine, "--json"))["machine"]["name"] == machine
    assert json.loads(run("report", file, "-m", machine, "--json"))["machine"]["name"] == machine


def test_ten_thousand_probes_with_nothing_but_a_cost(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    probes = [{"device": f"d{i}", "driver": "e", "cost_ns": 1000} for i in range(10_000)]
    file.write_text(json.dumps({**HOSTILE, "probes": probes}))
    result = json.loads(run("run", file, "--policy", "inline", "--json"))
    assert len(result["probes"]) == 10_000
    assert {warning["kind"] for warning in result["warnings"]} >= {"assumed-cost", "assumed-order", "unknown-node"}


def test_report_names_the_probe_that_took_half_a_minute(run: Any, tmp_path: Path) -> None:
    log = tmp_path / "dmesg.txt"
    log.write_text(
        "[    1.602238] probe of reg-dummy returned 0 after 4000 usecs\n"
        "[   31.702238] probe of 0000:5e:00.0 returned 0 after 30012345 usecs\n"
        "[   31.891280] probe of PNP0103:00 returned 19 after 5677 usecs\n"
    )
    text = " ".join(run("report", log).split())
    assert text.startswith("0000:5e:00.0 took 30.012 s by itself.")
    assert "slow-probe (high): a probe took long by itself" in text
    assert "→ 0000:5e:00.0 took 30.012 s" in text
