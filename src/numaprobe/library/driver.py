"""Drivers as users write them: a small class, or a decorated function; and how their code becomes a probe body.

A probe may be plain Python (it runs in the worker's own OS thread, on the device's node), ``async def`` (it runs in
the core's loop and awaits the machine), or plain Python in a process (``process = True``; for code that computes in
Python itself). What it may do to say how it went:

======================  ============================================================================================
return None or 0        bound
return -errno           not bound, as in the kernel: ``-errno.ENODEV`` means "not mine after all"
raise OSError           the same, with the error's own errno
raise Defer("why")      not yet: tried again when another device was bound
raise anything else     not bound, EIO, with a warning that says what
======================  ============================================================================================

In a process the device is a copy (``DeviceView``), and what the probe returns, if it is no number, becomes
``dev.drvdata`` in the core.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from numaprobe.drivercore import EPROBE_DEFER, Device, Driver, ProbeType
from numaprobe.errors import UsageError
from numaprobe.units import parse_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Bus
    from numaprobe.hostmachine import HostMachine


class Defer(Exception):  # noqa: N818  an outcome, not an error
    """Raised by a probe that cannot go on yet: ``-EPROBE_DEFER``."""


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A device as a body in another process sees it."""

    name: str
    bus: str
    node: int
    compatible: str
    platform_data: Any


class DeviceDriver:
    """Base of drivers; give it a ``probe``.

    Attributes:
        name: unique on its bus; the class's name if empty.
        bus: the bus whose devices it drives.
        compatible: match keys; ``*`` and ``?`` stand for anything, as in a modalias. A ``match`` decides instead.
        probe_type: its own wish about asynchronous probing. Plain drivers are probed one after the other.
        process: probe in a process.
        deadline: how long one probe may take (``5s``, ``200ms``); None = as long as it likes. After it the probe counts
            as failed with ETIMEDOUT, a warning says where it hung, and everything else goes on.

    """

    name: str = ""
    bus: str = "platform"
    compatible: tuple[str, ...] = ()
    probe_type: ProbeType = ProbeType.DEFAULT
    process: bool = False
    deadline: str | None = None

    def probe(self, dev: Any) -> Any:  # noqa: ANN401  plain or async, Device or DeviceView
        """Bring the device up; see the table at the top of the file.

        Raises:
            UsageError: the class does not have one.

        """
        raise UsageError(f"driver {self.name or type(self).__name__} has no probe; define probe(self, dev) for {dev}")

    match: ClassVar[Callable[..., int | bool] | None] = None
    remove: ClassVar[Callable[..., Any] | None] = None


class FunctionDriver(DeviceDriver):
    """What ``driver`` makes of a function."""

    def __init__(self, function: Callable[..., Any], **fields: Any) -> None:  # noqa: ANN401  the class's attributes
        self._function = function
        self.__module__ = function.__module__
        self.__qualname__ = function.__qualname__
        self.__doc__ = function.__doc__
        self.name = function.__name__
        for key, value in fields.items():
            setattr(self, key, value)

    def probe(self, dev: Any) -> Any:  # noqa: ANN401
        """Call the function."""
        return self._function(dev)

    def __call__(self, dev: Any) -> Any:  # noqa: ANN401
        """Call the function: it can still be used as one, and tested without a core."""
        return self._function(dev)

    def __reduce__(self) -> str:
        """Travel by name: in the other process the decorated name is this object again."""
        return self.__qualname__


def driver(
    *compatible: str,
    name: str | None = None,
    bus: str = "platform",
    probe_type: ProbeType = ProbeType.DEFAULT,
    process: bool = False,
    deadline: str | None = None,
    remove: Callable[[Device], Any] | None = None,
) -> Callable[[Callable[..., Any]], FunctionDriver]:
    """Make a driver of a function: ``@numaprobe.driver("accel,*", deadline="5s")``; then ``core.register`` it."""
    if len(compatible) == 1 and callable(compatible[0]):
        name_of = getattr(compatible[0], "__name__", "probe")
        raise UsageError(f"{name_of}: the decorator is called: @numaprobe.driver('compatible,*')")

    def make(function: Callable[..., Any]) -> FunctionDriver:
        fields = {
            "compatible": compatible,
            "bus": bus,
            "probe_type": probe_type,
            "process": process,
            "deadline": deadline,
            "remove": remove,
        }
        return FunctionDriver(function, **fields, **({"name": name} if name else {}))

    return make


def bind_driver(machine: HostMachine, bus: Bus, source: DeviceDriver) -> Driver:
    """Return the core's driver for a user's.

    Raises:
        InputError: its deadline is no time.
        UsageError: an async probe is to run in a process.

    """
    name = source.name or type(source).__name__
    deadline_ns = parse_time(source.deadline) if source.deadline is not None else None
    is_async = inspect.iscoroutinefunction(getattr(source, "_function", source.probe))
    if is_async and source.process:
        raise UsageError(f"driver {name}: an async probe cannot run in a process; make it a plain function")

    async def probe(dev: Device) -> int | None:
        try:
            if is_async:
                return await machine.call_async(lambda: source.probe(dev), deadline_ns=deadline_ns)
            if source.process:
                return await _in_process(machine, source, dev, deadline_ns)
            result: int | None = await machine.call(source.probe, dev, deadline_ns=deadline_ns)
        except Defer as why:
            dev.tell(machine.now(), f"{name} defers: {why}")
            return -EPROBE_DEFER
        return result

    async def prepare() -> None:
        await machine.prepare_process(_probe_in_child, source, key=f"{source.bus}/{name}")

    return Driver(
        name=name,
        bus=bus,
        probe=probe,
        prepare=prepare if source.process else None,
        remove=_remove_body(machine, source),
        compatible=tuple(source.compatible),
        match=_match(source),
        probe_type=source.probe_type,
    )


def _match(source: DeviceDriver) -> Callable[[Device], int]:
    """Return the driver's own match, else one by its patterns; a bus asks a driver that has one before all else."""
    match, patterns = source.match, tuple(source.compatible)
    if match is not None:
        return lambda dev: int(match(dev))
    return lambda dev: int(any(fnmatchcase(dev.compatible, pattern) for pattern in patterns))


def _remove_body(machine: HostMachine, source: DeviceDriver) -> Callable[[Device], Awaitable[None]] | None:
    remove = source.remove
    if remove is None:
        return None

    async def body(dev: Device) -> None:
        if inspect.iscoroutinefunction(remove):
            await machine.call_async(lambda: remove(dev))
        else:
            await machine.call(remove, dev)

    return body


async def _in_process(machine: HostMachine, source: DeviceDriver, dev: Device, deadline_ns: int | None) -> int | None:
    view = DeviceView(dev.name, dev.bus.name, dev.node, dev.compatible, dev.platform_data)
    result = await machine.call_process(_probe_in_child, source, view, deadline_ns=deadline_ns)
    if result is None or isinstance(result, int):
        return result
    dev.drvdata = result
    return 0


def _probe_in_child(source: DeviceDriver, view: DeviceView) -> object:
    return source.probe(view)
