"""A plan for the boot, out of a plan that was made on the running machine.

At boot a device has no driver yet, and must not get one before its turn: it is *held*, with a ``driver_override`` that
no driver has, from before drivers are loaded until it is bound. So whatever the plan did to a device (bind, rebind), at
boot it becomes a bind of a held device, by the override's road.

A bus without ``driver_override`` cannot hold its devices. A virtio device is held by what it stands on: its PCI
function (or its platform device) is kept from its own driver, and when that is bound on the node, the virtio device
comes up in the same task, if its driver is loaded by then. Other such buses are refused.

``Plan.modules`` are the drivers of both: a driver is nearly always called as its module, and where it is not, the
device's modalias finds it.

Source: the buses with ``driver_override`` are those of Documentation/ABI/testing/sysfs-bus-*.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.bringup.plan import Change, Plan

#: the override that holds a device; no driver may be called so
LATER: Final = "numaprobe-later"
#: buses whose devices have an override
HOLDING: Final = frozenset({"pci", "platform", "amba", "cdx", "fsl-mc", "spi", "vmbus", "vdpa", "ap", "css"})
#: what a virtio device stands on: bus of the device above -> its driver
_BELOW_VIRTIO: Final = {"pci": "virtio-pci", "platform": "virtio-mmio"}


def boot_plan(plan: Plan, limit_s: int) -> Plan:
    """Return what is done at boot; a driver that hangs is given up at half of the limit, unless the plan is stricter.

    Args:
        plan: as it was made on the running machine.
        limit_s: seconds after which everything is as without us.

    Raises:
        InputError: nothing is to be bound, or a device cannot be held.

    """
    wanted: dict[str, Change] = {}
    for change in plan.changes:
        if change.driver_after is not None:
            held = _held(change)
            wanted.setdefault(held.device, held)
    if not wanted:
        raise InputError(
            "binds nothing, so there is nothing to do at boot; make one with bind or rebind --save-plan", "plan"
        )
    half_ns = limit_s * 10**9 // 2
    names = {driver for one in (*plan.changes, *wanted.values()) if (driver := one.driver_after) is not None}
    return replace(
        plan,
        changes=tuple(_from_wave_0(wanted.values())),
        modules=tuple(sorted(names)),
        deadline_ns=min(half_ns, plan.deadline_ns or half_ns),
        skipped=(),
        warnings=(),
    )


def _held(change: Change) -> Change:
    """Return the bind of what is held for a change."""
    device, bus, driver = change.device, change.bus, change.driver_after
    if bus == "virtio":
        device = change.device.rpartition("/")[0]
        bus = "pci" if device.rpartition("/")[2].count(":") == 2 else "platform"  # noqa: PLR2004  DOMAIN:BUS:DEVICE.F
        driver = _BELOW_VIRTIO[bus]
    if bus not in HOLDING:
        text = f"{change.bus}/{change.name}: its bus has no driver_override, so it cannot be held back at boot"
        raise InputError(f"{text}; leave it out of the plan", "plan")
    return replace(
        change,
        device=device,
        bus=bus,
        name=device.rpartition("/")[2],
        action="bind",
        driver_before=None,
        driver_after=driver,
        override_before=LATER,
        override_after=None,
        road="override",
    )


def _from_wave_0(changes: Iterable[Change]) -> list[Change]:
    """Return changes whose waves have no gaps: those of the unbinds are gone."""
    changes = list(changes)
    waves = {wave: number for number, wave in enumerate(sorted({change.wave for change in changes}))}
    return [replace(change, wave=waves[change.wave]) for change in changes]


def device_list(plan: Plan) -> str:
    """Return the plan as the shell reads it: WAVE LANE BUS DEVICE DRIVER CPUS; lane 1: one by one, ``-``: no CPUs.

    Raises:
        InputError: a name that a shell would read as two words.

    """
    lines = []
    for change in sorted(plan.changes, key=lambda one: one.wave):
        words = (
            str(change.wave),
            str(int(change.exclusive)),
            change.bus,
            change.name,
            change.driver_after or "",
            str(change.cpus) or "-",
        )
        if any(not word or word.split() != [word] for word in words):
            raise InputError(f"{change.bus}/{change.name}: a name with a blank cannot be brought up at boot", "plan")
        lines.append(" ".join(words))
    return "\n".join(lines) + "\n"


def module_list(plan: Plan) -> str:
    """Return the modules as the shell reads them, one a line.

    Raises:
        InputError: a name that a shell would read as two words.

    """
    for module in plan.modules:
        if module.split() != [module]:
            raise InputError(f"'{module}': a driver with a blank in its name cannot be loaded at boot", "plan")
    return "".join(f"{module}\n" for module in plan.modules)
