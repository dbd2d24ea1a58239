"""A dataset is written part by part; a part is there as a whole or not at all.

Rows of a part wait as packs (``text``) beside the dataset's files, by table and values of the keys, so memory does not
grow with their number. When the part is closed DuckDB makes one file of each, zstd, in row groups of 122,880 rows and
in the order in which they came; the files are synced and moved to their places, and the manifest is replaced. One
thread writes a file: the same rows give the same bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from numaprobe.datasets.duck import connect, quoted, reading_pack, text
from numaprobe.datasets.manifest import MANIFEST, Manifest, is_dataset, load_manifest, write_manifest
from numaprobe.datasets.tables import TABLES
from numaprobe.datasets.text import pack
from numaprobe.errors import InputError
from numaprobe.records import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from numaprobe.datasets.rows import Rows

#: Rows of a row group: DuckDB's own choice, a multiple of its vectors; threads and filters work on row groups.
ROW_GROUP: Final = 122_880
#: Rows that wait in memory before they are packed.
_WAITING: Final = 4096
#: A column with more values than this is no key: each has a folder, and files of its own.
MAX_VALUES: Final = 1000
#: Bytes for the one who writes: some row groups, packed and not.
_MEMORY: Final = 1 << 30
_LOCK: Final = "lock"
_WORK: Final = "unfinished"


class DatasetWriter:
    """A dataset that is being written; one at a time has it.

    Attributes:
        folder: where it is.
        manifest: what it holds so far.
        is_new: it was made by this writer.

    """

    def __init__(self, folder: Path, manifest: Manifest, lock: int, *, is_new: bool = False) -> None:
        self.folder = folder
        self.manifest = manifest
        self.is_new = is_new
        self._lock = lock

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        kind: str,
        *,
        keys: Sequence[str] = (),
        columns: Mapping[str, Mapping[str, str]] | None = None,
        about: Mapping[str, Any] | None = None,
        complete: bool = True,
    ) -> Self:
        """Return a new, empty dataset.

        Args: see ``Manifest``.

        Raises:
            InputError: the folder cannot be made or written, holds something, or somebody else writes there.

        """
        path = Path(folder)
        make_folder(path)
        lock = _locked(path)
        try:
            _check_empty(path)
            own = {table: dict(names) for table, names in (columns or {}).items()}
            manifest = Manifest(kind=kind, keys=tuple(keys), columns=own, about=dict(about or {}), complete=complete)
            write_manifest(path, manifest)
            return cls(path, manifest, lock, is_new=True)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def open(cls, folder: str | os.PathLike[str], kind: str) -> Self:
        """Return a dataset that is there, to add to it; what a crash left is removed.

        Raises:
            InputError: it is none, of another kind or version, cannot be written, or somebody else writes there.

        """
        path = Path(folder)
        if not path.is_dir():
            raise InputError("is no dataset: there is no such folder", str(path))
        lock = _locked(path)
        try:
            writer = cls(path, _manifest_of(path, kind), lock)
            writer._sweep_up()
        except BaseException:
            os.close(lock)
            raise
        return writer

    @contextlib.contextmanager
    def part(self, name: str, *, runs: int, **changes: Any) -> Iterator[Part]:  # noqa: ANN401
        """Yield a part to be filled; it is in the dataset when the block ends, and not at all if that fails.

        Args:
            name: letters, digits, ``.``, ``_`` and ``-``; a part that has this name is replaced.
            runs: the dataset's runs once this part is in it; who knows that later sets ``Part.runs``.
            changes: of the manifest, along with it: ``complete``, ``about``.

        Raises:
            InputError: no space, or the folder may not be written.

        """
        work = self.folder / _WORK / "part"
        with _told(self.folder):
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
        try:
            part = Part(work, self.manifest, runs)
            yield part
            with _told(self.folder):
                part.close()
                self._commit(name, part, part.runs, changes)
        finally:
            shutil.rmtree(work, ignore_errors=True)
            with contextlib.suppress(OSError):
                work.parent.rmdir()

    def _commit(self, name: str, part: Part, runs: int, changes: dict[str, Any]) -> None:
        made = part.files()
        if name in self.manifest.parts:
            # files of the same names: while they are replaced the dataset is one without this part
            parts = {other: files for other, files in self.manifest.parts.items() if other != name}
            old = self.manifest.parts[name]
            self._keep(replace(self.manifest, parts=parts, complete=False))
            for name_of_old in old:
                (self.folder / name_of_old).unlink(missing_ok=True)
        files = {}
        for folder, file in made:
            place = self.folder / folder / f"{name}.parquet"
            place.parent.mkdir(parents=True, exist_ok=True)
            _sync(file)
            files[f"{folder}/{name}.parquet"] = file.stat().st_size
            file.replace(place)
            _sync(place.parent)
        self._keep(replace(self.manifest.with_part(name, files), runs=runs, **changes))

    def note(self, **changes: Any) -> None:  # noqa: ANN401
        """Change the manifest alone: ``about``, ``complete``.

        Raises:
            InputError: it cannot be written.

        """
        self._keep(replace(self.manifest, **changes))

    def _keep(self, manifest: Manifest) -> None:
        write_manifest(self.folder, manifest)
        self.manifest = manifest

    def _sweep_up(self) -> None:
        """Remove the files of a part that never came to be."""
        shutil.rmtree(self.folder / _WORK, ignore_errors=True)
        known = {file for table in TABLES for file in self.manifest.files(table)}
        for table in TABLES:
            for file in (self.folder / table).rglob("*.parquet"):
                if file.relative_to(self.folder).as_posix() not in known:
                    file.unlink(missing_ok=True)

    def discard(self) -> None:
        """Take a dataset back that holds nothing yet."""
        if not self.manifest.parts:
            (self.folder / MANIFEST).unlink(missing_ok=True)
            self.close()
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    def close(self) -> None:
        """Let others write."""
        if self._lock >= 0:
            (self.folder / _LOCK).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Part:
    """What is being added. Rows of a table stay in the order in which they come.

    Attributes:
        runs: the dataset's runs once it is there.

    """

    def __init__(self, work: Path, manifest: Manifest, runs: int) -> None:
        self.runs = runs
        self._work = work
        self._manifest = manifest
        self._waiting: dict[tuple[str, tuple[str | None, ...]], list[Sequence[Any]]] = {}
        self._packs: dict[tuple[str, tuple[str | None, ...]], Path] = {}

    def add(self, rows: Rows) -> None:
        """Add the rows of one run, or of several with the same values of the keys; those are in its row of ``runs``.

        Raises:
            InputError: no space, or too many values of a key.

        """
        names = [*TABLES["runs"], *self._manifest.columns.get("runs", {})]
        places = [names.index(key) for key in self._manifest.keys]
        values = tuple(rows.runs[0][place] for place in places)
        for table in TABLES:
            self.add_rows(table, values, rows.of(table))

    def add_rows(self, table: str, values: tuple[str | None, ...], rows: Iterable[Sequence[Any]]) -> None:
        """Add rows of one table; ``values`` are those of the keys (``machines`` has none, and passes over them).

        Raises:
            InputError: no space, or too many values of a key.

        """
        where = (table, () if table == "machines" else values)
        waiting = self._waiting.setdefault(where, [])
        waiting.extend(rows)
        if len(waiting) >= _WAITING:
            self._put(where)

    def add_pack(self, table: str, values: tuple[str | None, ...], data: bytes) -> None:
        """Add rows that are packed already.

        Raises:
            InputError: no space, or too many values of a key.

        """
        where = (table, () if table == "machines" else values)
        self._put(where)
        self._append(where, data)

    def _put(self, where: tuple[str, tuple[str | None, ...]]) -> None:
        if rows := self._waiting.pop(where, None):
            self._append(where, pack(rows))

    def _append(self, where: tuple[str, tuple[str | None, ...]], data: bytes) -> None:
        file = self._packs.get(where)
        if file is None:
            if len(self._packs) >= MAX_VALUES * len(TABLES):
                keys = ", ".join(self._manifest.keys)
                raise InputError(f"more than {MAX_VALUES} values of its keys ({keys})", str(self._work.parent.parent))
            file = self._packs[where] = self._work / f"{len(self._packs)}.csv.gz"
        with _told(self._work.parent.parent), file.open("ab") as stream:
            stream.write(data)

    def close(self) -> None:
        """Take no more rows."""
        for where in list(self._waiting):
            self._put(where)

    def files(self) -> list[tuple[str, Path]]:
        """Return the files of this part: the folder in the dataset, and where each is now."""
        made = []
        with connect(self._work / "spill", memory=_MEMORY, threads=1) as connection:
            for (table, values), source in sorted(self._packs.items(), key=_by_name):
                file = source.with_suffix(".parquet")
                rows = reading_pack(source, {**TABLES[table], **self._manifest.columns.get(table, {})})
                chosen = ", ".join(quoted(name) for name in self._manifest.types(table))
                once = "DISTINCT ON (machine_hash) " if table == "machines" else ""
                order = " ORDER BY ALL" if table == "machines" else ""
                connection.execute(
                    f"COPY (SELECT {once}{chosen} FROM {rows}{order}) TO {text(str(file))} "  # noqa: S608  our own names
                    f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP})"
                )
                source.unlink()
                made.append((self._manifest.folder_of(table, values), file))
        return made


def _by_name(item: tuple[tuple[str, tuple[str | None, ...]], Path]) -> tuple[str, tuple[str, ...]]:
    (table, values), _ = item
    return table, tuple(value or "" for value in values)


def _check_empty(folder: Path) -> None:
    if is_dataset(folder):
        raise InputError("is a dataset already; name another folder", str(folder))
    if any(path.name not in (_LOCK, _WORK) for path in folder.iterdir()):
        raise InputError("is not empty; name another folder", str(folder))


def _manifest_of(folder: Path, kind: str) -> Manifest:
    manifest = load_manifest(folder)
    if manifest.kind != kind:
        raise InputError(f"is the dataset of a {manifest.kind}, not of a {kind}", str(folder))
    return manifest


def _locked(folder: Path) -> int:
    """Return the descriptor that holds the lock.

    Raises:
        InputError: somebody else has it, or it cannot be made.

    """
    name = folder / _LOCK
    while True:
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", str(folder)) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            text = "another numaprobe writes into this folder; wait until it is done, or name another folder"
            raise InputError(text, str(folder)) from None
        with contextlib.suppress(FileNotFoundError):
            if os.stat(name).st_ino == os.fstat(descriptor).st_ino:  # noqa: PTH116
                return descriptor
        os.close(descriptor)  # who had it before removed the name meanwhile


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Turn what a disk or DuckDB has to say into one line.

    Raises:
        InputError: the folder cannot be written.

    """
    import duckdb

    try:
        yield
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", str(folder)) from None
    except duckdb.IOException as error:
        reason = str(error).splitlines()[0].rpartition(": ")[2]
        raise InputError(f"cannot be written: {reason}", str(folder)) from None
