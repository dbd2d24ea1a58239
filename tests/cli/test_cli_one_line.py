"""One error is one line on standard error, and nothing that fails fails without a word."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from numaprobe.cli.main import run_command
from numaprobe.cli.say import exit_code, tell
from numaprobe.errors import InputError
from numaprobe.kernel.kprobes import named_function
from numaprobe.kernel.record import RecordOptions
from numaprobe.records import RunWarning, Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILING = ["async-probe-test", "--set", "steps[0].at_least=1s"]


def said(capsys: pytest.CaptureFixture[str], arguments: Sequence[object], code: int) -> tuple[str, str]:
    """Run a command that ends with ``code`` and one line on standard error; return its output and that line."""
    assert run_command([str(one) for one in arguments]) == code
    out, err = capsys.readouterr()
    assert err.startswith("numaprobe: ")
    assert err.count("\n") == 1
    return out, err


@pytest.mark.parametrize("command", ["run", "compare"])
def test_a_failed_check_is_said_where_no_table_says_it(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policies = ["-p", "inline"]
    out, err = said(capsys, [command, *FAILING, *policies, "--json"], 1)
    assert json.loads(out)
    assert "check failed: 1 adding one asynchronous device per CPU: at least 1.000 s" in err
    assert said(capsys, [command, *FAILING, *policies, "-o", tmp_path / "x.html"], 1)[0] == ""
    assert run_command([command, *FAILING, *policies]) == 1
    assert "check failed" in capsys.readouterr().out


def test_several_failures_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["a", "b", "c"], "json", None) == 1
    assert capsys.readouterr().err == "numaprobe: a; and 2 more\n"
    assert (exit_code([], "json", None), exit_code(["a"], "table", None)) == (0, 1)
    assert exit_code(["a"], "table", Path("x")) == 1
    assert capsys.readouterr().err == "numaprobe: a\n"


def test_a_failed_placement_is_said_under_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from numaprobe.placement.check import PlacementReport
    from numaprobe.topology import symmetric

    nothing = PlacementReport(topology=symmetric("box"), kernel="6.1", profile="6.1", rows=())
    monkeypatch.setattr("numaprobe.study.placement.placement_here", lambda *_, **__: nothing)
    out, err = said(capsys, ["placement", "--json"], 1)
    assert json.loads(out)["passed"] is False
    assert err == "numaprobe: box: nothing was probed\n"


@pytest.mark.parametrize("target", ["folder", "full"])
def test_what_a_format_leaves_out_is_no_second_line_of_an_error(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path if target == "folder" else Path("/dev/full")
    said(capsys, ["topology", "host", "--format", "xml", "-o", path], 2)
    assert run_command(["topology", "host", "--format", "xml", "-o", str(tmp_path / "x.xml")]) == 0
    assert (tmp_path / "x.xml").exists()


def test_a_warning_is_no_second_line_of_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = said(capsys, ["record", "--boot", "--no-btf", "--systemd-boot", tmp_path / "none.conf"], 2)
    assert "none.conf" in err


HOSTILE = ["x\ny", "x y", "x;y", "\x1b[31mx", "", "a:b:c", ":x", "x:", "1x", "ü", "x\0", "-:x", "x+4", "nvme: x"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_function_that_cannot_be_one_is_refused_before_anything_is_touched(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = said(capsys, ["record", "--tracefs", tmp_path, "--function", name, "--", "true"], 2)
    assert "names no kernel function; write for example nvme:nvme_probe" in err
    assert "\x1b" not in err
    with pytest.raises(InputError):
        RecordOptions(functions=(name,))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("nvme:nvme_probe", ("nvme", "nvme_probe")),
        ("really_probe", (None, "really_probe")),
        ("i2c-core:f.isra.0", ("i2c-core", "f.isra.0")),
    ],
)
def test_functions_that_a_kernel_has(name: str, found: tuple[str | None, str]) -> None:
    assert named_function(name) == found


def test_warnings_are_printable_lines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tell("a\x1b[31m\nb\x9b")
    assert capsys.readouterr().err == "a\\x1b[31m b\\x9b\n"
    from numaprobe.cli.record import _finish

    odd = RunWarning(kind="k\x1b", message="one\ntwo\r\x07")
    _finish(Trace(source="kernel", probes=(), warnings=(odd,)), tmp_path / "x.json", as_json=True, note="")
    assert capsys.readouterr().err.splitlines()[0] == "k\\x1b: one two \\x07"


def test_the_lock_holds_a_hash_for_every_package_and_is_used_so() -> None:
    root = Path(__file__).parents[2]
    entries = re.split(r"\n(?=[A-Za-z0-9])", (root / "requirements.lock").read_text().strip())
    assert len(entries) > 40
    for entry in entries:
        assert re.match(r"[\w.-]+==\S+(?: ; .+?)? \\\n    --hash=sha256:[0-9a-f]{64}", entry), entry[:80]
    makefile = (root / "Makefile").read_text()
    assert "--require-hashes -r requirements.lock" in makefile
    assert "--generate-hashes" in makefile
