"""Names that may pass through a shell: the lab's guests are booted from folders of our own.

virtme-ng joins the folder to share and the kernel's path into one text for a shell, unquoted (``virtme_ng/run.py``,
``_get_virtme_rwdir`` and ``_get_virtme_run``, 1.42); QEMU takes a comma for the end of a path; and the paths become
kernel parameters. So none of these names is ever the user's: the kernel's image is copied, its modules are linked, and
the guest writes into a folder whose name we choose. What it leaves is copied to the user's folder afterwards.
``check_name`` is the last guard: whatever is handed to virtme-ng passes it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError, MissingInterfaceError
from numaprobe.records import open_output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.kernel.lab.tools import KernelImage

#: Means itself to a shell, to QEMU's options, to a kernel's command line and to ``--rwdir=GUEST=HOST``.
_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9_.+-][A-Za-z0-9_.+~-]*)+")
#: where a folder of our own can be, if the name of ``TMPDIR`` is not plain
_PLACES: Final = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  the folders in them are private and have random names


@dataclass(frozen=True, slots=True)
class Stage:
    """What virtme-ng is given, all of it under plain names."""

    kernel: Path
    modules: Path
    #: for its own temporary files, whose names it hands to QEMU
    temporary: Path


def check_name(path: Path) -> Path:
    """Return ``path`` if it means nothing but itself wherever the lab's programs put it.

    Raises:
        InputError: it does not.

    """
    if not _PLAIN.fullmatch(str(path)):
        raise InputError("the lab's programs cannot take this name; use letters, digits and / _ . + -", str(path))
    return path


def private_folder(prefix: str) -> Path:
    """Make and return an empty folder that is ours alone and has a plain name.

    Raises:
        MissingInterfaceError: there is nowhere to make it.

    """
    for place in (os.path.realpath(tempfile.gettempdir()), *_PLACES):
        if _PLAIN.fullmatch(place):
            with contextlib.suppress(OSError):
                return Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    raise MissingInterfaceError(f"the lab needs a folder for its files; TMPDIR and {', '.join(_PLACES)} will not do")


@contextlib.contextmanager
def staged(kernel: KernelImage) -> Iterator[Stage]:
    """Yield ``kernel`` under plain names, laid out as its package has it; they are gone afterwards."""
    folder = private_folder("numaprobe-stage-")
    try:
        stage = Stage(
            kernel=folder / "boot" / f"vmlinuz-{kernel.release}",
            modules=folder / "lib/modules" / kernel.release,
            temporary=folder / "tmp",
        )
        for place in (stage.kernel.parent, stage.modules.parent, stage.temporary):
            place.mkdir(parents=True)
        with contextlib.suppress(FileNotFoundError):  # virtme-ng says so
            shutil.copyfile(kernel.path, stage.kernel)
        stage.modules.symlink_to(kernel.modules)
        yield stage
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def bring_home(folder: Path, target: Path) -> None:
    """Copy what a guest left in ``folder`` to ``target``; links and devices that it made are left behind.

    Raises:
        InputError: a file cannot be written.

    """
    for place, folders, files in os.walk(folder):
        here = target / Path(place).relative_to(folder)
        here.mkdir(exist_ok=True)
        folders[:] = [name for name in folders if not (Path(place) / name).is_symlink()]
        for name in files:
            source = Path(place) / name
            if source.is_file() and not source.is_symlink():
                with source.open("rb") as read, open_output(here / name) as write:
                    shutil.copyfileobj(read, write)
