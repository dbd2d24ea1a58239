"""Changes that keep a form's structure: values are decoded, some changed, and encoded again.

Bytes changed at random hardly ever get past a parser, and a value of another kind hardly ever past what looks at the
kinds. So most values become another of their own kind: one that the input holds elsewhere, under the same name if
there is any, or one that is near. The rest becomes anything.
"""

from __future__ import annotations

import copy
import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numaprobe.records.parquet import METADATA_KEY

if TYPE_CHECKING:
    import random

_ODD: Final = (
    *(None, True, False, 0, 1, -1, 1023, 1024, 8191, 8192, 2**31, 2**53 + 1, 2**62 - 1, 2**62, 2**63, -(2**63), 10**40),
    *(0.5, 1e30, "", "0", "?", "0-3", "0-8191", "\ud800", "\x00", "a\nb", "<b>", "\u202e", "EIO", "EPROBE_DEFER"),
    *([], {}, [[]], [0, 1, "running", 0]),
)
#: what a column of Parquet may be replaced by, in DuckDB's words
_COLUMNS: Final = (
    *("NULL", "-1", "0", "8192", "4611686018427387903", "4611686018427387904", "9223372036854775807", "1e300"),
    *("'nan'::DOUBLE", "'x'", "''", "chr(0)", "TRUE", "[1]", "[NULL]", "{'a': 1}", "'x'::BLOB", "DATE '2020-01-01'"),
)
#: or by what other rows hold
_ROWS: Final = ('first("{}") OVER ()', 'lag("{}") OVER ()', 'max("{}") OVER ()', 'hash("{}") % 8192')
#: share of the values that become another of their own kind; of these, that are held elsewhere; of these, under its name
SAME_KIND: Final = 0.85
ELSEWHERE: Final = 0.4
SAME_NAME: Final = 0.7
#: share of the changed columns that are still there, and of these, that keep their type
KEPT: Final = 0.9
SAME_TYPE: Final = 0.7


def change_json(data: bytes, dice: random.Random) -> bytes | None:
    """Return a JSON text with a few of its values changed, left out, doubled or moved; None if it is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        places = list(_places(value))
        if not places:
            break
        holder, key = dice.choice(places)
        if dice.random() < SAME_KIND:
            alike = [(name, other[name]) for other, name in places if type(other[name]) is type(holder[key])]
            named = [held for name, held in alike if name == key and isinstance(key, str)]
            others = named if named and dice.random() < SAME_NAME else [held for _, held in alike]
            holder[key] = _of_its_kind(holder[key], others, dice)
        else:
            _change_to_any(holder, key, places, dice)
    try:
        return json.dumps(value).encode()
    except (ValueError, RecursionError):  # it holds itself now
        return None


def _of_its_kind(value: object, others: list[Any], dice: random.Random) -> object:  # noqa: PLR0911  one for each kind
    """Return another value of the same kind: near to it, or one of ``others``."""
    if dice.random() < ELSEWHERE:
        return copy.deepcopy(dice.choice(others))
    match value:
        case bool():
            return not value
        case int() | float():
            return dice.choice((value + 1, value - 1, value * 2, value // 2, 0, dice.randrange(10**10)))
        case str():
            digits = re.sub(r"\d+", lambda _: str(dice.choice((0, 1, 2, 3, 7, 63, 8191))), value, count=1)
            return dice.choice((digits, digits, value + dice.choice("0,-: \u00e9\x1b<"), value[:-1], value.upper()))
        case list() if value:
            at = dice.randrange(len(value))
            return dice.choice(
                ([*value[:at], *value[at + 1 :]], [*value, value[at]], value[::-1], value[at:] + value[:at])
            )
        case dict() if value:
            left_out = dice.choice(list(value))
            return {name: held for name, held in value.items() if name != left_out}
    return copy.deepcopy(dice.choice(others))


def _change_to_any(holder: Any, key: Any, places: list[tuple[Any, Any]], dice: random.Random) -> None:  # noqa: ANN401  any JSON
    match dice.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(key, holder[key])
        case 2:
            other, there = dice.choice(places)
            holder[key] = other[there]
        case 3 if isinstance(holder, dict):
            holder[dice.choice(("x", "cpu", "id", "schema", "end_ns"))] = dice.choice(_ODD)
        case _:
            holder[key] = dice.choice(_ODD)


def _places(value: object) -> list[tuple[Any, Any]]:
    """Return every place that holds a value: its holder, and its key or index."""
    found: list[tuple[Any, Any]] = []
    left: list[Any] = [value]
    while left and len(found) < 1000:
        holder = left.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        found += [(holder, key) for key in keys]
        left += [holder[key] for key in keys]
    return found


def change_parquet(data: bytes, dice: random.Random) -> bytes | None:
    """Return a Parquet file with a column of other values, or without one; None if it is none."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="numaprobe-fuzz-") as folder, duckdb.connect() as base:
        source, target = Path(folder) / "a", Path(folder) / "b"
        source.write_bytes(data)
        try:
            rows = f"read_parquet('{source}')"
            columns = [row[:2] for row in base.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()]  # noqa: S608  our own folder
            column, kind = dice.choice(columns)
            odd = dice.choice(dice.choice((_COLUMNS, _ROWS))).replace("{}", column)
            new = f"TRY_CAST({odd} AS {kind})" if dice.random() < SAME_TYPE else odd
            change = f'REPLACE ({new} AS "{column}")' if dice.random() < KEPT else f'EXCLUDE ("{column}")'
            (header,) = base.execute(f"SELECT value FROM parquet_kv_metadata('{source}')").fetchone() or (b"",)  # noqa: S608
            base.execute("SET VARIABLE header = ?", [header.decode()])
            told = f"KV_METADATA {{{METADATA_KEY}: getvariable('header')}}"
            base.execute(f"COPY (SELECT * {change} FROM {rows}) TO '{target}' (FORMAT parquet, {told})")  # noqa: S608
        except (duckdb.Error, IndexError, UnicodeDecodeError):
            return None
        return target.read_bytes()
