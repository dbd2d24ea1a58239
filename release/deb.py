"""The Debian package, for Debian 13 and later: the wheel's files where Debian has them, on Debian's own libraries.

Everything that the core needs is in Debian (python3-typer, -rich, -pydantic, -defusedxml), so nothing is vendored:
security fixes of those come with the system. What only extras need is mostly not in Debian, and is therefore not in
this package either; for them numaprobe goes into an environment of its own (pipx). The archive is made by dpkg-deb
alone: it needs no build dependency, works on every Debian, and two builds of one commit are the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
import textwrap
import time
import zipfile
from pathlib import Path
from typing import Final

from numaprobe import __version__
from release.share import ROOT

MAINTAINER: Final = "numaprobe maintainers <maintainers@numaprobe.example>"
#: in Debian 13: what the core install needs, as pyproject.toml says it
DEPENDS: Final = (
    "python3 (>= 3.11)",
    "python3-defusedxml",
    "python3-pydantic (>= 2.10)",
    "python3-rich (>= 13.9)",
    "python3-typer (>= 0.15)",
)
SUMMARY: Final = "predict, record and compare where Linux probes devices"
DESCRIPTION: Final = """\
numaprobe is the Linux driver core's device probing in Python, with every probe on its device's NUMA node. It predicts
on any topology and kernel what a policy or a setting would change, records where the running kernel probes devices and
what that costs, compares and verifies both, and binds devices to their drivers from their node, guarded and journalled.
.
PNG pictures, Parquet and Perfetto traces need libraries that are not in Debian; the program says so, and an
installation with pipx has them.
"""
COPYRIGHT: Final = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: numaprobe

Files: *
Copyright: 2026 the numaprobe authors
License: Expat
"""
#: byte code is made when the package is installed, and taken away with it, as dh_python3 would have it
POSTINST: Final = """\
#!/bin/sh
set -e
if [ "$1" = configure ] && command -v py3compile >/dev/null; then
    py3compile -p numaprobe
fi
"""
PRERM: Final = """\
#!/bin/sh
set -e
if command -v py3clean >/dev/null; then
    py3clean -p numaprobe
fi
"""
SCRIPT: Final = """\
#!/usr/bin/python3
from numaprobe.cli.main import main

main()
"""
#: where Debian's zsh looks for what packages bring
_MOVED: Final = {"usr/share/zsh/site-functions": "usr/share/zsh/vendor-completions"}


def build_deb(wheel: Path, folder: Path) -> Path:
    """Build the package from a wheel of ``make dist``; return its file."""
    with tempfile.TemporaryDirectory(prefix="numaprobe-deb-") as place:
        tree = Path(place) / "tree"
        _unpack(wheel, tree)
        _document(tree)
        _control(tree)
        for path in (tree, *tree.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.read_bytes().startswith(b"#!") else 0o644)
        folder.mkdir(parents=True, exist_ok=True)
        package = folder / f"numaprobe_{__version__}_all.deb"
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, package]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return package


def _unpack(wheel: Path, tree: Path) -> None:
    """Put the wheel's files where Debian's Python and its programs look for them."""
    modules = tree / "usr/lib/python3/dist-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(modules)
    [data] = modules.glob("*.data")
    shutil.move(data / "data" / "share", tree / "usr" / "share")
    shutil.rmtree(data)
    [info] = modules.glob("*.dist-info")
    shutil.rmtree(info / "licenses")
    (info / "RECORD").unlink()
    (info / "INSTALLER").write_text("debian\n", encoding="ascii")
    for old, new in _MOVED.items():
        shutil.move(tree / old, tree / new)
    program = tree / "usr/bin/numaprobe"
    program.parent.mkdir()
    program.write_text(SCRIPT, encoding="ascii")
    for page in (tree / "usr/share/man/man1").iterdir():
        _gzip(page)


def _document(tree: Path) -> None:
    folder = tree / "usr/share/doc/numaprobe"
    folder.mkdir(parents=True)
    text = (ROOT / "LICENSE").read_text(encoding="utf-8").partition("\n\n")[2].partition("\n\n")[2].rstrip()
    lines = "".join(f" {line or '.'}\n" for line in text.splitlines())
    (folder / "copyright").write_text(COPYRIGHT + lines, encoding="utf-8")
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"])))
    head = f"numaprobe ({__version__}) unstable; urgency=medium"
    entry = "\n\n".join([head, f"  * Release {__version__}.", f" -- {MAINTAINER}  {date}"])
    (folder / "changelog").write_text(f"{entry}\n", encoding="ascii")
    _gzip(folder / "changelog")
    shutil.copy(ROOT / "CHANGELOG.md", folder / "NEWS.md")
    _gzip(folder / "NEWS.md")


def _gzip(path: Path) -> None:
    """Replace a file by its compressed form, which tells neither name nor date."""
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    path.unlink()


def _control(tree: Path) -> None:
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    size = sum(-(-path.stat().st_size // 1024) for path in files)
    folder = tree / "DEBIAN"
    folder.mkdir()
    paragraphs = DESCRIPTION.replace("\n.\n", "\0").replace("\n", " ").split("\0")
    wrapped = "\n .\n".join(textwrap.indent(textwrap.fill(text.strip(), 76), " ") for text in paragraphs)
    fields = {
        "Package": "numaprobe",
        "Version": __version__,
        "Section": "admin",
        "Priority": "optional",
        "Architecture": "all",
        "Maintainer": MAINTAINER,
        "Installed-Size": str(size),
        "Depends": ", ".join(DEPENDS),
        "Suggests": "python3-pyudev, qemu-system-x86, trace-cmd",
        "Description": f"{SUMMARY}\n{wrapped}",
    }
    (folder / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()), encoding="utf-8")
    sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n" for path in files]  # noqa: S324
    (folder / "md5sums").write_text("".join(sums), encoding="utf-8")
    (folder / "postinst").write_text(POSTINST, encoding="ascii")
    (folder / "prerm").write_text(PRERM, encoding="ascii")
