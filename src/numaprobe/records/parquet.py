"""Parquet of a trace: one row per probe, for SQL over many traces.

One column per field of ``ProbeRecord`` with a plain type (text, 64-bit integer, boolean), so that any engine reads them
without knowing us; ``cpus`` is a list; ``memory``, ``segments`` and ``waits`` are JSON texts. What belongs to the run
and not to a probe (source, kernel, machine, findings, warnings) is one JSON text in the file's metadata, key
``numaprobe``.

DuckDB does the work and is imported when first used. It gets every value as data, never as SQL text.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import InputError
from numaprobe.extras import need
from numaprobe.reading.budget import BUDGETS
from numaprobe.reading.weigh import JSON_WEIGHTS, check_weight, check_worked_out
from numaprobe.records.json_codec import parse_json, probe_from_json, probe_to_json, trace_from_json, trace_to_json
from numaprobe.records.model import ProbeRecord
from numaprobe.records.writing import write_atomically

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

    from numaprobe.records.model import Trace

#: key of the header in the file's metadata
METADATA_KEY: Final = "numaprobe"

#: bytes of memory that one row takes as a record
_ROW_WEIGHT: Final = 1200
#: bytes of memory for each byte of a text, of a JSON text, and for each number of a list
_TEXT_WEIGHT: Final = 2
_JSON_WEIGHT: Final = 20
_LIST_WEIGHT: Final = 64
_JSON_COLUMNS: Final = ("memory", "segments", "waits")
_TEXTS: Final = (
    "device",
    "driver",
    "bus",
    "comm",
    "result",
    "caller_comm",
    "function",
    "path",
    "cpus_allowed",
    "pod",
    *_JSON_COLUMNS,
)
_FLAGS: Final = ("asynchronous", "nested")


def _column_type(name: str) -> str:
    if name in _TEXTS:
        return "VARCHAR"
    if name in _FLAGS:
        return "BOOLEAN"
    return "BIGINT[]" if name == "cpus" else "BIGINT"


#: the columns and their types, in the order of the record's fields
COLUMNS: Final = {name: _column_type(name) for name in ProbeRecord.__dataclass_fields__}


def _row(record: ProbeRecord) -> dict[str, Any]:
    values = probe_to_json(record)
    for name in _JSON_COLUMNS:
        if values[name] is not None:
            values[name] = json.dumps(values[name])
    return values


def _connect() -> DuckDBPyConnection:
    need("data", "Parquet")
    import duckdb

    connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})
    connection.execute("SET autoload_known_extensions = false")
    return connection


def write_parquet(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write a trace as a Parquet file, whole or not at all.

    Raises:
        InputError: the file cannot be written.
        MissingInterfaceError: the extra ``data`` is not installed.

    """
    header = trace_to_json(trace)
    del header["probes"]
    with tempfile.TemporaryDirectory(prefix="numaprobe-") as folder:
        rows, part = Path(folder) / "rows.json", Path(folder) / "trace.parquet"
        with rows.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(_row(record)) + "\n" for record in trace.probes)
        with _connect() as connection:
            _rows_to_parquet(connection, rows, part, json.dumps(header))
        write_atomically(path, part.read_bytes())


def _rows_to_parquet(connection: DuckDBPyConnection, rows: Path, part: Path, header: str) -> None:
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
    connection.execute("SET VARIABLE header = ?", [header])
    connection.execute("SET VARIABLE rows = ?", [str(rows)])
    connection.execute(
        f"CREATE TABLE probes AS SELECT * FROM read_json(getvariable('rows'), format = 'newline_delimited', "  # noqa: S608  the columns are our own names
        f"columns = {{{columns}}}, maximum_object_size = 1073741824)"
    )
    connection.execute(
        f"COPY probes TO ? (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{METADATA_KEY}: getvariable('header')}})",
        [str(part)],
    )


def read_parquet(path: str | os.PathLike[str], where: str | None = None) -> Trace:
    """Return the trace that a Parquet file of ours holds.

    Args:
        path: the file.
        where: what to call it in errors; None = its path.

    Raises:
        InputError: no Parquet, not written by numaprobe, or a value is wrong; ``where`` is the file and the row.
        MissingInterfaceError: the extra ``data`` is not installed.

    """
    need("data", "Parquet")
    import duckdb

    where = where or str(path)
    try:
        with tempfile.TemporaryDirectory(prefix="numaprobe-") as folder, _connect() as connection:
            connection.execute(f"SET memory_limit = '{BUDGETS['parquet'].weight}B'")
            # DuckDB takes a name with * or :// for a pattern or an address: it is given a plain one
            plain = Path(folder) / "trace.parquet"
            plain.symlink_to(Path(path).resolve(strict=True))
            header = _header(connection, str(plain))
            columns = _columns(connection, str(plain))
            _check_size(connection, str(plain), columns)
            return _with_probes(header, _records(connection, str(plain), columns))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where) from None
    except duckdb.Error as error:
        reason = str(error).splitlines()[0].replace(str(plain), "it")[:120]
        raise InputError(f"is no Parquet that can be read: {reason}", where) from None
    except InputError as error:
        raise InputError(error.what, f"{where}: {error.where}" if error.where else where) from None


def _header(connection: DuckDBPyConnection, path: str) -> Any:  # noqa: ANN401  a JSON value, checked where it is taken
    found = connection.execute("SELECT value FROM parquet_kv_metadata(?) WHERE key = ?", [path, METADATA_KEY.encode()])
    row = found.fetchone()
    if row is None:
        raise InputError("was not written by numaprobe: its metadata has no 'numaprobe'")
    check_weight("parquet", row[0], JSON_WEIGHTS, "")
    return parse_json(row[0])


def _columns(connection: DuckDBPyConnection, path: str) -> list[str]:
    """Return the columns that we know; others may be there, and are passed over."""
    rows = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchall()
    return [row[0] for row in rows if row[0] in COLUMNS]


def _check_size(connection: DuckDBPyConnection, path: str, columns: list[str]) -> None:
    """Refuse a file whose rows would not fit in memory: a few bytes of it can stand for a million rows.

    Raises:
        InputError: it is one.

    """
    counted = connection.execute("SELECT sum(num_rows) FROM parquet_file_metadata(?)", [path]).fetchone()
    needed = int(counted[0] or 0) * _ROW_WEIGHT if counted else 0
    check_worked_out("parquet", needed, "")
    for name in columns:
        if name in _TEXTS:
            size = f"strlen({name}::VARCHAR) * {_JSON_WEIGHT if name in _JSON_COLUMNS else _TEXT_WEIGHT}"
        elif name == "cpus":
            size = f"len({name}::BIGINT[]) * {_LIST_WEIGHT}"
        else:
            continue
        found = connection.execute(f"SELECT sum({size})::BIGINT FROM read_parquet(?)", [path]).fetchone()  # noqa: S608  our own names
        needed += int(found[0] or 0) if found else 0
        check_worked_out("parquet", needed, "")


def _records(connection: DuckDBPyConnection, path: str, columns: list[str]) -> Iterator[ProbeRecord]:
    result = connection.execute(f"SELECT {', '.join(columns) or '*'} FROM read_parquet(?)", [path])  # noqa: S608  our own names
    number = 0
    while rows := result.fetchmany(4096):
        for row in rows:
            values = dict(zip(columns, row, strict=False))
            for name in _JSON_COLUMNS:
                if (text := values.get(name)) is not None:
                    if not isinstance(text, str):
                        raise InputError(
                            f"must be text that holds JSON, not {type(text).__name__}", f"row {number}.{name}"
                        )
                    values[name] = parse_json(text)
            yield probe_from_json(values, f"row {number}")
            number += 1


def _with_probes(header: object, records: Iterator[ProbeRecord]) -> Trace:
    if not isinstance(header, dict):
        raise InputError("was not written by numaprobe: its metadata holds no object")
    return replace(trace_from_json(header | {"probes": []}), probes=tuple(records))
