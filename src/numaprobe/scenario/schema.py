"""What a scenario file may say.

One class for one table of the file; every key has its meaning beside it, and ``docs/scenarios.md`` explains them by
example. Strict: no key that is not here, no number where a time with its unit belongs, no value of another type than
written. What needs the machine to be judged (nodes, CPUs, counts) is judged in ``plan.py``.

A scenario knows nothing of policies: the same object is run under each.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from numaprobe.buses import KINDS
from numaprobe.records import RunWarning
from numaprobe.scenario.phases import Attributes, DeviceGroup, Phase, Phases, RegisterChildren
from numaprobe.scenario.quantities import Comm, NamePattern
from numaprobe.scenario.readas import ReadAs
from numaprobe.scenario.sharing import SharedModel
from numaprobe.scenario.steps import Step, TaskKind
from numaprobe.scenario.tables import MAX_DEVICES, Names, Table, refused, tables_in
from numaprobe.topology import Topology

#: Buses that behave as their names say; a bus of another name is like ``platform``.
BUS_KINDS = tuple(KINDS)


Factor = Annotated[float, Field(ge=0.001, le=1000, strict=False)]


class DriverModel(Table):
    """``[[drivers]]``: what a driver matches, how it wants to be probed, and what its probe costs."""

    name: NamePattern
    bus: NamePattern = "platform"
    #: the ``compatible`` texts it binds to; None: its own name
    match: Names | None = None
    #: ``default``: as the command line says; ``async``: PROBE_PREFER_ASYNCHRONOUS; ``sync``: PROBE_FORCE_SYNCHRONOUS
    probe_type: Literal["default", "async", "sync"] = "default"
    #: name of its probe function; None: NAME_probe
    function: NamePattern | None = None
    phases: Phases = ()
    #: what its remove function costs
    remove: Phases = ()
    #: files that a device has in sysfs while it is bound to this driver (``dev_groups``)
    attributes: Attributes = ()
    #: each compute and sleep is scaled by a factor drawn from 1 - jitter to 1 + jitter (needs the scenario's ``seed``)
    jitter: Annotated[float, Field(ge=0, lt=1, strict=False)] = 0.0
    #: what repeated probes of one device differ by: compute and sleep are so many times as long, at least and at most
    spread: Annotated[tuple[Factor, Factor], Field(strict=False)] = (1.0, 1.0)

    @model_validator(mode="after")
    def _spread_is_a_range(self) -> Self:
        if not self.spread[0] <= 1.0 <= self.spread[1]:
            raise refused("'spread' is [least, most] as factors: the least is 1.0 or less, the most 1.0 or more")
        return self

    def spread_as(self, read: ReadAs) -> float:
        """Return how many times as long its compute and sleep take, read so."""
        return read.of(1.0, *self.spread)


def _bus_kind(value: Any) -> Any:  # noqa: ANN401  whatever the file holds
    if value in (None, *BUS_KINDS):
        return value
    raise refused(f"{value!r:.40} is no kind of bus; write one of {', '.join(BUS_KINDS)}")


class BusModel(Table):
    """``[[buses]]``: only to change a bus or to add one; a bus that a device names is there anyway."""

    name: NamePattern
    #: what it behaves like
    kind: Annotated[str | None, BeforeValidator(_bus_kind)] = None
    #: ``drivers_autoprobe``
    autoprobe: bool = True


class Caller(Table):
    """``[caller]``: the task that takes the steps."""

    comm: Comm = "modprobe"
    cpu: Annotated[int, Field(ge=0)] = 0
    #: kept on that CPU (``taskset``), or free to move from there
    pinned: bool = True
    #: a program, a kernel thread, or a worker that executes a work; a worker has its pool's name
    kind: TaskKind = "user"

    @model_validator(mode="after")
    def _a_worker_has_its_pools_name(self) -> Self:
        if self.kind == "kworker" and "comm" in self.model_fields_set:
            raise refused("a kworker has the name that its pool gives it; leave out 'comm'")
        return self


class Scenario(Table):
    """A machine, drivers, devices, and the order of events."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = "scenario"
    #: one sentence for the list of scenarios
    summary: Annotated[str, Field(max_length=500)] = ""
    #: what it is for, where its figures come from
    description: Annotated[str, Field(max_length=20_000)] = ""
    #: preset, compact or synthetic text, a file, a sysfs tree, or ``host``
    machine: Annotated[str, Field(min_length=1, max_length=4096)]
    #: kernel profile; None: the default one
    kernel: str | None = None
    #: kernel parameters
    cmdline: Annotated[str, Field(max_length=4096)] = ""
    #: the kernel is still booting: deferred devices are not tried again before the step ``late_initcall``
    booting: bool = False
    #: for ``jitter``
    seed: int | None = None
    #: of the default steps
    order: Literal["devices-first", "drivers-first"] = "devices-first"
    #: the order of its steps, as ``numaprobe explore --save`` keeps it; None: time decides
    schedule: Annotated[str, Field(max_length=1_000_000)] | None = None
    caller: Caller = Caller()
    buses: Annotated[tuple[BusModel, ...], Field(strict=False)] = ()
    drivers: Annotated[tuple[DriverModel, ...], Field(strict=False)] = ()
    devices: Annotated[tuple[DeviceGroup, ...], Field(strict=False, max_length=MAX_DEVICES)] = ()
    #: what probes have one at a time, beyond what their phases say
    shared: Annotated[tuple[SharedModel, ...], Field(strict=False, max_length=1000)] = ()
    #: empty: add all devices, then load each driver (or the other way round: ``order``)
    steps: Annotated[tuple[Step, ...], Field(strict=False, max_length=10_000)] = ()
    #: check that every asynchronous probe starts on its device's node
    expect_async_on_node: bool = False
    _where: str = PrivateAttr("")
    _topology: Topology | None = PrivateAttr(None)
    _warnings: tuple[RunWarning, ...] = PrivateAttr(())

    @property
    def where(self) -> str:
        """The file that the scenario was read from, for errors; its name if from none."""
        return self._where or self.name

    @property
    def topology(self) -> Topology | None:
        """The machine itself, where it was read together with the scenario (``host``)."""
        return self._topology

    @property
    def warnings(self) -> tuple[RunWarning, ...]:
        """What whoever made the scenario wants known in every trace of it: assumed costs."""
        return self._warnings

    def with_origin(self, where: str, topology: Topology | None = None, warnings: tuple[RunWarning, ...] = ()) -> Self:
        """Return the same scenario, knowing where it comes from."""
        copy = self.model_copy()
        values = {"_where": where, "_topology": topology, "_warnings": warnings}
        copy.__pydantic_private__ = values
        return copy

    def with_origin_of(self, other: "Scenario") -> Self:
        """Return the same scenario, coming from where the other one comes from."""
        return self.with_origin(other._where, other.topology, other.warnings)  # noqa: SLF001  its own class

    @model_validator(mode="after")
    def _jitter_has_a_seed(self) -> Self:
        if self.seed is None and any(driver.jitter for driver in self.drivers):
            text = "a driver has 'jitter', so the scenario needs a 'seed': a run must be repeatable"
            raise refused(text)
        return self


def differs(scenario: Scenario, read: ReadAs) -> bool:
    """Tell whether a scenario, read so, is another one than as expected."""
    if read is ReadAs.EXPECTED:
        return False
    if any(one.hold_as(read) != one.hold or one.slowdown_as(read) != one.slowdown for one in scenario.shared):
        return True
    if any(driver.spread_as(read) != 1.0 for driver in scenario.drivers):
        return True
    return any(phase.in_doubt for phase in _all_phases(scenario))


def _all_phases(scenario: Scenario) -> Iterator[Phase]:
    """Return the phases of every driver and group, those of devices that probes register included."""
    todo: list[Phase] = [phase for driver in scenario.drivers for phase in driver.phases]
    todo += [phase for group in scenario.devices for phase in group.phases or ()]
    files = [file for driver in scenario.drivers for file in driver.attributes]
    files += [file for group in scenario.devices for file in group.attributes]
    todo += [phase for file in files for phase in (*(file.show or ()), *(file.store or ()))]
    while todo:
        phase = todo.pop()
        yield phase
        if isinstance(phase, RegisterChildren):
            todo += [inner for group in phase.children for inner in group.phases or ()]


def _tables() -> dict[str, type[Table]]:
    """Return which table stands at which key of the file, as the tables themselves say; "" is the file itself."""
    found: dict[str, type[Table]] = {"": Scenario}
    todo: list[type[Table]] = [Scenario]
    while todo:
        table = todo.pop()
        for name, field in table.model_fields.items():
            for inner in tables_in(field.annotation):
                if inner not in found.values():
                    todo += inner.all_kinds()
                found[field.alias or name] = inner
    return found


#: key of the file -> the table that it holds
TABLES: Final = _tables()
