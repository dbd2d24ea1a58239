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


def step_function(folder: Path, own: str = _GUEST_TMP) -> str:
    """Return the shell function that takes a step; folder: shared with the host, own: the guest's alone."""
    return _STEP.format(words=_WORDS, own=own, failed=shlex.quote(str(folder / FAILED)))


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
