"""Lines of a byte stream, with memory that does not grow with the stream.

``for line in file`` keeps a whole line, and a hostile or binary file may hold no newline at all. Here a block of
fixed size is read and cut at once, which is also the fastest way that Python has; what exceeds the longest sane line
is dropped and counted. A compressed file that ends early ends the stream, and says so.
"""

from __future__ import annotations

import zlib
from gzip import BadGzipFile
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

#: bytes read at once
BLOCK: Final = 1 << 18
#: The kernel cuts a trace line at 8 KiB (``TRACE_SEQ_SIZE``), a log line at less.
MAX_LINE: Final = 1 << 14


class ByteStream(Protocol):
    """What is read from: an open binary file, a pipe, a decompressor."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""
        ...


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

    def blocks(self) -> Iterator[list[bytes]]:
        """Return the lines, without their newlines, many at a time."""
        rest = b""
        skipping = False
        while block := self._next():
            lines = block.split(b"\n")
            if skipping:
                if len(lines) == 1:
                    continue
                del lines[0]
                skipping = False
            else:
                lines[0] = rest + lines[0]
            rest = lines.pop()
            if len(rest) > MAX_LINE:
                self.torn += 1
                rest, skipping = b"", True
            yield lines
        if rest:
            yield [rest]

    def _next(self) -> bytes:
        try:
            block: bytes | str = self._read(BLOCK)
        except (EOFError, BadGzipFile, zlib.error):
            self.cut_off = True
            return b""
        return block if isinstance(block, bytes) else block.encode(errors="surrogateescape")
