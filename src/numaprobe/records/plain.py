"""Values of records as JSON and UTF-8 have them."""

from __future__ import annotations

from typing import Any


def plain(value: Any) -> Any:  # noqa: ANN401  any JSON value
    """Return a value as JSON and UTF-8 have it: tuples and sets become lists, keys texts, odd file names escapes."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="backslashreplace").decode()
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value)]
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return {plain(str(key)): plain(item) for key, item in value.items()}
