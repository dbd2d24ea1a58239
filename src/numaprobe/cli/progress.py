"""One line of progress on a terminal, nothing in a pipe, and nothing for work that is over at once."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

#: Work that takes less than this many seconds shows no progress.
PATIENCE_S: Final = 0.5
_ERASE: Final = "\r\x1b[K"


class Progress:
    """Counts steps on standard error.

    Args:
        noun: what is counted.
        total: how many there are.

    """

    def __init__(self, noun: str, total: int) -> None:
        self._noun = noun
        self._total = total
        self._done = 0
        self._start = time.monotonic()
        self._live = sys.stderr.isatty()
        self._shown = False

    def step(self, what: str) -> None:
        """Say what begins now."""
        self._done += 1
        if self._live and time.monotonic() - self._start > PATIENCE_S:
            sys.stderr.write(f"{_ERASE}{self._noun} {self._done}/{self._total}: {what}")
            sys.stderr.flush()
            self._shown = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write(_ERASE)
            sys.stderr.flush()
