"""DuckDB as it is used here: no extension, no file of the user's, our own folder for what does not fit in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.datasets.text import NULL
from numaprobe.extras import need

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from duckdb import DuckDBPyConnection

#: Bytes of a row of a pack: the JSON of a machine of 8192 CPUs takes 5 MiB. DuckDB reads twice that at a time.
LONGEST_ROW: Final = 16 << 20


def connect(spill: Path, *, memory: int, threads: int | None = None, disk: int = 16 << 30) -> DuckDBPyConnection:
    """Return a fresh database in memory.

    Args:
        spill: a folder for what does not fit in ``memory``.
        memory: bytes.
        threads: None: as many as there are CPUs.
        disk: most bytes in ``spill``.

    """
    need("data", "a dataset")
    import duckdb

    connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})
    connection.execute("SET autoload_known_extensions = false")
    connection.execute(f"SET memory_limit = '{memory}B'")
    connection.execute("SET temp_directory = ?", [str(spill)])
    connection.execute(f"SET max_temp_directory_size = '{disk}B'")
    if threads is not None:
        connection.execute(f"SET threads = {threads}")
    return connection


def quoted(name: str) -> str:
    """Return a name as SQL has it in quotes."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return a text as SQL has it in quotes."""
    return "'" + value.replace("'", "''") + "'"


def reading_pack(path: Path, types: Mapping[str, str]) -> str:
    """Return what stands, in SQL, for the rows of a pack."""
    columns = ", ".join(f"{text(name)}: '{kind}'" for name, kind in types.items())
    return (
        f"read_csv({text(str(path))}, columns = {{{columns}}}, header = false, auto_detect = false, delim = ',', "
        f"""quote = '"', escape = '"', nullstr = '{NULL}', compression = 'gzip', parallel = false, """
        f"max_line_size = {LONGEST_ROW}, buffer_size = {2 * LONGEST_ROW})"
    )
