"""USB: probing under the parent's lock, and devices that must be authorized.

A USB *device* (``1-4``) has *interfaces* (``1-4:1.0``), which are devices of the same bus below it and are what most
drivers bind to. They come with the device's configuration: an interface of a device that is not authorized is not
there, and is registered when a 1 is written to the device's ``authorized``, under the device's lock; a 0 takes it away.
The attribute of an interface is another one: its driver may not probe it while it is 0, and goes when it becomes 0;
a 1 leaves the probing to whoever writes to ``drivers_probe``, because some drivers need several interfaces.

``need_parent_lock``: probing an interface also holds its device's lock, where a driver looks for devices and where a
user binds (8c97a46af04b). So the interfaces of one device are probed one after the other, though their driver be
asynchronous; those of two devices are not. An interface that looks for a driver does not take that lock: the task that
registers interfaces holds it.

Not here: choosing a configuration (there is one), ``authorized_default``, claiming further interfaces.

Source: ``drivers/usb/core/driver.c`` (``usb_probe_interface``), ``hub.c`` (``usb_authorize_device``,
``usb_deauthorize_device``), ``message.c`` (``usb_set_configuration``, ``usb_authorize_interface``,
``usb_deauthorize_interface``), ``sysfs.c``; ``Documentation/usb/authorization.rst``.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numaprobe.drivercore import Bus, Device

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from numaprobe.drivercore import CoreForBuses


@dataclass(eq=False, slots=True, kw_only=True, repr=False)
class UsbDevice(Device):
    """A USB device.

    Attributes:
        authorized: it may be configured, and so have interfaces.
        absent: the interfaces that are not there because it is not authorized, by name, in order.

    """

    authorized: bool = True
    absent: dict[str, UsbInterface] = field(default_factory=dict)


@dataclass(eq=False, slots=True, kw_only=True, repr=False)
class UsbInterface(Device):
    """An interface of a USB device, its parent.

    Attributes:
        authorized: drivers may probe it.

    """

    authorized: bool = True

    @property
    def usb_device(self) -> UsbDevice | None:
        """The device that it belongs to; None if its parent is none."""
        return self.parent if isinstance(self.parent, UsbDevice) else None

    def again(self) -> UsbInterface:
        """Return the same interface, never registered: a device is added once."""
        return UsbInterface(
            name=self.name,
            bus=self.bus,
            node=self.node,
            parent=self.parent,
            compatible=self.compatible,
            suppliers=self.suppliers,
            attributes=self.attributes,
            platform_data=self.platform_data,
        )


class UsbBus(Bus):
    """``usb``."""

    need_parent_lock = True
    own_keys = frozenset({"authorized"})

    def __init__(self, name: str = "usb") -> None:
        super().__init__(name)

    def make_device(self, *, name: str, **fields: Any) -> Device:  # noqa: ANN401  those of Device
        """Return an interface if it is named like one (``1-4:1.0``), else a device."""
        kind = UsbInterface if ":" in name else UsbDevice
        return kind(name=name, bus=self, **fields)

    async def child_register(self, core: CoreForBuses, dev: Device) -> None:
        """Register a device; an interface when its device is authorized."""
        if isinstance(dev, UsbInterface) and (above := dev.usb_device) is not None and not above.authorized:
            above.absent[dev.name] = dev
        else:
            await core.device_add(dev)

    def probe(self, core: CoreForBuses, dev: Device) -> Awaitable[int]:
        """Probe, unless it is an interface that may not be (``usb_probe_interface``)."""
        if isinstance(dev, UsbInterface):
            above = dev.usb_device
            if above is not None and not above.authorized:
                return _refused(core, dev, f"device {above.name} is not authorized for usage")
            if not dev.authorized:
                return _refused(core, dev, "the interface is not authorized for usage")
        return core.call_probe_body(dev)

    async def store(self, core: CoreForBuses, dev: Device, file: str, value: int) -> int:
        """Write to the ``authorized`` of a device or an interface."""
        if file != "authorized" or value not in (0, 1):
            return -errno.EINVAL if file == "authorized" else await super().store(core, dev, file, value)
        if isinstance(dev, UsbInterface):
            await self._authorize_interface(core, dev, authorized=bool(value))
        elif isinstance(dev, UsbDevice):
            await self._authorize_device(core, dev, authorized=bool(value))
        return 0

    async def _authorize_device(self, core: CoreForBuses, dev: UsbDevice, *, authorized: bool) -> None:
        async with core.locked(dev):
            if dev.authorized == authorized:
                return
            dev.authorized = authorized
            if authorized:
                absent, dev.absent = dev.absent, {}
                for interface in absent.values():
                    await core.device_add(interface)
                return
            for child in tuple(dev.children.values()):
                if isinstance(child, UsbInterface) and not child.p.dead:
                    await core.device_del(child)
                    dev.absent[child.name] = child.again()

    async def _authorize_interface(self, core: CoreForBuses, dev: UsbInterface, *, authorized: bool) -> None:
        async with core.locked(dev.usb_device or dev):
            if authorized == dev.authorized:
                return
            dev.authorized = authorized
            if not authorized and dev.usb_device is not None:
                await core.device_release_driver(dev)
                return
        if not authorized:
            await core.device_release_driver(dev)


async def _refused(core: CoreForBuses, dev: Device, why: str) -> int:
    core.machine.warn("usb", f"{dev.name}: {why}")
    dev.tell(core.machine.now(), why)
    return -errno.ENODEV
