"""``inline``: the caller probes where it is."""

from __future__ import annotations

from dataclasses import dataclass

from numaprobe.policies.base import Policy


@dataclass(frozen=True, kw_only=True)
class Inline(Policy):
    """Leaves every synchronous probe with its caller, wherever that happens to run.

    What every bus but PCI does today. Async probes still go near their node (``async_schedule_dev``, 5.1).
    """

    name = "inline"
    origin = "every bus but PCI, mainline today"
    summary = "the caller probes where it is"
