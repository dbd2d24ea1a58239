"""The examples run, and do what they say."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from numaprobe.policies import make_policy
from numaprobe.records import NO_NODE
from numaprobe.scenario import load_scenario, run_scenario

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    def load(name: str, *arguments: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        return runpy.run_path(str(EXAMPLES / f"{name}.py"))

    return load


def test_every_example_has_a_test() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        "accelerators",
        "block_files",
        "instruments",
        "review_policy",
    }


def test_accelerators(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    space = example("accelerators")
    shards = space["main"]()
    assert sorted(shards) == ["accel0", "accel1", "accel2", "accel3"]
    assert all(by_node is None or sum(by_node.values()) == space["SHARD"] for by_node in shards.values())
    assert capsys.readouterr().out.count("local") == 4


def test_block_files(example: Any) -> None:
    assert example("block_files")["main"]() == {"sda": "0", "sdb": "0", "missing": "ENOENT"}


def test_block_files_of_ones_own(example: Any, tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"x" * 5000)
    assert example("block_files", str(tmp_path / "disk"))["main"]() == {"disk": "0"}


def test_instruments(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    answers = example("instruments")["main"]()
    assert answers == {
        "scope": ("SCOPE v1", 1),
        "meter": ("METER v1", 2),
        "clock": ("CLOCK v1", 1),
        "printer": ("PRINTER v1", 1),
    }
    assert "nothing probed" in capsys.readouterr().out


def test_review_policy() -> None:
    """A caller on the node probes itself; one on another node has its call site run there by a worker."""
    policy = make_policy(f"{EXAMPLES / 'review_policy.py'}:OnlyWhenRemote")
    trace = run_scenario(load_scenario("mixed-bus"), policy)
    outer = [record for record in trace.probes if not record.nested and not record.asynchronous]
    assert {record.local for record in outer if record.device_node != NO_NODE} == {True}
    assert {record.comm.startswith("kworker/u") for record in outer if record.device_node == 1} == {True}
    home = run_scenario(load_scenario("mixed-bus", overrides=["caller.cpu=8"]), policy)
    callers = [r for r in home.probes if not r.nested and not r.asynchronous and r.device_node == 1]
    assert not any(record.comm.startswith("kworker") for record in callers)
