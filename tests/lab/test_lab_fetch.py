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
VERSION = "6.12.117-1~deb12u1"
NEWER, NEWER_VERSION = "7.3.4+deb13-amd64", "7.3.4-1~bpo13+1"
PARTS = ("image", "base", "binary", "modules")

#: The system's sources have 6.12 as one package; ours (``-o …``) have 7.3 in parts, behind an older one.
APT_CACHE = f"""case "$*" in
*-o*madison*linux-image-amd64) printf 'linux-image-amd64 | %s | site\\n' {NEWER_VERSION} 7.2.13-1;;
*-o*madison*) ;;
*madison*linux-image-6.12-amd64) echo 'linux-image-6.12-amd64 | {VERSION} | site';;
*madison*) echo 'linux-image-amd64 | 6.1.192-2 | site';;
*show*linux-image-6.12-amd64={VERSION}) echo 'Depends: linux-image-{RELEASE} (= {VERSION})';;
*show*linux-image-{RELEASE}={VERSION}) echo 'Depends: kmod, linux-base (>= 4.3~), initramfs-tools';;
*show*linux-image-amd64={NEWER_VERSION}) echo 'Depends: linux-base-amd64, linux-image-{NEWER} (= {NEWER_VERSION})';;
*show*linux-image-{NEWER}=*) echo 'Depends: dracut, {", ".join(f"linux-{part}-{NEWER} (= x)" for part in PARTS[1:])}';;
esac; exit 0"""

APT_GET = """case "$1" in
indextargets) printf '%s\\n' 'Debian http://mirror/debian/' 'Other http://x/'
    echo 'Debian http://mirror/debian-security/'; exit 0;;
esac
for word; do case "$word" in update) echo "update" >> "$LOG"; exit 0;; esac; done
for word; do case "$word" in linux-*) echo "$word" >> "$LOG"; echo "$word" > "${word%%=*}_1_amd64.deb";; esac; done"""

DPKG_DEB = f"""case "$2" in
*{RELEASE}*) mkdir -p "$3/boot" "$3/lib/modules/{RELEASE}"; cp "$2" "$3/boot/vmlinuz-{RELEASE}";;
*binary*) mkdir -p "$3/usr/lib/modules/{NEWER}"; cp "$2" "$3/usr/lib/modules/{NEWER}/vmlinuz";;
*modules*) mkdir -p "$3/usr/lib/modules/{NEWER}/kernel";;
*) mkdir -p "$3/usr/share/doc";;
esac"""

PROGRAMS = {
    "apt-cache": APT_CACHE,
    "apt-get": APT_GET,
    "dpkg-deb": DPKG_DEB,
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
    assert (tmp_path / "log").read_text() == f"linux-image-{RELEASE}={VERSION}\n"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [RELEASE]


def test_a_kernel_in_parts_is_put_together_and_the_systems_lists_stay(programs: Path, tmp_path: Path) -> None:
    """Since 7.x ``linux-image-REL`` holds nothing, and what it needs lies below ``usr/lib``."""
    image = fetch_kernel("7.3", tmp_path / "cache")
    assert image.path == tmp_path / "cache" / NEWER / "boot" / f"vmlinuz-{NEWER}"
    assert image.path.read_text().startswith("linux-binary-")
    assert (image.modules / "kernel").is_dir()
    assert (image.modules / "modules.dep").is_file()
    assert (tmp_path / "log").read_text().split() == [
        "update",
        *(f"linux-{part}-{NEWER}={NEWER_VERSION}" for part in PARTS),
    ]
    sources = (tmp_path / "cache/.apt/sources.list").read_text()
    assert "http://mirror/debian/ trixie-backports main\n" in sources
    assert "http://mirror/debian-security/ bullseye-security main\n" in sources
    assert "http://x/" not in sources
    with pytest.raises(MissingInterfaceError):
        fetch_kernel("9.9", tmp_path / "cache")
    assert (tmp_path / "log").read_text().count("update") == 1  # the lists are a day old at most


def test_a_series_that_no_suite_has(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInterfaceError, match=r"offers a kernel 6\.9"):
        fetch_kernel("6.9", tmp_path / "cache")


def test_packages_without_an_image_are_refused(programs: Path, tmp_path: Path) -> None:
    replace(programs, "dpkg-deb", f'mkdir -p "$3/lib/modules/{RELEASE}"')
    with pytest.raises(RefusedError, match="no kernel image"):
        fetch_kernel("6.12", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


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
