"""The witness: what the kernel says of a body's thread by other ways than those that make the record.

The record's CPU is ``getcpu``'s, its memory ``move_pages``'; the witness reads ``/proc/thread-self/stat`` and ``comm``,
asks for the thread's affinity, and finds pages of its own in ``/proc/self/numa_maps``. It runs in the body's thread, as
any user's body would, and knows nothing of the machine.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
from pathlib import Path
from typing import Final

from numaprobe.cpuset import CpuSet
from numaprobe.placement.seen import Glimpse

#: of ``/proc/*/stat`` behind the name: ``processor`` is field 39 of the line, the first behind the name is field 3
_PROCESSOR: Final = 39 - 3
_ON_NODE: Final = re.compile(r" N(\d+)=(\d+)")
_PAGE_SIZE: Final = re.compile(r"kernelpagesize_kB=(\d+)")
#: bytes of memory that the witness gets
SIZE: Final = 32768


def look_around() -> Glimpse:
    """Return what ``/proc`` says of the calling thread, and of pages that it touches now."""
    stat = Path("/proc/thread-self/stat").read_text(encoding="utf-8", errors="replace")
    cpu = int(stat.rpartition(")")[2].split()[_PROCESSOR])
    comm = Path("/proc/thread-self/comm").read_text(encoding="utf-8", errors="replace").rstrip("\n")
    return Glimpse(cpu=cpu, comm=comm, allowed=CpuSet.of(os.sched_getaffinity(0)), memory=_own_pages())


def _own_pages() -> dict[int, int] | None:
    """Touch pages and return the bytes of them on each node; None on a kernel without ``numa_maps``."""
    with mmap.mmap(-1, SIZE) as memory:
        for offset in range(0, SIZE, mmap.PAGESIZE):
            memory[offset] = 1
        start = f"{ctypes.addressof(ctypes.c_char.from_buffer(memory)):08x} "
        try:
            with open("/proc/self/numa_maps", encoding="utf-8", errors="replace") as lines:  # noqa: PTH123  a stream
                line = next((line for line in lines if line.startswith(start)), None)
        except OSError:
            return None
    return parse_numa_map(line) if line is not None else None


def parse_numa_map(line: str) -> dict[int, int]:
    """Return bytes per node of one line of ``numa_maps`` (``Documentation/filesystems/proc.rst``)."""
    size = _PAGE_SIZE.search(line)
    page = int(size[1]) * 1024 if size else mmap.PAGESIZE
    return {int(node): int(count) * page for node, count in _ON_NODE.findall(line)}
