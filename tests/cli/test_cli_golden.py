"""The text that users see, kept as files.

``NUMAPROBE_GOLDEN=write pytest tests/cli`` writes them again: read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command import numaprobe

from numaprobe.cli.main import run_command
from numaprobe.cli.registry import COMMANDS

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[2]
#: a path from there, as it is printed
GUESTS = "tests/data/kernel/debian"

TEXTS = {
    "help": ["--help"],
    "compare-help": ["compare", "--help"],
    "run-help": ["run", "--help"],
    "report-help": ["report", "--help"],
    "topology-help": ["topology", "--help"],
    "verify-help": ["verify", "--help"],
    "verify-too-few": ["verify", f"a={GUESTS}-6.1/two-nodes/async.*.gz", f"b={GUESTS}-7.2/two-nodes/async.*.gz"],
    "scenarios": ["scenarios"],
    "policies": ["policies"],
    "policies-probe-on-node": ["policies", "probe-on-node"],
    "topology-epyc": ["topology", "epyc-9a64"],
    "compare-nvme-epyc": ["compare", "nvme-epyc"],
    "advise-help": ["advise", "--help"],
    "advise-lab-virtio": ["advise", "lab-virtio"],
    "compare-vary": ["compare", "mixed-bus", "--vary", "virtio_blk.load_from=cpu0,node1", "--no-details"],
    "run-mixed-bus": ["run", "mixed-bus"],
    "run-async-probe-test": ["run", "async-probe-test", "--machine", "1 nodes x 1 llc x 2 cores"],
    "run-printk": ["run", "nvme-epyc", "--policy", "queue-on-node", "--format", "printk"],
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_as_it_was(name: str) -> None:
    done = numaprobe(*TEXTS[name], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("NUMAPROBE_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(done.stdout, encoding="utf-8")
    assert done.stdout == file.read_text(encoding="utf-8")


def test_every_golden_file_is_compared() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == set(TEXTS)


def test_no_line_of_help_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in ([], *([name] for name in COMMANDS)):
        assert run_command([*command, "--help"]) == 0
        text = capsys.readouterr().out
        assert text.startswith("Usage: numaprobe")
        assert max(len(line) for line in text.splitlines()) <= 80, command
