"""The writes that one change takes, and those that take it back.

======== =========================================================================================================
action   writes
======== =========================================================================================================
unbind   the name to ``unbind``
bind     by the road *override*, first the driver to ``driver_override``; by both, the name to the driver's ``bind``
rebind   as ``unbind``, then as ``bind``
======== =========================================================================================================

and at the end, where ``driver_override`` is not as the plan wants it, that. ``bind`` answers with the probe's own errno
(from 5.11 on), and binds to that driver or to none; ``drivers_probe``, which other tools write to, says nothing of
either. Still the driver link has the last word.

Sources: drivers/base/bus.c (``bind_store``, ``unbind_store``), Documentation/ABI/testing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from numaprobe.bringup.plan import Change
    from numaprobe.bringup.sysfs import SysfsDevice
    from numaprobe.bringup.write import Writer


@dataclass(frozen=True, slots=True)
class Stroke:
    """One write."""

    kind: Literal["unbind", "override", "bind"]
    #: the driver that is written to, or that the override names; None: none
    driver: str | None = None

    def make(self, writer: Writer, change: Change) -> None:
        """Write it; raises ``OSError`` as the kernel answers."""
        match self.kind:
            case "unbind":
                writer.unbind(change, self.driver or "")
            case "bind":
                writer.bind(change, self.driver or "")
            case "override":
                writer.override(change, self.driver)


def forward(change: Change) -> tuple[Stroke, ...]:
    """Return the writes that carry out a change, in their order."""
    strokes = []
    override = change.override_before
    if change.driver_before is not None:
        strokes.append(Stroke("unbind", change.driver_before))
    if change.driver_after is not None:
        if change.road == "override" and override != change.driver_after:
            override = change.driver_after
            strokes.append(Stroke("override", override))
        strokes.append(Stroke("bind", change.driver_after))
    if override != change.override_after:
        strokes.append(Stroke("override", change.override_after))
    return tuple(strokes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The two things of a device that a change may alter."""

    driver: str | None
    override: str | None

    @classmethod
    def of(cls, device: SysfsDevice) -> Standing:
        """Return how a device stands now."""
        return cls(driver=device.driver, override=device.override)


def before(change: Change) -> Standing:
    """Return how the device stood before a change."""
    return Standing(driver=change.driver_before, override=change.override_before)


def after(change: Change) -> Standing:
    """Return how the device shall stand after a change."""
    return Standing(driver=change.driver_after, override=change.override_after)


def way(now: Standing, then: Standing, *, has_override: bool) -> tuple[Stroke, ...]:
    """Return the writes that bring a device from one standing to another.

    A driver may have been bound that the device does not match now: its override is gone, or it takes devices that are
    named by an override alone, as vfio-pci does. So the bus's override, if it has one, names it for the moment.
    """
    strokes = []
    override = now.override
    if now.driver not in (None, then.driver):
        strokes.append(Stroke("unbind", now.driver))
    if then.driver not in (None, now.driver):
        if has_override and override != then.driver:
            override = then.driver
            strokes.append(Stroke("override", override))
        strokes.append(Stroke("bind", then.driver))
    if override != then.override:
        strokes.append(Stroke("override", then.override))
    return tuple(strokes)
