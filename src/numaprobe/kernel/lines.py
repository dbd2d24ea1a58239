"""Lines of a byte stream, with memory that does not grow with the stream.

``for line in file`` keeps a whole line, and a hostile or binary file may hold no newline at all. Here a block of
fixed size is read and cut at once, which is also the fastest way that Python has; what exceeds the longest sane line
is dropped and counted. A compressed file that ends early ends the stream, and says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import InputError
from numaprobe.reading.budget import BUDGETS, GIB, MAX_UNBROKEN, MIB
from numaprobe.reading.unpack import CutOffError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.reading.unpack import ByteStream

#: bytes read at once
BLOCK: Final = 1 << 19
#: The kernel cuts a trace line at 8 KiB (``TRACE_SEQ_SIZE``), a log line at less.
MAX_LINE: Final = 1 << 14
#: A file of nothing but newlines would be a million lines for each megabyte.
_BLANKS: Final = re.compile(rb"\n\n\n++")  # not {3,}: so the search is for a text, ten times as fast


def cut(chunk: bytes) -> list[bytes]:
    """Return the lines of a chunk, without their newlines; of many empty ones in a row, one or two."""
    return _BLANKS.sub(b"\n", chunk).split(b"\n")


class Lines:
    """Cuts a stream into lines.

    Attributes:
        torn: lines that were dropped because they are longer than any real one.
        cut_off: the compressed stream ended before its end.

    """

    def __init__(self, stream: ByteStream) -> None:
        self.torn = 0
        self.cut_off = False
        # a pipe hands over what it has (read1) instead of waiting for a whole block
        self._read: Any = getattr(stream, "read1", stream.read)
        self._size = 0
        self._unbroken = 0

    def blocks(self) -> Iterator[list[bytes]]:
        """Return the lines, without their newlines, many at a time."""
        for chunk in self.chunks():
            yield cut(chunk)

    def chunks(self) -> Iterator[bytes]:
        """Return whole lines, many in one piece, without the newline of the last.

        Raises:
            InputError: it goes on for longer than any text, or for too long without a newline.

        """
        rest, skipping = b"", False
        while block := self._next():
            start, end = 0, block.rfind(b"\n")
            self._count(len(block), end)
            if skipping:
                if end < 0:
                    continue
                start, skipping = block.find(b"\n") + 1, False
            if start <= end:
                yield b"".join((rest, memoryview(block)[start:end]))
                rest = b""
            rest += block[max(start, end + 1) :]
            if len(rest) > MAX_LINE:
                self.torn += 1
                rest, skipping = b"", True
        if rest:
            yield rest

    def _count(self, size: int, newline: int) -> None:
        self._size += size
        self._unbroken = self._unbroken + size if newline < 0 else 0
        if self._unbroken > MAX_UNBROKEN:
            raise InputError(f"holds no newline in {MAX_UNBROKEN // MIB} MiB: it is no text")
        if self._size > BUDGETS["text"].size:
            raise InputError(f"is longer than {BUDGETS['text'].size // GIB} GiB of text: record less, or for less long")

    def _next(self) -> bytes:
        try:
            block: bytes | str = self._read(BLOCK)
        except CutOffError:
            self.cut_off = True
            return b""
        return block if isinstance(block, bytes) else block.encode(errors="surrogateescape")
