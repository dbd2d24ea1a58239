"""What a scenario file may say.

One class for one table of the file; every key has its meaning beside it, and ``docs/scenarios.md`` explains them by
example. Strict: no key that is not here, no number where a time with its unit belongs, no value of another type than
written. What needs the machine to be judged (nodes, CPUs, counts) is judged in ``plan.py``.

A scenario knows nothing of policies: the same object is run under each.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from numaprobe.buses import KINDS
from numaprobe.records import RunWarning
from numaprobe.scenario.quantities import Comm, Cpus, ErrnoName, NamePattern, SizeBytes, TimeNs
from numaprobe.topology import Topology

#: More devices than the largest machine has; beyond it a file is a mistake or an attack.
MAX_DEVICES = 200_000

#: Buses that behave as their names say; a bus of another name is like ``platform``.
BUS_KINDS = tuple(KINDS)


class Table(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True, validate_by_name=True
    )


def _exactly_one(table: BaseModel, keys: tuple[str, ...], kind: str) -> str:
    names = {(field.alias or name): name for name, field in type(table).model_fields.items()}
    said = [key for key in keys if getattr(table, names[key]) is not None]
    if len(said) != 1:
        found = f"this one does {' and '.join(said)}" if said else f"this one does none of {', '.join(keys)}"
        raise PydanticCustomError("numaprobe", "{text}", {"text": f"a {kind} does exactly one thing; {found}"})
    return said[0]


def _as_list(value: Any) -> Any:  # noqa: ANN401  whatever the file holds
    return [value] if isinstance(value, str) else value


#: One name or several; in steps each may be a glob pattern such as ``0000:8*``.
Names = Annotated[tuple[NamePattern, ...], BeforeValidator(_as_list), Field(strict=False, min_length=1)]
#: A node number; ``none`` (-1, the firmware gave none); ``spread`` (round robin over the nodes on line); ``cpu``
#: (device *i* on the node of the *i*-th CPU on line); or a list of nodes, taken in turn.
NodeChoice = Literal["none", "spread", "cpu"] | int | list[int]


def _node(value: Any) -> Any:  # noqa: ANN401  whatever the file holds
    fits = (isinstance(value, int) and not isinstance(value, bool) and value >= -1) or (
        isinstance(value, list) and value and all(type(item) is int and item >= 0 for item in value)
    )
    if not fits and value not in ("none", "spread", "cpu"):
        text = f"{value!r:.40} is no node; write a number, a list of numbers, 'none', 'spread' or 'cpu'"
        raise PydanticCustomError("numaprobe", "{text}", {"text": text})
    return value


def _count(value: Any) -> Any:  # noqa: ANN401  whatever the file holds
    if value == "cpus" or (type(value) is int and 0 < value <= MAX_DEVICES):
        return value
    text = f"{value!r:.40} is no count; write a number from 1 to {MAX_DEVICES}, or 'cpus' for one per CPU on line"
    raise PydanticCustomError("numaprobe", "{text}", {"text": text})


class DeviceGroup(Table):
    """``[[devices]]``: a device, or ``count`` devices that are alike."""

    name: NamePattern
    count: Annotated[int | Literal["cpus"], BeforeValidator(_count)] = 1
    #: the first value of ``{i}``
    first: Annotated[int, Field(ge=0, le=MAX_DEVICES)] = 0
    bus: NamePattern = "platform"
    #: None: the parent's node, or none
    node: Annotated[NodeChoice | None, BeforeValidator(_node)] = None
    parent: NamePattern | None = None
    #: what drivers match: their ``match`` lists
    compatible: NamePattern | None = None
    #: devices that must be bound first
    suppliers: Annotated[Names | None, Field()] = None
    #: what probing it costs, whichever driver does; None: its driver's phases
    phases: "Phases | None" = None
    #: in ``register``, of a PCI device: it is a virtual function of the device that registers it
    virtual_function: bool = False
    #: of a USB device or interface: whether it may be used from the start (its ``authorized``); None: it may
    authorized: bool | None = None

    @property
    def own(self) -> dict[str, bool]:
        """What only devices of its bus take."""
        said = {"virtual_function": self.virtual_function or None, "authorized": self.authorized}
        return {key: value for key, value in said.items() if value is not None}


class Hold(Table):
    """``hold``: phases under a lock that all drivers of the scenario share by its name."""

    lock: NamePattern
    phases: "Phases"


def _where(value: Any) -> Any:  # noqa: ANN401  whatever the file holds
    if value in ("local", "device") or (type(value) is int and value >= 0):
        return value
    text = f"{value!r:.40} is no place for memory; write 'local', 'device' or a node's number"
    raise PydanticCustomError("numaprobe", "{text}", {"text": text})


class Allocate(Table):
    """``allocate``: memory, on the node where the probe runs, on the device's, or on a given one."""

    size: SizeBytes
    where: Annotated[Literal["local", "device"] | int, BeforeValidator(_where)] = "local"


def _allocate(value: Any) -> Any:  # noqa: ANN401  whatever the file holds
    return {"size": value} if isinstance(value, str) else value


class Wait(Table):
    """``wait``: until another device is bound. A device times out with ETIMEDOUT, a supplier with EPROBE_DEFER."""

    device: NamePattern | None = None
    supplier: NamePattern | None = None
    timeout: TimeNs | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("device", "supplier"), "wait")
        return self


PHASE_KEYS = ("compute", "sleep", "hold", "allocate", "register", "enable_vfs", "wait", "fail")


_Children = Annotated[tuple[DeviceGroup, ...] | None, Field(strict=False, min_length=1)]


class Phase(Table):
    """One thing that a probe does; phases follow each other."""

    #: CPU time
    compute: TimeNs | None = None
    #: off the CPU: waiting for the device
    sleep: TimeNs | None = None
    hold: Hold | None = None
    allocate: Annotated[Allocate | None, BeforeValidator(_allocate)] = None
    #: add these devices, children of the one being probed
    children: _Children = Field(default=None, alias="register")
    #: PCI: enable this many virtual functions (``sriov_enable``); what they match is the device's, ``-vf`` appended
    enable_vfs: Annotated[int, Field(ge=1, le=65_536)] | None = None
    wait: Wait | None = None
    #: return this errno
    fail: ErrnoName | None = None
    #: with ``fail``: only the first this many times that a device is probed
    attempts: Annotated[int, Field(ge=1, le=1000)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, PHASE_KEYS, "phase")
        if self.attempts is not None and self.fail is None:
            raise PydanticCustomError("numaprobe", "{text}", {"text": "'attempts' belongs to a phase with 'fail'"})
        return self


Phases = Annotated[tuple[Phase, ...], Field(strict=False, max_length=1000)]


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
    #: each compute and sleep is scaled by a factor drawn from 1 - jitter to 1 + jitter (needs the scenario's ``seed``)
    jitter: Annotated[float, Field(ge=0, lt=1, strict=False)] = 0.0


def _bus_kind(value: Any) -> Any:  # noqa: ANN401  whatever the file holds
    if value in (None, *BUS_KINDS):
        return value
    text = f"{value!r:.40} is no kind of bus; write one of {', '.join(BUS_KINDS)}"
    raise PydanticCustomError("numaprobe", "{text}", {"text": text})


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


class Busy(Table):
    """``busy``: background tasks that compute without end, or compute and sleep in turn."""

    cpus: Cpus
    #: tasks for each of these CPUs
    tasks: Annotated[int, Field(ge=1, le=64)] = 1
    #: free to move between these CPUs instead of pinned to one each
    floating: bool = False
    #: CPU time of one turn; None: without end
    compute: TimeNs | None = None
    #: off the CPU after each turn
    sleep: TimeNs = 0
    #: with ``compute``; None: until the last step is done, at most a minute
    duration: TimeNs | None = None


class Autoprobe(Table):
    """``autoprobe``: write to a bus's ``drivers_autoprobe``."""

    bus: NamePattern
    on: bool


class Authorized(Table):
    """``authorized``: write to this file of USB devices or interfaces."""

    device: NamePattern
    on: bool


STEP_KEYS = (
    "add",
    "remove",
    "load",
    "register",
    "unregister",
    "bind",
    "unbind",
    "drivers_probe",
    "parallel",
    "sequence",
    "offline",
    "online",
    "isolate",
    "busy",
    "wait",
    "settle",
    "block_probing",
    "autoprobe",
    "authorized",
    "expect_bound",
)


class Step(Table):
    """``[[steps]]``: one thing that the caller does, and how long it may take."""

    #: devices, by name or glob pattern
    add: Names | None = None
    remove: Names | None = None
    #: drivers, as one module: returns when its asynchronous probes are done, unless ``async_probe``
    load: Names | None = None
    #: drivers, built in: no waiting at the end
    register_drivers: Names | None = Field(default=None, alias="register")
    unregister: Names | None = None
    #: devices, through the driver's sysfs files
    bind: Names | None = None
    unbind: Names | None = None
    #: devices, through the bus's ``drivers_probe`` file
    drivers_probe: Names | None = None
    #: steps taken at the same time, each by a task of its own
    parallel: Annotated[tuple["Step", ...] | None, Field(strict=False, min_length=1, max_length=4096)] = None
    #: steps taken one after the other (inside ``parallel``)
    sequence: Annotated[tuple["Step", ...] | None, Field(strict=False, min_length=1, max_length=4096)] = None
    offline: Cpus | None = None
    online: Cpus | None = None
    #: the CPUs of an isolated cpuset partition, from now on; "" takes it back
    isolate: Cpus | None = None
    busy: Busy | None = None
    wait: TimeNs | None = None
    #: wait_for_device_probe()
    settle: Literal[True] | None = None
    #: device_block_probing() / device_unblock_probing()
    block_probing: bool | None = None
    autoprobe: Autoprobe | None = None
    authorized: Authorized | None = None
    #: check that these devices are bound now
    expect_bound: Names | None = None

    #: with ``bind``: the driver; None: the one that matches
    driver: NamePattern | None = None
    #: with ``load``: the module's ``async_probe`` parameter
    async_probe: bool | None = None
    #: the task that takes this step, if not the scenario's caller
    cpu: Annotated[int, Field(ge=0)] | None = None
    comm: Comm | None = None
    pinned: bool = True
    #: checks on how long this step takes
    at_most: TimeNs | None = None
    at_least: TimeNs | None = None
    #: what a check is called in the report
    check: Annotated[str, Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, STEP_KEYS, "step")
        for key, owner in (("driver", "bind"), ("async_probe", "load")):
            if getattr(self, key) is not None and getattr(self, owner) is None:
                text = f"'{key}' belongs to a step with '{owner}'"
                raise PydanticCustomError("numaprobe", "{text}", {"text": text})
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
    #: for ``jitter``
    seed: int | None = None
    #: of the default steps
    order: Literal["devices-first", "drivers-first"] = "devices-first"
    caller: Caller = Caller()
    buses: Annotated[tuple[BusModel, ...], Field(strict=False)] = ()
    drivers: Annotated[tuple[DriverModel, ...], Field(strict=False)] = ()
    devices: Annotated[tuple[DeviceGroup, ...], Field(strict=False, max_length=MAX_DEVICES)] = ()
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
            raise PydanticCustomError("numaprobe", "{text}", {"text": text})
        return self


#: key of the file -> the table that it holds; "" is the file itself
TABLES: dict[str, type[Table]] = {
    "": Scenario,
    "allocate": Allocate,
    "authorized": Authorized,
    "autoprobe": Autoprobe,
    "buses": BusModel,
    "busy": Busy,
    "caller": Caller,
    "devices": DeviceGroup,
    "drivers": DriverModel,
    "hold": Hold,
    "parallel": Step,
    "phases": Phase,
    "register": DeviceGroup,
    "remove": Phase,
    "sequence": Step,
    "steps": Step,
    "wait": Wait,
}
