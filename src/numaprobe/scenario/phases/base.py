"""A phase: one thing that a probe does. What phases need of the run they are part of, and of the probe under way.

Jitter is a function of (seed, driver, device, attempt, number of the draw) and of nothing else: the same device gets
the same costs under every policy, so that policies are compared on equal terms.
"""

import hashlib
from collections.abc import Awaitable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Protocol

from pydantic import Field

from numaprobe.errors import InternalError
from numaprobe.scenario.readas import ReadAs
from numaprobe.scenario.tables import Tagged
from numaprobe.scenario.waiting import Waiter, WatchedLock

if TYPE_CHECKING:
    from numaprobe.drivercore import Device
    from numaprobe.runtime import Event, Machine

#: Parts per million: jitter is drawn in integers.
MILLION: Final = 1_000_000


class Surroundings(Protocol):
    """What a probe needs of the run it is part of."""

    machine: "Machine"
    #: how what is in doubt is read in this run
    read_as: ReadAs

    def lock(self, name: str) -> WatchedLock:
        """Return the lock that all bodies share by this name."""
        ...

    def bound(self, device: str) -> "Event":
        """Return the flag that is set while this device's driver has it."""
        ...

    @property
    def deferred_timed_out(self) -> bool:
        """Whether ``deferred_probe_timeout`` is over: what asks for an optional supplier does without."""
        ...

    async def register_children(self, parent: "Device", groups: Iterable[Any]) -> None:
        """Add the devices of these groups (``DeviceGroup``) below ``parent``."""
        ...

    async def enable_vfs(self, parent: "Device", count: int) -> None:
        """Enable virtual functions of ``parent``."""
        ...


class Spender(Protocol):
    """Computes and sleeps: the machine, or the turns that a probe takes on it."""

    def compute(self, ns: int) -> Awaitable[None]:
        """Use a CPU."""
        ...

    def sleep(self, ns: int) -> Awaitable[None]:
        """Leave the CPU."""
        ...


@dataclass(slots=True)
class Probe:
    """One call of a driver's function."""

    device: "Device"
    around: Surroundings
    attempt: int = 1
    jitter_ppm: int = 0
    #: how many times as long its spans take in this reading, in parts per million
    spread_ppm: int = MILLION
    seed: str = ""
    draws: int = field(default=0)
    #: when it began
    start_ns: int = 0
    #: how it shares resources with other probes; None: it shares none
    turns: Spender | None = None

    @property
    def waiter(self) -> Waiter:
        """How its waits for locks are written down."""
        return Waiter(self.device.bus.name, self.device.name, self.start_ns)

    @property
    def spender(self) -> Spender:
        """What computes and sleeps for it."""
        return self.around.machine if self.turns is None else self.turns

    def scaled(self, ns: int) -> int:
        """Return ``ns`` scaled as it is read, and by the next draw, from 1 - jitter to 1 + jitter."""
        if self.spread_ppm != MILLION:
            ns = ns * self.spread_ppm // MILLION
        if not self.jitter_ppm:
            return ns
        self.draws += 1
        digest = hashlib.blake2b(f"{self.seed}/{self.attempt}/{self.draws}".encode(), digest_size=8).digest()
        offset = int.from_bytes(digest) % (2 * self.jitter_ppm + 1) - self.jitter_ppm
        return ns + ns * offset // MILLION


class Phase(Tagged):
    """One thing that a probe does; phases follow each other. See ``Tagged`` for how a kind is made."""

    kinds: ClassVar[dict[str, type["Phase"]]] = {}
    noun: ClassVar[str] = "phase"
    #: a guest's recording takes its place: a real driver does it, in its own time
    measured: ClassVar[bool] = False
    #: it adds devices, which are taken back when the driver lets go
    registers: ClassVar[bool] = False

    async def do(self, probe: Probe) -> int:
        """Do it in the current task: 0, or the negative errno that ends the probe."""
        raise InternalError(f"phase '{self.key}' of {probe.device.name} does nothing")

    def inside(self) -> tuple["Phase", ...]:
        """Return the phases inside of this one."""
        return ()

    def spans(self, _read: ReadAs) -> tuple[int, int]:
        """Return how long it computes and how long it sleeps, in ns, read so."""
        return 0, 0

    @property
    def in_doubt(self) -> bool:
        """Whether what it does differs by how it is read."""
        return any(phase.in_doubt for phase in self.inside())

    def awaited(self) -> str | None:
        """Return the device for which it may wait for ever."""
        return None

    def vfs(self) -> int:
        """Return how many virtual functions it enables."""
        return 0


Phases = Annotated[tuple[Phase, ...], Field(strict=False, max_length=1000)]


async def do_all(phases: Iterable[Phase], probe: Probe) -> int:
    """Do these phases, until one ends the probe."""
    for phase in phases:
        result = await phase.do(probe)
        if result:
            return result
    return 0


def spans_of(phases: Iterable[Phase], read: ReadAs) -> tuple[int, int]:
    """Return how long phases compute and how long they sleep, in ns, read so."""
    found = [phase.spans(read) for phase in phases]
    return sum(compute for compute, _ in found), sum(sleep for _, sleep in found)


def with_inner(phases: Iterable[Phase]) -> Iterator[Phase]:
    """Return phases, each followed by those inside of it."""
    for phase in phases:
        yield phase
        yield from with_inner(phase.inside())
