"""The one door to ``/sys``, ``/proc``, ``/dev`` and ``/run``: read below one root, the machine's own or a test's.

Paths are given without the leading slash: ``sys/bus/pci``. A link is *read*, never followed out of the root: what the
kernel writes into it (``../../devices/…``, ``/dev/nvme0n1``) is brought into the root's own terms. What is missing, or
went away while it was read, is None or empty: devices and processes come and go. What may not be read is told apart
where it matters (``names_or_denied``), since "nothing uses it" must never mean "we may not look".
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError, MissingInterfaceError, NotPermittedError
from numaprobe.reading.files import MAX_ATTRIBUTE, read_bytes

if TYPE_CHECKING:
    from pathlib import Path

#: ``SYSFS_MAGIC``, include/uapi/linux/magic.h
_SYSFS_MAGIC: Final = 0x62656572
#: bytes of ``struct statfs``, with room to spare; its first member is the type, a long
_STATFS_SIZE: Final = 256
_ATTRIBUTE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_PAGE: Final = 4096
#: A link of sysfs goes up first, and then only down.
_STEP: Final = "/../"
#: Lists of mounts, routes and connections grow with the machine.
_MAX_TABLE: Final = 64 * 2**20


class Root:
    """Reads files, links and directories below a root directory."""

    def __init__(self, root: Path | str = "/") -> None:
        self.path = os.path.realpath(root)
        self._prefix = self.path.rstrip("/") + "/"

    @property
    def is_live(self) -> bool:
        """Whether this is the running machine, and no tree that stands for one."""
        return self.path == "/"

    def at(self, path: str) -> str:
        """Return the full name of a path below the root."""
        return self._prefix + path

    def text(self, path: str, limit: int = MAX_ATTRIBUTE) -> str | None:
        """Return what a file holds, without the newline at its end; None if it is missing or cannot be read."""
        try:
            data = read_bytes(self._prefix + path, limit)
        except InputError:
            return None
        return None if data is None else data.decode("utf-8", "backslashreplace").strip(" \n\0")

    def attribute(self, path: str, size: int = _PAGE) -> str | None:
        """Return what an attribute of sysfs holds, as ``text`` does, and in half the time.

        An attribute fits in a page and comes with the first read (fs/kernfs/file.c), and so does a small regular file;
        nothing is asked twice. Of what stands in its place in a tree of somebody else's, no more than that is read.
        """
        try:
            descriptor = os.open(self._prefix + path, _ATTRIBUTE)
        except (OSError, ValueError):
            return None
        try:
            return os.read(descriptor, size).decode("utf-8", "backslashreplace").strip(" \n\0")
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def table(self, path: str) -> list[str]:
        """Return the lines of a file of ``/proc`` or the like; none if it is missing."""
        return (self.text(path, _MAX_TABLE) or "").splitlines()

    def number(self, path: str) -> int | None:
        """Return the number that an attribute holds, decimal or hexadecimal with ``0x``; None if it holds none."""
        text = self.attribute(path)
        if not text:
            return None
        try:
            return int(text, 0)
        except ValueError:
            return None

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory; none if it is missing or may not be read."""
        return self.names_or_denied(path) or []

    def names_or_denied(self, path: str) -> list[str] | None:
        """Return the sorted names in a directory, none if it is missing; None if it may not be read."""
        try:
            return sorted(os.listdir(self._prefix + path))
        except PermissionError:
            return None
        except OSError:
            return []

    def link(self, path: str) -> str | None:
        """Return what a link says, as it says it; None if it is none."""
        try:
            return os.readlink(self._prefix + path)
        except (OSError, ValueError):
            return None

    def links_or_denied(self, path: str) -> dict[str, str] | None:
        """Return the links in a directory and what each says; None if the directory or one of them may not be read."""
        found = {}
        for name in self.names_or_denied(path) or ():
            try:
                found[name] = os.readlink(f"{self._prefix}{path}/{name}")
            except PermissionError:
                return None
            except OSError:
                continue  # closed meanwhile
        return None if not found and self.names_or_denied(path) is None else found

    def target(self, path: str) -> str | None:
        """Return where a link of sysfs leads, below the root; None if it is none, or leads out of the root.

        The directory of the link has to be a true one: sysfs has no links to links.
        """
        said = self.link(path)
        if said is None or said.startswith("/"):
            return None
        above = path.rpartition("/")[0]
        while said.startswith("../"):
            if not above:
                return None
            said, above = said[3:], above.rpartition("/")[0]
        found = f"{above}/{said}" if above else said
        return None if _STEP in f"/{found}/" else found

    def is_dir(self, path: str) -> bool:
        """Return whether there is a directory of this name."""
        return os.path.isdir(self._prefix + path)

    def folders(self, path: str) -> tuple[set[str], list[str]]:
        """Return the names of a directory, and of them the sorted ones that are directories and no links."""
        try:
            with os.scandir(self._prefix + path) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        except OSError:
            return set(), []
        return {name for name, _ in found}, sorted(name for name, is_folder in found if is_folder)

    def exists(self, path: str) -> bool:
        """Return whether there is something of this name; a link counts as itself."""
        return os.path.lexists(self._prefix + path)

    def must_have_sysfs(self) -> None:
        """Accept a ``/sys`` that is the kernel's own, or a tree in a folder that looks like one.

        Raises:
            MissingInterfaceError: there is no sysfs, or it is something else.

        """
        where = self.at("sys")
        if not self.is_dir("sys/bus"):
            raise MissingInterfaceError(
                f"{where} is no sysfs; mount it (mount -t sysfs sysfs /sys), or run this on the host"
            )
        if self.is_live and _filesystem_type(where) != _SYSFS_MAGIC:
            raise MissingInterfaceError(
                f"{where} is not the kernel's sysfs but another file system; run this on the host"
            )

    def must_be_sysfs(self) -> None:
        """Accept a ``/sys`` that can be written, too.

        Raises:
            MissingInterfaceError: there is no sysfs, or it is something else.
            NotPermittedError: it is mounted read-only, as in a container, or we are not root.

        """
        self.must_have_sysfs()
        if self.is_live and os.statvfs(self.at("sys")).f_flag & os.ST_RDONLY:
            raise NotPermittedError("/sys is mounted read-only, as in a container; run this on the host")
        if self.is_live and os.geteuid() != 0:
            raise NotPermittedError("only root may bind and unbind devices; run this as root (sudo)")


def _filesystem_type(path: str) -> int | None:
    """Return ``f_type`` of ``statfs``; None if the C library has no such call. ``os.statvfs`` does not tell it."""
    buffer = ctypes.create_string_buffer(_STATFS_SIZE)
    try:
        failed = ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), buffer)
    except (OSError, AttributeError):
        return None
    return None if failed else ctypes.cast(buffer, ctypes.POINTER(ctypes.c_long))[0] & 0xFFFFFFFF
