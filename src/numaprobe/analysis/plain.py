"""Records as plain JSON values: one object per probe, finding and warning, the fields' own names.

Keys of ``memory`` are text, as JSON wants; a segment is ``[start_ns, end_ns, state, cpu]``.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numaprobe.records import Finding, ProbeRecord, RunWarning


def plain(record: ProbeRecord | Finding | RunWarning) -> dict[str, Any]:
    """Return the fields of ``record`` as JSON values."""
    return {field.name: _value(getattr(record, field.name)) for field in fields(record)}


def _value(value: object) -> Any:  # noqa: ANN401  a JSON value is any of several types
    from collections.abc import Mapping as MappingType

    if isinstance(value, MappingType):
        return _mapping(value)
    if isinstance(value, tuple | list):
        return [_value(item) for item in value]
    if isinstance(value, str):
        return str(value)
    return value


def _mapping(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): _value(item) for key, item in mapping.items()}
