"""Names that depend on the order of probes, before and after: which device would be called what.

``nvme0`` is the drive whose probe began first. Probed at the same time, drives begin in an order of their own at each
boot. One run shows one such order; what it shows to change would, and what it does not show may at another boot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.study.advise.known import known_drivers
from numaprobe.topology import CommandLine

if TYPE_CHECKING:
    from numaprobe.records import ProbeRecord, Trace
    from numaprobe.study.advise.known import Family


def family_of(driver: str, cmdline: str) -> Family | None:
    """Return the order-dependent names of a driver's devices on a machine that was booted so; None: none."""
    family = known_drivers().family(driver)
    if family is None or not family.unless_renamed:
        return family
    return family if CommandLine.parse(cmdline).get("net.ifnames") == "0" else None


def names_of(trace: Trace, family: Family) -> dict[str, str]:
    """Return what the devices of a family are called after this run, counted from 0 in it."""
    table = known_drivers()
    bound = [one for one in trace.probes if one.bound and table.family(one.driver) is family]

    def given(record: ProbeRecord) -> int:
        return (record.start_ns if family.given == "start" else record.end_ns) or 0

    found: dict[str, str] = {}
    for record in sorted(bound, key=given):
        if record.device not in found:
            found[record.device] = family.name(len(found))
    return found


def changed_names(before: Trace, after: Trace, family: Family) -> dict[str, tuple[str, str]]:
    """Return the devices whose names differ, each with its name before and after."""
    old, new = names_of(before, family), names_of(after, family)
    return {device: (name, new[device]) for device, name in old.items() if device in new and new[device] != name}
