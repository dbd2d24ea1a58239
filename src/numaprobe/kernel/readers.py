"""One front door for every trace: our JSON and Parquet, ftrace text, the kernel's log, compressed or not.

What a file is, is told by what it holds, not by its name. What a trace's kprobes stand for is looked up in the file
given, else beside the trace: ``NAME.kprobes``, ``kprobe_events`` or ``machine.txt``; else our own names are taken.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.kernel import tracecmd
from numaprobe.kernel.ftrace import read_ftrace
from numaprobe.kernel.ftrace_line import parse_event_line, parse_lost
from numaprobe.kernel.initcall import read_log
from numaprobe.kernel.kprobes import KprobeDefinition, parse_kprobe_events
from numaprobe.kernel.log_line import is_journal
from numaprobe.kernel.release import known_release, with_release
from numaprobe.reading.budget import BUDGETS
from numaprobe.reading.collector import patient_collector
from numaprobe.reading.files import open_regular, read_document
from numaprobe.reading.unpack import CutOffError, Rewound, unpacked
from numaprobe.records import RunWarning
from numaprobe.records.files import PARQUET_MAGIC, load_limited, looks_like_json
from numaprobe.records.parquet import read_parquet
from numaprobe.topology import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numaprobe.reading.unpack import ByteStream
    from numaprobe.records import Trace
    from numaprobe.topology import Topology

#: Files beside a trace that may hold the definitions of its kprobes.
BESIDE: Final = ("kprobe_events", "machine.txt")
#: A pipe that the shell made and holds open: ``report <(ssh host dmesg)``.
_DESCRIPTORS: Final = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")


def read_trace(
    source: str | os.PathLike[str] | IO[bytes],
    *,
    topology: Topology | None = None,
    kprobes: str | os.PathLike[str] | None = None,
    until: Sequence[str] = (),
) -> Trace:
    """Return the trace that a file or a binary stream holds.

    Args:
        source: a path, or an open binary stream (standard input).
        topology: the machine it was recorded on, for the nodes of CPUs and devices; a trace of ours that holds its
            machine keeps it.
        kprobes: a file with lines of ``kprobe_events``; None = look beside the trace, else our own names.
        until: texts that a kernel log's lines are searched for; the first with one is a milestone.

    Raises:
        InputError: it cannot be read, or holds none of the forms.

    """
    definitions = read_definitions(Path(kprobes)) if kprobes is not None else None
    if not isinstance(source, str | os.PathLike):
        return _read(source, "the stream", topology, definitions or {}, known_release(topology, None), until)
    path = Path(source)
    kernel = known_release(topology, path)
    try:
        with _open(path) as stream:
            return _read(
                stream, str(path), topology, _beside(path) if definitions is None else definitions, kernel, until
            )
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", str(path)) from None


def _open(path: Path) -> IO[bytes]:
    """Open a file, or a pipe that is open already; no device, and no pipe that somebody may never write to."""
    if str(path).startswith(_DESCRIPTORS) and path.is_fifo():
        return path.open("rb")
    try:
        return os.fdopen(open_regular(path), "rb")
    except FileNotFoundError:
        raise InputError("cannot be read: no such file or directory", str(path)) from None


def read_definitions(path: Path) -> dict[str, KprobeDefinition]:
    """Return the kprobe definitions that a text holds.

    Raises:
        InputError: it cannot be read, or holds none.

    """
    content = read_document(path, "kprobes")
    if content is None:
        raise InputError("cannot be read: no such file or directory", str(path))
    found = parse_kprobe_events(content.decode(errors="backslashreplace").split("\n"))
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
    until: Sequence[str],
) -> Trace:
    try:
        rewound = unpacked(stream, where)
        plain = stream if rewound.reads(stream) else None
        with patient_collector():
            return with_release(_told_apart(rewound, plain, where, topology, definitions, kernel, until), kernel)
    except CutOffError as error:
        raise InputError(f"cannot be unpacked: {error}", where) from None
    except InputError as error:
        raise InputError(error.what, error.where or where) from None


def _told_apart(
    rewound: Rewound,
    plain: object,
    where: str,
    topology: Topology | None,
    definitions: Mapping[str, KprobeDefinition],
    kernel: str | None,
    until: Sequence[str],
) -> Trace:
    head = rewound.head
    if head.startswith(PARQUET_MAGIC):
        return _on_unknown(topology, _parquet(rewound, where))
    if head.startswith(tracecmd.MAGIC):
        with tracecmd.report(rewound, plain, where) as text:
            trace = read_ftrace(text, definitions=definitions, topology=topology, kernel=kernel)
        return _on(topology, trace)
    if looks_like_json(head) and not is_journal(head):
        return _on_unknown(topology, load_limited(rewound, where))
    if _is_ftrace(head):
        return _on(topology, read_ftrace(rewound, definitions=definitions, topology=topology, kernel=kernel))
    trace = _on(topology, read_log(rewound, topology=topology, kernel=kernel, until=until))
    if not trace.probes:
        raise InputError(_no_probe(trace), where)
    return trace


def _no_probe(trace: Trace) -> str:
    """Return what to say of a text without a probe that could be timed."""
    for warning in trace.warnings:
        if warning.kind in ("untimed", "unfinished"):
            return f"holds no probe with a duration: {warning.message}; boot with initcall_debug"
    return "holds no probe: no trace of numaprobe, no ftrace text, no line of initcall_debug or of the threads' printk"


def _on(topology: Topology | None, trace: Trace) -> Trace:
    """Return the trace with the machine that it was recorded on."""
    if topology is None:
        return trace
    told = (RunWarning(kind="machine", message=line) for line in topology.warnings)
    return replace(trace, machine=to_json(topology), warnings=(*trace.warnings, *told))


def _on_unknown(topology: Topology | None, trace: Trace) -> Trace:
    """Return the trace with this machine if it holds none."""
    return trace if trace.machine else _on(topology, trace)


def _parquet(stream: Rewound, where: str) -> Trace:
    """Read Parquet from a stream: its index is at its end, so it needs a file."""
    left = BUDGETS["parquet"].size
    with tempfile.NamedTemporaryFile(prefix="numaprobe-", suffix=".parquet") as file:
        while block := stream.read1(1 << 20):
            file.write(block)
            left -= len(block)
            if left < 0:
                raise InputError(f"is larger than {BUDGETS['parquet'].size >> 20} MiB of Parquet: divide it", where)
        file.flush()
        return read_parquet(file.name, where)


def _is_ftrace(head: bytes) -> bool:
    lines = head.split(b"\n")
    return lines[0].startswith(b"# tracer:") or any(
        parse_event_line(line) is not None or parse_lost(line) is not None for line in lines
    )
