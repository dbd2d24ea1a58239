"""Rows as packed text: how they travel from a worker to the one who writes, and wait on disk until they are written.

A pack is gzip of CSV, so packs that stand behind each other in a file are one pack, and DuckDB reads it as it is:
whoever collects them never looks inside. NULL is one control character, which no value can be: control characters of
values become their escapes here.
"""

from __future__ import annotations

import csv
import gzip
import io
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: values of the keys, table -> pack of its rows
Packed = dict[tuple[str, tuple[str, ...]], bytes]

NULL: Final = "\x01"
#: little, for speed: what is kept is packed again by Parquet
_LEVEL: Final = 1


def pack(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return rows as a pack; the same rows give the same bytes."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_plain(value) for value in row] for row in rows)
    return gzip.compress(text.getvalue().encode(), _LEVEL, mtime=0)


def _plain(value: object) -> object:
    if value is None:
        return NULL
    if isinstance(value, str) and not value.isprintable():
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in value)
    return value
