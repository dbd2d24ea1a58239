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
    from collections.abc import Callable, Iterable

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
    ".md": "markdown",
    ".csv": "csv",
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
        UsageError: ``--json`` beside another format, or a suffix that stands for none of ``known``.
        UnknownNameError: not one of ``known``.

    """
    if as_json:
        if name not in (None, "json"):
            raise UsageError(f"--json and --format {name} contradict each other; give one of them")
        name = "json"
    if name is None:
        name = _by_suffix(output, known) if output is not None and output.suffix else "table"
    if name not in known:
        raise UnknownNameError("format", name[:40], known)
    return name


def _by_suffix(output: Path, known: Iterable[str]) -> str:
    """Return the format that a file's suffix stands for."""
    suffix, names = output.suffix.lower(), list(known)
    suffixes = {f".{name}": name for name in names} | {end: name for end, name in _SUFFIXES.items() if name in names}
    if suffix not in suffixes:
        raise UsageError(f"{_refused(suffix)}; choose with --format: {', '.join(names)}")
    return suffixes[suffix]


def check_trace_name(output: Path) -> None:
    """Return if a recording, which is JSON and nothing else, can have this name.

    Raises:
        UsageError: its suffix stands for something else.

    """
    if output.suffix.lower() not in ("", ".json"):
        text = f"{_refused(output.suffix)}; a recording is .json"
        raise UsageError(f"{text}, and numaprobe report writes it in other formats")


def _refused(suffix: str) -> str:
    shown = "".join(char if char.isprintable() else "?" for char in suffix[:20])
    return f"no file is written as '{shown}'"


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
