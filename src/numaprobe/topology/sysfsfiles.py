"""Attributes of sysfs: sets of CPUs, as a list or as a mask, and numbers.

The kernel shows a set twice, as a list (``cpulist``) and as a mask (``cpumap``), from the same bits. Kernels before
2.6.28, and trees that were cut down, have the mask alone; the list is the one that people read, and so comes first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.reading.files import MAX_ATTRIBUTE, read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class SetFiles:
    """The names of the files that show one set of CPUs."""

    as_list: str
    as_mask: str | None = None


def read_cpus(directory: Path, files: SetFiles) -> CpuSet | None:
    """Return the set that a directory's files show; None if there is none of them, or it says ``(null)``.

    ``nohz_full`` without a mask says ``(null)``.

    Raises:
        InputError: a file is there and holds no set.

    """
    found = _read(directory / files.as_list, CpuSet.parse_list)
    if found is None and files.as_mask is not None:
        found = _read(directory / files.as_mask, CpuSet.parse_mask)
    return found


def _read(path: Path, parse: Callable[[str], CpuSet]) -> CpuSet | None:
    text = read_text(path, MAX_ATTRIBUTE)
    if text is None or text.strip() == "(null)":
        return None
    try:
        return parse(text.strip("\0 \n"))
    except InputError as error:
        raise InputError(error.what, str(path)) from None


def read_first(directory: Path, names: Iterable[SetFiles]) -> CpuSet | None:
    """Return the first of these sets that is there; None if none is."""
    return next((found for files in names if (found := read_cpus(directory, files)) is not None), None)


def read_number(path: Path) -> int | None:
    """Return the number that an attribute holds; None if it is missing.

    Raises:
        InputError: it holds something else.

    """
    text = read_text(path, MAX_ATTRIBUTE)
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII):
        raise InputError(f"'{text.strip()[:40]}' is not a number", str(path))
    return int(text.strip())
