"""Devices that come and go: udev's events become ``add`` and ``remove``.

Needs pyudev, which is loaded only here. Devices that are there already are added first; then the kernel's events are
followed in a thread of pyudev's, until ``stop``. An event that cannot be followed (a device that is there already, or
gone already) is a warning, never an end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from numaprobe.errors import MissingInterfaceError, NumaprobeError

if TYPE_CHECKING:
    from numaprobe.drivercore import Device
    from numaprobe.hostmachine import HostMachine


class Followed(Protocol):
    """The core that gets the devices (``facade.Core``)."""

    @property
    def machine(self) -> HostMachine:
        """The machine it runs on."""
        ...

    def node_here(self, device: str, node: int) -> int:
        """Return the node for ``add``; -1 if it is not on this machine."""
        ...

    def names(self, bus: str) -> tuple[str, ...]:
        """Return the names of a bus's devices."""
        ...

    def device(self, name: str, bus: str) -> Device:
        """Return a device by name."""
        ...

    def add(self, name: str, **details: Any) -> Device:  # noqa: ANN401  see Operations.add
        """Add a device."""
        ...

    def remove(self, dev: Device) -> None:
        """Remove a device."""
        ...


class UdevFollower:
    """Adds and removes the devices of one subsystem.

    Args:
        core: where to.
        subsystem: ``block``, ``pci``, ``usb``, …; also the name of the bus they are put on.

    Raises:
        MissingInterfaceError: pyudev (or libudev under it) is not there.

    """

    def __init__(self, core: Followed, subsystem: str) -> None:
        self._core = core
        self._subsystem = subsystem
        try:
            import pyudev

            context = pyudev.Context()
        except ImportError as error:
            raise MissingInterfaceError(f"udev events need pyudev ({error}); pip install 'numaprobe[udev]'") from error
        monitor = pyudev.Monitor.from_netlink(context)
        monitor.filter_by(subsystem)
        self._observer: Any = pyudev.MonitorObserver(monitor, callback=self._event, name="numaprobe-udev")
        self._observer.start()
        for device in context.list_devices(subsystem=subsystem):
            self._add(device)

    def stop(self) -> None:
        """Follow no more events."""
        self._observer.stop()

    def _event(self, device: Any) -> None:  # noqa: ANN401  pyudev has no types
        if device.action == "remove":
            self._guarded(device, self._remove)
        elif device.action == "add":
            self._guarded(device, self._add)

    def _guarded(self, device: Any, function: Any) -> None:  # noqa: ANN401
        try:
            function(device)
        except NumaprobeError as error:
            self._core.machine.warn("udev", f"{device.action} of {device.sys_name}: {error}")

    def _add(self, device: Any) -> None:  # noqa: ANN401
        known = self._core.machine.topology.devices
        seen = next((info.node for info in known if info.name == device.sys_name), _node(device))
        node = self._core.node_here(device.sys_name, seen)
        if device.sys_name not in self._core.names(self._subsystem):
            modalias = device.properties.get("MODALIAS", device.sys_name)
            details = dict(device.properties)
            self._core.add(device.sys_name, compatible=modalias, node=node, bus=self._subsystem, data=details)

    def _remove(self, device: Any) -> None:  # noqa: ANN401
        self._core.remove(self._core.device(device.sys_name, self._subsystem))


def _node(device: Any) -> int:  # noqa: ANN401
    """Return the node that sysfs names for the device or the nearest device above it; -1 if none does."""
    while device is not None:
        try:
            node = device.attributes.asint("numa_node")
        except (KeyError, ValueError, UnicodeDecodeError):
            node = -1
        if node >= 0:
            return int(node)
        device = device.parent
    return -1
