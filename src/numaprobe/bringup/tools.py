"""What a run, a recovery and a confirmation work with: one value, in which a test puts its own for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.bringup.clock import Clock
    from numaprobe.bringup.putback import Recheck
    from numaprobe.bringup.sysfs import Sysfs
    from numaprobe.bringup.write import Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class BringupTools:
    """What to work with."""

    #: the state folder
    state: Path
    clock: Clock
    #: looks
    sysfs: Sysfs
    #: writes
    writer: Writer
    #: asked again before each write that gives or takes a driver
    recheck: Recheck
