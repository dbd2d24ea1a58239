"""Names of devices, chosen by name or pattern."""

from __future__ import annotations

import difflib
import fnmatch
import itertools
from typing import TYPE_CHECKING

from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def near(name: str, known: Iterable[str]) -> str:
    """Return a hint at the known name that ``name`` resembles; empty if there is none."""
    found = difflib.get_close_matches(name, list(itertools.islice(known, 10_000)), n=1, cutoff=0.6)
    return f"; did you mean '{found[0]}'?" if found else ""


def choose(patterns: Iterable[str], names: Mapping[str, object]) -> list[str]:
    """Return the names that the patterns choose: in the order of the patterns, each once.

    Raises:
        InputError: a pattern chooses nothing.

    """
    chosen: dict[str, None] = {}
    for pattern in patterns:
        if pattern in names:
            chosen[pattern] = None
            continue
        found = fnmatch.filter(names, pattern) if any(char in pattern for char in "*?[") else []
        if not found:
            raise InputError(f"'{pattern}' is no device here{near(pattern, names)}")
        chosen.update(dict.fromkeys(found))
    return list(chosen)
