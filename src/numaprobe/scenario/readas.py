"""How a scenario with something in doubt is read for one run.

What a source leaves open stays open in the scenario: how long a lock is held, how a cost divides. Such a value comes
with its least and its most. A run is made with one of them; ``run_setting`` makes one for each that differs, and the
figures become ranges. *Least* is little contention everywhere, *most* is much: the two ends of what can be true.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

Value = TypeVar("Value")


class ReadAs(StrEnum):
    """Which value of what is in doubt a run takes."""

    EXPECTED = "expected"
    LEAST = "least"
    MOST = "most"

    def of(self, expected: Value, least: Value | None, most: Value | None) -> Value:
        """Return the value that is meant; one that nobody gave is the expected one."""
        chosen = {ReadAs.EXPECTED: expected, ReadAs.LEAST: least, ReadAs.MOST: most}[self]
        return expected if chosen is None else chosen
