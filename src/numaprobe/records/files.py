"""Files of records, read by what they hold, never by their name. How files are written is in ``writing.py``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.reading.budget import BUDGETS
from numaprobe.reading.files import open_regular
from numaprobe.reading.unpack import CutOffError, unpacked
from numaprobe.reading.weigh import JSON_WEIGHTS, check_worked_out, copies, objects_weight
from numaprobe.records.json_codec import load_trace
from numaprobe.records.printk import read_printk

if TYPE_CHECKING:
    from numaprobe.reading.unpack import ByteStream
    from numaprobe.records.model import Trace

PARQUET_MAGIC: Final = b"PAR1"


def read_records(path: str | os.PathLike[str]) -> Trace:
    """Return the trace in a file of ours: JSON, Parquet or the threads' printk lines, told apart by content.

    Raises:
        InputError: it cannot be read, or holds none of these.

    """
    where = os.fsdecode(path)
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            content = unpacked(file, where)
            if content.head.startswith(PARQUET_MAGIC):
                from numaprobe.records.parquet import read_parquet

                return read_parquet(path)
            if looks_like_json(content.head):
                return load_limited(content, where)
            text = content.read(BUDGETS["json"].size)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or 'no such file or directory'}", where) from None
    except CutOffError as error:
        raise InputError(f"cannot be unpacked: {error}", where) from None
    trace = read_printk(line.decode(errors="backslashreplace") for line in text.split(b"\n"))
    if not trace.probes:
        raise InputError("holds no trace: neither JSON nor Parquet of numaprobe, nor a printk line of a probe", where)
    return trace


def load_limited(stream: ByteStream, where: str) -> Trace:
    """Return the trace of a JSON text, weighed while it is read.

    Raises:
        InputError: it is larger or heavier than its budget, or no trace.

    """
    parts: list[bytes] = []
    size = needed = wide = 0
    while block := stream.read(1 << 20):
        parts.append(block)
        size += len(block)
        needed += objects_weight(block, JSON_WEIGHTS)
        wide = max(wide, copies(block))
        check_worked_out("json", needed + size * wide, where)
        if size > BUDGETS["json"].size:
            raise InputError(f"is larger than {BUDGETS['json'].size >> 20} MiB of JSON: use Parquet", where)
    content = b"".join(parts)
    parts.clear()
    return load_trace(content, where)


def looks_like_json(head: bytes) -> bool:
    """Tell whether a file that starts with ``head`` is a JSON object."""
    return head.lstrip()[:1] == b"{"
