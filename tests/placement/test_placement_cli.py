"""``numaprobe placement`` as a user runs it, on this computer; guests are in tests/lab."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from numaprobe.cli.main import run_command
from numaprobe.kernel.lab.tools import KernelImage
from numaprobe.placement import guest, report
from numaprobe.placement.guest import GuestObservation
from numaprobe.placement.observe import observe
from numaprobe.records import json_schema


@pytest.fixture
def wrong_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual machine that puts all memory on a node that is not there."""

    def predict(*arguments: Any) -> Any:
        seen = right(*arguments)
        return tuple(replace(one, record=replace(one.record, memory={77: 1})) for one in seen)

    right = report.predict
    monkeypatch.setattr(report, "predict", predict)


def test_this_computer_as_a_table_and_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_command(["placement", "--policy", "strict-node", "-p", "probe-on-node+pin"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["policy", "device", "on"]
    assert {line.split()[0] for line in lines[2:-1]} == {"strict-node", "probe-on-node+pin"}
    assert lines[-1].endswith("probes as predicted")

    assert run_command(["placement", "-p", "inline", "-o", str(tmp_path / "p.json"), "--kernel", "6.1"]) == 0
    document = json.loads((tmp_path / "p.json").read_text())
    jsonschema.validate(document, json_schema("numaprobe.placement/1"))
    (machine,) = document["machines"]
    assert (document["schema"], document["passed"], machine["profile"]) == ("numaprobe.placement/1", True, "6.1")
    assert len(machine["rows"]) == machine["probes"]


def test_what_differs_is_exit_code_1(wrong_prediction: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["placement", "-p", "inline"]) == 1
    assert "DIFFERS (memory)" in capsys.readouterr().out
    assert run_command(["placement", "-p", "inline", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["passed"] is False


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--kvm"], "give --guest MACHINE"),
        (["--policy", "strct"], "did you mean 'strict-node'"),
        (["--kernel", "5.0"], "kernel '5.0' is older than 5.1"),
        (["--guest", "2 nodes x 2 cores", "--image", "/nowhere/vmlinuz-1.0"], "there is no kernel image"),
    ],
)
def test_wrong_options_are_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numaprobe.kernel.lab.tools.find_tools", lambda: None)
    assert run_command(["placement", *arguments]) in {2, 3}
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1


def test_guests_are_observed_one_after_the_other_each_in_its_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folders = []

    def observed(topology: Any, policies: Any, profile: str, *, folder: Path, **_more: Any) -> GuestObservation:
        folders.append((folder.name, len(topology.nodes)))
        (folder / "console.log").write_text(folder.name)
        return GuestObservation(observation=observe(policies, profile), seconds=2.0, seconds_inside=1.0)

    monkeypatch.setattr(guest, "observe_in_guest", observed)
    monkeypatch.setattr("numaprobe.kernel.lab.tools.find_tools", lambda: None)
    monkeypatch.setattr(
        "numaprobe.kernel.lab.tools.find_kernel", lambda _wanted: KernelImage(Path("vmlinuz-6.1"), "6.1")
    )
    machines = ["--guest", "2 nodes x 2 cores", "--guest", "4 nodes x 1 core"]
    assert run_command(["placement", *machines, "-p", "inline", "--keep", str(tmp_path / "k")]) == 0
    kept = [(tmp_path / "k" / number / "console.log").read_text() for number in "01"]
    assert folders == [(kept[0], 2), (kept[1], 4)]
    said = capsys.readouterr()
    assert said.err == "guest ended after 2 s, 1 s of them its probes\n" * 2
    assert said.out.count("probes as predicted") == 2
