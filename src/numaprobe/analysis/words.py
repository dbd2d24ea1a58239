"""Numbers and lists in running text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Item = TypeVar("Item")

_NUMBERS: Final = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


def number(count: int) -> str:
    """Return a small number as a word: ``three``, ``40``."""
    return _NUMBERS[count] if 0 <= count < len(_NUMBERS) else str(count)


def plural(count: int, word: str) -> str:
    """Return ``one probe``, ``three probes``."""
    return f"{number(count)} {word}" if count == 1 else f"{number(count)} {word}s"


def listed(names: Sequence[str]) -> str:
    """Return ``a``, ``a and b``, ``a, b and c``."""
    if len(names) < 2:  # noqa: PLR2004  nothing to part
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def rest(items: Sequence[Item], without: Sequence[Item]) -> list[Item]:
    """Return the items that are none of the others."""
    return [item for item in items if not any(item is other for other in without)]
