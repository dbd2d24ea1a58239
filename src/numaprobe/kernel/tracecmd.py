"""A ``trace.dat`` as text: what ``trace-cmd report`` makes of it, read while it writes.

The binary form needs the formats of all events and a small language to print them by; trace-cmd has both. It is started
without a shell, on a descriptor of ours, so that no name can mean something else to it. Time and output are bounded
(``budget.py``); if it fails, its own first words are told.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.reading.budget import BUDGETS, GIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.reading.unpack import ByteStream

MAGIC: Final = b"\x17\x08\x44tracing"
PROGRAM: Final = "trace-cmd"
#: ``-t``: times to the nanosecond; without ``-R`` and ``-l``, which print what a reader cannot use
OPTIONS: Final = ("report", "-t", "-i")
#: Of its complaints so much is kept.
_KEPT: Final = 4096


@contextlib.contextmanager
def report(stream: ByteStream, plain: object, where: str) -> Iterator[IO[bytes]]:
    """Give the text of a ``trace.dat``; on leaving, tell what went wrong.

    Args:
        stream: the binary trace, from its first byte.
        plain: the open file if it is one that holds the trace as it is; anything else is copied first.
        where: what to call it in errors.

    Raises:
        InputError: trace-cmd is not installed, fails, takes too long, or the trace is too large.

    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise InputError(
            "is a binary trace.dat, and trace-cmd, which reads it, is not installed: install it, or make text of it "
            "elsewhere, with 'trace-cmd report -i FILE'",
            where,
        )
    with _on_disk(stream, plain, where) as descriptor, _run(program, descriptor, where) as text:
        yield text


@contextlib.contextmanager
def _on_disk(stream: ByteStream, plain: object, where: str) -> Iterator[int]:
    """Give a descriptor of a regular file that holds the trace."""
    if (number := _regular(plain)) is not None:
        yield number
        return
    left = BUDGETS["trace.dat"].size
    with tempfile.TemporaryFile(prefix="numaprobe-") as file:
        while block := stream.read(1 << 20):
            file.write(block)
            left -= len(block)
            if left < 0:
                raise InputError(f"is larger than {BUDGETS['trace.dat'].size // GIB} GiB", where)
        file.flush()
        yield file.fileno()


def _regular(plain: object) -> int | None:
    try:
        number: int = plain.fileno()  # type: ignore[attr-defined]
        return number if stat.S_ISREG(os.fstat(number).st_mode) else None
    except (AttributeError, OSError):
        return None  # no file at all, or one in memory


@contextlib.contextmanager
def _run(program: str, descriptor: int, where: str) -> Iterator[IO[bytes]]:
    command = [program, *OPTIONS, f"/dev/fd/{descriptor}"]
    environment = {**os.environ, "LC_ALL": "C"}
    limit = BUDGETS["trace.dat"].seconds
    late = threading.Event()
    child = subprocess.Popen(  # noqa: S603  a list, no shell; the program is the user's own
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(descriptor,),
        env=environment,
    )
    assert child.stdout is not None  # noqa: S101  asked for above
    assert child.stderr is not None  # noqa: S101

    def end() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(limit, end)
    complaints: list[bytes] = []
    listener = threading.Thread(target=_listen, args=(child.stderr, complaints), daemon=True)
    timer.start()
    listener.start()
    try:
        yield child.stdout
        child.stdout.close()
        code = child.wait()
    finally:
        timer.cancel()
        child.kill()
        child.wait()
        listener.join()
        child.stdout.close()
        child.stderr.close()
    if late.is_set():
        raise InputError(f"takes trace-cmd more than {limit} s: make text of a part of it", where)
    if code != 0:
        raise InputError(f"cannot be read by trace-cmd, which ended with {code}: {_first_words(complaints)}", where)


def _listen(stream: IO[bytes], kept: list[bytes]) -> None:
    """Read all of a stream, so that its writer never waits; keep its beginning."""
    size = 0
    while block := stream.read(_KEPT):
        if size < _KEPT:
            kept.append(block)
            size += len(block)


def _first_words(complaints: list[bytes]) -> str:
    text = b"".join(complaints).decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:200] if lines else "it does not say why"
