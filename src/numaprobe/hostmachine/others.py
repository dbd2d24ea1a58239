"""How much of the CPUs other programs used while we measured: the first thing to know about a measured time.

The kernel's own counters (``/proc/stat``, per CPU, in ticks of 10 ms) less what this process and the children that it
has waited for used. Over a second the figure is good to a percent; over a tenth of one, to ten.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from numaprobe.cpuset import CpuSet

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
#: Columns of ``/proc/stat`` in which a CPU was not used: idle, iowait. Guest time is in user time already.
_IDLE: Final = (3, 4)
_COLUMNS: Final = 8


class Others:
    """Counts from its making on.

    Args:
        cpus: those that matter.
        stat: the kernel's file.

    """

    def __init__(self, cpus: CpuSet, stat: Path = Path("/proc/stat")) -> None:
        self._cpus = cpus
        self._stat = stat
        self._start = time.monotonic()
        self._used = self._used_s()
        self._own = _own_s()

    def share(self) -> float | None:
        """Return the share of these CPUs' time that others used since, from 0 to 1; None if the kernel does not say."""
        used = self._used_s()
        took = (time.monotonic() - self._start) * len(self._cpus)
        if used is None or self._used is None or took <= 0:
            return None
        return min(1.0, max(0.0, (used - self._used - (_own_s() - self._own)) / took))

    def _used_s(self) -> float | None:
        try:
            lines = self._stat.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return None
        ticks = [_used_ticks(line.split()[1:]) for line in lines if self._is_ours(line.partition(" ")[0])]
        return sum(ticks) / _TICKS_PER_S if ticks else None

    def _is_ours(self, name: str) -> bool:
        number = name.removeprefix("cpu")
        return name.startswith("cpu") and number.isascii() and number.isdigit() and int(number[:6]) in self._cpus


def _used_ticks(columns: list[str]) -> int:
    return sum(int(text) for at, text in enumerate(columns[:_COLUMNS]) if at not in _IDLE and text.isdigit())


def _own_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
