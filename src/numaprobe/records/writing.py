"""The one way in which numaprobe writes a file that somebody named.

What a name leads to decides. A **regular file**, or a name where nothing is yet, is replaced as a whole: whoever looks
sees the old content or the new, also after an error, Ctrl-C or a power cut. A file beside it is written, synced and
renamed over it; it gets the old one's owner, group, mode, ACL and user attributes as far as we may give them. The new
content is a new file: another hard link keeps the old one. A file that we may not write is not replaced either.

A **device, pipe or socket** is written to, and never replaced; so is an **open descriptor** (``/dev/stdout``,
``/dev/fd/3``), whatever it leads to: with ``>> log`` the log is appended to. A pipe or socket gets a few seconds for
somebody to read it, then it is refused: waiting for ever without a word helps nobody. A block device that is in use
(mounted) is refused by the kernel, because we ask for it alone (``O_EXCL``).

The kernel itself follows the links when the name is opened, so loops, and links that others planted in ``/tmp``
(``fs.protected_symlinks``), are refused as for every other program.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

#: seconds that whoever reads a pipe or socket has to come (our choice)
PATIENCE: Final = 5.0
_OPEN: Final = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: Attributes that belong to the file and not to its content, as signatures and capabilities do.
_KEPT_ATTRIBUTES: Final = ("user.", "system.posix_acl_access", "security.selinux", "security.SMACK64")
#: as many links as the kernel follows (MAXSYMLINKS)
_MAX_LINKS: Final = 40


def write_atomically(path: str | os.PathLike[str], content: bytes | str, *, mode: int | None = None) -> None:
    """Write a file whole or not at all; write to a device, pipe, socket or open descriptor.

    Args:
        path: the file.
        content: what it shall hold.
        mode: see ``open_output``.

    Raises:
        InputError: see ``open_output``.
        BrokenPipeError: whoever read the pipe or socket went away.

    """
    data = content.encode() if isinstance(content, str) else content
    with open_output(path, mode=mode) as file:
        file.write(data)


@contextlib.contextmanager
def open_output(path: str | os.PathLike[str], *, mode: int | None = None) -> Iterator[BinaryIO]:
    """Yield a file to write to; what was written is there when the block ends, and not at all if it fails.

    Args:
        path: the file.
        mode: its permission bits; None: those that it had, or that a new file gets.

    Raises:
        InputError: the folder is missing or may not be written, the disk is full, nobody reads the pipe or socket.
        BrokenPipeError: whoever read the pipe or socket went away.

    """
    name = _possible(path)
    try:
        descriptor = _open_special(name)
        with _replaced(os.path.realpath(name), mode) if descriptor is None else open(descriptor, "wb") as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"cannot be written: {_reason(error)}", name) from None


def check_output(path: str | os.PathLike[str]) -> None:
    """Return if ``path`` looks as if it could be written: before work whose result would be lost otherwise.

    Nothing is opened but a regular file, because opening has effects on devices and pipes.

    Raises:
        InputError: it cannot be written.

    """
    name = _possible(path)
    try:
        if _own_descriptor(name) is not None:
            return
        mode = _mode(name)
        if mode is None or stat.S_ISREG(mode):
            if mode is not None:
                os.close(os.open(name, _OPEN))
            folder = os.path.dirname(os.path.realpath(name))
            if not stat.S_ISDIR(os.stat(folder).st_mode) or not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, f"no file can be made in {folder}")
            _try_folder(folder)
        elif stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "")
    except OSError as error:
        raise InputError(f"cannot be written: {_reason(error)}", name) from None


def _try_folder(folder: str) -> None:
    """Make a file without a name in a folder: root may write in ``/proc``, and it takes none all the same."""
    import tempfile

    tempfile.TemporaryFile(dir=folder).close()


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder that files can be put into, with those above it; one that is there will do.

    Raises:
        InputError: it cannot be made, or may not be written.

    """
    name = _possible(path)
    try:
        os.makedirs(name, exist_ok=True)
        if not os.access(name, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "no file can be made in it")
    except FileExistsError:
        raise InputError("is no folder; name one, or a new name", name) from None
    except OSError as error:
        raise InputError(f"cannot be made a folder: {_reason(error)}", name) from None


def _possible(path: str | os.PathLike[str]) -> str:
    """Return ``path`` as text, if a file can have that name at all."""
    name = os.fspath(path)
    try:
        possible = b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise InputError("cannot be written: this is no possible file name", name)
    return name


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.EISDIR:
            return "it is a folder; name a file in it"
        case errno.ELOOP:
            return "its symbolic links lead in a circle"
        case errno.EBUSY:
            return "it is in use (mounted), so it is neither replaced nor written to"
    return error.strerror or str(error)


# ---- what is written to --------------------------------------------------------------------------------------------
def _open_special(name: str) -> int | None:
    """Return a descriptor of what must be written to; None if ``name`` is to be replaced.

    Raises:
        OSError: it may not be written, or nobody reads it.

    """
    own = _own_descriptor(name)
    if own is not None:
        return os.dup(own)
    mode = _mode(name)
    if mode is None:
        return None
    if stat.S_ISSOCK(mode):
        return _connect(name)
    descriptor = _open_patiently(name, _OPEN | (os.O_EXCL if stat.S_ISBLK(mode) else 0))
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    os.set_blocking(descriptor, True)
    return descriptor


def _mode(name: str) -> int | None:
    try:
        return os.stat(name).st_mode
    except FileNotFoundError:
        return None


def _own_descriptor(name: str) -> int | None:
    """Return the number that ``/dev/stdout``, ``/dev/fd/3`` or a link to one of them stands for."""
    ours = os.path.realpath("/proc/self/fd")
    for _ in range(_MAX_LINKS):
        folder, base = os.path.split(name)
        folder = os.path.realpath(folder)
        if folder == ours and base.isascii() and base.isdigit():
            return int(base)
        place = os.path.join(folder, base)
        if not os.path.islink(place):
            return None
        name = os.path.join(folder, os.readlink(place))
    return None


def _open_patiently(name: str, flags: int) -> int:
    """Open what is there; a pipe that nobody reads is tried again until ``PATIENCE`` is over."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return os.open(name, flags)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() >= deadline:
                raise OSError(errno.ENXIO, "nobody reads it; start its reader first") from None
        time.sleep(0.02)


def _connect(name: str) -> int:
    """Return a descriptor connected to the stream socket ``name``."""
    import socket

    # by way of a descriptor: an address holds 107 bytes, a path may be longer
    place = os.open(name, os.O_PATH | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(PATIENCE)
            link.connect(f"/proc/self/fd/{place}")
            link.settimeout(None)
            return link.detach()
    except (ConnectionRefusedError, TimeoutError, BlockingIOError):
        raise OSError(errno.ECONNREFUSED, "nobody takes connections to this socket; start its reader first") from None
    except OSError as error:
        if error.errno == errno.EPROTOTYPE:
            raise OSError(errno.EPROTOTYPE, "it is a socket for datagrams; a stream is needed") from None
        raise
    finally:
        os.close(place)


# ---- what is replaced ----------------------------------------------------------------------------------------------
@contextlib.contextmanager
def _replaced(target: str, mode: int | None) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of ``target`` if the block succeeds."""
    folder = os.path.dirname(target)
    part = os.path.join(folder, f".numaprobe-{os.getpid()}-{os.urandom(6).hex()}.part")
    try:
        with open(part, "xb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            _keep_what_it_had(target, file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    _sync_folder(folder)


def _keep_what_it_had(target: str, new: int, mode: int | None) -> None:
    """Give the new file owner, group, mode and attributes of the one that it replaces, as far as we may."""
    with contextlib.suppress(FileNotFoundError):
        old = os.stat(target)
        mode = stat.S_IMODE(old.st_mode) & 0o777 if mode is None else mode
        if not _gave(new, -1, old.st_gid):
            # another group is not let in by what was meant for the old one
            mode &= 0o707 | (mode & 0o007) << 3
        _gave(new, old.st_uid, -1)
        os.fchmod(new, mode)
        for name in os.listxattr(target):
            if name.startswith(_KEPT_ATTRIBUTES):
                with contextlib.suppress(OSError):  # this file system, or we, may not have it
                    os.setxattr(new, name, os.getxattr(target, name))


def _gave(new: int, user: int, group: int) -> bool:
    try:
        os.fchown(new, user, group)
    except OSError:
        return False
    return True


def _sync_folder(folder: str) -> None:
    """Make the new name last; some file systems cannot, and then the content is safe all the same."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
