"""Every JSON that a command writes has a published schema, and is as it says; so is every scenario file."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from bench.random_scenarios.grammar import make_case
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.cli.group import load_command
from numaprobe.cli.main import run_command
from numaprobe.cli.registry import COMMANDS
from numaprobe.records import json_schema
from numaprobe.records.schemas import SCHEMAS
from numaprobe.scenario import builtin_names, scenario_source
from numaprobe.scenario.published import SCENARIO_SCHEMA, scenario_schema

ROOT = Path(__file__).parents[2]
#: what no command writes to its output: a guest to its host, a dataset's own list of files, a boot of a review, what a
#: search has left
INNER = {
    "numaprobe.observation/1",
    "numaprobe.dataset/1",
    "numaprobe.review-side/1",
    "numaprobe.explore-rest/1",
    "numaprobe.advised/1",
}
RUNS: tuple[tuple[str, ...], ...] = (
    ("compare", "nvme-epyc"),
    ("compare", "nvme-epyc", "--vary", "kernel=6.12,7.3"),
    ("advise", "nvme-epyc", "--for", "1s"),
    ("run", "nested"),
    ("report", "tests/data/kernel/initcall/debian-7.2.log"),
    ("topology", "epyc-9a64"),
    ("topology", "host"),
    ("policies",),
    ("policies", "probe-on-node"),
    ("scenarios",),
    ("status",),
    ("explore", "nvme-epyc", "--runs", "3"),
)
#: command -> the test that holds its JSON against its schema
ELSEWHERE = {
    "verify": "tests/cli/test_cli_verify.py",
    "collect": "tests/fleet/test_fleet_commands.py",
    "fleet": "tests/fleet/test_fleet_commands.py",
    "sweep": "tests/sweep/test_query.py",
    "query": "tests/sweep/test_query.py",
    "record": "tests/records/test_records_json.py",
    "bind": "tests/bringup/test_commands.py",
    "unbind": "tests/bringup/test_commands.py",
    "rebind": "tests/bringup/test_commands.py",
    "recover": "tests/bringup/test_commands.py",
    "history": "tests/bringup/test_commands.py",
    "lab": "tests/lab/test_lab_check.py",
    "placement": "tests/placement/test_placement_cli.py",
}


def test_every_versioned_name_has_a_schema() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert set(re.findall(r'"(numaprobe\.[a-z-]+/\d+)"', text)) == {*SCHEMAS, SCENARIO_SCHEMA, *INNER}


def test_the_json_of_every_command_is_held_against_a_schema() -> None:
    writing = {name for name in COMMANDS if any("--json" in param.opts for param in load_command(name).params)}
    assert writing == {command for command, *_ in RUNS} | set(ELSEWHERE)
    for path in ELSEWHERE.values():
        assert "json_schema(" in (ROOT / path).read_text(encoding="utf-8"), path


@pytest.mark.parametrize("arguments", RUNS, ids=" ".join)
def test_what_a_command_writes_is_as_its_schema_says(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert run_command([*arguments, "--json"]) in {0, 1}
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, json_schema(document["schema"]))


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_and_says_what_it_is_of(name: str) -> None:
    schema = json_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["title"] == name
    assert schema["properties"]["schema"] == {"const": name}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": "numaprobe.nothing/1"}, schema)


# ---- scenarios -------------------------------------------------------------------------------------------------------
VALIDATOR = jsonschema.Draft202012Validator(scenario_schema())


def test_the_schema_of_scenarios_is_written_for_editors(run: Any, tmp_path: Path) -> None:
    assert json.loads(run("scenarios", "--schema")) == scenario_schema()
    assert run_command(["scenarios", "--schema", "-o", str(tmp_path / "s.json")]) == 0
    assert json.loads((tmp_path / "s.json").read_text())["title"] == "numaprobe.scenario/1"
    jsonschema.Draft202012Validator.check_schema(scenario_schema())
    assert run_command(["scenarios", "nvme-epyc", "--schema"]) == 2


def test_keys_carry_their_meaning() -> None:
    keys = scenario_schema()["properties"]
    assert keys["cmdline"]["description"] == "kernel parameters"
    assert scenario_schema()["$defs"]["DriverModel"]["properties"]["phases"]["items"] == {"$ref": "#/$defs/Phase"}


@pytest.mark.parametrize("name", [name for name in builtin_names() if name != "host"])
def test_every_built_in_scenario_fits(name: str) -> None:
    VALIDATOR.validate(tomllib.loads(scenario_source(name)))


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_what_the_reader_takes_the_schema_takes(seed: int) -> None:
    VALIDATOR.validate(json.loads(json.dumps(make_case(seed).data)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonsense": 1},
        {"drivers": [{"name": "a", "probe_type": "later"}]},
        {"drivers": [{"name": "a", "phases": [{"compute": 5}]}]},
        {"drivers": [{"name": "a", "phases": [{"compute": "5ms", "sleep": "1ms"}]}]},
        {"steps": [{"fly": "*"}]},
        {"devices": [{"count": 2}]},
        {"caller": {"cpu": -1}},
    ],
)
def test_what_is_wrong_is_marked(wrong: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid({"machine": "epyc-9a64", **wrong})
    assert not VALIDATOR.is_valid(wrong)
