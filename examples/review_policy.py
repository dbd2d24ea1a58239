"""From a patch on a list to a policy: the January 2026 series, but only for devices whose node is not the caller's.

Run it beside the others, on any machine and kernel::

    numaprobe compare mixed-bus -p examples/review_policy.py:OnlyWhenRemote -p exec-on-node -p inline
"""

from dataclasses import dataclass

from numaprobe.policies import NodeWork


@dataclass(frozen=True, kw_only=True)
class OnlyWhenRemote(NodeWork):
    """Wraps the three synchronous call sites of ``dd.c``; a caller that is on the node already probes itself."""

    summary = "exec-on-node, but only for callers on another node"

    def call_site(self, at, dev, function):  # noqa: ANN001, ANN201  an example for readers of C
        """Run a call site near the device's node, unless it is there."""
        if at.machine.topology.node_of(at.machine.current.cpu) == dev.node:
            return function()
        return self.run_on_node(at, dev, function)
