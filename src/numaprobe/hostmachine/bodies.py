"""What cost models do, in real time, in the body's thread: burn CPU time, touch memory.

All of it frees the interpreter lock while it works, so that bodies on several CPUs run side by side.
"""

from __future__ import annotations

import mmap
import threading
import time
import zlib
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from numaprobe.hostmachine import syscalls

if TYPE_CHECKING:
    from numaprobe.hostmachine.attributes import Applier, Attributes

#: Data to burn time on: untouched memory, which is one page of zeros everywhere and stays in a core's own cache.
_BLOCK: Final = memoryview(mmap.mmap(-1, 1 << 24, prot=mmap.PROT_READ))
#: Below 5 KiB ``crc32`` keeps the interpreter lock; this is a few microseconds, the precision of ``burn``.
_LEAST: Final = 8192
#: What is shorter is burnt in one go.
_SHORT_NS: Final = 50_000
#: Of what is left, this share is burnt in one go.
_SHARE: Final = 0.9
#: How much data is read to find out how fast that goes.
_SAMPLE: Final = 1 << 20
#: Pages asked about when memory is read back; of more pages this many, evenly spread.
_PAGES_ASKED: Final = 4096


class _Speed:
    """How much ``crc32`` reads in a microsecond of CPU time here, as last seen by any thread; 0 = never seen."""

    bytes_per_us = 0.0

    @classmethod
    def first_look(cls) -> None:
        zlib.crc32(_BLOCK)  # the page tables are there from now on
        start = time.thread_time_ns()
        zlib.crc32(_BLOCK[:_SAMPLE])
        cls.bytes_per_us = _SAMPLE * 1000 / max(1, time.thread_time_ns() - start)


def burn(ns: int) -> None:
    """Use a CPU for ``ns`` of the calling thread's CPU time, within some microseconds.

    In few calls, because after each the thread needs the interpreter lock, and a thread that loses its CPU with the
    lock in hand holds up all others; and not too much: each takes a little less than what is left at the speed that the
    last one saw (another CPU may share the core, or not).
    """
    if not _Speed.bytes_per_us:
        _Speed.first_look()
    now = time.thread_time_ns()
    end = now + ns
    while (left := end - now) > 0:
        size = int((left if left < _SHORT_NS else left * _SHARE) * _Speed.bytes_per_us / 1000)
        size = min(max(size, _LEAST), len(_BLOCK))
        zlib.crc32(_BLOCK[:size])
        before, now = now, time.thread_time_ns()
        if now - before > _SHORT_NS:
            _Speed.bytes_per_us = size * 1000 / (now - before)


class Nap:
    """A sleep of the calling thread that another one can end.

    Args:
        until_ns: when it ends by itself (CLOCK_MONOTONIC).

    """

    def __init__(self, until_ns: int) -> None:
        self._until_ns = until_ns
        self._bell = threading.Lock()
        self._bell.acquire()

    def take(self) -> None:
        """Sleep."""
        left = self._until_ns - time.monotonic_ns()
        if left > 0:
            self._bell.acquire(timeout=min(left / 1e9, threading.TIMEOUT_MAX))

    def end(self) -> None:
        """End it now; once."""
        self._bell.release()


class HeldMemory(NamedTuple):
    """Memory that a body holds, and where it lies; ``by_node`` is None where the kernel does not tell."""

    address: int
    size: int
    by_node: dict[int, int] | None

    def free(self) -> None:
        """Give it back; once."""
        if self.size:
            syscalls.unmap_pages(self.address, self.size)


def touch(size: int, node: int | None, applier: Applier, own: Attributes) -> HeldMemory:
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
        return HeldMemory(0, 0, {})
    address = syscalls.map_pages(size)
    if node is None:
        syscalls.populate(address, size)
    else:
        applier.apply_memory(replace(own, memory_node=node))
        syscalls.populate(address, size)
        applier.apply_memory(own)
    return HeldMemory(address, size, read_back(address, size))


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
