"""Where results go: a table on the terminal, a stable JSON, a file of any format that ``report`` knows.

A file appears whole or not at all. What is binary is not written to a terminal. The format is the one named, else the
one that the file's suffix stands for, else a table.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from numaprobe.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

#: where ``numaprobe record`` leaves its trace, and ``numaprobe report`` looks for one
RECORDING: Final = "numaprobe.json"
#: suffix of a file -> format
_SUFFIXES: Final = {
    ".json": "json",
    ".html": "html",
    ".svg": "svg",
    ".png": "png",
    ".parquet": "parquet",
    ".pftrace": "perfetto",
    ".perfetto-trace": "perfetto",
    ".log": "printk",
    ".txt": "table",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to write a result: print it on a stream, or write it to a file."""

    stream: Callable[[Any, TextIO], None] | None = None
    file: Callable[[Any, Path], None] | None = None


def text_shape(make: Callable[[Any], str]) -> Shape:
    """Return the shape of a format that is made as one text."""

    def show(result: object, stream: TextIO) -> None:
        text = make(result)
        stream.write(text if text.endswith("\n") else f"{text}\n")

    return Shape(stream=show)


def choose_format(name: str | None, as_json: bool, output: Path | None, known: dict[str, Shape]) -> str:
    """Return the format to write.

    Raises:
        UsageError: ``--json`` beside another format.
        UnknownNameError: not one of ``known``.

    """
    if as_json:
        if name not in (None, "json"):
            raise UsageError(f"--json and --format {name} contradict each other; give one of them")
        name = "json"
    if name is None:
        name = _SUFFIXES.get(output.suffix.lower(), "table") if output else "table"
    if name not in known:
        raise UnknownNameError("format", name[:40], known)
    return name


def write(result: object, shape: Shape, name: str, output: Path | None) -> None:
    """Write ``result`` in this shape to ``output``, or to standard output.

    Raises:
        UsageError: a binary format, and standard output is a terminal.
        InputError: the file cannot be written.

    """
    if shape.stream is not None and output is None:
        shape.stream(result, sys.stdout)
    elif shape.stream is not None and output is not None:
        from numaprobe.records import write_atomically

        text = io.StringIO()
        shape.stream(result, text)
        write_atomically(output, text.getvalue())
    elif shape.file is not None and output is not None:
        shape.file(result, output)
    elif shape.file is not None:
        _to_stdout(result, shape.file, name)


def _to_stdout(result: object, write_file: Callable[[Any, Path], None], name: str) -> None:
    if sys.stdout.isatty():
        raise UsageError(f"{name} is a binary format; give --output FILE, or pipe it")
    with tempfile.TemporaryDirectory(prefix="numaprobe-") as folder:
        path = Path(folder) / f"result.{name}"
        write_file(result, path)
        sys.stdout.flush()
        sys.stdout.buffer.write(path.read_bytes())


def to_json(value: object) -> str:
    """Return JSON for people and programs: indented, in the order of the schema, never NaN."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
