"""Reading files that somebody else wrote: of bounded size, never blocking, one line if it does not work.

A tree or file given to us may hold anything: a pipe in the place of an attribute (opening it would wait for ever), a
device without end, a loop of links, gigabytes, bytes that are no text. What is missing is None; what is there and
cannot be read is an error. Packed files are unpacked (``unpack.py``), and held to the same size.
"""

from __future__ import annotations

import os
import stat
from itertools import islice
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.reading.budget import BUDGETS, MAX_ENTRIES
from numaprobe.reading.unpack import CutOffError, unpacked

if TYPE_CHECKING:
    from pathlib import Path

MAX_ATTRIBUTE: Final = BUDGETS["sysfs"].size


def open_regular(path: str | os.PathLike[str]) -> int:
    """Return a descriptor of a regular file, opened without waiting for anything.

    Raises:
        InputError: it is no regular file, or may not be read.
        FileNotFoundError: it does not exist.

    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {_reason(error)}", os.fsdecode(path)) from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise InputError(_no_file(mode), os.fsdecode(path))


def _no_file(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "cannot be read: it is a directory and not a regular file"
    kind = "a pipe" if stat.S_ISFIFO(mode) else "a device"
    return f"is not a regular file but {kind}, which may never end; what is read from standard input (-) may be one"


def read_bytes(path: Path | str, limit: int = MAX_ATTRIBUTE) -> bytes | None:
    """Return what a regular file holds; None if it does not exist.

    Raises:
        InputError: it is no regular file, larger than ``limit`` bytes, or may not be read.

    """
    try:
        descriptor = open_regular(path)
    except FileNotFoundError:
        return None
    try:
        data = _read(descriptor, limit + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {_reason(error)}", str(path)) from None
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise InputError(f"is larger than {limit} bytes, which no such file is", str(path))
    return data


def read_document(path: Path, form: str) -> bytes | None:
    """Return what a regular file holds, unpacked and without a mark, up to its form's size; None if it does not exist.

    Args:
        path: the file.
        form: its row in ``BUDGETS``.

    Raises:
        InputError: it is no regular file, larger, packed in a way that is not read, or may not be read.

    """
    limit, where = BUDGETS[form].size, str(path)
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            data = unpacked(file, where).read(limit + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot be read: {_reason(error)}", where) from None
    except CutOffError as error:
        raise InputError(f"cannot be unpacked: {error}", where) from None
    if len(data) > limit:
        budget = BUDGETS[form]
        advice = f"; {budget.advice}" if budget.advice else ""
        raise InputError(f"is larger than {limit >> 20} MiB, and no {budget.what} is{advice}", where)
    return data


def as_text(data: bytes, where: str) -> str:
    """Return a document as text.

    Raises:
        InputError: it holds no UTF-8 text.

    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"holds bytes that are no UTF-8 text, at {error.start}", where) from None


def _read(descriptor: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.read(descriptor, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_text(path: Path, limit: int = MAX_ATTRIBUTE) -> str | None:
    """Return the UTF-8 text of a file; None if it does not exist.

    Raises:
        InputError: as ``read_bytes``, or it holds no text.

    """
    data = read_bytes(path, limit)
    if data is None:
        return None
    return as_text(data, str(path))


def list_directory(path: Path) -> list[str]:
    """Return the sorted names in a directory; none if it does not exist.

    Raises:
        InputError: it may not be read, or holds more names than a machine has devices.

    """
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry in islice(entries, MAX_ENTRIES + 1)]
        if len(names) > MAX_ENTRIES:
            raise InputError(f"holds more than {MAX_ENTRIES} entries, which no machine has", str(path))
        return sorted(names)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"cannot be read: {_reason(error)}", str(path)) from None


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or "").lower() if isinstance(error, OSError) else "not a possible file name"
