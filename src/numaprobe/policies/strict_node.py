"""``strict-node``: ``probe-on-node`` with a hard guarantee."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from numaprobe.policies.base import NodeWork, OwnQueue
from numaprobe.runtime import AffinityScope, HkType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Device
    from numaprobe.policies.base import PolicyPlacement


@dataclass(frozen=True, kw_only=True)
class StrictNode(NodeWork):
    """Runs each probe, async ones too, on an unbound queue of its own: affinity scope numa, strict.

    Since 6.5 the system's unbound queues are soft: their workers may be moved off the node, in the middle of a probe if
    the machine is busy. A strict pool's workers may not. Async probes take one more hop (``async_too``), because the
    async workers are soft as well. If the node has no CPU that unbound work may use, nothing could hold the promise:
    the probe runs inline and the trace says so.

    Source: ours; the review's "hard" alternative to pinning.
    """

    name = "strict-node"
    origin = "numaprobe"
    summary = "driver core: probe-on-node on an unbound queue of its own, scope numa, strict; async too"
    work_name: ClassVar[str] = "strict_node_work_func"

    queue: ClassVar[OwnQueue] = OwnQueue(name="probe_node", scope=AffinityScope.NUMA, strict=True)

    nested_inline: bool = True
    async_too: bool = True

    def probe_device(
        self, at: PolicyPlacement, dev: Device, function: Callable[[], Awaitable[int]], *, is_async: bool
    ) -> Awaitable[int]:
        """Run the probe on the device's node, whoever calls, and wait."""
        if is_async and not self.async_too:
            return function()
        machine = at.machine
        node = machine.topology.node(dev.node)
        if node is not None and node.online:
            usable = node.cpus.bits & machine.online.bits & machine.housekeeping(HkType.UNBOUND).bits
            if not usable:
                machine.warn("no-cpu-on-node", f"{dev.name}: no CPU of node {dev.node} may be used; probed inline")
                return function()
        return self.run_on_node(at, dev, function)
