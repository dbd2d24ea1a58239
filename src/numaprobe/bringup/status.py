"""What is there, and whether it may be touched: one row for each device.

A device may be touched if an ``unbind`` of it would not be refused. Of a device without a driver nothing can be taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numaprobe.bringup.guard import Intent
from numaprobe.bringup.kinds import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numaprobe.bringup.guard import Survey
    from numaprobe.bringup.reasons import Reason
    from numaprobe.bringup.sysfs import SysfsDevice

SCHEMA: Final = "numaprobe.status/1"
#: Buses whose devices people bind and unbind; the others are shown when they are asked for.
SHOWN_BUSES: Final = frozenset(
    ("pci", "virtio", "vmbus", "xen", "nd", "dax", "cxl", "ccw", "vdpa", "mdev", "fsl-mc", "ap", "auxiliary", "mhi")
)
_UNBIND: Final = Intent(action="unbind")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One device."""

    device: SysfsDevice
    kind: str
    #: names of what it gives: disks, links, character devices; partitions are left out
    gives: tuple[str, ...]
    #: why it may not be touched; empty: it may
    reasons: tuple[Reason, ...]


def rows(devices: Iterable[SysfsDevice], survey: Survey) -> Iterator[Row]:
    """Yield a row for each device."""
    for device in devices:
        yield Row(
            device=device,
            kind=kind_of(device),
            gives=_gives(device, survey),
            reasons=survey.reasons(device, _UNBIND) if device.driver is not None else (),
        )


def _gives(device: SysfsDevice, survey: Survey) -> tuple[str, ...]:
    things = survey.things(device)
    disks = [name for _, name in things.blocks]
    whole = [name for name in disks if not any(name != disk and name.startswith(disk) for disk in disks)]
    chars = [name for _, name in things.chars] if not (whole or things.links) else []
    return tuple(sorted({*whole, *things.links, *chars}))


def status_to_dict(found: Sequence[Row], warnings: Iterable[str] = ()) -> dict[str, Any]:
    """Return rows as ``numaprobe.status/1``."""
    return {"schema": SCHEMA, "devices": [_row(one) for one in found], "warnings": list(warnings)}


def _row(row: Row) -> dict[str, Any]:
    device = row.device
    return {
        "device": device.path,
        "bus": device.bus,
        "name": device.name,
        "type": row.kind,
        "gives": list(row.gives),
        "node": device.node,
        "driver": device.driver,
        "override": device.override,
        "vendor": device.vendor,
        "product": device.product,
        "pci_class": device.pci_class,
        "iommu_group": device.iommu_group,
        "free": not row.reasons,
        "reasons": [
            {"code": one.code, "sentence": one.sentence, "device": one.device, "flag": one.flag} for one in row.reasons
        ],
    }
