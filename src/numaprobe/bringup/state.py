"""The folder in which runs keep what must outlast them: the journal and the lock.

``/var/lib/numaprobe/journal`` unless ``--state`` names another. It is ours alone to write (mode 0755, its files 0644),
and no file in it is opened through a link that somebody may have put there.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from numaprobe.errors import InputError, KernelInterfaceError, NotPermittedError, RefusedError

#: where runs keep their state by default
STATE: Final = Path("/var/lib/numaprobe/journal")


def make_state(folder: Path) -> Path:
    """Make the state folder if it is not there; return it.

    Raises:
        InputError: the name leads to something that is no folder.
        NotPermittedError, RefusedError: it cannot be made.

    """
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        sync_folder(folder.parent)
    except FileExistsError:
        raise InputError("is no folder; name one, or a new name (--state)", str(folder)) from None
    except OSError as error:
        raise refused(folder, error) from None
    return folder


def open_in(folder: Path, name: str, flags: int) -> int:
    """Open a file of the state folder, no link followed; the folder keeps its name even after a power cut.

    Raises:
        NotPermittedError, RefusedError: it cannot be opened.

    """
    path = folder / name
    try:
        is_new = not path.exists()
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        if is_new:
            sync_folder(folder)
    except OSError as error:
        raise refused(path, error) from None
    return descriptor


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has nothing to sync
            raise
    finally:
        os.close(descriptor)


def refused(path: Path, error: OSError) -> KernelInterfaceError:
    """Return the error that says why a file of the state folder cannot be had."""
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        text = f"{path}: {error.strerror}; run it as root, or name a folder of your own (--state)"
        return NotPermittedError(text)
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return RefusedError(f"{path}: {error.strerror}; make room, or name another place (--state)")
    return RefusedError(f"{path}: {error.strerror}")
