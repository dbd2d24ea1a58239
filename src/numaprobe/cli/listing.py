"""A list of names and what they mean: wrapped on a terminal, one line each in a pipe, never a name cut short."""

from __future__ import annotations

import os
import shutil
import textwrap
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

#: A terminal narrower than this gets lines that are too long rather than one word each.
MIN_TEXT: Final = 30


def write_list(rows: Iterable[tuple[str, str]], stream: TextIO) -> None:
    """Write each name and its text, the texts below each other."""
    rows = list(rows)
    indent = max((len(name) for name, _ in rows), default=0) + 2
    wrapped = stream.isatty() or "COLUMNS" in os.environ
    width = max(MIN_TEXT, shutil.get_terminal_size().columns - indent)
    for name, text in rows:
        first, *more = textwrap.wrap(text, width) if wrapped else [text]
        stream.write(f"{name:{indent}}{first}\n")
        stream.writelines(f"{'':{indent}}{line}\n" for line in more)
