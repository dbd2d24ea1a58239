"""Whether a task that a journal names is still the same task: its number and when it started, as the kernel tells.

Numbers are used again; a number and a start are not. Source: ``/proc/PID/task/TID/stat``, field 22 (proc(5)).
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

#: fields of ``stat`` behind the name in brackets: the start is the 22nd of all, the name the 2nd
_START: Final = 22 - 3


def this_task(tid: int | None = None) -> dict[str, int]:
    """Return what tells a thread of this process from every other task; by default the calling one."""
    pid, task = os.getpid(), threading.get_native_id() if tid is None else tid
    return {"pid": pid, "tid": task, "start": _start(pid, task) or 0}


def is_same_task(stamp: object) -> bool:
    """Return whether the task of such a stamp is still there; False for what is no stamp."""
    if not isinstance(stamp, dict):
        return False
    numbers = [stamp.get(name) for name in ("pid", "tid", "start")]
    if not all(isinstance(number, int) for number in numbers):
        return False
    pid, tid, start = numbers
    return start is not None and pid is not None and tid is not None and _start(pid, tid) == start


def _start(pid: int, tid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/task/{tid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[_START])
    except (OSError, ValueError, IndexError):
        return None
