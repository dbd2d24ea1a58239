"""Lists in sentences that stay short: the first few names, and how many more there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def first_few(names: Collection[str], shown: int, *, between: str = ", ", last: str = " and", of: int = 0) -> str:
    """Return the first ``shown`` names and how many more there are: ``a, b, c and 2 more``.

    Args:
        names: the names, in the order in which they are told.
        shown: how many are told at most.
        between: what parts two names.
        last: what parts the last name from the number of those left out.
        of: how many there are, if ``names`` holds only some of them.

    """
    told = list(names)[:shown]
    more = max(of, len(names)) - len(told)
    return between.join(told) + (f"{last} {more} more" if more > 0 else "")
