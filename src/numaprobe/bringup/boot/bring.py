"""``python -m numaprobe.bringup.boot.bring PLAN STATE``: what the unit runs at boot, and nothing besides.

It is ``numaprobe bind --plan`` without the command line, tables and traces: at boot every module costs time in which
devices wait. A device that is not held any more (its driver came from the initramfs, somebody set an override) or is
not there is left to whoever has it; the rest of the plan goes on.

One line says what came of it, and one more for each device that is not as asked. Exit 1: there is such a device.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from numaprobe.bringup.apart import perform_apart
from numaprobe.bringup.boot.plan import LATER
from numaprobe.bringup.plan import load_plan
from numaprobe.bringup.session import tools_for
from numaprobe.errors import NumaprobeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.bringup.outcome import Report
    from numaprobe.bringup.plan import Change, Plan
    from numaprobe.bringup.sysfs import Sysfs
    from numaprobe.bringup.tools import BringupTools


def bring_up(plan: Plan, tools: BringupTools) -> tuple[Report, list[str]]:
    """Bind what is held; return what became of it, and one line for each device that was left alone.

    Raises:
        NumaprobeError: what stopped the run before its first write.

    """
    left = {change.device: why for change in plan.changes if (why := _not_held(change, tools.sysfs))}
    held = tuple(change for change in plan.changes if change.device not in left)
    report = perform_apart(replace(plan, changes=held), tools, command="boot")
    return report, list(left.values())


def _not_held(change: Change, sysfs: Sysfs) -> str:
    """Return why a device is none of ours, or nothing."""
    device = sysfs.device(change.bus, change.name)
    if device is None:
        return f"{change.bus}/{change.name} is not there"
    if device.driver is not None:
        return f"{change.bus}/{change.name} has its driver already: {device.driver}"
    if device.override != LATER:
        return f"{change.bus}/{change.name} is not held (override: {device.override or 'none'})"
    return ""


def main(arguments: Sequence[str]) -> int:
    """Do it, and say what came of it; return the exit code."""
    begun = time.monotonic()
    path, state = arguments
    try:
        plan = load_plan(Path(path).read_bytes(), path)
        report, left = bring_up(plan, tools_for(plan, state=Path(state)))
    except (OSError, NumaprobeError) as error:
        sys.stderr.write(f"numaprobe: {error}\n")
        return 1
    bound = sum(one.is_as_asked for one in report.outcomes)
    took = f"in {(report.end_ns - report.start_ns) / 1e9:.2f} s, {time.monotonic() - begun:.2f} s with all around"
    lines = (f"{bound} of {len(plan.changes)} devices are up, {took}", *left, *report.failures, *report.warnings)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return int(bool(report.failures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
