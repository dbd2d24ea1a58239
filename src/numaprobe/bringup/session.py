"""What the commands work with on this machine: sysfs, the guard, the one writer, clocks, and a state folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from numaprobe.bringup.clock import system_clock
from numaprobe.bringup.guard import Guard
from numaprobe.bringup.plan import Plan
from numaprobe.bringup.root import Root
from numaprobe.bringup.senses import LiveSenses
from numaprobe.bringup.state import STATE
from numaprobe.bringup.sysfs import Sysfs
from numaprobe.bringup.tools import BringupTools
from numaprobe.bringup.write import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    guard = Guard(sysfs, LiveSenses(), known.allowances)

    def recheck(change: Change) -> Sequence[Reason]:
        return guard.recheck(change, known)

    return BringupTools(
        state=Path(state or STATE),
        clock=system_clock(),
        sysfs=sysfs,
        writer=Writer(sysfs),
        recheck=recheck,
    )
