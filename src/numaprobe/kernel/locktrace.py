"""Switching on the kernel's lock events (``record --locks``): which task waits for which lock, and who takes it.

``lock:contention_begin`` and ``contention_end`` are in every kernel since 5.19: mutexes, read-write semaphores, per-CPU
ones, plain semaphores (the ACPI interpreter's are such), and spinlocks, which flood and for which nobody sleeps; they
are filtered away inside the kernel. The lock itself is an address; a trigger has the kernel write the stack behind each
begin, and the function that takes the lock is its name (``lockevents.py`` reads both).

Kernels with lockdep have further events by the names ``lock_contended`` and ``lock_acquired``; they were the only ones
before 5.19, cost every lock of the machine its own check, and are not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.errors import KernelInterfaceError, MissingInterfaceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.kernel.tracefs import Tracefs

BEGIN: Final = "lock/contention_begin"
END: Final = "lock/contention_end"
#: only there in kernels that are built with lockdep
_LOCKDEP: Final = "lock/lock_acquire"
#: ``LCB_F_SPIN`` and nothing else: a spinlock (a mutex that is spun for has another flag as well)
_SPINLOCK: Final = 1


def check_lock_events(tracefs: Tracefs) -> None:
    """Return if this kernel tells of waits for locks.

    Raises:
        MissingInterfaceError: it does not.

    """
    if tracefs.has(f"events/{BEGIN}") and tracefs.has(f"events/{END}"):
        return
    lockdep = "it has lockdep's events instead, which are not read" if tracefs.has(f"events/{_LOCKDEP}") else ""
    raise MissingInterfaceError(
        "--locks: this kernel has no lock:contention_begin and contention_end (Linux has them since 5.19, without "
        f"lockdep{'; ' if lockdep else ''}{lockdep}); record without --locks"
    )


def enable_lock_events(instance: Tracefs, comms: Sequence[str]) -> Iterator[str]:
    """Switch the lock events of an instance on; yield a sentence for each thing that the kernel does not do for us.

    Args:
        instance: where they go.
        comms: patterns of the tasks that are watched; empty: every task.

    Raises:
        KernelInterfaceError: the kernel refused the events themselves.

    """
    named = " || ".join(f'COMM ~ "{comm}"' for comm in comms)
    asleep = f"flags != {_SPINLOCK}"
    conditions = {BEGIN: f"{asleep} && ({named})" if named else asleep, END: named}
    for event, condition in conditions.items():
        if condition:
            try:
                instance.write(f"events/{event}/filter", condition)
            except KernelInterfaceError as error:
                yield f"{event} is recorded for every task: {error}"
    try:
        instance.write(f"events/{BEGIN}/trigger", f"stacktrace if {conditions[BEGIN]}")
    except KernelInterfaceError as error:
        yield f"locks go by their addresses, not by who takes them: {error}"
    for event in conditions:
        instance.write(f"events/{event}/enable", "1")
