"""The sdist and the wheel: the wheel from the unpacked sdist, both the same bytes whenever and wherever they are built.

Dates in the archives and pages are those of the last commit (``SOURCE_DATE_EPOCH``); hatchling sorts and normalises
the rest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from release.share import ROOT, write_share


def build(folder: Path, source: Path = ROOT) -> list[Path]:
    """Build sdist and wheel of ``source`` into ``folder``; return the two files."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", _last_commit(source))
    folder.mkdir(parents=True, exist_ok=True)
    share = source / "share"
    shutil.rmtree(share, ignore_errors=True)
    write_share(share)
    try:
        sdist = _hatchling(source, "sdist", folder)
    finally:
        shutil.rmtree(share)
    with tempfile.TemporaryDirectory(prefix="numaprobe-dist-") as place:
        with tarfile.open(sdist) as archive:
            archive.extractall(place, filter="data")
        wheel = _hatchling(Path(place) / sdist.name.removesuffix(".tar.gz"), "wheel", folder)
    return [sdist, wheel]


def check(files: list[Path]) -> None:
    """Have twine check the metadata and the long description, warnings as errors."""
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)


def _hatchling(source: Path, target: str, folder: Path) -> Path:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder.resolve()]
    subprocess.run(command, cwd=source, check=True, stdout=subprocess.DEVNULL)
    ending = ".tar.gz" if target == "sdist" else ".whl"
    [made] = [p for p in folder.iterdir() if p.name.endswith(ending) and before.get(p) != p.stat().st_mtime_ns]
    return made


def _last_commit(source: Path) -> str:
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=source, capture_output=True, text=True, check=False)
    return done.stdout.strip() or str(int((source / "CHANGELOG.md").stat().st_mtime))
