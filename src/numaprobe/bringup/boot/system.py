"""What may not be held back at boot: whatever the system itself comes up from.

On the running machine the guard knows what holds ``/``, ``/boot``, swap and the login; a device that it finally refuses
is refused here, too, whatever plan names it. What an image will come up from cannot be seen from outside: there an
initramfs hook, which works before ``/`` is mounted, is refused as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.bringup.guard import Guard, Intent
from numaprobe.bringup.reasons import FINAL
from numaprobe.bringup.root import Root
from numaprobe.bringup.senses import LiveSenses
from numaprobe.bringup.sysfs import Sysfs
from numaprobe.errors import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.bringup.plan import Plan
    from numaprobe.bringup.senses import Senses


def check_not_system(
    plan: Plan, root: Path, *, in_initramfs: bool, sysfs: Sysfs | None = None, senses: Senses | None = None
) -> None:
    """Accept a plan that leaves the system's own devices alone.

    Args:
        plan: as it was made, not yet for the boot.
        root: where it is to be installed.
        in_initramfs: it will work before the root file system is mounted.
        sysfs: the running machine.
        senses: what its files do not show.

    Raises:
        RefusedError: it names one of them, or nobody can know.

    """
    if str(root) != "/" and in_initramfs:
        text = "nobody can see from here what the image mounts as /; install it on the machine itself"
        raise RefusedError(f"{root}: a hook for the initramfs must leave alone what / is on, and {text}")
    if str(root) != "/" and sysfs is None:
        return
    found = sysfs or Sysfs(Root("/"))
    survey = Guard(found, senses or LiveSenses()).survey(read_disks=False)
    for change in plan.changes:
        device = found.device(change.bus, change.name)
        if device is None:
            continue
        for reason in survey.reasons(device, Intent(action="rebind", driver_after=change.driver_after)):
            if reason.code in FINAL:
                text = f"{change.bus}/{change.name}: {reason.sentence}; a plan for the boot must leave it alone"
                raise RefusedError(text)
