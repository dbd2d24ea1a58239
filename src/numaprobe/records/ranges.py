"""Which numbers a record may hold: one rule for every source, so that what one format holds every other can.

A reader holds what it finds to these at its door: a number beyond them is a torn line, a damaged file or an attack, and
nothing behind the door has to think of it. They are wide: the limits of the kernel, and of a 64-bit integer with room
for a sum of two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import MAX_CPUS

if TYPE_CHECKING:
    from numaprobe.records.model import ProbeRecord

#: Times and durations in ns, 146 years: a wall clock (``trace_clock`` tai) reads 1.8e18 in 2026. A signed 64-bit column
#: holds the sum of two.
MAX_TIME_NS: Final = 2**62 - 1
#: NR_CPUS is at most 8192.
MAX_CPU: Final = MAX_CPUS - 1
#: NODES_SHIFT is at most 10; -1 is NUMA_NO_NODE.
MAX_NODE: Final = 1023
#: Any other whole number: what a signed 64-bit column holds.
MAX_FIGURE: Final = 2**63 - 1
#: Tries of one device.
MAX_ATTEMPT: Final = 2**31 - 1


def fits(record: ProbeRecord) -> bool:
    """Tell whether a record that a run made holds only what every format can: times and sizes may grow too large."""
    return max(record.end_ns or 0, record.cost_ns, *(record.memory or {}).values()) <= MAX_TIME_NS
