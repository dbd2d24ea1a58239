"""A device whose change stopped half-way: finished, or brought back to how it stood, and which of the two it was.

Three kinds of drivers may be found on it: the one from before, the one that was asked for, and one that neither we nor
the plan know. The last is somebody else's doing and stays. An override that is not ours stays, too. A driver is taken
away again only after the guard was asked; whatever cannot be put back is said with the line that would do it.

What the guard says counts a little less here than before a change: a link that was set up as soon as its driver came,
and data that lies on a disk that nobody uses, are as they were before, and lose nothing. Whatever *holds* the device
(a mount, swap, a volume, an open file, the login) keeps its driver there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from numaprobe.bringup.outcome import errno_name
from numaprobe.bringup.steps import JournalStep
from numaprobe.bringup.strokes import Standing, after, before, way
from numaprobe.errors import KernelInterfaceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numaprobe.bringup.plan import Change
    from numaprobe.bringup.reasons import Reason
    from numaprobe.bringup.strokes import Stroke
    from numaprobe.bringup.sysfs import Sysfs, SysfsDevice
    from numaprobe.bringup.write import Writer

    #: why a change must not be made now; empty: it may
    Recheck = Callable[[Change], Sequence[Reason]]


#: reasons that do not keep a driver from being taken back: nothing is lost that was there before
_HARMLESS: Final = frozenset({"data", "unknown-data", "link-up", "address", "route"})


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of it: ``VERIFIED`` (as asked), ``UNDONE`` (as before), or ``LEFT``."""

    step: JournalStep
    driver: str | None
    sentence: str = ""


def whole(changes: Sequence[Change]) -> Change:
    """Return the change that all changes of one device are together: an unbind and a bind are a rebind."""
    first, last = changes[0], changes[-1]
    if first is last:
        return first
    return replace(
        first,
        action="rebind",
        driver_after=last.driver_after,
        override_after=last.override_after,
        road=last.road,
    )


class PutBack:
    """Settles changes that stopped half-way.

    Args:
        sysfs: where devices are looked at.
        writer: what writes.
        recheck: asked before a driver is taken away.

    """

    def __init__(self, sysfs: Sysfs, writer: Writer, recheck: Recheck) -> None:
        self._sysfs = sysfs
        self._writer = writer
        self._recheck = recheck

    def settle(self, change: Change, *, finish: bool) -> Settled:
        """Bring a device to one of the two standings, and say which.

        Args:
            change: what was about to be done.
            finish: if it has the driver that was asked for, leave it there; else it goes back in any case.

        """
        device = self._sysfs.at(change.device)
        if device is None:
            return Settled(JournalStep.LEFT, None, "the device is not there any more")
        asked = after(change)
        if finish and device.driver == asked.driver:
            return self._bring(change, device, asked, JournalStep.VERIFIED)
        return self._bring(change, device, before(change), JournalStep.UNDONE)

    def _bring(self, change: Change, device: SysfsDevice, then: Standing, end: JournalStep) -> Settled:
        now = Standing.of(device)
        if now.driver not in (None, change.driver_before, change.driver_after):
            return Settled(
                JournalStep.LEFT, now.driver, f"it is bound to {now.driver}, which is not our doing, and so left"
            )
        if now.override not in (None, *_ours(change)):
            then = replace(then, override=now.override)
        for stroke in way(now, then, has_override=device.has_override):
            failure = self._try(change, stroke)
            if failure:
                return Settled(JournalStep.LEFT, self._sysfs.driver_of(change.device), failure)
        found = self._sysfs.at(change.device)
        if found is not None and Standing.of(found) == then:
            return Settled(end, then.driver)
        driver = None if found is None else found.driver
        return Settled(
            JournalStep.LEFT, driver, f"it should have {_named(then.driver)} and has {_named(driver)}; see dmesg"
        )

    def _try(self, change: Change, stroke: Stroke) -> str:
        """Make one write; return why it could not be made, or nothing."""
        if stroke.kind == "unbind":
            held = self._holders(change)
            if held:
                return f"it is in use by now, and so keeps {stroke.driver}: {held}"
        try:
            stroke.make(self._writer, change)
        except OSError as error:
            text = f"{stroke.kind} {stroke.driver or ''}".strip()
            return f"'{text}' failed with {errno_name(error)}; see dmesg, then: {_by_hand(change, stroke)}"
        return ""

    def _holders(self, change: Change) -> str:
        """Return what holds the device, or nothing."""
        try:
            reasons = self._recheck(change)
        except KernelInterfaceError as error:
            return str(error)
        return next((one.sentence for one in reasons if one.code not in _HARMLESS), "")


def _ours(change: Change) -> tuple[str | None, ...]:
    """Return the overrides that a change, or taking it back, may have left."""
    return change.override_before, change.override_after, change.driver_after, change.driver_before


def _named(driver: str | None) -> str:
    return "no driver" if driver is None else f"driver {driver}"


def _by_hand(change: Change, stroke: Stroke) -> str:
    """Return the line of a shell that makes this write."""
    if stroke.kind == "override":
        return f"echo '{stroke.driver or ''}' > /sys/{change.device}/driver_override"
    return f"echo {change.name} > /sys/bus/{change.bus}/drivers/{stroke.driver}/{stroke.kind}"
