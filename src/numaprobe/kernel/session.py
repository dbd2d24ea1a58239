"""How long a recording lasts: as long as a command, for a time, or until somebody says stop.

Signals never interrupt setting up, saving or cleaning: while ``StopSignals`` is entered they only make a note, and the
one place that waits (``wait``) looks for it. So a recording that is stopped by Ctrl-C, by a service manager or by the
end of a terminal is saved and cleaned up like any other.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final, Self

from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from numaprobe.kernel.record import Recorder

#: what ends a recording
_STOP: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: how long a command that was told to stop may take, in seconds, before it is killed
_GRACE: Final = 10.0
#: a shell's way to say that a program was ended by a signal
_BY_SIGNAL: Final = 128


class StopSignals:
    """Turns SIGINT, SIGTERM and SIGHUP into a note while it is entered."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._read, self._write = -1, -1
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = {number: signal.signal(number, self._note) for number in _STOP}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"!")

    def wait(self, seconds: float | None = None, *, until: int | None = None) -> bool:
        """Wait for a signal, for ``seconds``, or until the descriptor ``until`` is readable.

        Returns:
            True if a signal came.

        """
        if self.received is None:
            watched = [self._read] if until is None else [self._read, until]
            select.select(watched, [], [], seconds)
        return self.received is not None


def find_program(command: Sequence[str]) -> str:
    """Return the path of the program that ``command`` names.

    Raises:
        InputError: there is no such program.

    """
    program = shutil.which(command[0])
    if program is None:
        raise InputError(f"'{command[0]}' is no program that can be run; give a path or a name in PATH")
    return program


def record_command(recorder: Recorder, command: Sequence[str], stop: StopSignals) -> int:
    """Record while ``command`` runs; return its exit status as a shell would.

    Raises:
        InputError: there is no such program.

    """
    program = find_program(command)
    recorder.start()
    try:
        # Not in a with statement: that would wait for a command that hangs in the kernel, and the recording be lost.
        child = subprocess.Popen([program, *command[1:]])  # noqa: S603  the user's own command
        return _wait_for(child, stop)
    finally:
        recorder.stop()


def record_for(recorder: Recorder, seconds: float | None, stop: StopSignals) -> None:
    """Record for ``seconds``; until a signal comes if None."""
    recorder.start()
    try:
        stop.wait(seconds)
    finally:
        recorder.stop()


def _wait_for(child: subprocess.Popen[bytes], stop: StopSignals) -> int:
    descriptor = os.pidfd_open(child.pid)
    try:
        if stop.wait(until=descriptor):
            _end(child)
    finally:
        os.close(descriptor)
    try:
        status = child.wait(_GRACE if stop.received is not None else None)
    except subprocess.TimeoutExpired:  # killed, and still there: it sleeps in the kernel, where no signal reaches it
        status = -signal.SIGKILL
    return status if status >= 0 else _BY_SIGNAL - status


def _end(child: subprocess.Popen[bytes]) -> None:
    """Tell the command to stop (Ctrl-C of a terminal has told it already), then make it."""
    deadline = time.monotonic() + _GRACE
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        child.kill()
