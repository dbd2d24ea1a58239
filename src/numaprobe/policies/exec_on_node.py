"""``exec-on-node``: the driver core's three synchronous call sites run near the node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from numaprobe.policies.base import NodeWork

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Device
    from numaprobe.policies.base import PolicyPlacement

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ExecOnNode(NodeWork):
    """Wraps the scan of ``__device_attach`` and the probes of ``device_driver_attach`` and ``__driver_attach``.

    Every bus gains what PCI had, and PCI's own node code goes. The scan moves as a whole: matching runs near the node
    too, and drivers that do not match cost a trip as well. Nested registration inside a probe flushes work of the
    class that it runs in (``nested_inline`` avoids it).

    Source: "Introduce NUMA-node-aware synchronous probing", 7 January 2026 (``__exec_on_numa_node``), reviewed.
    """

    name = "exec-on-node"
    origin = "driver-core series of 7 January 2026"
    summary = "driver core: the three synchronous call sites run near the node; PCI has no node code"
    work_name: ClassVar[str] = "numa_work_func"

    def call_site(self, at: PolicyPlacement, dev: Device, function: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """Run the call site near the device's node and wait."""
        return self.run_on_node(at, dev, function)
