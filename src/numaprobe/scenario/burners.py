"""Background load of a real run: processes that compete for CPUs until they are stopped.

A process, not a thread: it takes no part in our interpreter lock, so that what it takes away is CPU time and nothing
else, as other programs do. All are started before the run and wait at a pipe; to *release* one costs the run next to
nothing. A burner ends when it is stopped, when our end of the pipe closes before its release, and within milliseconds
when our process is gone, whatever took it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final, Self

from numaprobe.errors import InternalError

if TYPE_CHECKING:
    from types import TracebackType

    from numaprobe.cpuset import CpuSet

#: Waits for its CPUs on standard input, then burns for as long as its parent lives.
_PROGRAM: Final = """
import os, sys
parent = int(sys.argv[1])
sys.stdout.write("ready\\n")
sys.stdout.flush()
cpus = sys.stdin.readline().split()
if cpus:
    os.sched_setaffinity(0, map(int, cpus))
while cpus and os.getppid() == parent:
    for _ in range(50_000):
        pass
"""
#: How long a stopped burner may take to be gone.
_GONE_S: Final = 10.0


class Burners:
    """Processes to be released one by one; use it in a ``with`` block.

    Args:
        count: how many will be released at most.

    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._waiting: list[subprocess.Popen[bytes]] = []
        self._all: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        command = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(os.getpid())]
        try:
            for _ in range(self._count):
                # Its own process group: Ctrl-C is ours to handle.
                process = subprocess.Popen(  # noqa: S603  our own interpreter and program
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    process_group=0,
                    bufsize=0,
                )
                self._all.append(process)
            for process in self._all:
                if process.stdout is not None:
                    process.stdout.readline()
            self._waiting = list(self._all)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def release(self, cpus: CpuSet) -> None:
        """Let one burn on these CPUs.

        Raises:
            InternalError: all burn already.

        """
        if not self._waiting:
            raise InternalError(f"all {self._count} burners burn already")
        process = self._waiting.pop()
        if process.stdin is not None:
            process.stdin.write(f"{' '.join(map(str, cpus))}\n".encode())

    def stop(self) -> None:
        """End all of them."""
        for process in self._all:
            process.kill()
        for process in self._all:
            process.wait(_GONE_S)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        self._all.clear()
        self._waiting.clear()
