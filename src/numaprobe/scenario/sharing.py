"""``[[shared]]``: a resource that one probe at a time has, as what was learnt of a trace says it.

A lock of the ACPI interpreter, a controller, a bus: no placement takes the wait for it away. The table says which
drivers' probes take it, for how long each, and how sure that is. Not to be confused with the phase ``hold``, which is
*one* critical section around phases that somebody wrote down: a shared resource is taken often and for a short time, so
that probes mix and end together, and it leaves the phases of a probe as they are.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from numaprobe.records import SharedHold
from numaprobe.scenario.quantities import NamePattern, TimeNs
from numaprobe.scenario.readas import ReadAs
from numaprobe.scenario.tables import Names, Table, refused

#: More than this is no slowdown but another probe.
MAX_SLOWDOWN = 100.0

Slowdown = Annotated[float, Field(ge=0, le=MAX_SLOWDOWN, strict=False)]


class SharedModel(Table):
    """``[[shared]]``: what probes of these drivers have one at a time."""

    #: its name; several tables of one name are one resource, with a hold for each driver
    lock: NamePattern
    #: whose probes take it
    drivers: Names
    #: how long one probe has it in all, on a CPU first; what is longer than the probe is all of it
    hold: TimeNs = 0
    #: the least and the most that this can be; None: as ``hold``
    least: TimeNs | None = None
    most: TimeNs | None = None
    #: how much longer it computes while another one of them is in its probe: 0.2 is a fifth longer
    slowdown: Slowdown = 0.0
    slowdown_least: Slowdown | None = None
    slowdown_most: Slowdown | None = None
    #: ``seen``: the kernel named it; ``suspected``: times fit it
    evidence: Literal["seen", "suspected"] = "suspected"
    #: what taught it
    source: Literal["lock-events", "wake-ups", "two-traces", "timeline", "scenario"] = "scenario"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        ordered = ReadAs.LEAST, ReadAs.EXPECTED, ReadAs.MOST
        for values, what in (
            ([self.hold_as(one) for one in ordered], "hold"),
            ([self.slowdown_as(one) for one in ordered], "slowdown"),
        ):
            if values != sorted(values):
                raise refused(f"the least, the {what} and the most of '{self.lock}' are not in this order")
        return self

    def hold_as(self, read: ReadAs) -> int:
        """Return how long one probe has it, in ns, read so."""
        return read.of(self.hold, self.least, self.most)

    def slowdown_as(self, read: ReadAs) -> float:
        """Return how much longer a probe computes in company, read so."""
        return read.of(self.slowdown, self.slowdown_least, self.slowdown_most)

    @property
    def in_doubt(self) -> bool:
        """Whether its values differ by how they are read."""
        return any((self.hold_as(r), self.slowdown_as(r)) != (self.hold, self.slowdown) for r in ReadAs)

    def as_record(self) -> SharedHold:
        """Return what a trace says of it."""
        return SharedHold(
            resource=self.lock,
            hold_ns=self.hold,
            hold_range_ns=(self.hold_as(ReadAs.LEAST), self.hold_as(ReadAs.MOST)),
            members=tuple(sorted(self.drivers)),
            evidence=self.evidence,
            source=self.source,
        )
