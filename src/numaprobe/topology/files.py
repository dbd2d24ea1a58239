"""Reading files that somebody else wrote: of bounded size, never blocking, one line if it does not work.

A tree or file given to us may hold anything: a pipe in the place of an attribute (opening it would wait for ever), a
loop of links, gigabytes, bytes that are no text. What is missing is None; what is there and cannot be read is an error.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

#: A machine description of 8192 CPUs is below 20 MiB in every format.
MAX_FILE: Final = 64 * 2**20
#: The longest attribute read here is a list of every other CPU of 8192: 40 KiB.
MAX_ATTRIBUTE: Final = 256 * 2**10


def read_bytes(path: Path, limit: int = MAX_FILE) -> bytes | None:
    """Return what a regular file holds; None if it does not exist.

    Raises:
        InputError: it is no regular file, larger than ``limit`` bytes, or may not be read.

    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {_reason(error)}", str(path)) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InputError("is not a regular file", str(path))
        data = _read(descriptor, limit + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {_reason(error)}", str(path)) from None
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise InputError(f"is larger than {limit} bytes, which no such file is", str(path))
    return data


def _read(descriptor: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.read(descriptor, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_text(path: Path, limit: int = MAX_FILE) -> str | None:
    """Return the UTF-8 text of a file; None if it does not exist.

    Raises:
        InputError: as ``read_bytes``, or it holds no text.

    """
    data = read_bytes(path, limit)
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("holds bytes that are no UTF-8 text", str(path)) from None


def list_directory(path: Path) -> list[str]:
    """Return the sorted names in a directory; none if it does not exist.

    Raises:
        InputError: it may not be read.

    """
    try:
        return sorted(entry.name for entry in path.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"cannot be read: {_reason(error)}", str(path)) from None


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or "").lower() if isinstance(error, OSError) else "not a possible file name"
