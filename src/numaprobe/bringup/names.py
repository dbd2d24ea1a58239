"""Names that become parts of paths in sysfs: checked before any path is made of them.

A name comes from a command line, from a plan that somebody wrote, or from sysfs itself. It becomes one component of a
path and the text of a write, so it may be neither a path nor hold what ends a write. The kernel's own names never
break these rules: ``kobject_set_name_vargs`` (lib/kobject.c) writes ``!`` for ``/``.
"""

from __future__ import annotations

from typing import Final

from numaprobe.errors import InputError

#: ``NAME_MAX`` of Linux, in bytes.
MAX_NAME: Final = 255
#: ``PATH_MAX`` of Linux, in bytes.
MAX_PATH: Final = 4096


def check_name(name: str, what: str) -> str:
    """Return ``name`` if it can be one directory's name in sysfs.

    Args:
        name: of a device, driver or bus.
        what: which of them, for the error.

    Raises:
        InputError: it is empty, a path, too long, or holds a character that no name has.

    """
    if name in ("", ".", "..") or "/" in name or not name.isprintable() or not _fits(name, MAX_NAME):
        raise InputError(f"'{_shown(name)}' cannot be the name of a {what}")
    return name


def check_device(path: str) -> str:
    """Return ``path`` if it can be a device's directory: ``devices/…``, as it stands below ``/sys``.

    Raises:
        InputError: it is absolute, leaves ``devices``, or a part of it is no name.

    """
    top, *parts = path.split("/")
    if top != "devices" or not parts or not _fits(path, MAX_PATH):
        raise InputError(f"'{_shown(path)}' is no device: its path begins with devices/, as below /sys")
    for part in parts:
        check_name(part, "part of a device's path")
    return path


def _fits(text: str, limit: int) -> bool:
    try:
        return len(text.encode()) <= limit
    except UnicodeEncodeError:
        return False


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:80])
