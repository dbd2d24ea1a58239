"""``--vary``: settings side by side, in one table with one base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from command import refused

from numaprobe.records import json_schema

GUEST = Path(__file__).parents[1] / "data" / "kernel" / "debian-7.2" / "two-nodes"
TRACE = GUEST / "sync.1.trace.gz"


def test_the_json_says_what_varies_and_each_rows_values(run: Any) -> None:
    text = run("compare", "mixed-bus", "--vary", "driver_async_probe=,nvme", "--vary", "kernel=6.12,7.3", "--json")
    result = json.loads(text)
    jsonschema.validate(result, json_schema("numaprobe.compare/1"))
    assert result["axes"] == [
        {"key": "driver_async_probe", "values": ["", "nvme"]},
        {"key": "kernel", "values": ["6.12", "7.3"]},
    ]
    assert result["baseline"] == "no driver_async_probe, kernel 6.12"
    assert [entry["values"] for entry in result["policies"]] == [
        {"driver_async_probe": parameter, "kernel": kernel} for parameter in ("", "nvme") for kernel in ("6.12", "7.3")
    ]


def test_policies_are_one_more_axis(run: Any) -> None:
    text = run("compare", "mixed-bus", "--vary", "load_from=cpu0,node1", "-p", "inline", "-p", "spread", "--json")
    result = json.loads(text)
    assert [entry["policy"] for entry in result["policies"]] == [
        "load_from=cpu0, inline",
        "load_from=cpu0, spread",
        "load_from=node1, inline",
        "load_from=node1, spread",
    ]
    assert [entry["local_share"] for entry in result["policies"]][2] == 1.0


def test_a_trace_is_varied_beside_what_was_recorded(run: Any) -> None:
    text = run("compare", TRACE, "-m", GUEST, "--vary", "driver_async_probe=,nvme", "--json", "-b", "recorded")
    result = json.loads(text)
    jsonschema.validate(result, json_schema("numaprobe.compare/1"))
    assert [entry["policy"] for entry in result["policies"]] == [
        "recorded",
        "no driver_async_probe",
        "driver_async_probe=nvme",
    ]
    assert "values" not in result["policies"][0]
    asynchronous = {probe["asynchronous"] for probe in result["policies"][2]["probes"]}
    assert asynchronous == {True}


def test_run_takes_one_value_of_each(run: Any, tmp_path: Path) -> None:
    kept = tmp_path / "mine.toml"
    text = run("run", "mixed-bus", "--vary", "load_from=node1", "--vary", "nvme.async_probe=1", "--save-scenario", kept)
    assert "100 % on node" in text
    assert "cpu = 8" in kept.read_text()
    line = refused("run", "mixed-bus", "--vary", "kernel=6.12,7.3")
    assert line == "these are 2 variations, and run shows one; numaprobe compare shows them all"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nvme-epyc", "--vary", "kernel"], "'kernel' varies nothing; write for example driver_async_probe=,nvme"),
        (["nvme-epyc", "--vary", "polisy=inline"], "did you mean 'policy'?"),
        (["nvme-epyc", "--vary", "kernel=6.12", "--measure"], "--vary is predicted only; leave out --measure"),
        ([TRACE, TRACE, "--vary", "kernel=6.12"], "--vary is for scenarios and replays"),
        (["nvme-epyc", "--vary", "workqueue.default_affinity_scope=nuna"], "use one of cpu, smt, cache"),
        (["nvme-epyc", "--vary", "kernel=6.12", "-b", "6.12"], "unknown baseline '6.12'"),
        (["nvme-epyc", "--set", "drivers.nvm.probe_type=sync"], "the scenario has no 'nvm' there"),
    ],
)
def test_what_cannot_be_varied_is_refused_in_one_line(arguments: list[object], line: str) -> None:
    assert line in refused("compare", *arguments)
