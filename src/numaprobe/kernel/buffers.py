"""The ring buffer of a tracing instance: how large it is made, and what the kernel counted in it.

The kernel has one buffer for each CPU and counts, in ``per_cpu/cpuN/stats``, what is in it, what newer events
overwrote (``overrun``), what it could not write, and when the oldest event that is left happened. From the youngest of
those on, every CPU's events are whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from numaprobe.errors import RefusedError
from numaprobe.kernel.ftrace_line import parse_time

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.kernel.tracefs import Tracefs

#: Ring buffer for each CPU, in KiB: one probe is under 1 KiB without sched events; a busy CPU switches 10,000 times a
#: second at about 64 bytes each.
PLAIN_BUFFER_KB: Final = 1024
SCHED_BUFFER_KB: Final = 8192
#: All CPUs together take at most this (in KiB), and at most an eighth of the memory that is available.
TOTAL_BUFFER_KB: Final = 512 * 1024
MINIMAL_BUFFER_KB: Final = 64

#: nothing is whole: later than any event
NEVER_NS: Final = 1 << 62


def size_buffer(instance: Tracefs, size_kb: int) -> None:
    """Give each CPU of an instance a buffer of this size, or as much of it as the kernel has memory for.

    Raises:
        RefusedError: not even the least.

    """
    while True:
        try:
            instance.write("buffer_size_kb", str(size_kb))
        except RefusedError:
            if size_kb <= MINIMAL_BUFFER_KB:
                raise
            size_kb = max(MINIMAL_BUFFER_KB, size_kb // 2)
        else:
            return


def default_buffer_kb(wanted: int, proc: Path) -> int:
    """Return ``wanted``, or what this machine can spare if that is less; proc: the process file system."""
    total = min(TOTAL_BUFFER_KB, _available_kb(proc) // 8)
    return max(MINIMAL_BUFFER_KB, min(wanted, total // max(1, os.cpu_count() or 1)))


def _available_kb(proc: Path) -> int:
    try:
        text = (proc / "meminfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return TOTAL_BUFFER_KB
    amounts = [line.split()[1] for line in text.splitlines() if line.startswith("MemAvailable:")]
    return int(amounts[0]) if amounts else TOTAL_BUFFER_KB


@dataclass(slots=True)
class BufferCounts:
    """What the kernel counted in one instance, over all its CPUs."""

    #: events that are in the buffers
    entries: int = 0
    #: events that were overwritten or dropped
    lost: int = 0
    #: events that were overwritten, by CPU
    overwritten: dict[int, int] = field(default_factory=dict)
    #: ns of the trace's clock from which on nothing was overwritten; 0: nothing was
    whole_from: int = 0


def count(instance: Tracefs) -> BufferCounts:
    """Return what the kernel counted in an instance."""
    counts = BufferCounts()
    for path in sorted((instance.root / "per_cpu").glob("cpu*/stats")):
        rows = (line.partition(":") for line in instance.files.read(path).splitlines())
        stats = {name.strip(): value.strip() for name, _, value in rows}
        overrun = _number(stats.get("overrun", ""))
        counts.entries += _number(stats.get("entries", ""))
        counts.lost += overrun + _number(stats.get("commit overrun", "")) + _number(stats.get("dropped events", ""))
        if overrun:
            counts.overwritten[_number(path.parent.name.removeprefix("cpu"))] = overrun
            oldest = parse_time(stats.get("oldest event ts", "").encode())
            counts.whole_from = max(counts.whole_from, NEVER_NS if oldest is None else oldest)
    return counts


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
