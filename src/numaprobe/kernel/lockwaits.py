"""Which probe waited for which, and for what: from wake-ups, and from lock events where they were recorded.

A task that sleeps inside a probe and is woken by another task, which is in a probe itself, waited for that one: it let
go of something. (An interrupt that wakes it borrowed whichever task ran there, and tells nothing.) The time before is
the waker's, as far back as the waker itself was not waiting; before that it is the time of the task it waited for.

``lock:contention_begin`` and ``contention_end`` (since 5.19; mutexes, rwsems, semaphores, per-CPU rwsems; spinlocks,
too, which nobody sleeps for) say for what a task waits. The kernel gives an address, hashed; with the stack of the
event a lock goes by the function that takes it. A wait may begin twice (a mutex is spun for, then slept for) and ends
once.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from numaprobe.records import LockWait

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What a wait is for when nothing names it.
UNNAMED_LOCK: Final = "unnamed"
#: Waits kept of one task: more are counted by nobody, and then the record does not tell.
MAX_WAITS: Final = 4096
#: Tasks that are looked at from one waker to the next.
MAX_CHAIN: Final = 16
#: Locks with names, and locks of which a task waits for at once.
MAX_LOCKS: Final = 4096
MAX_NESTED: Final = 8

#: Functions of locks themselves: a lock goes by the first one on the stack that is none of these.
_LOCKING: Final = re.compile(
    r"(?:__traceiter_|trace_event_raw_event_|perf_trace_|trace_contention|stack_trace|ftrace_|__ftrace|__trace_stack"
    r"|event_triggers|_*mutex_|_*ww_mutex|_*down|_*rwsem|_*up_|_*percpu_down|_*percpu_rwsem|rt_mutex|_*rt_mutex"
    r"|rwbase_|_raw_|_*lock_|queued_|native_queued|osq_|acpi_os_wait_semaphore|acpi_os_acquire|acpi_ut_acquire_mutex"
    r"|acpi_ex_acquire_mutex_object|schedule|__schedule|bpf_trampoline|kprobe_|fentry)"
)


class TaskWait(NamedTuple):
    """A stretch in which a task waited for another one."""

    start_ns: int
    end_ns: int
    #: the lock's address as printed; None: no lock event tells
    lock: bytes | None
    #: the device that was probed by the task that let go, else that task's name; None: not known
    held_by: str | None


@dataclass(slots=True, eq=False)
class TaskWaits:
    """The waits of one task since its outermost open call began."""

    waits: list[TaskWait] = field(default_factory=list)
    #: locks that it is waiting for now, with the time since when
    contended: list[tuple[bytes, int]] = field(default_factory=list)
    #: there were too many
    overflown: bool = False
    #: what it probes: the device; of a task that is in no probe, its name
    name: str | None = None
    #: its last wait for another task: until when, and for which
    last_end_ns: int = -1
    last_for: TaskWaits | None = None

    def add(self, wait: TaskWait) -> None:
        """Note a wait."""
        if wait.end_ns <= wait.start_ns:
            return
        if len(self.waits) >= MAX_WAITS:
            self.overflown = True
        else:
            self.waits.append(wait)

    @property
    def lock(self) -> bytes | None:
        """The lock for which it waits now."""
        return self.contended[-1][0] if self.contended else None

    def begin(self, lock: bytes, now: int) -> None:
        """It waits for a lock from now on; once more for the same one is the same wait."""
        if all(known != lock for known, _ in self.contended) and len(self.contended) < MAX_NESTED:
            self.contended.append((lock, now))

    def end(self, lock: bytes, now: int) -> None:
        """It waits for a lock no more: what nobody's wake-up explains was for a holder that is not known."""
        for index, (known, since) in enumerate(self.contended):
            if known == lock:
                del self.contended[index:]
                mine = (wait for wait in self.waits if wait.lock == lock and wait.end_ns > since)
                told = sum(wait.end_ns - max(since, wait.start_ns) for wait in mine)
                self.add(TaskWait(since, max(since, now - told), lock, None))
                return

    def since(self, start_ns: int) -> tuple[TaskWait, ...] | None:
        """Return those that ended after a time; None if there were too many."""
        if self.overflown:
            return None
        return tuple([wait for wait in self.waits if wait.end_ns > start_ns]) if self.waits else ()

    def forget(self) -> None:
        """The task has no open call any more."""
        self.waits, self.contended, self.overflown = [], [], False
        self.last_end_ns, self.last_for = -1, None


def woken(sleeper: TaskWaits, since_ns: int, now: int, waker: TaskWaits) -> None:
    """Note that a task which slept since ``since_ns`` was woken by another one in a probe.

    Args:
        sleeper: the task that slept.
        since_ns: since when.
        now: when it was woken.
        waker: the task that woke it.

    """
    end, holder = now, waker
    for _ in range(MAX_CHAIN):
        before = holder.last_for
        if before is None or holder.last_end_ns <= since_ns or before is sleeper:
            break
        start = min(end, holder.last_end_ns)
        sleeper.add(TaskWait(start, end, sleeper.lock, holder.name))
        end, holder = start, before
    sleeper.add(TaskWait(since_ns, end, sleeper.lock, holder.name))
    sleeper.last_end_ns, sleeper.last_for = now, waker


class LockNames:
    """What locks are called: by the functions that take them, as stacks show."""

    def __init__(self) -> None:
        self._callers: dict[bytes, Counter[str]] = {}
        #: lock events were recorded
        self.seen = False

    def called(self, lock: bytes, function: str) -> bool:
        """Take a function of the stack from which a lock was taken, innermost first; tell whether it names the lock."""
        if _LOCKING.match(function):
            return False
        if lock in self._callers or len(self._callers) < MAX_LOCKS:
            self._callers.setdefault(lock, Counter())[function] += 1
        return True

    def name_of(self, lock: bytes | None) -> str:
        """Return what to call a lock: the function that took it most often, else its address."""
        if lock is None:
            return UNNAMED_LOCK
        callers = self._callers.get(lock)
        return lock.decode(errors="replace") if callers is None else callers.most_common(1)[0][0]

    def sums(self, waits: Sequence[TaskWait], start_ns: int, end_ns: int) -> tuple[LockWait, ...]:
        """Return waits within a time by lock and holder, the longest sum first."""
        if not waits:
            return ()
        found: dict[tuple[str, str | None], list[int]] = {}
        for wait in waits:
            ns = min(end_ns, wait.end_ns) - max(start_ns, wait.start_ns)
            if ns > 0:
                found.setdefault((self.name_of(wait.lock), wait.held_by), []).append(ns)
        sums = [LockWait(lock, by, len(each), sum(each), max(each)) for (lock, by), each in found.items()]
        return tuple(sorted(sums, key=lambda one: (-one.wait_ns, one.lock, one.held_by or "")))
