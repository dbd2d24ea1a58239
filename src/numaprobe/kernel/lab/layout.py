"""The layout in which every kernel of the lab lies: ``boot/vmlinuz-REL`` and ``lib/modules/REL`` below one folder.

Kernels come from apt, from package files and from build trees; each is brought into this layout in a temporary folder
beside its place and moved there when it is whole, so that a place either has all of a kernel or is not there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.errors import MissingInterfaceError, RefusedError
from numaprobe.kernel.lab.tools import SYSTEM_PATHS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: seconds that a program may take: fetching a kernel is about 100 MB
_PATIENCE: Final = 900


def need(*programs: str, what: str, instead: str) -> None:
    """Return if these programs are installed.

    Args:
        programs: their names.
        what: what needs them.
        instead: what to do without.

    Raises:
        MissingInterfaceError: one is not.

    """
    for program in programs:
        if shutil.which(program, path=_search()) is None:
            raise MissingInterfaceError(f"{what} needs {program}; {instead}")


@contextlib.contextmanager
def laid_out(place: Path) -> Iterator[Path]:
    """Yield a new folder that becomes ``place`` when it is whole; what was there before is replaced."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".fetch-") as folder:
        root = Path(folder) / "root"
        root.mkdir()
        yield root
        shutil.rmtree(place, ignore_errors=True)
        root.rename(place)


def put_in_place(root: Path, release: str) -> None:
    """Bring image and modules of unpacked packages to their places, and index the modules.

    Newer packages have both below ``usr/lib/modules/REL`` (merged /usr; the image beside its modules).

    Raises:
        RefusedError: there is no image.

    """
    modules = root / "lib/modules" / release
    if not modules.is_dir() and (root / "usr" / modules.relative_to(root)).is_dir():
        modules.parent.mkdir(parents=True, exist_ok=True)
        (root / "usr" / modules.relative_to(root)).rename(modules)
    image = root / "boot" / f"vmlinuz-{release}"
    if not image.is_file() and (modules / "vmlinuz").is_file():
        image.parent.mkdir(parents=True, exist_ok=True)
        (modules / "vmlinuz").rename(image)
    if not image.is_file():
        raise RefusedError(f"the packages of {release} hold no kernel image")
    run(["depmod", "-b", str(root), release])


def run(command: Sequence[str], *, cwd: Path | None = None, check: bool = True) -> str:
    """Run a program to its end and return what it printed.

    Raises:
        RefusedError: it failed (if ``check``), took too long, or is not there; with the last line that it said.

    """
    try:
        done = subprocess.run(  # noqa: S603  fixed programs; the variable parts are paths and checked patterns
            command,
            cwd=cwd,
            env={**os.environ, "PATH": _search(), "LC_ALL": "C"},
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


def _search() -> str:
    """Return PATH with the system's own directories behind it: depmod is there."""
    return os.pathsep.join((os.environ.get("PATH", ""), *SYSTEM_PATHS))
