"""The few system calls that Python has no name for: where a thread runs, its memory policy, where its pages are.

Each function does one call for the *calling* thread and raises ``OSError`` as the kernel answers; a caller that may do
without the answer decides so one floor up (``attributes.py``). glibc's ``syscall`` is used, so that libnuma need not be
there; on an architecture whose numbers are not in the table the calls fail with ENOSYS, as on a kernel without them.

Sources: ``include/uapi/linux/mempolicy.h``, ``prctl.h``; numbers from each architecture's system call table.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Memory policies (``MPOL_*``): back to the process's default, prefer one node, only these nodes.
MPOL_DEFAULT: Final = 0
MPOL_PREFERRED: Final = 1
MPOL_BIND: Final = 2

_PR_SET_NAME: Final = 15
_PRIVATE: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_MAP_FAILED: Final = ctypes.c_void_p(-1).value
_MADV_NOHUGEPAGE: Final = 15
#: TASK_COMM_LEN - 1: the kernel cuts longer names.
_COMM_LENGTH: Final = 15

#: set_mempolicy, move_pages
_NUMBERS: Final = {
    "x86_64": (238, 279),
    "aarch64": (237, 239),
    "riscv64": (237, 239),
    "loongarch64": (237, 239),
    "ppc64le": (261, 301),
    "s390x": (270, 310),
}
_SET_MEMPOLICY, _MOVE_PAGES = _NUMBERS.get(os.uname().machine, (-1, -1))
_BITS_PER_LONG: Final = 8 * ctypes.sizeof(ctypes.c_long)

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYSCALL = _LIBC.syscall
_SYSCALL.restype = ctypes.c_long
#: The same library for calls that never wait: these keep the interpreter lock, which costs more to get back than they.
_QUICK = ctypes.PyDLL(None, use_errno=True)
_GETCPU = _QUICK.sched_getcpu
_PREAD = _QUICK.pread
_PREAD.restype = ctypes.c_ssize_t
_MMAP = _LIBC.mmap
_MMAP.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_MMAP.restype = ctypes.c_void_p
_MUNMAP = _LIBC.munmap
_MUNMAP.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_MADVISE = _LIBC.madvise
_MADVISE.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_FALLOCATE = _LIBC.fallocate64 if hasattr(_LIBC, "fallocate64") else _LIBC.fallocate
_FALLOCATE.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_FALLOC_FL_KEEP_SIZE: Final = 1
_MEMSET = _LIBC.memset
_MEMSET.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
_MEMSET.restype = ctypes.c_void_p


def _failed(name: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{name}: {os.strerror(number)}")


def getcpu() -> int:
    """Return the CPU on which the calling thread runs at this moment."""
    return int(_GETCPU())


class SmallFile:
    """A file of ``/proc`` that is read again and again from its start, by one thread.

    Args:
        path: where it is. A file that cannot be opened reads as empty.

    """

    __slots__ = ("_arguments", "_buffer", "_descriptor")

    _SIZE: Final = 96

    def __init__(self, path: str) -> None:
        self._descriptor = -1
        with suppress(OSError):
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._buffer = ctypes.create_string_buffer(self._SIZE)
        # made once: half of the time of a read is what ctypes makes of its arguments
        size, offset = ctypes.c_size_t(self._SIZE), ctypes.c_int64(0)
        self._arguments = (ctypes.c_int(self._descriptor), self._buffer, size, offset)

    def read(self) -> bytes:
        """Return what it holds now, at most 96 bytes; nothing once it was closed, or if its subject is gone."""
        size = _PREAD(*self._arguments)
        data: bytes = self._buffer[: max(0, size)]  # type: ignore[assignment]  # a slice of chars is bytes
        return data

    def close(self) -> None:
        """Close it."""
        descriptor, self._descriptor = self._descriptor, -1
        self._arguments[0].value = -1
        if descriptor >= 0:
            os.close(descriptor)


def set_name(comm: str) -> None:
    """Name the calling thread; the kernel keeps 15 bytes of it."""
    _LIBC.prctl(_PR_SET_NAME, ctypes.c_char_p(comm.encode()[:_COMM_LENGTH]), 0, 0, 0)


def set_mempolicy(mode: int, node: int | None = None) -> None:
    """Set the calling thread's memory policy: ``MPOL_PREFERRED`` or ``MPOL_BIND`` to ``node``, or the default.

    Raises:
        OSError: EINVAL if the node has no memory or is not in the cpuset, EPERM in some containers, ENOSYS.

    """
    if _SET_MEMPOLICY < 0:
        raise OSError(errno.ENOSYS, "set_mempolicy: its number is not known for this architecture")
    words = 1 + (node or 0) // _BITS_PER_LONG
    mask = (ctypes.c_ulong * words)()
    if node is not None:
        mask[node // _BITS_PER_LONG] = 1 << node % _BITS_PER_LONG
    size = ctypes.c_ulong(words * _BITS_PER_LONG + 1 if node is not None else 0)
    if _SYSCALL(ctypes.c_long(_SET_MEMPOLICY), ctypes.c_long(mode), mask if node is not None else None, size) < 0:
        raise _failed("set_mempolicy")


def nodes_of_pages(addresses: Sequence[int]) -> list[int]:
    """Return the node of each page of this process; a negative errno for a page that is not in memory.

    Raises:
        OSError: ENOSYS on a kernel without NUMA, EPERM in some containers.

    """
    count = len(addresses)
    pages = (ctypes.c_void_p * count)(*addresses)
    status = (ctypes.c_int * count)()
    arguments = (ctypes.c_long(0), ctypes.c_ulong(count), pages, None, status, ctypes.c_long(0))
    if _MOVE_PAGES < 0:
        raise OSError(errno.ENOSYS, "move_pages: its number is not known for this architecture")
    if _SYSCALL(ctypes.c_long(_MOVE_PAGES), *arguments) < 0:
        raise _failed("move_pages")
    return list(status)


def address_of(memory: mmap.mmap) -> int:
    """Return the address of a writable mapping: for drivers that ask where their pages are (``nodes_of_pages``)."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def map_pages(size: int) -> int:
    """Map ``size`` bytes of private memory, none of it there yet, in pages of the usual size; return the address.

    The ``mmap`` of Python keeps the interpreter lock while it waits for other threads of the process that fault pages
    in; this call, and ``unmap_pages``, do not.

    Raises:
        OSError: ENOMEM.

    """
    address: int | None = _MMAP(None, size, mmap.PROT_READ | mmap.PROT_WRITE, _PRIVATE, -1, 0)
    if address is None or address == _MAP_FAILED:
        raise _failed("mmap")
    if _huge_pages_by_themselves():
        _MADVISE(address, size, _MADV_NOHUGEPAGE)
    return address


@cache
def _huge_pages_by_themselves() -> bool:
    try:
        return "[always]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text(encoding="ascii")
    except OSError:
        return False


def unmap_pages(address: int, size: int) -> None:
    """Give back what ``map_pages`` mapped."""
    _MUNMAP(address, size)


def populate(address: int, size: int) -> None:
    """Have every page of a range in memory, placed by the calling thread's policy. The interpreter lock is free.

    Page by page, as a body that fills its memory: since Linux 6.4 a fault takes the lock of its mapping only, while
    ``MADV_POPULATE_WRITE`` holds the address space's for as long as it lasts, and threads that map or unmap wait.
    """
    _MEMSET(address, 0, size)


def reserve_space(descriptor: int, offset: int, size: int) -> None:
    """Have the file system set aside ``size`` bytes of a file from ``offset`` on; the file's own size stays.

    Raises:
        OSError: ENOSPC or EDQUOT: there is not so much; EOPNOTSUPP: this file system cannot.

    """
    if _FALLOCATE(descriptor, _FALLOC_FL_KEEP_SIZE, offset, size) < 0:
        raise _failed("fallocate")
