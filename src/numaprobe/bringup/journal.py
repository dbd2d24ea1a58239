r"""The journal: what is about to be done to the kernel's devices, on the disk before it is done.

One file of the state folder, appended to and never rewritten, one JSON object for each step (``steps.py``). What holds:

* **Written ahead.** A run's first line and all its intents go out together and are on the disk (``fdatasync``, a folder
  that is new synced, too) before the first write to the kernel. What becomes of each change is in the file at once,
  where it survives the death of this process, and on the disk with the run's last line. A power cut that takes it takes
  nothing: sysfs begins from nothing at the next boot, and a journal of another boot is closed, never replayed.
* **A full disk is met before the first write to the kernel.** ``reserve`` has the file system set the room aside for
  all lines of a run (``fallocate``, the size of the file unchanged). A line that cannot be written raises, and the
  writer then touches nothing: no intent, no write.
* **A torn line is no line.** What a crash cut off is closed with a newline by the next
  line, stays where it is, and is counted by the reader.
* **No time decides anything** but the boot clock's within its boot (``clock.py``). Order is the order of lines.

A journal that has grown beyond ``ROTATE`` and has no open run becomes ``journal.1`` when the next run begins.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from numaprobe.bringup.state import open_in, refused, sync_folder
from numaprobe.bringup.steps import CHANGE_STEPS, RUN_STEPS, JournalStep
from numaprobe.errors import StateError
from numaprobe.hostmachine.syscalls import reserve_space

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numaprobe.bringup.clock import Clock

NAME: Final = "journal"
OLDER: Final = "journal.1"
#: bytes from which on a closed journal is put aside: some ten thousand changes
ROTATE: Final = 16 * 2**20
#: bytes set aside for each change of a run: an intent and its outcome are some 900, a long path doubles them
ROOM_PER_CHANGE: Final = 4096
#: bytes set aside for the run itself
ROOM_PER_RUN: Final = 16384


class Journal:
    """Appends the lines of one run.

    Args:
        folder: the state folder; whoever appends holds its lock.
        clock: what the lines are dated with.
        run: the run's id; None: a new one.

    Raises:
        NotPermittedError, RefusedError: the file cannot be opened for writing.

    """

    def __init__(self, folder: Path, clock: Clock, run: str | None = None) -> None:
        self.run = run or os.urandom(4).hex()
        self.path = folder / NAME
        self._clock = clock
        self._descriptor = open_in(folder, NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self._is_torn = _ends_torn(self._descriptor)
        self._steps: dict[str | None, JournalStep] = {}
        #: guards the file and the steps
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was appended is on the disk."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            try:
                os.fdatasync(descriptor)
            except OSError as error:
                raise refused(self.path, error) from None
            finally:
                os.close(descriptor)

    def resume(self, steps: dict[str | None, JournalStep]) -> None:
        """Go on with a run that is in the file already; ``steps``: where its changes are (None: the run itself)."""
        self._steps = dict(steps)

    def reserve(self, changes: int) -> None:
        """Have the file system set room aside for a run of so many changes.

        Raises:
            RefusedError: there is not so much room; nothing was written.

        """
        room = room_for(changes)
        try:
            try:
                reserve_space(self._descriptor, os.fstat(self._descriptor).st_size, room)
            except OSError as error:
                if error.errno not in {errno.EOPNOTSUPP, errno.ENOSYS}:
                    raise
                _check_free(self._descriptor, room)
        except OSError as error:
            raise refused(self.path, error) from None

    def append(self, step: JournalStep, change: str | None = None, *, lasting: bool = True, **data: Any) -> None:  # noqa: ANN401
        """Write one line.

        Args:
            step: of this change, or of the run.
            change: ``ACTION BUS/NAME``, of which a plan has one; None: the line is the run's own.
            lasting: return only when it is on the disk.
            data: what else the line says; values that JSON has.

        Raises:
            StateError: the step may not follow the last one; nothing was written.
            RefusedError: the line could not be written, or not be brought to the disk.

        """
        self.append_all([(step, change, data)], lasting=lasting)

    def append_all(
        self, lines: Sequence[tuple[JournalStep, str | None, Mapping[str, Any]]], *, lasting: bool = True
    ) -> None:
        """Write several lines at once: step, change and data of each; else as ``append``."""
        try:
            with self._lock:
                for step, change, _data in lines:
                    self._check(step, change)
                self._put(b"".join(self._encoded(*line) for line in lines))
                self._steps |= {change: step for step, change, _data in lines}
                if lasting:
                    os.fdatasync(self._descriptor)
        except OSError as error:
            raise refused(self.path, error) from None

    def _check(self, step: JournalStep, change: str | None) -> None:
        last = self._steps.get(change)
        allowed = RUN_STEPS if change is None else CHANGE_STEPS
        if step not in allowed.get(last, ()):
            who = change or f"run {self.run}"
            raise StateError(f"journal: '{step}' of {who} cannot follow '{last or 'nothing'}'")

    def _encoded(self, step: JournalStep, change: str | None, data: Mapping[str, Any]) -> bytes:
        line: dict[str, Any] = {"step": str(step), "run": self.run}
        line |= {} if change is None else {"change": change}
        line |= {"time_ns": self._clock.wall_ns(), "boottime_ns": self._clock.boottime_ns(), **data}
        return json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"

    def _put(self, data: bytes) -> None:
        """Write it all; what goes out in part is closed by the next line."""
        rest = b"\n" * self._is_torn + data
        self._is_torn = True
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._is_torn = False


def room_for(changes: int) -> int:
    """Return the bytes that a run of so many changes may write."""
    return ROOM_PER_RUN + changes * ROOM_PER_CHANGE


def _check_free(descriptor: int, room: int) -> None:
    """Accept a file system that cannot set room aside, if it has so much now."""
    found = os.fstatvfs(descriptor)
    if found.f_bavail * found.f_frsize < room:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def rotate(folder: Path) -> bool:
    """Put the journal aside if it has grown; return whether it was. Its runs must be over, and the lock be held.

    Raises:
        NotPermittedError, RefusedError: the folder cannot be written.

    """
    path = folder / NAME
    try:
        if path.stat().st_size < ROTATE:
            return False
        path.replace(folder / OLDER)
        sync_folder(folder)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise refused(path, error) from None
    return True


def _ends_torn(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
