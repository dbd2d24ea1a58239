"""Buses that only list parts of the system (CPUs, memory blocks, clocks): nothing there is probed.

Source: the callers of ``subsys_system_register`` and ``subsys_virtual_register`` in the kernel.
"""

from __future__ import annotations

from typing import Final

#: What ``subsys_system_register`` and its like make: listed under ``bus`` as the others are.
SYSTEM_BUSES: Final = frozenset(
    [
        "clockevents",
        "clocksource",
        "container",
        "cpu",
        "edac",
        "event_source",
        "machinecheck",
        "memory",
        "memory_tiering",
        "node",
        "soc",
        "workqueue",
    ]
)
