"""Who this computer is: what a trace that is made here says of itself (``records.Identity``).

machine-id(5) names an installation, and asks that it be kept confidential: what other programs may know is a hash of it
that is theirs alone. Ours is made as systemd makes it (``sd_id128_get_machine_app_specific``, sd_id128_get_machine(3)):
HMAC-SHA256 of an application's id, with the machine's id as the key, cut to 16 bytes and marked as a UUID of version 4.
``systemd-id128 machine-id --app-specific=`` with ``APPLICATION`` prints the same.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.records import Identity
from numaprobe.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

#: numaprobe's own id: drawn at random, once.
APPLICATION: Final = "c0cf5eb16efe4f4996364dfc8df0233b"
_MACHINE_ID: Final = Path("/etc/machine-id")
_DIGITS: Final = 32
#: A command is kept up to this many letters (our choice).
_LONGEST_COMMAND: Final = 1000


def this_machine(*, command: Sequence[str] = (), label: str | None = None, machine_id: Path = _MACHINE_ID) -> Identity:
    """Return who makes a trace here, now.

    Args:
        command: what ran while it was recorded.
        label: the user's word for it.
        machine_id: where the machine's id stands.

    """
    from datetime import UTC, datetime

    system = os.uname()
    return Identity(
        host=system.nodename,
        machine_id=_hashed(_read(machine_id)),
        date=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        build=system.version,
        command=shlex.join(command)[:_LONGEST_COMMAND] or None,
        numaprobe=__version__,
        label=label,
    )


def _read(path: Path) -> bytes | None:
    """Return the machine's id; None if it has none (a guest without one, or ``uninitialized``)."""
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
        return bytes.fromhex(text) if len(text) == _DIGITS else None
    except (OSError, ValueError):
        return None


def _hashed(machine: bytes | None) -> str | None:
    import hashlib
    import hmac

    if machine is None:
        return None
    digest = bytearray(hmac.digest(machine, bytes.fromhex(APPLICATION), hashlib.sha256)[:16])
    digest[6] = digest[6] & 0x0F | 0x40
    digest[8] = digest[8] & 0x3F | 0x80
    return digest.hex()
