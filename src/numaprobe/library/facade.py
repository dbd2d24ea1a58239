"""The driver core as users hold it: ``Core`` for plain code, ``AsyncCore`` for async code.

Both may be used from anywhere: from outside (the question travels to the core's loop), and from inside a probe body,
where it is asked in the name of the body's own task, so that a child that a probe adds is a *nested* probe. The one
place where ``Core`` refuses is inside an async body, which runs in the core's loop: it would wait for itself there;
``core.aio`` is for that.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from numaprobe.errors import UsageError
from numaprobe.hostmachine.async_body import uninterrupted
from numaprobe.hostmachine.thread import this_thread
from numaprobe.library.checks import check_seconds, check_source
from numaprobe.topology import load_topology

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Device
    from numaprobe.hostmachine import HostMachine
    from numaprobe.library.driver import DeviceDriver
    from numaprobe.library.operations import Operations
    from numaprobe.library.udev import UdevFollower
    from numaprobe.records import ProbeRecord, RunWarning, Trace

T = TypeVar("T")

#: The task that stands for code outside of the core.
COMM = "python"
#: A core that a body holds up (it computes in the loop) cannot say that a time is over: its answer is waited for so
#: much longer. An assumption.
ANSWER_S = 1.0


class CoreView:
    """What can be seen without waiting."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @property
    def machine(self) -> HostMachine:
        """The machine it runs on: ``compute``, ``sleep``, ``allocate``, ``lock`` for async bodies."""
        return self._operations.machine

    @property
    def records(self) -> tuple[ProbeRecord, ...]:
        """One record for each probe so far."""
        return tuple(self._operations.core.records)

    @property
    def warnings(self) -> tuple[RunWarning, ...]:
        """Warnings: hung bodies, refused pinning, garbage that a body returned."""
        return self._operations.machine.warnings

    def device(self, name: str, bus: str = "platform") -> Device:
        """Return a device by name.

        Raises:
            UnknownNameError: there is none.

        """
        return self._operations.device(name, bus)

    def names(self, bus: str = "platform") -> tuple[str, ...]:
        """Return the names of the devices on a bus, in the order of adding."""
        return self._operations.names(bus)

    def node_here(self, device: str, node: int) -> int:
        """Return a node that was read elsewhere, for ``add``; -1, and a warning about ``device``, if it is not here."""
        return self._operations.node_here(device, node)

    def trace(self) -> Trace:
        """Return all records so far as a trace, for reports and comparisons."""
        return self._operations.trace()


class AsyncCore(CoreView):
    """The core for async code."""

    async def _do(self, function: Callable[[], Awaitable[T]], within_s: float | None = None) -> T:
        machine = self._operations.machine
        if machine.runner.core.here:
            return await uninterrupted(machine.runner, function)
        answer = asyncio.wrap_future(machine.submit(function, comm=COMM))
        return await asyncio.wait_for(answer, None if within_s is None else within_s + ANSWER_S)

    async def register(self, *drivers: DeviceDriver) -> None:
        """Register drivers; when this returns their synchronous probes are done."""
        for source in drivers:
            await self._do(lambda source=source: self._operations.register(source))  # type: ignore[misc]

    async def unregister(self, driver: DeviceDriver) -> None:
        """Take a driver away: it lets its devices go, last bound first."""
        await self._do(lambda: self._operations.unregister(driver))

    async def add(self, name: str, **details: Any) -> Device:  # noqa: ANN401  see Operations.add
        """Add a device (``compatible``, ``node``, ``bus``, ``parent``, ``suppliers``, ``data``)."""
        return await self._do(lambda: self._operations.add(name, **details))

    async def add_from(self, machine: str = "host", *, bus: str | None = None) -> tuple[Device, ...]:
        """Add the devices of a machine (this one's sysfs, a sysfs tree, an hwloc file), or of one of its buses."""
        check_source(machine)
        known = await asyncio.to_thread(load_topology, machine)
        chosen = [info for info in known.devices if bus is None or info.bus == bus]
        return await self._do(lambda: self._operations.add_known(chosen))

    async def remove(self, dev: Device) -> None:
        """Remove a device: its children first, then its driver lets it go."""
        await self._do(lambda: self._operations.remove(dev))

    async def bind(self, device: str, driver: str, bus: str = "platform") -> int:
        """Bind by name: 0 or a negative errno."""
        return await self._do(lambda: self._operations.bind(device, driver, bus))

    async def unbind(self, device: str, driver: str, bus: str = "platform") -> int:
        """Unbind by name: 0 or a negative errno."""
        return await self._do(lambda: self._operations.unbind(device, driver, bus))

    async def wait(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  as Core.wait
        """Wait until all probes, deferred and asynchronous ones too, are over; at most ``timeout`` seconds.

        Raises:
            TimeoutError: they are not; what is still under way goes on.
            DeadlockError: called from inside a probe, which would wait for itself.

        """
        check_seconds("timeout", timeout or 0)
        await self._do(lambda: self._operations.wait(timeout), timeout)

    async def shut_down(self) -> None:
        """Remove all devices and drivers, in reverse order; the end of a ``with`` block does it."""
        await self._do(self._operations.shut_down)


class Core(CoreView):
    """The core for plain code."""

    def __init__(self, operations: Operations) -> None:
        super().__init__(operations)
        #: the same core for async code: for async bodies
        self.aio = AsyncCore(operations)

    def _do(self, function: Callable[[], Awaitable[T]], within_s: float | None = None) -> T:
        machine = self._operations.machine
        if machine.runner.core.here:
            raise UsageError(
                "this code runs in the core's loop, which must not wait; use 'await core.aio...' in async bodies"
            )
        thread = this_thread()
        if thread is not None and thread.owner in machine.runner.tasks:
            return machine.ask(function)
        return machine.submit(function, comm=COMM).result(None if within_s is None else within_s + ANSWER_S)

    def register(self, *drivers: DeviceDriver) -> None:
        """Register drivers; when this returns their synchronous probes are done."""
        for source in drivers:
            self._do(lambda source=source: self._operations.register(source))  # type: ignore[misc]

    def unregister(self, driver: DeviceDriver) -> None:
        """Take a driver away: it lets its devices go, last bound first."""
        self._do(lambda: self._operations.unregister(driver))

    def add(self, name: str, **details: Any) -> Device:  # noqa: ANN401  see Operations.add
        """Add a device (``compatible``, ``node``, ``bus``, ``parent``, ``suppliers``, ``data``)."""
        return self._do(lambda: self._operations.add(name, **details))

    def add_from(self, machine: str = "host", *, bus: str | None = None) -> tuple[Device, ...]:
        """Add the devices of a machine (this one's sysfs, a sysfs tree, an hwloc file), or of one of its buses."""
        check_source(machine)
        chosen = [info for info in load_topology(machine).devices if bus is None or info.bus == bus]
        return self._do(lambda: self._operations.add_known(chosen))

    def remove(self, dev: Device) -> None:
        """Remove a device: its children first, then its driver lets it go."""
        self._do(lambda: self._operations.remove(dev))

    def bind(self, device: str, driver: str, bus: str = "platform") -> int:
        """Bind by name: 0 or a negative errno."""
        return self._do(lambda: self._operations.bind(device, driver, bus))

    def unbind(self, device: str, driver: str, bus: str = "platform") -> int:
        """Unbind by name: 0 or a negative errno."""
        return self._do(lambda: self._operations.unbind(device, driver, bus))

    def wait(self, timeout: float | None = None) -> None:
        """Wait until all probes, deferred and asynchronous ones too, are over; at most ``timeout`` seconds.

        Raises:
            TimeoutError: they are not; what is still under way goes on.
            DeadlockError: called from inside a probe, which would wait for itself.

        """
        check_seconds("timeout", timeout or 0)
        self._do(lambda: self._operations.wait(timeout), timeout)

    def shut_down(self) -> None:
        """Remove all devices and drivers, in reverse order; the end of a ``with`` block does it."""
        self._do(self._operations.shut_down)

    def follow_udev(self, subsystem: str) -> UdevFollower:
        """Add the devices of a udev subsystem, now and as they come; remove them as they go. Needs pyudev.

        Raises:
            MissingInterfaceError: pyudev is not there.

        """
        from numaprobe.library.udev import UdevFollower

        follower = UdevFollower(self, subsystem)
        self._operations.before_end.append(follower.stop)
        return follower
