"""What the commands work with on this machine: sysfs, the guard, the one writer, clocks, and a state folder.

The guard is made (and loaded: a third of all that a bind at boot would load) when it is first needed. A device that
has no driver is taken from nobody, and alone in its IOMMU group it goes to nobody else: the guard need not be asked.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from numaprobe.bringup.clock import system_clock
from numaprobe.bringup.plan import Plan
from numaprobe.bringup.root import Root
from numaprobe.bringup.state import STATE
from numaprobe.bringup.sysfs import Sysfs
from numaprobe.bringup.tools import BringupTools
from numaprobe.bringup.write import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.bringup.guard import Guard
    from numaprobe.bringup.plan import Change
    from numaprobe.bringup.reasons import Reason


def tools_for(plan: Plan | None = None, *, state: Path | None = None, root: Path | None = None) -> BringupTools:
    """Return what a plan is carried out with, or a journal is recovered with.

    Args:
        plan: what it allows, and which devices belong together; None: nothing, and none.
        state: the state folder; None: the usual one.
        root: a tree that stands for a machine; None: this machine.

    Raises:
        MissingInterfaceError: there is no sysfs here.
        NotPermittedError: it cannot be written.

    """
    found = Root(root or "/")
    found.must_be_sysfs()
    sysfs = Sysfs(found)
    known = plan or Plan()
    gate = _Gate(sysfs, known)
    if known.allowances:
        gate.guard  # noqa: B018  which accepts them, or not
    return BringupTools(
        state=Path(state or STATE),
        clock=system_clock(),
        sysfs=sysfs,
        writer=Writer(sysfs),
        recheck=gate.recheck,
    )


class _Gate:
    """Asks the guard where there is something to ask."""

    def __init__(self, sysfs: Sysfs, plan: Plan) -> None:
        self._sysfs, self._plan = sysfs, plan

    @cached_property
    def guard(self) -> Guard:
        """The guard, with what the plan allows."""
        from numaprobe.bringup.guard import Guard
        from numaprobe.bringup.senses import LiveSenses

        return Guard(self._sysfs, LiveSenses(), self._plan.allowances)

    def recheck(self, change: Change) -> Sequence[Reason]:
        """Return why a change may not be made now."""
        if change.action == "bind" and self._is_nobodys(change):
            return ()
        return self.guard.recheck(change, self._plan)

    def _is_nobodys(self, change: Change) -> bool:
        device = self._sysfs.at(change.device)
        if device is None or device.driver is not None:
            return False
        group = device.iommu_group
        return group is None or self._sysfs.group_members(group) == [device.path]
