"""The only place that writes to the kernel: three kinds of files, each opened without following a link.

A device's name goes into a driver's ``bind`` or ``unbind``, a driver's name into a device's ``driver_override``; there
is no way to write anything else. ``Sysfs`` makes the names of the files out of checked parts; here each part of the
path is opened in turn with ``O_NOFOLLOW``, and has to be on the file system of ``/sys`` itself. So whatever is swapped
between the look and the write, nothing outside is reached.

Every write is noted before it is made, as a witness for tests.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.bringup.names import check_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.bringup.plan import Change
    from numaprobe.bringup.sysfs import Sysfs

    #: brings bytes into the file of this name below the root; raises ``OSError`` as the kernel answers
    Store = Callable[[str, bytes], None]

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTRIBUTE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Write:
    """One write that was made, or tried."""

    path: str
    text: str


class Writer:
    """Writes to the files of sysfs that bind and unbind.

    Each method raises ``OSError`` as the kernel answers, and ``InputError`` for a name that cannot be one.

    Args:
        sysfs: names the files.
        store: how bytes get into a file; a test puts a kernel of its own here.

    """

    def __init__(self, sysfs: Sysfs, store: Store | None = None) -> None:
        self._sysfs = sysfs
        self._store = store or SysfsAttributes(sysfs.root.path).store
        #: what was written, or tried, in the order of beginning
        self.writes: list[Write] = []

    def bind(self, change: Change, driver: str) -> None:
        """Write the device's name to a driver's ``bind``; returns when the probe is over."""
        self._write(self._sysfs.bind_file(change.bus, driver), check_name(change.name, "device"))

    def unbind(self, change: Change, driver: str) -> None:
        """Write the device's name to a driver's ``unbind``; returns when the driver has let go."""
        self._write(self._sysfs.unbind_file(change.bus, driver), check_name(change.name, "device"))

    def override(self, change: Change, driver: str | None) -> None:
        """Set the only driver that the device may be bound to; None: any that matches (an empty line)."""
        text = "\n" if driver is None else check_name(driver, "driver")
        self._write(self._sysfs.override_file(change.device), text)

    def _write(self, path: str, text: str) -> None:
        self.writes.append(Write(path, text))
        self._store(path, text.encode())


class SysfsAttributes:
    """Files below a root that are there, are regular, and are reached without a link.

    Args:
        root: the real path of the root directory, ``/`` or a tree's.

    """

    def __init__(self, root: str) -> None:
        self._root = root

    def store(self, path: str, data: bytes) -> None:
        """Write ``data`` to an attribute in one write, as the kernel wants it.

        Raises:
            OSError: ELOOP or ENOTDIR: a part of the path is a link; EXDEV: it leads to another file system; ENXIO:
                it is no file; else what the kernel answers.

        """
        descriptor = self._open(path)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)

    def _open(self, path: str) -> int:
        parts = os.path.relpath(path, self._root).split("/")
        if ".." in parts:
            raise _no_attribute(errno.EXDEV, path)
        top, *between, name = parts
        here = _step(None, os.path.join(self._root, top))  # noqa: PTH118  text all the way
        try:
            device = os.fstat(here).st_dev
            for part in between:
                above, here = here, _step(here, part)
                os.close(above)
            descriptor = os.open(name, _ATTRIBUTE, dir_fd=here)
        finally:
            os.close(here)
        found = os.fstat(descriptor)
        if found.st_dev != device or not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise _no_attribute(errno.EXDEV if found.st_dev != device else errno.ENXIO, path)
        return descriptor


def _step(above: int | None, part: str) -> int:
    return os.open(part, _DIRECTORY, dir_fd=above)


def _no_attribute(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
