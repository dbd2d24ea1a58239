"""Datasets, traces and folders of traces as four views of a database: ``runs``, ``probes``, ``findings``, ``machines``.

A dataset's files are read where they are, as far as a query needs them. A trace is read by our own readers, with all
their limits, and its rows are tables in memory. What comes from several inputs stands under each other by the columns'
names; ``input`` says which one a row came from, and ``(input, run)`` is one run.

What is asked may come from strangers, too. It is one statement that reads (SELECT), it reaches no file but those of the
inputs, nothing of the database's settings, and no network; memory, disk and time are bounded.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from numaprobe.datasets.duck import connect, quoted, reading_pack, text
from numaprobe.datasets.manifest import is_dataset, read_manifest
from numaprobe.datasets.rows import rows_of_trace
from numaprobe.datasets.tables import TABLES
from numaprobe.datasets.text import pack
from numaprobe.errors import InputError, RefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from duckdb import DuckDBPyConnection

    from numaprobe.datasets.manifest import Manifest
    from numaprobe.records import Trace

#: Bytes of memory for a query, and seconds; what takes longer should be asked of DuckDB itself.
MEMORY: Final = 2 << 30
SECONDS: Final = 600.0
#: Most files of a folder of traces that are looked at.
MAX_FILES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave: a table."""

    columns: tuple[str, ...]
    #: DuckDB's names of their types
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def dicts(self) -> list[dict[str, Any]]:
        """Return the rows as objects."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Views:
    """A database over some inputs; a context manager.

    Args:
        inputs: datasets, traces, and folders of traces.
        memory: bytes of memory.
        seconds: for one query.
        read: how a trace is read.

    Attributes:
        manifests: of the inputs that are datasets.
        skipped: files of folders that hold no trace, and why.

    Raises:
        InputError: an input is not there, is no dataset or trace, is damaged or of another version.

    """

    def __init__(
        self,
        inputs: Sequence[str | Path],
        *,
        memory: int = MEMORY,
        seconds: float = SECONDS,
        read: Callable[[str], Trace] | None = None,
    ) -> None:
        self.manifests: dict[str, Manifest] = {}
        self.skipped: list[tuple[str, str]] = []
        self._seconds = seconds
        self._read = _read_trace if read is None else read
        self._closing = contextlib.ExitStack()
        with self._closing as closing:
            folder = tempfile.TemporaryDirectory(prefix="numaprobe-", ignore_cleanup_errors=True)
            self._folder = Path(closing.enter_context(folder))
            self._connection = closing.enter_context(connect(self._folder / "spill", memory=memory))
            self._fill([str(one) for one in inputs])
            self._shut_in()
            self._closing = closing.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def ask(self, sql: str, parameters: Sequence[Any] = (), *, most: int | None = None) -> Answer:
        """Return what one SELECT gives.

        Args:
            sql: the statement.
            parameters: values of its ``?``.
            most: rows that are let through.

        Raises:
            UsageError: it is not one SELECT, or DuckDB cannot do it; more rows than ``most``.
            RefusedError: it takes too long, or too much memory.

        """
        import duckdb

        with _told():
            statements = self._connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in (
            duckdb.StatementType.SELECT,
            duckdb.StatementType.EXPLAIN,
        ):
            raise UsageError("one statement that reads can be asked: SELECT …")
        late = threading.Event()
        timer = threading.Timer(self._seconds, self._stop, [late])
        timer.daemon = True
        timer.start()
        try:
            with _told(late, self._seconds):
                return _answer(self._connection, sql, parameters, most)
        finally:
            timer.cancel()

    def columns(self, view: str) -> dict[str, str]:
        """Return the columns of a view, and their types."""
        answer = self.ask(f"SELECT column_name, column_type FROM (DESCRIBE {quoted(view)})")  # noqa: S608  a view of ours
        return dict(answer.rows)

    def _stop(self, late: threading.Event) -> None:
        late.set()
        self._connection.interrupt()

    # ---- what the views stand for -----------------------------------------------------------------------------------
    def _fill(self, inputs: Sequence[str]) -> None:
        if not inputs:
            raise UsageError("name a dataset, a trace or a folder of traces")
        sources: dict[str, list[str]] = {table: [] for table in TABLES}
        traces: list[tuple[str, str, bool]] = []
        for number, name in enumerate(inputs):
            path = Path(name)
            if not path.exists():
                raise InputError("there is no such file or folder", name)
            if path.is_dir() and is_dataset(path):
                self._link(number, name, sources)
            elif path.is_dir():
                traces += [(name, str(file), False) for file in _files(path)]
            else:
                traces.append((name, name, True))
        if traces:
            self._read_traces(traces, sources)
        for table, selects in sources.items():
            empty = ", ".join(f"NULL::{kind} AS {quoted(name)}" for name, kind in TABLES[table].items())
            parts = [f"SELECT NULL::VARCHAR AS input, {empty} WHERE false", *selects]
            whole = " UNION ALL BY NAME ".join(parts)
            if table == "machines":
                whole = f"SELECT DISTINCT ON (input, machine_hash) * FROM ({whole})"  # noqa: S608  our own names
            self._connection.execute(f"CREATE VIEW {table} AS {whole}")

    def _link(self, number: int, name: str, sources: dict[str, list[str]]) -> None:
        """Take a dataset under a plain name of ours: DuckDB takes ``*`` for a pattern and ``a=b`` for a key."""
        import duckdb

        manifest = read_manifest(name)
        if not manifest.parts and not manifest.complete:
            raise InputError("is not finished, and holds nothing yet; continue with --resume", name)
        self.manifests[name] = manifest
        link = self._folder / str(number)
        link.symlink_to(Path(name).resolve())
        keys = ", ".join(f"{text(key)}: VARCHAR" for key in manifest.keys)
        for table in TABLES:
            if not (files := manifest.files(table)):
                continue
            listed = ", ".join(text(str(link / file)) for file in files)
            hive = f", hive_partitioning = true, hive_types = {{{keys}}}" if keys and table != "machines" else ""
            own = [*manifest.types(table), *(manifest.keys if table != "machines" else ())]
            chosen = ", ".join(quoted(column) for column in own)
            select = f"SELECT {text(name)} AS input, {chosen} FROM read_parquet([{listed}], union_by_name = true{hive})"  # noqa: S608  checked names
            try:
                self._connection.execute(f"CREATE VIEW dataset{number}_{table} AS {select}")
            except duckdb.Error as error:
                reason = str(error).splitlines()[0].replace(f"{link}/", "")
                raise InputError(f"holds a file that cannot be read: {reason[:300]}", name) from None
            sources[table].append(f"SELECT * FROM dataset{number}_{table}")  # noqa: S608

    def _read_traces(self, traces: Sequence[tuple[str, str, bool]], sources: dict[str, list[str]]) -> None:
        packs = {table: self._folder / f"{table}.csv.gz" for table in TABLES}
        run = 0
        with contextlib.ExitStack() as stack:
            streams = {table: stack.enter_context(path.open("wb")) for table, path in packs.items()}
            for name, file, named in traces:
                try:
                    rows = rows_of_trace(run, self._read(file), file=file)
                except InputError as error:
                    if named:
                        raise
                    self.skipped.append((file, error.what))
                    continue
                run += 1
                for table, stream in streams.items():
                    stream.write(pack([name, *row] for row in rows.of(table)))
        if not run:
            raise InputError(f"holds no trace: {self.skipped[0][1]}" if self.skipped else "is empty", traces[0][0])
        for table, path in packs.items():
            types = {"input": "VARCHAR", **TABLES[table]}
            self._connection.execute(f"CREATE TABLE traces_{table} AS SELECT * FROM {reading_pack(path, types)}")  # noqa: S608
            path.unlink()
            sources[table].append(f"SELECT * FROM traces_{table}")  # noqa: S608

    def _shut_in(self) -> None:
        """Let what is asked reach nothing but the inputs."""
        links = [f"{one}/" for one in self._folder.iterdir() if one.is_symlink()]
        self._connection.execute("SET allowed_directories = ?", [sorted(links)])
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")


def _answer(connection: DuckDBPyConnection, sql: str, parameters: Sequence[Any], most: int | None) -> Answer:
    result = connection.execute(sql, list(parameters))
    described = result.description or []
    rows = result.fetchall() if most is None else result.fetchmany(most + 1)
    if most is not None and len(rows) > most:
        raise UsageError(f"the answer has more than {most} rows; ask for fewer: LIMIT {most}")
    return Answer(tuple(one[0] for one in described), tuple(str(one[1]) for one in described), rows)


def _read_trace(file: str) -> Trace:
    from numaprobe.kernel.readers import read_trace

    trace = read_trace(file)
    if not trace.probes:
        raise InputError("holds no probe", file)
    return trace


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of those in it, in the order of their names.

    Raises:
        InputError: too many, or none.

    """
    count = 0
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or any(part.startswith(".") for part in file.relative_to(folder).parts):
            continue
        count += 1
        if count > MAX_FILES:
            raise InputError(f"has more than {MAX_FILES} files; make a dataset of them", str(folder))
        yield file
    if not count:
        raise InputError("is empty: there is neither a dataset nor a trace in it", str(folder))


@contextlib.contextmanager
def _told(late: threading.Event | None = None, seconds: float = 0) -> Iterator[None]:
    """Turn what DuckDB has to say into one line.

    Raises:
        UsageError: it cannot do that.
        RefusedError: it would take too much.

    """
    import duckdb

    try:
        yield
    except duckdb.InterruptException:
        if late is None or not late.is_set():
            raise KeyboardInterrupt from None
        raise RefusedError(f"the query was stopped after {seconds:.0f} s; ask for less") from None
    except (duckdb.OutOfMemoryException, MemoryError):
        raise RefusedError("the query needs more memory than it may have; ask for less") from None
    except duckdb.Error as error:
        reason = " ".join(str(error).split("\n\n")[0].split())
        raise UsageError(f"the query cannot be answered: {reason[:500]}") from None
