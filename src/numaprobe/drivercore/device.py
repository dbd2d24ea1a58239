"""A device, its private part, and the table of its states.

::

            add            ready           probe          bind
      NEW ------> REGISTERED ---> UNBOUND ------> PROBING ------> BOUND
                      |            |  ^  ^           | fail         | release
                      | remove     |  |  +-----------+              v
                      +----------> |  +------------------------ RELEASING
                                   v          released
                                REMOVED

``dead`` (set by ``device_del`` under the device lock) stands beside the table: a dead device may still be bound until
its driver is released, but nothing probes it any more. A step that the table does not have raises ``StateError``,
changes nothing, and carries the device's story.

What guards what: state, driver, ``async_driver`` and the managed resources of a device change only while its lock is
held, though not always by the task that holds it: a policy may run the probe in a worker while the owner waits.

Source: ``struct device``, ``struct device_private`` (``drivers/base/base.h``), ``drivers/base/core.c``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import StateError
from numaprobe.records import NO_NODE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore.bus import Bus
    from numaprobe.drivercore.driver import Driver
    from numaprobe.runtime import Lock


class DeviceState(StrEnum):
    """Where a device is in its life."""

    NEW = "new"
    REGISTERED = "registered"
    UNBOUND = "unbound"
    PROBING = "probing"
    BOUND = "bound"
    RELEASING = "releasing"
    REMOVED = "removed"


#: step -> {state before: state after}. The whole truth about what may follow what.
STEPS: Final[dict[str, dict[DeviceState, DeviceState]]] = {
    "add": {DeviceState.NEW: DeviceState.REGISTERED},
    "ready": {DeviceState.REGISTERED: DeviceState.UNBOUND},
    "probe": {DeviceState.UNBOUND: DeviceState.PROBING},
    "fail": {DeviceState.PROBING: DeviceState.UNBOUND},
    "bind": {DeviceState.PROBING: DeviceState.BOUND},
    "release": {DeviceState.BOUND: DeviceState.RELEASING},
    "released": {DeviceState.RELEASING: DeviceState.UNBOUND},
    "remove": {DeviceState.REGISTERED: DeviceState.REMOVED, DeviceState.UNBOUND: DeviceState.REMOVED},
}


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
    #: how often it was retried
    laps: Laps = field(default_factory=Laps)
    #: how its last probe failed: an errno's name; "" if it did not
    failure: str = ""
    #: the probe under way comes from an async worker
    probing_async: bool = False
    #: the way that led to the probe under way, for records
    path: str | None = None
    #: probes so far, per driver name
    attempts: dict[str, int] = field(default_factory=dict)
    #: managed resources (``devm_*``): name and release, in the order of acquisition
    devres: list[tuple[str, Callable[[], Awaitable[None]]]] = field(default_factory=list)


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
    platform_data: Any = None
    drvdata: Any = None
    driver: Driver | None = None
    state: DeviceState = DeviceState.NEW
    children: dict[tuple[str, str], Device] = field(default_factory=dict)
    p: DevicePrivate = field(default_factory=DevicePrivate)
    #: bus name and device name: unique in a core
    key: tuple[str, str] = field(init=False)
    _lock: Lock | None = None
    #: when, which step of the table ("" for a remark), and the detail or the remark: made into lines when it is read
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
        return (*before, *(f"{when:>14} ns  {_line(step, detail)}" for when, step, detail in self._story))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.bus.name}/{self.name} {self.state}>"


def _line(step: str, detail: str) -> str:
    """Return a line of a story; a step leads to one state, wherever it starts."""
    if not step:
        return detail
    after = next(iter(STEPS[step].values()))
    return f"{step}: {after} {detail}" if detail else f"{step}: {after}"
