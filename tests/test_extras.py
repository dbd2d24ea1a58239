"""A small installation does everything but what its extras are for, and says in one line what is missing."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from numaprobe.cli.main import run_command
from numaprobe.errors import MissingInterfaceError
from numaprobe.extras import EXTRAS, need

ROOT = Path(__file__).parents[1]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what a small installation lacks."""
    for modules in EXTRAS.values():
        for module in modules:
            for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
                monkeypatch.delitem(sys.modules, name)
            monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("suffix", "extra"), [("png", "pictures"), ("parquet", "data"), ("pftrace", "perfetto")])
def test_what_is_missing_is_one_line_and_no_file(
    suffix: str, extra: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["run", "nvme-epyc", "-o", str(tmp_path / f"r.{suffix}")]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert f"pip install 'numaprobe[{extra}]'" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("suffix", ["html", "svg", "json", "csv", "md", "txt", "log"])
def test_everything_else_is_in_the_small_installation(suffix: str, tmp_path: Path) -> None:
    assert run_command(["run", "nvme-epyc", "-o", str(tmp_path / f"r.{suffix}")]) == 0


def test_a_parquet_that_cannot_be_read_for_want_of_an_extra(
    tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["run", "nvme-epyc", "-o", str(tmp_path / "r.parquet")]) == 0
    request.getfixturevalue("small")
    assert run_command(["report", str(tmp_path / "r.parquet")]) == 3
    assert "pip install 'numaprobe[data]'" in capsys.readouterr().err


def test_what_is_there_is_no_error() -> None:
    need("data", "a test")
    with pytest.raises(MissingInterfaceError, match="a test needs vl_nothing"):
        need("pictures", "a test", "vl_nothing")


def test_every_extra_is_declared_and_in_all() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = set(project["optional-dependencies"]) - {"all"}
    assert set(EXTRAS) == declared
    [everything] = project["optional-dependencies"]["all"]
    assert set(everything.removeprefix("numaprobe[").removesuffix("]").split(",")) == declared
