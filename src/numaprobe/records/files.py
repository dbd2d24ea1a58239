"""Files of records, read by what they hold, never by their name. How files are written is in ``writing.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.records.json_codec import load_trace
from numaprobe.records.printk import read_printk

if TYPE_CHECKING:
    import os

    from numaprobe.records.model import Trace

PARQUET_MAGIC: Final = b"PAR1"
#: A JSON trace is read as a whole; one of a million probes is smaller than this.
MAX_JSON_BYTES: Final = 2**30


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
