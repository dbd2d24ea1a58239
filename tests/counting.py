"""How much work a call is, without a clock: the lines of Python that it runs.

The number is the same on a busy computer, so that a test can say "ten times as many, ten times the work" of it. Loops
inside of C (a regular expression, ``in`` on a list) are one line to it: they are held by ``python -m bench.fuzz``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def lines_run(function: Callable[[], object]) -> int:
    """Call ``function`` and return how many lines of Python ran, its own and those of what it called."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Callable[..., object]:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count
