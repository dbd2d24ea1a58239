"""Batches on disk, before they are a dataset: one file each, there as a whole or not at all.

``FOLDER/batches/000000001000-000000000250`` holds the 250 runs from number 1000 on: one line of JSON that says what
packs follow and how long each is, then the packs.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import InputError
from numaprobe.records import make_folder, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numaprobe.datasets import Part
    from numaprobe.study.sweep.batch import Batch

FOLDER: Final = "batches"
_NAME: Final = re.compile(r"([0-9]{12})-([0-9]{12})")
_LONGEST_HEADER: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """A batch that is on disk."""

    path: Path
    first: int
    count: int
    failed: int
    error: str | None
    #: table, values of the keys, length
    packs: tuple[tuple[str, tuple[str, ...], int], ...]

    def pour(self, part: Part) -> None:
        """Add it to a part of a dataset.

        Raises:
            InputError: it is damaged, or there is no space.

        """
        with self.path.open("rb") as file:
            file.readline(_LONGEST_HEADER)
            for table, values, length in self.packs:
                data = file.read(length)
                if len(data) != length:
                    raise InputError("is damaged: remove it, and resume the sweep", str(self.path))
                part.add_pack(table, values, data)


def keep(folder: Path, batch: Batch) -> Kept:
    """Put a batch on disk; it is there when this returns.

    Raises:
        InputError: it cannot be written.

    """
    packs = [(table, values, len(data)) for (table, values), data in batch.packs.items()]
    header = {"failed": batch.failed, "error": batch.error, "packs": packs}
    path = folder / FOLDER / f"{batch.first:012}-{batch.count:012}"
    make_folder(path.parent)
    write_atomically(path, json.dumps(header).encode() + b"\n" + b"".join(batch.packs.values()))
    return Kept(path, batch.first, batch.count, batch.failed, batch.error, tuple(packs))


def kept_batches(folder: Path) -> list[Kept]:
    """Return the batches that are on disk, by their numbers; what is none is removed."""
    found: list[Kept] = []
    reach = 0
    for path in sorted((folder / FOLDER).glob("*")):
        batch = _read(path)
        if batch is None or batch.first < reach:
            path.unlink(missing_ok=True)
            continue
        reach = batch.first + batch.count
        found.append(batch)
    return found


def _read(path: Path) -> Kept | None:
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST_HEADER)
            header: Any = json.loads(line)
            packs = tuple((table, tuple(values), int(length)) for table, values, length in header["packs"])
            if len(line) + sum(length for *_, length in packs) != path.stat().st_size:
                return None
        return Kept(path, int(match[1]), int(match[2]), int(header["failed"]), header["error"], packs)
    except (ValueError, TypeError, KeyError):
        return None


def gaps(batches: list[Kept], total: int) -> Iterator[tuple[int, int]]:
    """Yield what is missing: first number and count."""
    reach = 0
    for batch in batches:
        if batch.first > reach:
            yield reach, batch.first - reach
        reach = batch.first + batch.count
    if reach < total:
        yield reach, total - reach


def forget(folder: Path) -> None:
    """Remove all batches: they are a dataset now."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
