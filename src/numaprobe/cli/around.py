"""What is known of this machine beside its topology, for advice: what the system stands on, and the suppliers."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.bringup.guard import Intent, Survey
    from numaprobe.bringup.senses import Senses
    from numaprobe.bringup.sysfs import Sysfs, SysfsDevice
    from numaprobe.study.advise import Around

#: Uses (``bringup.reasons``) that need a device early in the next boot, too.
_SYSTEM: Final = ("system", "swap")


def around_here(root: str = "/", senses: Senses | None = None) -> Around:
    """Return what this machine tells.

    Args:
        root: of its ``/sys`` and ``/proc``.
        senses: how what is not in files is asked for; None: of the running system.

    """
    from numaprobe.bringup.guard import Guard, Intent
    from numaprobe.bringup.root import Root
    from numaprobe.bringup.senses import LiveSenses
    from numaprobe.bringup.sysfs import Sysfs
    from numaprobe.study.advise import Around

    sysfs = Sysfs(Root(root))
    survey = Guard(sysfs, senses or LiveSenses()).survey(read_disks=False)
    unbind = Intent(action="unbind")
    bound = [device for device in sysfs.devices() if device.driver is not None]
    serving = {device.name: why for device in bound if (why := _needed(survey, device, unbind))}
    return Around(serving=serving, consumers=_consumers(sysfs), modules=_modules(sysfs, bound))


def _needed(survey: Survey, device: SysfsDevice, intent: Intent) -> str:
    """Return what of the system is on a device or below it; "": nothing that is known."""
    found = (reason for reason in survey.reasons(device, intent) if reason.code in _SYSTEM)
    return next((reason.sentence for reason in found), "")


def _consumers(sysfs: Sysfs) -> dict[str, tuple[str, ...]]:
    """Return which device needs which first (``/sys/class/devlink``, which fw_devlink fills)."""
    found: dict[str, list[str]] = defaultdict(list)
    for link in sysfs.links():
        found[posixpath.basename(link.supplier)].append(posixpath.basename(link.consumer))
    return {supplier: tuple(consumers) for supplier, consumers in found.items()}


def _modules(sysfs: Sysfs, devices: Iterable[SysfsDevice]) -> dict[str, str]:
    """Return the modules of drivers; ``initstate`` is there only of those that were loaded."""
    found: dict[str, str] = {}
    for device in devices:
        link = sysfs.root.link(f"sys/bus/{device.bus}/drivers/{device.driver}/module")
        module = posixpath.basename(link or "")
        if module and device.driver and sysfs.root.exists(f"sys/module/{module}/initstate"):
            found[device.driver] = module
    return found
