"""One run at a time: a lock that the kernel takes away from whoever dies.

``flock`` on a file of the state folder. It belongs to the open file, so it ends with the process that holds it, however
that ends; and not before its last thread has left the kernel: a run that gets the lock knows that no write of an
earlier run is still under way, except for those that the earlier run gave up waiting for and journalled as ``late``.
The file says which run holds it and since when, for the one that has to wait.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from typing import TYPE_CHECKING, Final, Self

from numaprobe.bringup.clock import wall_text
from numaprobe.bringup.state import open_in, refused
from numaprobe.errors import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.bringup.clock import Clock

NAME: Final = "lock"
_LONGEST: Final = 4096


class RunLock:
    """The lock of a state folder, held between ``with`` and its end, or until ``release``.

    Args:
        folder: the state folder; it is there.
        clock: for what the next one is told.

    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            RefusedError: another run has it; the text says which, and since when. Or the folder cannot be written.

        """
        descriptor = open_in(self._folder, NAME, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sign(descriptor)
        except BlockingIOError:
            text = f"another run is at work: {self._holder(descriptor)}; wait for it, then try again"
            os.close(descriptor)
            raise RefusedError(text) from None
        except OSError as error:
            os.close(descriptor)
            raise refused(self._folder / NAME, error) from None
        self._descriptor = descriptor
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let the next one in; to call it twice does no harm."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that we forked may have the file open, too
            os.close(descriptor)

    def _sign(self, descriptor: int) -> None:
        signature = {"pid": os.getpid(), "boot": self._clock.boot, "since_ns": self._clock.boottime_ns()}
        signature["time_ns"] = self._clock.wall_ns()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(signature).encode(), 0)

    def _holder(self, descriptor: int) -> str:
        try:
            found = json.loads(os.pread(descriptor, _LONGEST, 0))
            age_s = (self._clock.boottime_ns() - int(found["since_ns"])) / 1e9
            return f"pid {int(found['pid'])}, since {wall_text(int(found['time_ns']))} ({age_s:.0f} s)"
        except (OSError, ValueError, KeyError, TypeError):
            return "it has not said which run it is yet"


def is_locked(folder: Path) -> bool:
    """Return whether a run holds the lock of this state folder now; False where it cannot be asked."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno == errno.EWOULDBLOCK
    finally:
        os.close(descriptor)
    return False
