"""What probes share besides CPUs: waits that were seen, holds that were learnt, and what a doubt does to a figure.

Probes wait for each other inside the kernel: for a lock of the ACPI interpreter, a controller, a parent. What is known
of that comes in three shapes. A *wait* is what the kernel's lock events said of one probe. A *shared hold* is what all
of a trace's probes say of one resource: which probes take it, and for how long. Where neither can settle it, a run is
made under several *readings* of what is in doubt, and its figures become ranges.

Not to be confused with what *held* a probe on its node (``analysis.hold``), nor with the phase ``hold`` of a scenario,
which is how a shared hold is run again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

#: ``seen``: the kernel's lock events name it. ``suspected``: times fit it, and nothing names it.
Evidence = Literal["seen", "suspected"]
#: What taught it: lock events; which probe woke which; a serial and a parallel trace of one machine; the timeline of
#: one trace; a scenario.
HoldSource = Literal["lock-events", "wake-ups", "two-traces", "timeline", "scenario"]


class LockWait(NamedTuple):
    """How a probe waited for one lock, of one holder."""

    #: the lock, as far as known: the function that takes it, else its address as the trace prints it
    lock: str
    #: which probe or task had it meanwhile: the device that was probed, else the task's name; None: not known
    held_by: str | None
    #: how often it waited, how long in all, and the longest of these, in ns
    times: int
    wait_ns: int
    longest_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedHold:
    """A resource that one probe at a time has, and what a probe of each member has it for."""

    #: its name: a lock's, or ``shared-1`` for one that nothing names
    resource: str
    #: how long one probe holds it in all, in ns: the middle of what the members showed
    hold_ns: int
    #: the least and the most that the evidence allows
    hold_range_ns: tuple[int, int]
    #: drivers whose probes take it, in order of their names
    members: tuple[str, ...]
    #: member -> its own hold, in ns, where they differ; empty: each holds it as long as ``hold_ns`` says
    by_member: Mapping[str, int] = field(default_factory=dict)
    #: how much longer a probe computes while another member's is under way (0.2: a fifth), and what that can be
    slowdown: float = 0.0
    slowdown_range: tuple[float, float] = (0.0, 0.0)
    #: how often one probe takes it; None: not known, and then often enough that probes mix
    takes: int | None = None
    evidence: Evidence
    source: HoldSource

    def hold_of(self, driver: str) -> int:
        """Return how long a probe of this member holds it, in ns."""
        return self.by_member.get(driver, self.hold_ns)


class Reading(NamedTuple):
    """The figures of a run under one reading of what is in doubt."""

    #: what was taken to be true, in words: ``nothing is shared``
    name: str
    #: as of a trace: first start to last end, and the largest cost; None where the run has none
    makespan_ns: int | None
    worst_ns: int | None
