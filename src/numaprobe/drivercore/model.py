"""The driver model's three records: a device, a driver and a bus, which point at each other.

They hold what is so, and nothing that is done: probing is in ``binding.py``. A bus alone brings rules,
because that is what tells one bus from another: how its devices are made and registered, the files they have, its
match, its ``probe`` around the driver's (PCI, USB), its own way to attach a new device, ``need_parent_lock``. The base
class is a complete bus. What a rule may ask for is ``CoreForBuses``, and no more than that: a bus does not know the
core.

``dead`` (set by ``device_del`` under the device lock) stands beside the table of states: a dead device may still be
bound until its driver is released, but nothing probes it any more.

What guards what: state, driver, ``async_driver`` and the managed resources of a device change only while its lock is
held, though not always by the task that holds it: a policy may run the probe in a worker while the owner waits.

Source: ``struct device``, ``struct device_private`` (``drivers/base/base.h``); ``struct device_driver``,
``driver_allows_async_probing`` (``dd.c``), ``struct module`` (``async_probe_requested``); ``struct bus_type``
(``include/linux/device/bus.h``).
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from numaprobe.drivercore.states import STEPS, DeviceState, story_line
from numaprobe.errors import BodyError, StateError
from numaprobe.records import NO_NODE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from numaprobe.drivercore.asyncs import AsyncCalls
    from numaprobe.drivercore.options import CoreOptions
    from numaprobe.runtime import Event, Lock, Machine, Task


@dataclass(slots=True)
class Laps:
    """How often a deferred device was retried (``deferred.py``)."""

    #: how often its deferral met a trigger that passed meanwhile
    retriggers: int = 0
    #: retries in a row, without news in between
    echoes: int = 0
    #: the number of the news at the last one
    news: int = 0
    #: it was in a loop, and was named
    looped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attribute:
    """A file of a device in sysfs (``struct device_attribute``).

    Attributes:
        name: of the file.
        show: called when it is read: 0 (or None) or a negative errno; None: it cannot be read.
        store: called when it is written; None: it cannot be written.
        locked: both are called under the device's lock, as ``uevent`` was (c0a40097f0bc) until that was
            taken back (9a71892cbcdb).

    """

    name: str
    show: Callable[[Device], Awaitable[int | None]] | None = None
    store: Callable[[Device], Awaitable[int | None]] | None = None
    locked: bool = False


@dataclass(slots=True, eq=False)
class ActiveFile:
    """A file that is there (``struct kernfs_node``)."""

    attribute: Attribute
    #: of its active reference
    name: str
    #: who holds it, in the order of entering
    inside: dict[Task, None] = field(default_factory=dict)
    #: set when the last one leaves; None: nobody takes it away
    idle: Event | None = None


@dataclass(slots=True)
class DevicePrivate:
    """What only the core may touch (``struct device_private``)."""

    #: driver of a pending async attach: set by ``__driver_attach``, taken by its helper, both under the lock
    async_driver: Driver | None = None
    #: set under the lock by ``device_del``
    dead: bool = False
    #: some driver matched once; only such a device is worth deferring
    can_match: bool = False
    #: why it was deferred last; None when not deferred
    deferred_reason: str | None = None
    #: how often it was retried; None: it never was deferred
    laps: Laps | None = None
    #: how its last probe failed: an errno's name; "" if it did not
    failure: str = ""
    #: of what its bodies raised last; kept with ``CoreOptions.keep_tracebacks`` only
    traceback: str = ""
    #: the probe under way comes from an async worker
    probing_async: bool = False
    #: the way that led to the probe under way, for records
    path: str | None = None
    #: probes so far, per driver name
    attempts: dict[str, int] = field(default_factory=dict)
    #: managed resources (``devm_*``): name and release, in the order of acquisition
    devres: list[tuple[str, Callable[[], Awaitable[None]]]] = field(default_factory=list)
    #: the files that are there, by name (``attributes.py``); None: there never were any
    files: dict[str, ActiveFile] | None = None


@dataclass(eq=False, slots=True, kw_only=True)
class Device:
    """A device on a bus.

    Attributes:
        name: unique on its bus (``dev_name()``).
        bus: the bus it is on.
        node: NUMA node; -1 = none of its own: it then gets its parent's when it is added.
        parent: the device it hangs from.
        compatible: what drivers match against (the bus decides how).
        suppliers: names of devices that must be bound before this one can be probed (device links).
        attributes: its own files, there as long as it is.
        platform_data: anything the creator wants the driver to see.
        drvdata: the bound driver's own (``dev_set_drvdata``); None when no driver is bound.
        driver: the driver it is bound to or being probed with; given before ``device_add``, it is bound unprobed.

    """

    name: str
    bus: Bus
    node: int = NO_NODE
    parent: Device | None = None
    compatible: str = ""
    suppliers: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    platform_data: Any = None
    drvdata: Any = None
    driver: Driver | None = None
    state: DeviceState = DeviceState.NEW
    children: dict[tuple[str, str], Device] = field(default_factory=dict)
    p: DevicePrivate = field(default_factory=DevicePrivate)
    #: bus name and device name: unique in a core
    key: tuple[str, str] = field(init=False)
    _lock: Lock | None = None
    #: when, which step of the table ("" for a warning), and the detail or the warning: made into lines when it is read
    _story: list[tuple[int, str, str]] = field(default_factory=list)
    #: how many lines the core keeps (``CoreOptions.keep_story``), and how many it did not
    _story_kept: int | None = None
    _story_dropped: int = 0

    def __post_init__(self) -> None:
        self.key = self.bus.name, self.name

    @property
    def lock(self) -> Lock:
        """The device lock (``device_lock()``); the core makes it when the device is added.

        Raises:
            StateError: the device was never added.

        """
        if self._lock is None:
            raise StateError(f"device {self.name} was never added; call device_add first")
        return self._lock

    @property
    def is_bound(self) -> bool:
        """Whether a driver is bound (``device_is_bound``)."""
        return self.state is DeviceState.BOUND

    @property
    def traceback(self) -> str:
        """The traceback of what its bodies raised last, as Python prints it; kept with ``CoreOptions.keep_tracebacks``.

        Empty if none raised, or the option is not set.
        """
        return self.p.traceback

    def step(self, name: str, now_ns: int, detail: str = "") -> None:
        """Take a step of the table.

        Raises:
            StateError: the table has no such step from here; nothing is changed.

        """
        after = STEPS[name].get(self.state)
        if after is None:
            message = f"device {self.name} is {self.state}: it cannot take the step '{name}'"
            raise StateError(message, self.story())
        self.state = after
        self._story.append((now_ns, name, detail))
        if self._story_kept is not None:
            self._shorten(self._story_kept)

    def tell(self, now_ns: int, line: str) -> None:
        """Add a line to the story."""
        self._story.append((now_ns, "", line))
        if self._story_kept is not None:
            self._shorten(self._story_kept)

    def _shorten(self, kept: int) -> None:
        if len(self._story) > kept:
            del self._story[0]
            self._story_dropped += 1

    def story(self) -> tuple[str, ...]:
        """Return all that happened to this device, oldest first, one line each, times in ns.

        Where the core keeps only the last lines, the first one says how many came before.
        """
        before = (f"{'':>17}  ({self._story_dropped} earlier lines were not kept)",) if self._story_dropped else ()
        return (*before, *(f"{when:>14} ns  {story_line(step, detail)}" for when, step, detail in self._story))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.bus.name}/{self.name} {self.state}>"


class ProbeType(StrEnum):
    """``enum probe_type``: the driver's own wish; the command line decides only for DEFAULT."""

    DEFAULT = "default"
    PREFER_ASYNCHRONOUS = "prefer-asynchronous"
    FORCE_SYNCHRONOUS = "force-synchronous"


@dataclass(eq=False, slots=True, kw_only=True)
class Driver:
    """A driver of one bus.

    Attributes:
        name: unique on its bus.
        bus: the bus whose devices it drives.
        probe: the body: an ``async def`` of the device that returns 0 (or None) or a negative errno.
        remove: called when the driver lets a device go; None if there is nothing to do.
        prepare: called before each probe, in its task, no part of its cost: for what the body cannot begin without.
        compatible: match keys; how they are compared is the bus's business.
        match: if given, decides instead of the bus: truth, or a negative errno.
        probe_type: its own wish about asynchronous probing.
        function: name of the probe function, for records; ``NAME_probe`` if not given.
        dev_attributes: files that a device has while it is bound to this driver (``dev_groups``).
        async_requested: its module was loaded with ``async_probe`` (``module_requested_async_probing``).
        devices: the devices bound to it, in the order of binding.

    """

    name: str
    bus: Bus
    probe: Callable[[Device], Awaitable[int | None]]
    remove: Callable[[Device], Awaitable[None]] | None = None
    prepare: Callable[[], Awaitable[None]] | None = None
    compatible: tuple[str, ...] = ()
    match: Callable[[Device], int] | None = None
    probe_type: ProbeType = ProbeType.DEFAULT
    function: str = ""
    dev_attributes: tuple[Attribute, ...] = ()
    async_requested: bool = False
    devices: dict[tuple[str, str], Device] = field(default_factory=dict)
    registered: bool = False
    #: calls that use the driver now; unregistering waits for them (klist_remove, kernfs drain)
    users: int = 0
    idle: Event | None = None

    def __post_init__(self) -> None:
        if not self.function:
            self.function = f"{self.name.replace('-', '_')}_probe"

    def allows_async(self, options: CoreOptions) -> bool:
        """Tell whether it may be probed asynchronously (``driver_allows_async_probing``)."""
        if self.probe_type is not ProbeType.DEFAULT:
            return self.probe_type is ProbeType.PREFER_ASYNCHRONOUS
        return self.async_requested or options.requested_async(self.name)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep it from being unregistered meanwhile."""
        self.users += 1
        if self.idle is not None:
            self.idle.clear()
        try:
            yield
        finally:
            self.users -= 1
            if self.users == 0 and self.idle is not None:
                self.idle.set()

    def __repr__(self) -> str:
        return f"<Driver {self.bus.name}/{self.name}>"


class Held(Protocol):
    """A lock, held inside of ``async with``."""

    def __aenter__(self) -> Awaitable[None]:
        """Take it."""
        ...

    def __aexit__(self, kind: type[BaseException] | None, *_: object) -> Awaitable[None]:
        """Let it go."""
        ...


class CoreForBuses(Protocol):
    """What the core does for the rules of a bus."""

    @property
    def machine(self) -> Machine:
        """What runs the core."""
        ...

    @property
    def asyncs(self) -> AsyncCalls:
        """The core's asynchronous calls."""
        ...

    def call_probe_body(self, dev: Device) -> Awaitable[int]:
        """Run ``dev.driver``'s own probe here and record it: 0 or what it returned."""
        ...

    def call_remove_body(self, dev: Device) -> Awaitable[None]:
        """Run ``dev.driver``'s own remove here."""
        ...

    def bus_probe(self, dev: Device, function: Callable[[], Awaitable[int]], *, under_parent: bool) -> Awaitable[int]:
        """Run a bus's own probe where the placement wants it (``placement.py``)."""
        ...

    def device_initial_probe(self, dev: Device) -> Awaitable[None]:
        """Look for a driver as for a new device: asynchronously where the driver may be."""
        ...

    def device_attach(self, dev: Device) -> Awaitable[int]:
        """Look for a driver in the caller: 1 bound, 0 none, negative errno."""
        ...

    def device_add(self, dev: Device) -> Awaitable[None]:
        """Register a device."""
        ...

    def device_del(self, dev: Device) -> Awaitable[None]:
        """Remove a device."""
        ...

    def device_release_driver(self, dev: Device) -> Awaitable[None]:
        """Have the driver of ``dev`` let it go; whether the parent's lock is held is the caller's business."""
        ...

    def locked(self, dev: Device) -> Held:
        """Hold a device's lock (``async with``)."""
        ...

    def guarded(self, what: str, function: Callable[[], Awaitable[object]]) -> Awaitable[None]:
        """Await a call that must not keep the core from going on; an exception becomes a warning."""
        ...


class Bus:
    """A bus.

    Attributes:
        name: ``pci``, ``platform``, …
        need_parent_lock: probing and releasing also hold the parent's lock.
        own_keys: what ``make_device`` takes besides the fields of every device.
        drivers_autoprobe: whether new devices and drivers are matched without being asked; also gates hot-added and
            deferred devices. Written through ``/sys/bus/NAME/drivers_autoprobe``.
        devices: by name, in the order of adding.
        drivers: by name, in the order of registration.

    """

    need_parent_lock: bool = False
    own_keys: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, name: str) -> None:
        self.name = name
        self.drivers_autoprobe = True
        self.devices: dict[str, Device] = {}
        self.drivers: dict[str, Driver] = {}

    # ---- how its devices come --------------------------------------------------------------------------------------
    def make_device(self, *, name: str, **fields: Any) -> Device:  # noqa: ANN401  those of Device
        """Return a device of this bus: the fields of ``Device``, and of ``own_keys``."""
        return Device(name=name, bus=self, **fields)

    def device_register(self, core: CoreForBuses, dev: Device) -> Awaitable[None]:
        """Register a device that was found; it is there after ``synchronize``, if not at once."""
        return self.child_register(core, dev)

    def child_register(self, core: CoreForBuses, dev: Device) -> Awaitable[None]:
        """Register a device in the probe of its parent."""
        return core.device_add(dev)

    async def synchronize(self, core: CoreForBuses) -> None:
        """Wait until all devices registered so far are there, and sync drivers have been tried."""

    # ---- what else there is to do with them ------------------------------------------------------------------------
    async def enable(self, core: CoreForBuses, dev: Device, what: str, count: int) -> None:  # noqa: ARG002  a bus's own
        """Enable ``count`` of what devices of this bus have (PCI: ``vfs``), in the probe of ``dev``.

        Raises:
            BodyError: they have nothing of the kind.

        """
        raise BodyError(f"{dev.name} is on bus {self.name}, whose devices have no {what}")

    async def disable(self, core: CoreForBuses, dev: Device) -> None:
        """Disable all that the probe of ``dev`` enabled."""

    async def store(self, core: CoreForBuses, dev: Device, file: str, value: int) -> int:  # noqa: ARG002  a bus's own
        """Write ``value`` to a file that this bus gives its devices: 0 or a negative errno; here there is none."""
        return -errno.ENOENT

    # ---- matching and probing --------------------------------------------------------------------------------------
    def match(self, dev: Device, drv: Driver) -> int:
        """Return positive if ``drv`` can drive ``dev``, 0 if not, or a negative errno (``-EPROBE_DEFER``: not yet)."""
        if drv.match is not None:
            return drv.match(dev)
        return int(dev.compatible in drv.compatible)

    async def attach_new(self, core: CoreForBuses, dev: Device) -> None:
        """Find a driver for a device that was just added (``bus_probe_device``)."""
        await core.device_initial_probe(dev)

    def probe(self, core: CoreForBuses, dev: Device) -> Awaitable[int]:
        """Probe ``dev`` with ``dev.driver``: here the driver's own function and nothing else."""
        return core.call_probe_body(dev)

    async def remove(self, core: CoreForBuses, dev: Device) -> None:
        """Let ``dev`` go: here the driver's own function and nothing else."""
        await core.call_remove_body(dev)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"
