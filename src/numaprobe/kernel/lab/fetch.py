"""Fetching a kernel of Debian's with apt, without installing it.

``apt-get download`` gets the package that the series' metapackage stands for, ``dpkg-deb -x`` unpacks it into the cache
directory, ``depmod -b`` indexes its modules there. Nothing on this system changes: no boot entry, no installed package.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError, MissingInterfaceError, RefusedError
from numaprobe.kernel.lab.tools import SYSTEM_PATHS, KernelImage, cache_directory, find_kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

_SERIES: Final = re.compile(r"\d{1,2}\.\d{1,3}", re.ASCII)
_PACKAGE: Final = re.compile(r"Depends: (linux-image-(\d[\w.+~-]*))", re.ASCII)
#: seconds that apt may take: a kernel is about 100 MB
_PATIENCE: Final = 900


def fetch_kernel(series: str, cache: Path | None = None) -> KernelImage:
    """Fetch Debian's newest kernel of ``series`` (``6.1``, ``6.12``) and return it.

    Args:
        series: major and minor number.
        cache: where to unpack; None: the user's cache directory.

    Raises:
        InputError: ``series`` is none.
        MissingInterfaceError: no apt here, or apt's sources do not offer the series.
        RefusedError: fetching or unpacking failed.

    """
    if not _SERIES.fullmatch(series):
        raise InputError(f"'{series[:40]}' is no kernel series; write for example 6.1 or 6.12")
    for program in ("apt-cache", "apt-get", "dpkg-deb", "depmod"):
        if shutil.which(program, path=_search()) is None:
            raise MissingInterfaceError(
                f"fetching kernels needs {program} (a Debian system); give --kernel IMAGE instead"
            )
    package, release = _package(series)
    folder = (cache or cache_directory()) / release
    if not (folder / "lib/modules" / release / "modules.dep").is_file():
        _unpack(package, release, folder)
    return find_kernel(str(folder / "boot" / f"vmlinuz-{release}"))


def _package(series: str) -> tuple[str, str]:
    """Return package and release that the series' metapackage depends on."""
    for meta in (f"linux-image-{series}-amd64", "linux-image-amd64"):
        match = _PACKAGE.search(_run(["apt-cache", "depends", meta], check=False))
        if match and match[2].startswith(f"{series}."):
            return match[1], match[2]
    raise MissingInterfaceError(
        f"apt's sources offer no Debian kernel {series}; run apt-get update, or add the release's backports"
    )


def _unpack(package: str, release: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as place:
        _run(["apt-get", "download", package], cwd=Path(place))
        archive = next(Path(place).glob("*.deb"), None)
        if archive is None:
            raise RefusedError(f"apt-get download {package} brought no package")
        root = Path(place) / "root"
        _run(["dpkg-deb", "-x", str(archive), str(root)])
        _run(["depmod", "-b", str(root), release])
        shutil.rmtree(folder, ignore_errors=True)
        root.rename(folder)


def _search() -> str:
    """Return PATH with the system's own directories behind it: depmod is there."""
    return os.pathsep.join((os.environ.get("PATH", ""), *SYSTEM_PATHS))


def _run(command: Sequence[str], *, cwd: Path | None = None, check: bool = True) -> str:
    try:
        done = subprocess.run(  # noqa: S603  fixed programs; the one variable part is checked by its pattern
            command,
            cwd=cwd,
            env={**os.environ, "PATH": _search()},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefusedError(f"{' '.join(command)}: {error}") from None
    if check and done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise RefusedError(f"{' '.join(command)}: {said}")
    return done.stdout
