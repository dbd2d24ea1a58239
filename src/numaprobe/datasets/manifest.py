"""What is in a dataset: ``manifest.json``, which alone decides.

It holds no time and no name of a machine: the same runs give the same manifest, too. A reader refuses another version,
and a file that is missing or of another size than when it was written.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import quote

from numaprobe.datasets.tables import TABLES, TYPES
from numaprobe.errors import InputError
from numaprobe.records import write_atomically
from numaprobe.version import __version__

DATASET_SCHEMA: Final = "numaprobe.dataset/1"
MANIFEST: Final = "manifest.json"
#: 100,000 files take 10 MB.
_LARGEST: Final = 64 << 20
#: What stands in a folder's name for "there is none"; Hive's, which DuckDB reads as NULL.
_NOTHING: Final = "__HIVE_DEFAULT_PARTITION__"
_WORD: Final = re.compile(r"[A-Za-z0-9._-]{1,80}")
_COLUMN: Final = re.compile(r"[^\x00-\x1f\x7f\"]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a dataset holds."""

    #: who made it: ``sweep``, ``fleet``
    kind: str
    #: columns whose values are in the folders' names, the outermost first
    keys: tuple[str, ...] = ()
    #: columns beside those of ``TABLES``: table -> column -> type
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    #: nothing is missing of what was asked for
    complete: bool = True
    #: how many runs, failed ones included; the next one's number
    runs: int = 0
    #: part -> file, relative -> bytes
    parts: dict[str, dict[str, int]] = field(default_factory=dict)
    #: what its maker keeps here: plain JSON
    about: dict[str, Any] = field(default_factory=dict)
    #: the numaprobe that wrote it last
    numaprobe: str = __version__

    def types(self, table: str) -> dict[str, str]:
        """Return the columns of a table's files and their types: without the keys, except of ``machines``."""
        found = {**TABLES[table], **self.columns.get(table, {})}
        return found if table == "machines" else {name: found[name] for name in found if name not in self.keys}

    def files(self, table: str) -> list[str]:
        """Return the files of a table, in the order of parts."""
        return [file for files in self.parts.values() for file in files if file.startswith(f"{table}/")]

    def folder_of(self, table: str, values: tuple[str | None, ...]) -> str:
        """Return where, in the dataset, the rows of a table with these values of the keys are."""
        if table == "machines":
            return table
        named = zip(self.keys, values, strict=True)
        return "/".join([table, *(f"{key}={quoted_value(value)}" for key, value in named)])

    def with_part(self, name: str, files: dict[str, int]) -> Manifest:
        """Return the manifest with a part, in place of one that has its name."""
        return replace(self, parts=dict(sorted((self.parts | {name: files}).items())))


def quoted_value(value: str | None) -> str:
    """Return a key's value as part of a folder's name."""
    if not value:
        return _NOTHING
    text = quote(value, safe="", errors="backslashreplace")
    return f"%2E{text[1:]}" if text.startswith(".") else text


def is_dataset(folder: str | Path) -> bool:
    """Tell whether a folder is a dataset, or was meant to be one: it has a manifest, or the folder of a table."""
    path = Path(folder)
    try:
        return (path / MANIFEST).is_file() or (path / "runs").is_dir()
    except (OSError, ValueError):
        return False


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a dataset's manifest, atomically.

    Raises:
        InputError: it cannot be written.

    """
    block = {"schema": DATASET_SCHEMA, **{name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}}
    write_atomically(folder / MANIFEST, json.dumps(block, indent=1) + "\n")


def read_manifest(folder: str | Path) -> Manifest:
    """Return what a dataset holds; every file was looked at.

    Raises:
        InputError: there is none, it is another version's or no manifest, or a file is missing or half-written.

    """
    manifest = load_manifest(folder)
    for files in manifest.parts.values():
        for name, size in files.items():
            _check_file(Path(folder), name, size)
    return manifest


def load_manifest(folder: str | Path) -> Manifest:
    """Return what a dataset says that it holds.

    Raises:
        InputError: as of ``read_manifest``, but for the files.

    """
    path = Path(folder) / MANIFEST
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError("is too large to be a dataset's manifest", str(path))
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        what = "is no dataset that can be read: it has no manifest.json"
        raise InputError(f"{what}; it was never finished, or is something else", str(folder)) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}", str(path)) from None
    try:
        block = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("is half-written, or no manifest of a dataset", str(path)) from None
    schema = block.get("schema") if isinstance(block, dict) else None
    if schema != DATASET_SCHEMA:
        text = f"schema '{str(schema)[:60]}' is not known; this version reads {DATASET_SCHEMA}"
        raise InputError(text, str(path))
    try:
        return _checked({name: block[name] for name in Manifest.__dataclass_fields__})
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError("is damaged: make the dataset again", str(path)) from None


def _checked(block: dict[str, Any]) -> Manifest:
    """Return the manifest; its names end up in SQL and in paths.

    Raises:
        ValueError: one cannot have been written by us.

    """
    manifest = Manifest(**{**block, "keys": tuple(block["keys"])})
    words = [manifest.kind, *manifest.keys, *manifest.parts]
    types = [kind for columns in manifest.columns.values() for kind in columns.values()]
    names = [name for columns in manifest.columns.values() for name in columns]
    if not (
        all(_WORD.fullmatch(word) for word in words)
        and set(manifest.columns) <= set(TABLES)
        and set(types) <= set(TYPES)
        and all(_COLUMN.fullmatch(name) for name in names)
        and set(manifest.keys) <= {*TABLES["runs"], *manifest.columns.get("runs", {})}
        and isinstance(block["runs"], int)
        and isinstance(block["about"], dict)
    ):
        raise ValueError
    for files in manifest.parts.values():
        for name, size in files.items():
            if ".." in PurePosixPath(name).parts or name.startswith("/") or not isinstance(size, int):
                raise ValueError
    return manifest


def _check_file(folder: Path, name: str, size: int) -> None:
    where = str(folder / name)
    try:
        found = (folder / name).stat().st_size
    except OSError as error:
        raise InputError(f"is missing of the dataset: {error.strerror}", where) from None
    if found != size:
        raise InputError(f"has {found} bytes and not {size}: it is half-written, or was changed", where)
