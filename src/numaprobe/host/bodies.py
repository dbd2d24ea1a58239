"""What cost models do, in real time, in the body's thread: burn CPU time, touch memory.

All of it frees the interpreter lock while it works, so that bodies on several CPUs run side by side.
"""

from __future__ import annotations

import mmap
import time
import zlib
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from numaprobe.host import syscalls

if TYPE_CHECKING:
    from numaprobe.host.attributes import Applier, Attributes

#: Data to burn time on: untouched memory, which is one page of zeros everywhere and stays in a core's own cache.
_BLOCK: Final = memoryview(mmap.mmap(-1, 1 << 24, prot=mmap.PROT_READ))
#: Below 5 KiB ``crc32`` keeps the interpreter lock; this is a few microseconds, the precision of ``burn``.
_LEAST: Final = 8192
#: What is shorter is burnt in one go.
_SHORT_NS: Final = 50_000
#: How much data is read to find out how fast that goes.
_SAMPLE: Final = 1 << 20
#: Pages asked about when memory is read back; of more pages this many, evenly spread.
_PAGES_ASKED: Final = 4096


@cache
def _bytes_per_us() -> int:
    """Return how much ``crc32`` reads in a microsecond here: the best of a few tries."""
    zlib.crc32(_BLOCK)  # the page tables are there from now on
    best = 1
    for _ in range(5):
        start = time.thread_time_ns()
        zlib.crc32(_BLOCK[:_SAMPLE])
        best = max(best, _SAMPLE * 1000 // max(1, time.thread_time_ns() - start))
    return best


def burn(ns: int) -> None:
    """Use a CPU for ``ns`` of the calling thread's CPU time, within some microseconds.

    Half of what is left is burnt at a time: few calls, because after each the thread needs the interpreter lock, and a
    thread that loses its CPU with the lock in hand holds up all others; and never too much, unless the CPU is less than
    half as fast as it was at its best.
    """
    rate = _bytes_per_us()
    end = time.thread_time_ns() + ns
    while (left := end - time.thread_time_ns()) > 0:
        size = (left if left < _SHORT_NS else left // 2) * rate // 1000
        zlib.crc32(_BLOCK[: min(max(size, _LEAST), len(_BLOCK))])


class Memory(NamedTuple):
    """Memory that a body holds, and where it lies; ``by_node`` is None where the kernel does not tell."""

    mapping: mmap.mmap | None
    by_node: dict[int, int] | None


def touch(size: int, node: int | None, applier: Applier, own: Attributes) -> Memory:
    """Map ``size`` bytes, have every page in memory, and read back on which nodes they lie.

    Args:
        size: bytes.
        node: where they should come from; None = by the thread's policy.
        applier: sets the policy for ``node``, and tells the machine if it is refused.
        own: the thread's own policy, to go back to.

    Raises:
        OSError: there is not that much memory.

    """
    if not size:
        return Memory(None, {})
    mapping = mmap.mmap(-1, size)
    address = syscalls.address_of(mapping)
    if node is None:
        syscalls.populate(address, size)
    else:
        applier.apply_memory(replace(own, memory_node=node))
        syscalls.populate(address, size)
        applier.apply_memory(own)
    return Memory(mapping, read_back(address, size))


def read_back(address: int, size: int) -> dict[int, int] | None:
    """Return the bytes on each node of a range that is in memory; None where the kernel does not tell."""
    pages = -(-size // mmap.PAGESIZE)
    step = -(-pages // _PAGES_ASKED)
    try:
        nodes = syscalls.nodes_of_pages([address + page * mmap.PAGESIZE for page in range(0, pages, step)])
    except OSError:
        return None
    known = Counter(node for node in nodes if node >= 0)
    total = known.total()
    if not total:
        return None
    by_node = {node: size * count // total for node, count in sorted(known.items())}
    largest = max(by_node, key=lambda node: by_node[node])
    by_node[largest] += size - sum(by_node.values())
    return by_node
