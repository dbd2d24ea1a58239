"""Compressed and differently encoded streams: read where the standard library can, named where it cannot.

gzip, bzip2 and xz are unpacked as they are read, zstd where Python has it (3.14); UTF-16 with its mark becomes UTF-8, a
mark of UTF-8 is left out. What a stream is, is told by its first bytes. A stream that unpacks to far more than any real
one (``budget.MAX_RATIO``) is refused as soon as it does.
"""

from __future__ import annotations

import codecs
import importlib
import zlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from numaprobe.errors import InputError
from numaprobe.reading.budget import MAX_RATIO, UNPACK_FREE

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes looked at to tell what a stream is.
HEAD: Final = 1 << 16
#: Bytes unpacked at once.
BLOCK: Final = 1 << 18

_UTF16: Final = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
#: first bytes, name, and the program that unpacks it; of what is not read here
_NAMED: Final = (
    (b"\x04\x22\x4d\x18", "lz4", "lz4 -d"),
    (b"PK\x03\x04", "zip", "unzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z", "7z x"),
    (b"\x89LZO", "lzop", "lzop -d"),
)
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


class ByteStream(Protocol):
    """What is read from: an open binary file, a pipe, a decompressor."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""
        ...


class Decompressor(Protocol):
    """What the standard library's decompressors have in common."""

    @property
    def eof(self) -> bool:
        """The end of the packed stream was seen."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What follows it."""
        ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return at most ``max_length`` bytes; keep the rest of ``data`` for later."""
        ...


class _Zlib:
    """zlib's object in the words of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


class CutOffError(Exception):
    """A packed stream ends before its end, or is broken there."""


class Unpacked:
    """A packed stream, unpacked as it is read; several packed streams one after the other are one.

    Raises:
        InputError: it unpacks to more than any real file does.
        CutOffError: it ends early, or is broken.

    """

    def __init__(self, stream: ByteStream, make: Callable[[], Decompressor], where: str) -> None:
        self._next: Any = getattr(stream, "read1", stream.read)
        self._make, self._where = make, where
        self._inner = make()
        self._packed = self._unpacked = 0
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""
        while True:
            part = self._step(min(size, BLOCK))
            if part is not None:
                self._count(len(part))
                return part

    read1 = read

    def _step(self, size: int) -> bytes | None:
        """Return what one call of the decompressor gives, b"" at the end; None = ask again."""
        if self._inner.eof:
            self._rest = self._inner.unused_data or self._next(BLOCK)
            self._packed += 0 if self._inner.unused_data else len(self._rest)
            if not self._rest.strip(b"\0"):  # tapes and blocks are filled up with zeros
                return b""
            self._inner = self._make()
        try:
            part = self._inner.decompress(self._rest, size)
        except Exception as error:  # noqa: BLE001
            raise CutOffError(str(error)) from None  # each library has errors of its own
        self._rest = b""
        if part or self._inner.eof:
            return part or None
        self._rest = self._next(BLOCK)
        self._packed += len(self._rest)
        if not self._rest:
            raise CutOffError("it ends before its end")
        return None

    def _count(self, size: int) -> None:
        self._unpacked += size
        if self._unpacked > max(UNPACK_FREE, MAX_RATIO * self._packed):
            raise InputError(
                f"unpacks to more than {MAX_RATIO} times its size, as no true one does; unpack it yourself",
                self._where,
            )


class _Recoded:
    """A stream of UTF-16 as UTF-8."""

    def __init__(self, stream: ByteStream, encoding: str) -> None:
        self._next: Any = getattr(stream, "read1", stream.read)
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")

    def read(self, size: int, /) -> bytes:
        """Return what about ``size`` bytes stand for; none at the end."""
        while block := self._next(size):
            if text := self._decoder.decode(block):
                return text.encode()
        return self._decoder.decode(b"", final=True).encode()

    read1 = read


class Rewound:
    """A stream with the bytes put back in front that were looked at."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._next: Any = getattr(stream, "read1", stream.read)
        self.head: bytes = self._next(HEAD)
        self._at = 0

    def reads(self, stream: object) -> bool:
        """Tell whether this is that stream itself, and nothing was unpacked on the way."""
        return self._stream is stream

    def skip(self, size: int) -> None:
        """Leave out the first bytes."""
        self.head = self.head[size:]

    def read(self, size: int, /) -> bytes:
        """Return ``size`` bytes; fewer only at the end."""
        parts = [self._from_head(size)]
        have = len(parts[0])
        while have < size and (more := self._stream.read(min(size - have, BLOCK))):
            parts.append(more)
            have += len(more)
        return b"".join(parts)

    def read1(self, size: int, /) -> bytes:
        """Return what there is, at most ``size`` bytes; none at the end."""
        return self._from_head(size) or self._next(size)

    def _from_head(self, size: int) -> bytes:
        part = self.head[self._at : self._at + size]
        self._at += len(part)
        return part


def unpacked(stream: ByteStream, where: str) -> Rewound:
    """Return the stream's own bytes: unpacked if it is packed, as UTF-8 if it is UTF-16, without a mark.

    Raises:
        InputError: packed in a way that is not read here, packed twice, or unpacks to more than any real file.
        CutOffError: it is broken.

    """
    rewound = Rewound(stream)
    if (make := _decompressor(rewound.head, where)) is not None:
        rewound = Rewound(Unpacked(rewound, make, where))
        if _decompressor(rewound.head, where) is not None:
            raise InputError("is compressed twice; unpack it once", where)
    if (encoding := _UTF16.get(rewound.head[:2])) is not None:
        rewound.skip(2)
        rewound = Rewound(_Recoded(rewound, encoding))
    if rewound.head.startswith(codecs.BOM_UTF8):
        rewound.skip(len(codecs.BOM_UTF8))
    return rewound


def _decompressor(head: bytes, where: str) -> Callable[[], Decompressor] | None:
    if head.startswith(b"\x1f\x8b"):
        return _Zlib
    if head.startswith(b"BZh") and head[4:10] in {b"1AY&SY", b"\x17rE8P\x90"}:
        return importlib.import_module("bz2").BZ2Decompressor  # type: ignore[no-any-return]
    if head.startswith(b"\xfd7zXZ\0"):
        return _xz
    if head.startswith(_ZSTD):
        return _zstd(where)
    for magic, name, program in _NAMED:
        if head.startswith(magic):
            raise InputError(
                f"is compressed with {name}, which is not read here: unpack it first, with {program}", where
            )
    return None


def _xz() -> Decompressor:
    import lzma

    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=128 * 2**20)  # a dictionary of xz -9 takes 64 MiB


def _zstd(where: str) -> Callable[[], Decompressor]:
    try:
        return importlib.import_module("compression.zstd").ZstdDecompressor  # type: ignore[no-any-return]
    except ImportError:
        raise InputError(
            "is compressed with zstd, which Python reads from 3.14 on: unpack it first, with zstd -d", where
        ) from None
