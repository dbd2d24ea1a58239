"""Two ftrace texts of one recording as one: the probes' and the scheduler's.

They are recorded in two instances, so that no flood of switches can push a probe out of its buffer; both use one clock,
so their lines are merged by time. The text has microseconds, and two events in one of them have no order: there a
probe's return comes before the scheduler's events and its entry behind them, as between two works of one worker.

Where the scheduler's buffer was overwritten, its text is whole only from a time on: what is before is left out, and a
line in the kernel's own words (``CPU:3 [LOST 4711 EVENTS]``) stands in its place. A cost with half of its switches
would read as running time.
"""

from __future__ import annotations

import heapq
import re
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from numaprobe.kernel.ftrace_line import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

#: a line's place in the order: time in ns, then kind; and the line with those behind it that have no time
_Keyed = tuple[tuple[int, int], bytes]

_TIME: Final = re.compile(rb"\] +(?:\S{1,16} +)?(\d{1,12}(?:\.\d{1,9})?): ")
_RETURN: Final = b" <- "
_BEFORE, _SCHED, _BEHIND = range(3)


def merged(
    probes: Iterable[bytes], sched: Iterable[bytes], *, whole_from: int = 0, lost: Mapping[int, int] | None = None
) -> Iterator[bytes]:
    """Yield the lines of both texts in the order of time, under the header of the first.

    Args:
        probes: the text that must be complete.
        sched: the text beside it.
        whole_from: ns; nothing in ``sched`` was overwritten from then on.
        lost: events that were overwritten, by CPU.

    """
    both = heapq.merge(_keyed(probes, _kind_of_kprobe), _keyed(sched, _kind_of_sched), key=itemgetter(0))
    waiting = dict(lost or {})
    for (time, kind), line in both:
        if kind == _SCHED:
            if time < whole_from:
                continue
            for cpu, count in waiting.items():
                yield b"CPU:%d [LOST %d EVENTS]\n" % (cpu, count)
            waiting.clear()
        yield line


def _kind_of_kprobe(line: bytes) -> int:
    return _BEFORE if _RETURN in line else _BEHIND


def _kind_of_sched(_line: bytes) -> int:
    return _SCHED


def _keyed(lines: Iterable[bytes], kind_of: Callable[[bytes], int]) -> Iterator[_Keyed]:
    """Yield each line with its place; a line without a time stays behind the one before it."""
    place, block = (-1, _BEHIND), b""
    header = kind_of is _kind_of_kprobe
    for line in lines:
        match = None if line.startswith(b"#") else _TIME.search(line)
        time = parse_time(match[1]) if match is not None else None
        if time is None:
            block += line if header or not line.startswith(b"#") else b""
            continue
        if block:
            yield place, block
        place, block = (time, kind_of(line)), line
    if block:
        yield place, block
