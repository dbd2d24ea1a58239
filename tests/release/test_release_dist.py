"""The sdist and the wheel: the same bytes from two places, and everything in them that an installation needs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from typing import TYPE_CHECKING

import pytest
from release.deb import build_deb
from release.dist import build
from release.share import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = ("src", "release", "docs")
FILES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "pyproject.toml", ".gitignore")


def copied(place: Path, seconds: int) -> Path:
    """Return a copy of the checkout, with other times of its files."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, place / name)
    for path in place.rglob("*"):
        os.utime(path, (seconds, seconds))
    return place


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    place = tmp_path_factory.mktemp("dist")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1763700000")
        return tuple(build(place / f"out-{n}", copied(place / f"source-{n}", 10**9 + n)) for n in range(2))  # type: ignore[return-value]


def test_two_builds_are_the_same_bytes(built: tuple[list[Path], list[Path]]) -> None:
    one, other = ([hashlib.sha256(path.read_bytes()).hexdigest() for path in files] for files in built)
    assert one == other
    assert [path.name for path in built[0]] == ["numaprobe-0.1.0.tar.gz", "numaprobe-0.1.0-py3-none-any.whl"]


def test_the_wheel_has_pages_completions_and_schemas(built: tuple[list[Path], list[Path]]) -> None:
    names = set(zipfile.ZipFile(built[0][1]).namelist())
    shared = {name.partition(".data/data/")[2] for name in names if ".data/data/" in name}
    assert {
        "share/man/man1/numaprobe.1",
        "share/man/man1/numaprobe-bind.1",
        "share/bash-completion/completions/numaprobe",
        "share/zsh/site-functions/_numaprobe",
        "share/fish/vendor_completions.d/numaprobe.fish",
        "share/numaprobe/schemas/trace-1.json",
    } <= shared
    packaged = {str(p.relative_to(ROOT / "src")) for p in (ROOT / "src").rglob("*") if p.is_file()}
    assert {name for name in packaged if "__pycache__" not in name and ".dist-info" not in name} <= names


def test_the_sdist_can_be_unpacked_by_careful_programs(built: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    with tarfile.open(built[0][0]) as archive:
        assert all(member.isfile() for member in archive.getmembers())
        archive.extractall(tmp_path, filter="data")
    [folder] = tmp_path.iterdir()
    assert {"LICENSE", "README.md", "PKG-INFO", "pyproject.toml", "src", "share"} <= {p.name for p in folder.iterdir()}


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb: this is no Debian")
def test_the_debian_package(
    built: tuple[list[Path], list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1763700000")
    one, other = (build_deb(files[1], tmp_path / str(number)) for number, files in enumerate(built))
    assert one.read_bytes() == other.read_bytes()
    subprocess.run(["dpkg-deb", "-x", one, tmp_path / "root"], check=True)
    usr = tmp_path / "root" / "usr"
    names = {str(path.relative_to(usr)) for path in usr.rglob("*")}
    assert {
        "bin/numaprobe",
        "lib/python3/dist-packages/numaprobe/cli/main.py",
        "share/man/man1/numaprobe-record.1.gz",
        "share/bash-completion/completions/numaprobe",
        "share/zsh/vendor-completions/_numaprobe",
        "share/fish/vendor_completions.d/numaprobe.fish",
        "share/doc/numaprobe/copyright",
    } <= names
    said = subprocess.run(["dpkg-deb", "-f", one, "Depends"], capture_output=True, text=True, check=True).stdout
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {f"python3-{re.split('[>=]', name)[0]}" for name in needed} == set(re.findall(r"python3-\w+", said))
    if shutil.which("lintian"):
        subprocess.run(["lintian", "--fail-on", "error,warning,info", one], check=True)


def test_the_checkout_is_left_as_it_was(built: tuple[list[Path], list[Path]]) -> None:
    assert not (built[0][0].parent.parent / "source-0" / "share").exists()
