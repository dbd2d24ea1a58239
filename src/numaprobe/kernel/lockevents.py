"""Lock events in ftrace text: ``contention_begin``, ``contention_end``, and the stack that names the lock.

    kworker/4:1-89  [004] .....  43.572499: contention_begin: 00000000d1b2a3c4 (flags=MUTEX)
    kworker/4:1-89  [004] .....  43.572501: <stack trace>
     => __mutex_lock.constprop.0
     => acpi_ex_enter_interpreter

A stack belongs to the event before it of the same task; its functions follow in lines of their own, which nothing can
come between. Only tasks in a probe are looked at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from numaprobe.kernel.ftrace_line import decode, task_of
from numaprobe.kernel.lockwaits import MAX_LOCKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numaprobe.kernel.calls import TaskTime
    from numaprobe.kernel.lockwaits import LockNames

#: trace-cmd writes 0x in front
_CONTENTION: Final = re.compile(rb"\s*(?:lock_addr=)?(?:0x)?([0-9a-fA-F]{1,16}) \((?:flags=([A-Z|0-9x]*)|ret=-?\d+)\)")
#: the flags of a spinlock: nobody sleeps for it
_SPINS: Final = b"SPIN"
_STACK_HEAD: Final = re.compile(rb"(.{1,128}): <stack trace>\s*$", re.DOTALL)
_STACK_END: Final = b"<stack trace>"
_FRAME: Final = b"=> "
#: No function's name is longer (``KSYM_NAME_LEN``).
MAX_NAME: Final = 512


class LockEvents:
    """Reads them, for the tasks that are in a probe.

    Args:
        tasks: pid -> task, of those that are in a probe now.
        names: where locks get their names.
        where: tells CPU and time of a line that was cut at its first ``": "``.

    """

    def __init__(
        self,
        tasks: Mapping[bytes, TaskTime],
        names: LockNames,
        where: Callable[[bytes], tuple[int, int] | None],
    ) -> None:
        self._tasks = tasks
        self._names = names
        self._where = where
        #: pid -> the lock whose stack comes next; the lock of the stack that is being read, until it has a name
        self._next: dict[bytes, bytes] = {}
        self._lock: bytes | None = None

    def contention(self, head: bytes, arguments: bytes, line: bytes) -> None:
        """Handle the begin or the end of a wait for a lock."""
        self._names.seen = True
        match = _CONTENTION.match(arguments)
        if not self._tasks or match is None:
            return
        pid, is_interrupt = task_of(head, line)
        task = self._tasks.get(pid)
        where = self._where(head) if task is not None and not is_interrupt else None
        if task is None or where is None:
            return
        lock, flags = match.groups()
        if flags is None:
            task.waits.end(lock, where[1])
        elif flags != _SPINS:
            task.waits.begin(lock, where[1])
            if len(self._next) >= MAX_LOCKS:
                self._next.clear()
            self._next[pid] = lock

    def stack(self, head: bytes, _arguments: bytes, line: bytes) -> None:
        """Handle the head of a stack in trace-cmd's words (``kernel_stack``)."""
        self._lock = self._next.pop(task_of(head, line)[0], None)

    def is_of_stack(self, line: bytes) -> bool:
        """Tell whether a line that is no event is part of a stack, and handle it."""
        text = line.strip()
        if text.startswith(_FRAME):
            if self._lock is not None:
                function = decode(text[len(_FRAME) : MAX_NAME]).partition("+")[0].partition(" ")[0]
                if self._names.called(self._lock, function):
                    self._lock = None
            return True
        if text.endswith(_STACK_END) and (match := _STACK_HEAD.match(line)) is not None:
            self.stack(match[1], b"", line)
            return True
        return False
