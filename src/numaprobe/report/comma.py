"""Probes as comma-separated values (RFC 4180), one row each: for a spreadsheet, R, or a plot.

The columns are the fields of a record that are one value; ``cpus`` is a list with blanks. What a source does not tell
is an empty cell, and never a zero.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, Final

from numaprobe.records import ProbeRecord
from numaprobe.report.grid import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.analysis.compare import Comparison
    from numaprobe.analysis.verify import Verification
    from numaprobe.records import Trace

#: Fields that are no single value: their place is the JSON.
_NESTED: Final = ("memory", "segments", "waits")
_FIELDS: Final = tuple(name for name in ProbeRecord.__dataclass_fields__ if name not in _NESTED)
#: What tells the rows of a verification apart.
_KEYS: Final = ("figure", "driver", "device", "number")


def trace_csv(trace: Trace) -> str:
    """Return the probes of a trace."""
    return _text(_FIELDS, (_row(record) for record in trace.probes))


def comparison_csv(comparison: Comparison) -> str:
    """Return the probes of all runs, each under the label of its run."""
    rows = ([entry.label, *_row(record)] for entry in comparison.entries for record in entry.trace.probes)
    return _text(("run", *_FIELDS), rows)


def verification_csv(found: Verification) -> str:
    """Return the figures of a verification, one row each; all runs of a side in one cell, with blanks."""
    return rows_csv([figure.to_dict() for figure in found.figures], _KEYS)


def rows_csv(objects: Iterable[dict[str, Any]], first: Sequence[str] = ()) -> str:
    """Return JSON objects, one row each: what is inside of an object has a column of its own.

    Args:
        objects: the rows.
        first: columns that come first.

    """
    rows = [_flat(one) for one in objects]
    names = list(dict.fromkeys((*first, *(name for row in rows for name in row))))
    return _text(names, ([row.get(name) for name in names] for row in rows))


def _row(record: ProbeRecord) -> list[object]:
    return [getattr(record, name) for name in _FIELDS]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}_")
        else:
            found[prefix + name] = value
    return found


def _text(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return table_csv(names, ([_joined(value) for value in row] for row in rows))


def table_csv(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table: names, then rows; an empty field is None."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_plain(value) for value in row] for row in rows)
    return out.getvalue()


def _joined(value: object) -> object:
    if isinstance(value, list | tuple):
        return " ".join(str(item) if not isinstance(item, dict) else json.dumps(item) for item in value)
    return value


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return printable(value) if isinstance(value, str) else value
