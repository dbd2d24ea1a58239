"""One front door for every trace: our JSON and Parquet, ftrace text, the kernel's log, compressed or not.

What a file is, is told by what it holds, not by its name. What a trace's kprobes stand for is looked up in the file
given, else beside the trace: ``NAME.kprobes``, ``kprobe_events`` or ``machine.txt``; else our own names are taken.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from numaprobe.errors import InputError
from numaprobe.kernel.ftrace import read_ftrace
from numaprobe.kernel.ftrace_line import parse_event_line, parse_lost
from numaprobe.kernel.initcall import read_log
from numaprobe.kernel.kprobes import KprobeDefinition, parse_kprobe_events
from numaprobe.kernel.lines import ByteStream, Lines
from numaprobe.kernel.log_line import is_journal
from numaprobe.kernel.release import known_release, with_release
from numaprobe.records import RunWarning
from numaprobe.records.files import MAX_JSON_BYTES, PARQUET_MAGIC, load_limited, looks_like_json
from numaprobe.records.parquet import read_parquet
from numaprobe.topology import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numaprobe.records import Trace
    from numaprobe.topology import Topology

#: Files beside a trace that may hold the definitions of its kprobes.
BESIDE: Final = ("kprobe_events", "machine.txt")
#: Bytes looked at to tell what a stream is.
HEAD: Final = 1 << 16

_GZIP: Final = b"\x1f\x8b"
_TRACE_DAT: Final = b"\x17\x08\x44tracing"


class _Rewound:
    """A stream with the bytes put back in front that were looked at."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._next: Any = getattr(stream, "read1", stream.read)
        self.head: bytes = self._next(HEAD)
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes; fewer only at the end."""
        parts = [self._from_head(size)]
        while size < 0 or len(parts[0]) < size:
            more = self._stream.read(size - len(parts[0]) if size >= 0 else HEAD)
            if not more:
                break
            parts = [b"".join((*parts, more))] if size >= 0 else [*parts, more]
        return b"".join(parts)

    def read1(self, size: int, /) -> bytes:
        """Return what there is, at most ``size`` bytes; none at the end."""
        return self._from_head(size) or self._next(size)

    def _from_head(self, size: int) -> bytes:
        end = len(self.head) if size < 0 else self._at + size
        part = self.head[self._at : end]
        self._at += len(part)
        return part


def read_trace(
    source: str | os.PathLike[str] | IO[bytes],
    *,
    topology: Topology | None = None,
    kprobes: str | os.PathLike[str] | None = None,
) -> Trace:
    """Return the trace that a file or a binary stream holds.

    Args:
        source: a path, or an open binary stream (standard input).
        topology: the machine it was recorded on, for the nodes of CPUs and devices; a trace of ours that holds its
            machine keeps it.
        kprobes: a file with lines of ``kprobe_events``; None = look beside the trace, else our own names.

    Raises:
        InputError: it cannot be read, or holds none of the forms.

    """
    definitions = read_definitions(Path(kprobes)) if kprobes is not None else None
    if not isinstance(source, str | os.PathLike):
        return _read(source, "the stream", topology, definitions or {}, known_release(topology, None))
    path = Path(source)
    kernel = known_release(topology, path)
    try:
        with path.open("rb") as stream:
            return _read(stream, str(path), topology, _beside(path) if definitions is None else definitions, kernel)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", str(path)) from None


def read_definitions(path: Path) -> dict[str, KprobeDefinition]:
    """Return the kprobe definitions that a text holds.

    Raises:
        InputError: it cannot be read, or holds none.

    """
    try:
        with path.open("rb") as stream:
            found = parse_kprobe_events(
                line.decode(errors="backslashreplace") for block in Lines(stream).blocks() for line in block
            )
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", str(path)) from None
    if not found:
        raise InputError(
            "holds no kprobe definition; it must have lines as in /sys/kernel/tracing/kprobe_events", str(path)
        )
    return found


def _beside(path: Path) -> dict[str, KprobeDefinition]:
    for candidate in (path.with_name(path.name + ".kprobes"), *(path.with_name(name) for name in BESIDE)):
        if candidate.is_file():
            try:
                return read_definitions(candidate)
            except InputError:
                continue  # a machine.txt need not speak of kprobes
    return {}


def _read(
    stream: ByteStream,
    where: str,
    topology: Topology | None,
    definitions: Mapping[str, KprobeDefinition],
    kernel: str | None,
) -> Trace:
    try:
        rewound = _Rewound(stream)
        if rewound.head.startswith(_GZIP):
            rewound = _Rewound(gzip.GzipFile(mode="rb", fileobj=rewound))  # type: ignore[call-overload]  # it has read()
        return with_release(_told_apart(rewound, where, topology, definitions, kernel), kernel)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"cannot be unpacked: {error}", where) from None


def _told_apart(
    rewound: _Rewound,
    where: str,
    topology: Topology | None,
    definitions: Mapping[str, KprobeDefinition],
    kernel: str | None,
) -> Trace:
    head = rewound.head
    if head.startswith(PARQUET_MAGIC):
        return _on_unknown(topology, _parquet(rewound, where))
    if head.startswith(_TRACE_DAT):
        raise InputError("is a binary trace.dat: make text of it first, with 'trace-cmd report -i FILE'", where)
    if looks_like_json(head) and not is_journal(head):
        return _on_unknown(topology, load_limited(rewound.read(MAX_JSON_BYTES), where))
    if _is_ftrace(head):
        return _on(topology, read_ftrace(rewound, definitions=definitions, topology=topology))
    trace = _on(topology, read_log(rewound, topology=topology, kernel=kernel))
    if not trace.probes:
        raise InputError(_no_probe(trace), where)
    return trace


def _no_probe(trace: Trace) -> str:
    """Return what to say of a text without a probe that could be timed."""
    for warning in trace.warnings:
        if warning.kind in ("untimed", "unfinished"):
            return f"holds no probe with a duration: {warning.message}; boot with initcall_debug"
    return "holds no probe: no trace of numaprobe, no ftrace text, no line of initcall_debug or of the seeds' printk"


def _on(topology: Topology | None, trace: Trace) -> Trace:
    """Return the trace with the machine that it was recorded on."""
    if topology is None:
        return trace
    told = (RunWarning(kind="machine", message=line) for line in topology.warnings)
    return replace(trace, machine=to_json(topology), warnings=(*trace.warnings, *told))


def _on_unknown(topology: Topology | None, trace: Trace) -> Trace:
    """Return the trace with this machine if it holds none."""
    return trace if trace.machine else _on(topology, trace)


def _parquet(stream: _Rewound, where: str) -> Trace:
    """Read Parquet from a stream: its index is at its end, so it needs a file."""
    with tempfile.NamedTemporaryFile(prefix="numaprobe-", suffix=".parquet") as file:
        while block := stream.read1(1 << 20):
            file.write(block)
        file.flush()
        return read_parquet(file.name, where)


def _is_ftrace(head: bytes) -> bool:
    lines = head.split(b"\n")
    return lines[0].startswith(b"# tracer:") or any(
        parse_event_line(line) is not None or parse_lost(line) is not None for line in lines
    )
