"""What a recording that crashed has left, and which program may be recording now.

An instance is named after the process that made it. If that process is gone, the instance is nobody's: it is removed,
and when no recording is left alive the kprobes are too. A process id may have been given to somebody else since; so
alive means: the process exists, and its command line speaks of numaprobe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.errors import RefusedError
from numaprobe.kernel.kprobes import GROUP

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.kernel.tracefs import Tracefs


def clean_up(tracefs: Tracefs, pid: int, proc: Path) -> tuple[str, ...]:
    """Remove what dead recordings left; return a sentence for each thing removed.

    Args:
        tracefs: where tracing is.
        pid: our own process: an instance of this name is a leftover, too.
        proc: the process file system.

    Raises:
        RefusedError: another recording is running: two would share their kprobes.

    """
    notes = []
    for owner, name in list(tracefs.instances()):
        if owner != pid and recording_alive(owner, proc):
            raise RefusedError(f"numaprobe is already recording (process {owner}); wait for it or stop it")
        tracefs.remove_instance(name)
        notes.append(f"removed the tracing instance {name} of a recording that did not end properly")
    left = tracefs.kprobes(GROUP)
    if left:
        tracefs.remove_kprobes(GROUP)
        notes.append(f"removed {len(left)} kprobes of a recording that did not end properly")
    return tuple(notes)


def recording_alive(pid: int, proc: Path) -> bool:
    """Tell whether process ``pid`` exists and is one of ours."""
    try:
        return b"numaprobe" in (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False
