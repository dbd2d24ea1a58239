"""One line of progress on a terminal, nothing in a pipe, and nothing for work that is over at once."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from numaprobe.study import Progress
    from numaprobe.study.guests import Booting

#: Work that takes less than this many seconds shows no progress.
PATIENCE_S: Final = 0.5
_ERASE: Final = "\r\x1b[K"


class ProgressLine:
    """Counts on standard error.

    Args:
        noun: what is counted.

    """

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._start = time.monotonic()
        self._live = sys.stderr.isatty()
        self._shown = False

    def show(self, number: int, total: int, what: str) -> None:
        """Say what begins now, and the how manieth it is."""
        if self._live and time.monotonic() - self._start > PATIENCE_S:
            sys.stderr.write(f"{_ERASE}{self._noun} {number}/{total}: {what}")
            sys.stderr.flush()
            self._shown = True

    def counter(self, total: int, what: str) -> Callable[[int], object]:
        """Return what counts up to about ``total``: probes may register further devices."""
        return lambda number: self.show(number, max(number, total), what)

    def tell(self, progress: Progress) -> None:
        """Say which run begins now, if any is left."""
        if progress.next is not None:
            self.show(progress.done + 1, progress.total, progress.next.policy.label)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write(_ERASE)
            sys.stderr.flush()


def tell_boot(booting: Booting) -> None:
    """Tell who watches a terminal what takes so long, and where to look."""
    if sys.stderr.isatty():
        sys.stderr.write(f"booting {booting.release}; its console: {booting.console}\n")
        sys.stderr.flush()
