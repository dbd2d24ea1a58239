"""Phases that cost something: time on a CPU or off it, memory, and a lock around others."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, model_validator

from numaprobe.records import NO_NODE
from numaprobe.scenario.phases.base import Phase, Phases, Probe, do_all, spans_of
from numaprobe.scenario.quantities import NamePattern, SizeBytes, TimeNs
from numaprobe.scenario.readas import ReadAs
from numaprobe.scenario.tables import OrText, Table, refused


class Span(Phase):
    """A phase that is nothing but time: ``compute`` and ``sleep``."""

    measured: ClassVar[bool] = True

    @classmethod
    def lasting(cls, ns: int) -> Self:
        """Return one of this kind that takes ``ns``."""
        return cls.of(**{cls.key: ns})

    @property
    def ns(self) -> int:
        """How long it takes."""
        took: int = self.said
        return took


class Compute(Span):
    """CPU time."""

    compute: TimeNs

    async def do(self, probe: Probe) -> int:
        """Use a CPU."""
        await probe.spender.compute(probe.scaled(self.compute))
        return 0

    def spans(self, _read: ReadAs) -> tuple[int, int]:
        """Return how long it computes."""
        return self.compute, 0


class Sleep(Span):
    """Off the CPU: waiting for the device."""

    sleep: TimeNs

    async def do(self, probe: Probe) -> int:
        """Leave the CPU."""
        await probe.spender.sleep(probe.scaled(self.sleep))
        return 0

    def spans(self, _read: ReadAs) -> tuple[int, int]:
        """Return how long it sleeps."""
        return 0, self.sleep


class Undivided(Table):
    """``undivided``: time of which only the sum is known, and the ways in which it can have been spent."""

    #: ``compute`` and ``sleep``, as far as anything tells
    expected: Phases
    #: the same with the least contention for a CPU that fits what is known, and with the most; None: as expected
    least: Phases | None = None
    most: Phases | None = None

    @model_validator(mode="after")
    def _spans_alone(self) -> Self:
        if any(not isinstance(phase, Span) for read in ReadAs for phase in self.read(read)):
            raise refused("'undivided' is time: it holds nothing but compute and sleep")
        return self

    def read(self, read: ReadAs) -> tuple[Phase, ...]:
        """Return the phases that it stands for, read so."""
        return read.of(self.expected, self.least, self.most)


class UndividedCost(Phase):
    """Time of which nobody knows how much was computing."""

    measured: ClassVar[bool] = True

    undivided: Undivided

    async def do(self, probe: Probe) -> int:
        """Do what it stands for in this run."""
        return await do_all(self.undivided.read(probe.around.read_as), probe)

    def spans(self, read: ReadAs) -> tuple[int, int]:
        """Return how long it computes and sleeps, read so."""
        return spans_of(self.undivided.read(read), read)

    @property
    def in_doubt(self) -> bool:
        """Whether there is more than one way."""
        return any(self.undivided.read(read) != self.undivided.expected for read in ReadAs)


class LockedPhases(Table):
    """``hold``: phases under a lock that all drivers of the scenario share by its name."""

    lock: NamePattern
    phases: Phases


class HoldLock(Phase):
    """Phases under a lock."""

    hold: LockedPhases

    async def do(self, probe: Probe) -> int:
        """Do what is inside with the lock held."""
        async with probe.around.lock(self.hold.lock).taken_by(probe.waiter):
            return await do_all(self.hold.phases, probe)

    def inside(self) -> tuple[Phase, ...]:
        """Return the phases inside of this one."""
        return self.hold.phases

    def spans(self, read: ReadAs) -> tuple[int, int]:
        """Return how long the phases inside compute and sleep."""
        return spans_of(self.hold.phases, read)


def _where(value: Any) -> Any:  # noqa: ANN401  whatever the file holds
    if value in ("local", "device") or (type(value) is int and value >= 0):
        return value
    raise refused(f"{value!r:.40} is no place for memory; write 'local', 'device' or a node's number")


class Allocate(Table):
    """``allocate``: memory, on the node where the probe runs, on the device's, or on a given one."""

    size: SizeBytes
    where: Annotated[Literal["local", "device"] | int, BeforeValidator(_where)] = "local"


def _allocate(value: Any) -> Any:  # noqa: ANN401  whatever the file holds
    return {"size": value} if isinstance(value, str) else value


class AllocateMemory(Phase):
    """Memory."""

    allocate: Annotated[Allocate, BeforeValidator(_allocate), OrText()]

    async def do(self, probe: Probe) -> int:
        """Allocate it; a device without a node gets it where the probe runs."""
        where = self.allocate.where
        node = probe.device.node if where == "device" else None if where == "local" else where
        await probe.around.machine.allocate(self.allocate.size, None if node == NO_NODE else node)
        return 0
