"""Which traces a dataset holds: what makes adding a day independent of how many days there are.

Beside the dataset's tables ``known/PART`` has a line for each trace of a part: its fingerprint, and the file that it
was read from, as path, size and time of its last change say. So a copy of a trace is known by what it says, and a file
that was read is not opened again. A line is 66 letters: a year of a thousand hosts takes 24 MB, read in a fraction of a
second.

The files are written before their part is in the manifest. One whose part is not there is passed over (a crash), one
that is missing is made again of the part's column.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.datasets.duck import connect, text
from numaprobe.errors import InputError
from numaprobe.records import make_folder, write_atomically

if TYPE_CHECKING:
    from numaprobe.datasets import Manifest

FOLDER: Final = "known"
_LINE: Final = re.compile(r"([0-9a-f]{32}) ([0-9a-f]{32}|-)")
_DIGITS: Final = 32
_MEMORY: Final = 512 << 20


class KnownTraces:
    """What a dataset holds already; what is added is kept apart until its part is written.

    Args:
        folder: the dataset.
        manifest: what it holds.

    Raises:
        InputError: a file is damaged.

    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self._traces: set[str] = set()
        self._files: set[str] = set()
        self._added: list[str] = []
        for part, files in manifest.parts.items():
            self._read(part, [file for file in files if file.startswith("runs/")])

    def has_trace(self, fingerprint: str) -> bool:
        """Tell whether a trace that says the same is there."""
        return fingerprint in self._traces

    def has_file(self, file: str | None) -> bool:
        """Tell whether a trace that was read from this file is there."""
        return file is not None and file in self._files

    def add(self, fingerprint: str, file: str | None) -> None:
        """Note a trace of the part that is being made."""
        self._traces.add(fingerprint)
        if file is not None:
            self._files.add(file)
        self._added.append(f"{fingerprint} {file or '-'}\n")

    def write(self, part: str) -> None:
        """Write what was added as the file of a part.

        Raises:
            InputError: it cannot be written.

        """
        make_folder(self._folder / FOLDER)
        write_atomically(self._folder / FOLDER / part, "".join(self._added))
        self._added.clear()

    def _read(self, part: str, runs: list[str]) -> None:
        path = self._folder / FOLDER / part
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            lines = [f"{one} -" for one in self._from_columns(runs)]
        except (OSError, ValueError):
            raise InputError("cannot be read; delete it, and it is made again", str(path)) from None
        for line in lines:
            if (match := _LINE.fullmatch(line)) is None:
                raise InputError("is damaged; delete it, and it is made again", str(path))
            self._traces.add(match[1])
            if match[2] != "-":
                self._files.add(match[2])

    def _from_columns(self, files: list[str]) -> list[str]:
        if not files:
            return []
        import duckdb

        with tempfile.TemporaryDirectory(prefix="numaprobe-") as folder:
            link = Path(folder) / "dataset"  # DuckDB takes * for a pattern
            link.symlink_to(self._folder.resolve())
            names = ", ".join(text(str(link / file)) for file in files)
            try:
                with connect(Path(folder) / "spill", memory=_MEMORY) as connection:
                    found = connection.execute(f"SELECT fingerprint FROM read_parquet([{names}])").fetchall()  # noqa: S608
            except duckdb.Error:
                raise InputError("a file of the dataset cannot be read", str(self._folder)) from None
        return [str(one) for (one,) in found]


def file_key(path: Path) -> str | None:
    """Return what is the same as long as nobody writes to a file; None: it cannot be looked at."""
    with contextlib.suppress(OSError):
        found = path.stat()
        words = f"{os.path.realpath(path)}\0{found.st_size}\0{found.st_mtime_ns}"
        return hashlib.sha256(os.fsencode(words)).hexdigest()[:_DIGITS]
    return None
