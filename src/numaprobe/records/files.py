"""Files of records: written whole or not at all, and read by what they hold, never by their name.

``write_atomically`` is what every command uses to leave a file: whoever looks sees the old content or the new, also
after an error, Ctrl-C or a power cut.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.records.json_codec import load_trace
from numaprobe.records.printk import read_printk

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.records.model import Trace

PARQUET_MAGIC: Final = b"PAR1"
#: A JSON trace is read as a whole; one of a million probes is smaller than this.
MAX_JSON_BYTES: Final = 2**30


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a file so that it appears whole, with the permissions that a new file gets, or keeps what it had.

    A temporary file in the same folder is written, synced and renamed over ``path``; it is removed if anything fails.

    Raises:
        InputError: the folder is missing or may not be written, the disk is full.

    """
    from pathlib import Path  # here: it is half of what importing this floor would cost

    target = Path(os.path.realpath(path))
    data = content.encode() if isinstance(content, str) else content
    try:
        _replace(target, data)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", str(path)) from None


def _replace(target: Path, data: bytes) -> None:
    part = target.with_name(f".{target.name[:64]}.{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            if target.exists():
                os.fchmod(file.fileno(), target.stat().st_mode & 0o777)
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name last; some file systems cannot, and then the content is safe all the same."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_records(path: str | os.PathLike[str]) -> Trace:
    """Return the trace in a file of ours: JSON, Parquet or the seeds' printk lines, told apart by content.

    Raises:
        InputError: it cannot be read, or holds none of these.

    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123  pathlib is half of what importing this floor would cost
            head = file.read(4096)
            if head.startswith(PARQUET_MAGIC):
                from numaprobe.records.parquet import read_parquet

                return read_parquet(path)
            if looks_like_json(head):
                return load_limited(head + file.read(MAX_JSON_BYTES), str(path))
            file.seek(0)
            trace = read_printk(line.decode(errors="backslashreplace") for line in file)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", str(path)) from None
    if not trace.probes:
        raise InputError(
            "holds no trace: neither JSON nor Parquet of numaprobe, nor a printk line of a probe", str(path)
        )
    return trace


def load_limited(content: bytes, where: str) -> Trace:
    """Return the trace of a JSON text that was read up to the limit.

    Raises:
        InputError: it is longer, or no trace.

    """
    if len(content) >= MAX_JSON_BYTES:
        raise InputError(f"is larger than {MAX_JSON_BYTES >> 30} GiB of JSON: use Parquet", where)
    return load_trace(content, where)


def looks_like_json(head: bytes) -> bool:
    """Tell whether a file that starts with ``head`` is a JSON object."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
