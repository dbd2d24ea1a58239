"""Fetching a kernel, with programs of our own in the place of apt, dpkg-deb and depmod."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from numaprobe.errors import MissingInterfaceError, RefusedError
from numaprobe.kernel.lab.fetch import fetch_kernel

if TYPE_CHECKING:
    from pathlib import Path

RELEASE = "6.12.117+deb12-amd64"
PROGRAMS = {
    "apt-cache": f'[ "$2" = linux-image-6.12-amd64 ] && echo "  Depends: linux-image-{RELEASE}"; exit 0',
    "apt-get": 'echo "$@" >> "$LOG"; echo deb > "$2_1_amd64.deb"',
    "dpkg-deb": f'mkdir -p "$3/boot" "$3/lib/modules/{RELEASE}"; cp "$2" "$3/boot/vmlinuz-{RELEASE}"',
    "depmod": 'touch "$2/lib/modules/$3/modules.dep"',
}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in PROGRAMS.items():
        replace(folder, name, text)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return folder


def replace(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_the_package_is_unpacked_into_the_cache_once(programs: Path, tmp_path: Path) -> None:
    image = fetch_kernel("6.12", tmp_path / "cache")
    assert image.release == RELEASE
    assert image.path == tmp_path / "cache" / RELEASE / "boot" / f"vmlinuz-{RELEASE}"
    assert (image.modules / "modules.dep").exists()
    assert fetch_kernel("6.12", tmp_path / "cache") == image
    assert (tmp_path / "log").read_text() == f"download linux-image-{RELEASE}\n"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [RELEASE]


def test_a_series_that_apt_does_not_have(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInterfaceError, match=r"no Debian kernel 6\.9; run apt-get update"):
        fetch_kernel("6.9", tmp_path / "cache")


@pytest.mark.parametrize(
    ("program", "text", "message"),
    [
        ("apt-get", "echo 'E: no network' >&2; exit 100", "E: no network"),
        ("apt-get", "exit 0", "brought no package"),
        ("dpkg-deb", "exit 2", "exit status 2"),
    ],
)
def test_a_failure_leaves_nothing_in_the_cache(
    programs: Path, tmp_path: Path, program: str, text: str, message: str
) -> None:
    replace(programs, program, text)
    with pytest.raises(RefusedError, match=message):
        fetch_kernel("6.12", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
