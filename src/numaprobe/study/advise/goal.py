"""What is to come earlier: the end of all probes, or a moment of a boot that somebody waits for.

A burst of probes is over when the last of them is; of a boot what matters is when a milestone is reached, however long
the probes behind it take. A milestone is a line of the log, or the end of a device's probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numaprobe.analysis import summarize
from numaprobe.errors import InputError

if TYPE_CHECKING:
    from numaprobe.records import Trace

#: Milestones that an error names.
_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is measured of each run, in ns."""

    #: a milestone of the trace
    milestone: str | None = None
    #: a device whose probe is waited for
    device: str | None = None

    @property
    def name(self) -> str:
        """What it is called in a sentence: ``the makespan``, ``Run /init``."""
        if self.device is not None:
            return f"the probe of {self.device}"
        return self.milestone or "the makespan"

    @property
    def is_moment(self) -> bool:
        """Whether it is a moment of a boot, and no span of time."""
        return self.milestone is not None or self.device is not None

    def reached(self, trace: Trace) -> int | None:
        """Return the makespan, or when the moment came; None: it did not."""
        if self.milestone is not None:
            return next((one.time_ns for one in trace.milestones if one.name == self.milestone), None)
        if self.device is not None:
            bound = [one.end_ns for one in trace.probes if one.device == self.device and one.bound]
            return bound[-1] if bound else None
        return summarize(trace).makespan_ns or 0


def goal_of(until: str | None, trace: Trace | None) -> Goal:
    """Return the goal that a user names; of a boot that names none, the start of user space.

    Args:
        until: a milestone, a part of its name, or a device; None: not said.
        trace: what was recorded.

    Raises:
        InputError: there is no such moment in it.

    """
    milestones = [one.name for one in trace.milestones] if trace is not None else []
    if until is None:
        return Goal(milestone=next((name for name in milestones if name.startswith("Run /")), None))
    found = next((name for name in milestones if name == until), None)
    found = found or next((name for name in milestones if until.lower() in name.lower()), None)
    if found is not None:
        return Goal(milestone=found)
    if trace is not None and any(one.device == until for one in trace.probes):
        return Goal(device=until)
    there = f"it has {', '.join(milestones[:_SHOWN])}" if milestones else "it tells none"
    raise InputError(f"no milestone, device or line '{until[:60]}' in the log; {there}", "--until")
