"""Traces of hosts, fetched with the user's own ``ssh``: no daemon, no password, nothing stored.

``ssh`` is started once for each host, several at a time, without a terminal (``BatchMode``: it asks nobody anything),
and what the command there prints is a trace. A host's name is an argument of its own, behind ``--``, and goes through
no shell here; but ``ssh`` hands it to commands of the user's configuration (``ProxyCommand``, ``Match exec``), so that
a name is letters, digits and ``.-_:@[]%``, and does not begin with ``-``, nor does the part behind ``@`` or before it.

What a host prints is bounded in size and in time: one that says nothing, or never stops, is one line, and no more.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from numaprobe.errors import InputError, MissingInterfaceError, RefusedError, UsageError
from numaprobe.reading.files import read_document
from numaprobe.study.fleet.sources import TraceSource, told_beside
from numaprobe.study.traces import read_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numaprobe.records import Trace

#: What is run on a host if nothing else is said: its kernel's log.
COMMAND: Final = "dmesg 2>/dev/null || sudo -n dmesg"
#: Hosts that are asked at once, and seconds that one has.
AT_ONCE: Final = 16
SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 10
#: Bytes that a host may print: as much as a JSON trace may have.
MAX_OUTPUT: Final = 256 << 20
_HOST: Final = re.compile(
    r"(?!-)[A-Za-z0-9._%-]{1,64}(?:@(?!-)[A-Za-z0-9._:%\[\]-]{1,255})?|(?!-)[A-Za-z0-9._:%\[\]-]{1,255}"
)
_LONGEST_REASON: Final = 200


def check_host(name: str) -> str:
    """Return a host's name if it can be one.

    Raises:
        UsageError: it could be taken for something else.

    """
    if _HOST.fullmatch(name) is None:
        shown = "".join(char if char.isprintable() else "?" for char in name[:80])
        text = "a host is [USER@]NAME of letters, digits and .-_:%[], and does not begin with -"
        raise UsageError(f"'{shown}' is no name of a host: {text}")
    return name


def read_hosts(file: str | Path) -> list[str]:
    """Return the hosts that a file lists, one to a line; what follows ``#`` is left out.

    Raises:
        InputError: it cannot be read, or a line is no host.

    """
    content = read_document(Path(file), "kprobes")
    if content is None:
        raise InputError("there is no such file", str(file))
    found = []
    for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
        if name := line.partition("#")[0].strip():
            try:
                found.append(check_host(name))
            except UsageError as error:
                raise InputError(str(error), f"{file}: line {number}") from None
    if not found:
        raise InputError("names no host: one to a line", str(file))
    return list(dict.fromkeys(found))


@dataclass(slots=True)
class SshHosts:
    """Hosts to be asked.

    Args:
        hosts: their names, checked.
        command: what is run there, by the user's shell there.
        seconds: for each host.
        at_once: hosts that are asked at the same time.

    """

    hosts: Sequence[str]
    command: str = COMMAND
    seconds: float = SECONDS
    at_once: int = AT_ONCE
    _running: set[subprocess.Popen[bytes]] = field(default_factory=set)

    @contextlib.contextmanager
    def sources(self) -> Iterator[Iterator[TraceSource]]:
        """Yield one source for each host, in the order of the list; those that come later are asked meanwhile.

        Raises:
            MissingInterfaceError: there is no ``ssh``.

        """
        if (program := shutil.which("ssh")) is None:
            raise MissingInterfaceError("there is no ssh on this system; install OpenSSH's client")
        hosts = [check_host(one) for one in self.hosts]
        with (
            tempfile.TemporaryDirectory(prefix="numaprobe-", ignore_cleanup_errors=True) as folder,
            ThreadPoolExecutor(self.at_once) as pool,
        ):
            try:
                yield self._each(program, hosts, Path(folder), pool)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(self._running):
                    _kill(process)

    def _each(
        self, program: str, hosts: Sequence[str], folder: Path, pool: ThreadPoolExecutor
    ) -> Iterator[TraceSource]:
        waiting = []
        names = iter(enumerate(hosts))

        def start() -> None:
            for number, host in names:
                file = folder / str(number)
                waiting.append((host, file, pool.submit(self._fetch, program, host, file)))
                return

        for _ in range(2 * self.at_once):  # so many wait on disk at most, however slowly they are read
            start()
        while waiting:
            host, file, future = waiting.pop(0)
            yield TraceSource(name=host, read=_reader(host, file, future.result))
            file.unlink(missing_ok=True)
            start()

    def _fetch(self, program: str, host: str, file: Path) -> str | None:
        """Have a host print into a file; return why it did not."""
        words = [program, "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}", "--", host, self.command]
        with (
            tempfile.TemporaryFile() as said,
            file.open("wb") as out,
            subprocess.Popen(  # noqa: S603  see above
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, start_new_session=True
            ) as process,
        ):
            self._running.add(process)
            late = threading.Event()
            timer = threading.Timer(self.seconds, _end, [process, late])
            timer.daemon = True
            timer.start()
            try:
                size = _copy(process.stdout, out)
                if size > MAX_OUTPUT:
                    _kill(process)
                status = process.wait()
            finally:
                timer.cancel()
                self._running.discard(process)
            if size > MAX_OUTPUT:
                return f"printed more than {MAX_OUTPUT >> 20} MiB"
            if late.is_set():
                return f"did not answer within {self.seconds:.0f} s"
            return None if status == 0 else _reason(said, status)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End ssh and what it has started itself (ProxyCommand), which would hold its output open."""
    if process.poll() is None:  # it leads a group of its own, and its number is its own until it was waited for
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    _kill(process)


def _copy(stream: IO[bytes] | None, out: IO[bytes]) -> int:
    """Copy what a host prints; return how much, no more than is let in and a block."""
    size = 0
    while stream is not None and (block := stream.read(1 << 18)):
        size += len(block)
        if size > MAX_OUTPUT:
            break
        out.write(block)
    return size


def _reason(said: IO[bytes], status: int) -> str:
    """Return the last line of what ssh said, or its status."""
    end = said.seek(0, 2)
    said.seek(max(0, end - 4096))
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    why = "".join(char if char.isprintable() else "?" for char in lines[-1][:_LONGEST_REASON]) if lines else ""
    return f"ssh: {why.removeprefix('ssh: ')}" if why else f"the command there ended with {status}"


def _reader(host: str, file: Path, wait: Callable[[], str | None]) -> Callable[[], Trace]:
    def read() -> Trace:
        try:
            why = wait()
        except OSError as error:
            raise RefusedError(f"ssh cannot be run: {error.strerror}") from None
        if why is not None:
            raise InputError(why, host)
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        try:
            return told_beside(read_trace(file, named=False), host.rpartition("@")[2], now)
        except InputError as error:
            raise InputError(error.what, host) from None

    return read
