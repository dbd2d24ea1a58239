"""Which driver a device of a log has, where the line about its probe does not say.

Three kinds of lines tell. ``dev_printk`` puts the driver's name in front of the device's while the device is bound or
being probed (``virtio-pci 0000:00:03.0: …``), and the bus's or the class's otherwise (``pci 0000:00:03.0: …``). And
the initcall that the probing task is in names its module (``calling  nvme_init+0x0/0x1000 [nvme] @ 123``) or, built in,
only its function (``calling  pcie_portdrv_init+0x0/0x4c @ 1``): that is near the driver's name, not always it, so that
such a name is taken last and said to be assumed. Initcalls that register devices, not drivers, name nothing. Where a
probe outlasts its initcall (an asynchronous one does), a driver that speaks in its controller's name may say of which
PCI function: ``nvme nvme0: pci function 0000:81:00.0`` (``nvme_probe`` of ``drivers/nvme/host/pci.c``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from numaprobe.records.boot import RETRIES_DEFERRED

T = TypeVar("T")
#: function, module and cookie
_CallName = tuple[str, str | None, str | None]

#: Devices and tasks kept; a log with more forgets the oldest.
MAX_KEPT: Final = 4096
#: A word printed earlier than this before a probe's begin is not of that probe (our choice).
SLACK_NS: Final = 100_000

_BUSES_WORDS: Final = """
    ac97 acpi amba ap auxiliary bcma ccw ccwgroup container coreboot cpu css cxl dax dfl eisa event_source faux
    firewire fsl-mc gameport gio greybus hid host1x hsi hv i2c i3c ibmebus iio intel_th ipack ipmi isa ishtp
    iucv macio mcb mdio_bus media mei memory mhi mmc mmc_rpmb moxtet nd node nvmem parport pci pci-epf
    pci_express pcmcia peci platform pnp rapidio rmi4 rpmsg scmi_protocol scsi sdio serdev serial serial-base
    serio slimbus soundwire spi spmi ssb surface_aggregator tc tee thunderbolt typec ulpi usb vdpa vio virtio
    vmbus w1 wmi workqueue xen xen-backend zorro
"""
#: names of ``struct bus_type``
BUSES: Final = frozenset(_BUSES_WORDS.split())
_CLASSES_WORDS: Final = """
    ata_device ata_link ata_port backlight bdi block bsg clocksource clockevents devlink devfreq dma drm extcon
    firmware fc_host genpd gpio graphics hwmon ieee80211 input iommu leds machinecheck mdev mem mmc_host mtd net
    pci_bus pcmcia_socket phy power_supply powercap ppp pps pwm regulator remoteproc rfkill rtc sas_host
    scsi_device scsi_disk scsi_generic scsi_host sound spi_master spi_slave spi_transport thermal tpm tty ubi
    udc usbmisc vtconsole wakeup watchdog nvme-subsystem nvme-generic tpmrm video4linux No
"""
#: names of ``struct class`` and device types that ``dev_printk`` may put in front of a device as well
_CLASSES: Final = frozenset(_CLASSES_WORDS.split())
#: initcalls in which devices of many drivers are probed: they register devices, or try deferred ones again
_MANY_DRIVERS: Final = re.compile(
    rf"{RETRIES_DEFERRED}|of_platform\w*|acpi_(?:init|scan\w*|pci_root\w*)|pci_subsys_init|pcibios\w*|populate_rootfs"
    r"|customize_machine|\w*_device_init|\w*_init_devices?|\w*init_machine\w*|arch_initcall\w*|device_initcall\w*|do_\w+|async_\w+"
    r"|__d\w+_attach_async_helper|imx_\w*soc\w*|wait_for_\w+|add_\w+_devices?|\w*_populate\w*",
    re.ASCII,
)
_NAMED: Final = re.compile(
    r"(?P<driver>[A-Za-z0-9_][\w.+/,-]{0,62}) (?P<device>[^\s()\[\]'\"=:][^\s()\[\]'\"=]{0,127}?)"
    r"(?::(?:\s|$)|\s[\w-]{1,16}(?:\s\([a-z_ ]{1,24}\))?:\s|\s\()",
    re.ASCII,
)
_PCI_FUNCTION: Final = re.compile(
    r"pci function (?P<address>[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\s*$", re.ASCII | re.IGNORECASE
)
CALLING: Final = re.compile(
    r"calling {1,2}(?P<cookie>\d{1,10}_)?(?P<function>\w{1,128})(?:\+\S{1,40})?(?: \[(?P<module>[\w-]{1,64})\])?"
    r" @ (?P<pid>\d{1,10})",
    re.ASCII,
)
RETURNED_FROM: Final = re.compile(
    r"initcall (?P<cookie>\d{1,10}_)?(?P<function>\w{1,128})(?:\+\S{1,40})?(?: \[(?P<module>[\w-]{1,64})\])? returned",
    re.ASCII,
)
_ENDS: Final = re.compile(r"_driver_init$|_module_init$|_init_module$|_mod_init$|_drv_init$|_init$", re.ASCII)
_ASYNC_PATHS: Final = {
    "__driver_attach_async_helper": "driver_attach_async",
    "__device_attach_async_helper": "device_attach_async",
}


class OpenInitcall(NamedTuple):
    """An initcall under way."""

    #: the driver that its module or function stands for; None if it stands for none
    driver: str | None
    #: function and module, to find its end
    name: _CallName
    #: the task that is in it: ``T123``
    task: str
    #: an async work of the driver core: how probes in it were reached
    path: str | None
    #: tells one call from another of the same name
    serial: int


@dataclass(slots=True)
class Names:
    """What a log has told so far about drivers and devices."""

    #: the initcall that a task is in, by ``T123``
    _initcalls: dict[str, OpenInitcall] = field(default_factory=dict)
    #: tasks in an initcall, by its name
    _inside: dict[_CallName, set[str]] = field(default_factory=dict)
    #: the last driver's word in front of a device since its last probe, and when
    _words: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    _buses: dict[str, str] = field(default_factory=dict)
    _serial: int = 0

    def named(self, text: str, time_ns: int | None) -> None:
        """Keep what a message's first two words tell, and of which PCI function they say that the device is."""
        match = _NAMED.match(text)
        if match is None:
            return
        word, device = match["driver"], match["device"]
        if word in BUSES:
            keep(self._buses, device, word)
        elif word not in _CLASSES:
            keep(self._words, device, (word, time_ns))
            if (function := _PCI_FUNCTION.match(text, match.end())) is not None:
                keep(self._words, function["address"], (word, time_ns))

    def initcall(self, text: str) -> bool:
        """Keep which task is in which initcall; tell whether the message says so, whole."""
        if (match := CALLING.search(text)) is not None:
            self._serial += 1
            name = match["function"], match["module"], match["cookie"]
            task = f"T{match['pid']}"
            call = OpenInitcall(_driver_of(*name), name, task, _ASYNC_PATHS.get(match["function"]), self._serial)
            self._enter(task, call)
        elif (match := RETURNED_FROM.search(text)) is not None:
            ended = match["function"], match["module"], match["cookie"]
            for task in self._inside.pop(ended, ()):
                del self._initcalls[task]
        else:
            return False
        return True

    def _enter(self, task: str, call: OpenInitcall) -> None:
        if task in self._initcalls:
            self._leave(task)
        elif len(self._initcalls) >= MAX_KEPT:
            self._leave(next(iter(self._initcalls)))
        self._initcalls[task] = call
        self._inside.setdefault(call.name, set()).add(task)

    def _leave(self, task: str) -> None:
        name = self._initcalls.pop(task).name
        self._inside[name].discard(task)
        if not self._inside[name]:
            del self._inside[name]

    def word(self, device: str) -> tuple[str, int | None] | None:
        """Return the driver that the messages since the device's last probe name, and when; forget them."""
        return self._words.pop(device, None)

    def words(self) -> dict[str, tuple[str, int | None]]:
        """Return the driver that the messages name last, of each device that was not probed again."""
        return self._words

    def bus(self, device: str) -> str | None:
        """Return the bus that messages put in front of the device."""
        return self._buses.get(device)

    def around(self, caller: str | None) -> OpenInitcall | None:
        """Return the initcall that a message's task is in: by its caller id, else if it is the only one."""
        if caller is not None:
            return self._initcalls.get(caller)
        return next(iter(self._initcalls.values())) if len(self._initcalls) == 1 else None


def _driver_of(function: str, module: str | None, cookie: str | None) -> str | None:
    if cookie is not None or _MANY_DRIVERS.fullmatch(function):
        return None
    return module or _ENDS.sub("", function) or None


def keep(table: dict[str, T], key: str, value: T) -> None:
    """Put the newest entry last; drop the oldest where there are too many."""
    table.pop(key, None)
    if len(table) >= MAX_KEPT:
        del table[next(iter(table))]
    table[key] = value
