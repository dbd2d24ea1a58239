"""The rules, in the order of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.analysis.findings import (
    deferral_chain,
    first_llc,
    left_node,
    machine_wide,
    remote,
    same_cpu,
    serial_async,
    serial_sync,
    shared_lock,
    slow_probe,
    slow_sync,
    udev_timeout,
    unknown_node,
)

if TYPE_CHECKING:
    from numaprobe.analysis.findings.case import Rule

#: Every rule, in the order of a report: contention, place, waiting, limits.
CATALOGUE: Final[tuple[Rule, ...]] = (
    same_cpu,
    shared_lock,
    serial_async,
    remote,
    left_node,
    machine_wide,
    unknown_node,
    first_llc,
    serial_sync,
    slow_sync,
    slow_probe,
    deferral_chain,
    udev_timeout,
)
