"""``probe-on-node``: one node helper in the driver core, around ``__driver_probe_device``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from numaprobe.policies.base import NodeWork

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Device
    from numaprobe.policies.base import PolicyPlacement


@dataclass(frozen=True, kw_only=True)
class ProbeOnNode(NodeWork):
    """Runs ``__driver_probe_device`` near the node for synchronous callers; async ones are there already.

    The caller says whether it is async (``driver_probe_device(drv, dev, async)``); detecting it with
    ``current_is_async`` proved fragile, because it is false inside a nested work item.

    Source: review of the January series, 17 January 2026; its second version, 22 January 2026. Not merged in 7.3.
    """

    name = "probe-on-node"
    origin = "review of 17 January 2026 and second version of the series"
    summary = "driver core: one node helper around the probe, is_async passed down"
    work_name: ClassVar[str] = "probe_node_work_func"

    def probe_device(
        self, at: PolicyPlacement, dev: Device, function: Callable[[], Awaitable[int]], *, is_async: bool
    ) -> Awaitable[int]:
        """Run the probe near the device's node and wait; where it is if the caller is an async worker."""
        if is_async:
            return function()
        return self.run_on_node(at, dev, function)
