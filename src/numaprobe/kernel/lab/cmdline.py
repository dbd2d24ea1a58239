"""Whether a guest's kernel takes its command line.

x86 takes 2047 bytes (``COMMAND_LINE_SIZE`` with its last zero). QEMU hands on what is longer, and a stock kernel dies
of it before it has a console. virtme-ng adds about 800 bytes and we 280, but the names of folders are in them, so it is
asked itself: ``vng --dry-run`` prints QEMU's command and starts nothing. This takes a second, so that it is asked only
where the scenario's own parameters are long.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.kernel.boot import MAX_COMMAND_LINE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: bytes of a scenario's parameters from which on virtme-ng is asked: fewer leave 700 for longer names of folders
ASKED_FROM: Final = 256
_SECONDS: Final = 60


def check_command_line(parameters: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Return if the kernel takes the command line that ``command`` boots it with.

    Args:
        parameters: those of the scenario.
        command: virtme-ng and its options, as ``vng_command`` returns it.
        environment: for it, beside our own.

    Raises:
        InputError: it is too long.

    """
    if len(parameters.encode()) < ASKED_FROM:
        return
    length = len(_appended(_asked(command, environment)).encode())
    if length >= MAX_COMMAND_LINE:
        raise InputError(
            f"with what boots the guest, the kernel's command line has {length} bytes, and x86 takes "
            f"{MAX_COMMAND_LINE - 1}: leave out {length - MAX_COMMAND_LINE + 1} bytes of parameters",
            "cmdline",
        )


def _asked(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the command that virtme-ng would run; empty if it does not say, as it will when the guest is booted."""
    vng, *options = command
    environment = {**os.environ, **environment}
    try:
        asked = subprocess.run(  # noqa: S603  our own command, no shell
            [vng, "--dry-run", *options],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.decode(errors="replace")


def _appended(text: str) -> str:
    """Return the kernel's command line of a QEMU command; empty if there is none."""
    try:
        words = shlex.split(text)
    except ValueError:
        return ""
    return words[words.index("-append") + 1] if "-append" in words[:-1] else ""
