"""The recorder's one file: small, the same bytes each time, the same commands, nothing but Python needed."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = ("record", "status", "bind", "unbind", "rebind", "recover", "confirm", "history")


def builder() -> Any:
    spec = importlib.util.spec_from_file_location("recorder_build", ROOT / "recorder/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("recorder") / "numaprobe-record"
    assert builder().build(target) < 10**6
    return target


def run(recorder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it by a Python that has no other packages (-S) and nothing of the environment (-I)."""
    command = [sys.executable, "-I", "-S", recorder, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)


def installed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "numaprobe", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)


def test_the_same_sources_give_the_same_bytes(recorder: Path, tmp_path: Path) -> None:
    builder().build(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == recorder.read_bytes()


def test_it_holds_no_second_copy_of_a_command(recorder: Path) -> None:
    with zipfile.ZipFile(recorder) as archive:
        for name in archive.namelist():
            if name.startswith("numaprobe/"):
                assert archive.read(name) == (ROOT / "src" / name).read_bytes()
            else:
                assert name in ("__main__.py", "typer.py")


def test_its_help_lists_its_commands(recorder: Path) -> None:
    done = run(recorder, "--help")
    assert done.returncode == 0
    assert set(re.findall(r"^  (\w+) ", done.stdout, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("command", ["record", "bind"])
def test_its_options_are_those_of_the_program(recorder: Path, command: str) -> None:
    ours, theirs = run(recorder, command, "--help").stdout, installed(command, "--help").stdout
    found, wanted = (set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) for text in (ours, theirs))
    assert {name for name in wanted if not name.startswith("--no-")} <= found


def test_a_plan_is_the_same(recorder: Path) -> None:
    arguments = ("rebind", "class=nvme", "--dry-run", "--root", "examples/server")
    ours, theirs = run(recorder, *arguments), installed(*arguments, "--json")
    assert ours.returncode == theirs.returncode == 1  # some are refused
    assert json.loads(ours.stdout) == json.loads(theirs.stdout)


def test_what_is_there_is_the_same(recorder: Path) -> None:
    arguments = ("status", "--root", "examples/server", "--json")
    assert run(recorder, *arguments).stdout == installed(*arguments).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("bind", "--jobs", "0", "x"),
        ("bind", "--nonsense"),
        ("unbind", "../x", "--root", "examples/server", "--dry-run"),
        ("record", "--boot", "--collect"),
        ("record", "--", "no-such-program-anywhere"),
        ("nonsense",),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(recorder: Path, arguments: tuple[str, ...]) -> None:
    done = run(recorder, *arguments)
    assert done.returncode in (2, 3), done
    assert done.stdout == ""
    assert done.stderr.startswith("numaprobe: ")
    assert done.stderr.count("\n") == 1
