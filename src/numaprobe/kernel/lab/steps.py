"""The steps as a guest takes them: a shell script that notes what fails, and goes on.

Each line of a plan that can fail reads ``step PLACE COMMAND…``. A failure is noted at once in the shared folder, with
the command's own words, so that it is known even if the guest does not live to the end; the script's exit status says
whether there was one.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SCRIPT: Final = "steps.sh"
#: a line for each step that failed; beside it, the same for the lines before the recording
FAILED: Final = "steps.failed"
#: characters of a command's own words that are told
_WORDS: Final = 300
#: where the guest keeps its notes: its own, nobody else is there
_GUEST_TMP: Final = "/tmp"  # noqa: S108
#: there: what failed until now
OWN_FAILED: Final = f"{_GUEST_TMP}/numaprobe-failed"

#: ``step PLACE COMMAND…``: the guest's own file first, because several tasks may append at a time
_STEP: Final = """step() {{
    place=$1
    shift
    "$@" 2>"{own}/numaprobe-step.$place" && return 0
    status=$?
    words=$(tr '\\n' ' ' <"{own}/numaprobe-step.$place" | head -c {words})
    echo "$place failed in the guest: $words(exit $status of: $*)" >>{own}/numaprobe-failed
    cat {own}/numaprobe-failed >{failed}
    return "$status"
}}
"""

#: ``isolate CPUS``: the CPUs of an isolated partition, '' takes it back (Documentation/admin-guide/cgroup-v2.rst)
_ISOLATE: Final = """isolate() {
    top=/sys/fs/cgroup
    part=$top/numaprobe
    [ ! -d $part ] || { echo member >$part/cpuset.cpus.partition && rmdir $part; } || return 1
    [ -n "$1" ] || return 0
    echo +cpuset >$top/cgroup.subtree_control || return 1
    mkdir $part || return 1
    echo "$1" >$part/cpuset.cpus || return 1
    [ ! -e $part/cpuset.cpus.exclusive ] || echo "$1" >$part/cpuset.cpus.exclusive || return 1
    echo isolated >$part/cpuset.cpus.partition || return 1
    state=$(cat $part/cpuset.cpus.partition)
    [ "$state" = isolated ] || { echo "the partition is $state" >&2; return 1; }
}
"""


def step_function(folder: Path, own: str = _GUEST_TMP) -> str:
    """Return the shell functions that take a step and isolate CPUs; folder: shared with the host, own: the guest's."""
    return _STEP.format(words=_WORDS, own=own, failed=shlex.quote(str(folder / FAILED))) + _ISOLATE


def write_steps(lines: Iterable[str], folder: Path, own: str = _GUEST_TMP) -> Path:
    """Write the script of the steps to ``folder`` and return it; its status is 1 if a step failed."""
    script = folder / SCRIPT
    text = ["#!/bin/sh", "set -u", step_function(folder, own), *lines, f"[ ! -e {own}/numaprobe-failed ]"]
    script.write_text("".join(f"{line}\n" for line in text), encoding="utf-8")
    return script


def failed_steps(folder: Path) -> tuple[str, ...]:
    """Return a sentence for each step that failed."""
    path = folder / FAILED
    if not path.is_file():
        return ()
    return tuple(line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip())
