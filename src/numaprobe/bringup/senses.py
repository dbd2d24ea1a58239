"""What no file shows: asked of the kernel by a call, or of a tool that knows better than we would.

Four questions, behind one protocol, so that a tree in a folder can have its own answers:

* the addresses of a network link: ``SIOCGIFADDR`` and ``/proc/net/if_inet6``. ``/proc/net`` has the addresses of IPv4
  without their links.
* whether the kernel holds a disk exclusively. ``open(O_EXCL)`` of a block device fails with EBUSY while a file system,
  swap, MD, device mapper, ZFS, DRBD or whoever has claimed it or a partition of it (``bd_may_claim``, block/bdev.c);
  mkfs and mdadm ask the same. It reads nothing and writes nothing.
* whether a socket is one of a guest to its host (``AF_VSOCK``): no table of ``/proc/net`` lists those.
* what a disk holds: ``blkid -p`` of util-linux, which knows some hundred formats and is there wherever udev is. Where
  it is not there nobody knows, and that is what is said: unknown is not empty.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import socket
import struct
import subprocess
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

_SIOCGIFADDR: Final = 0x8915
_SYSTEM_PATHS: Final = ("/usr/sbin", "/sbin", "/usr/local/sbin")
#: seconds that one disk may take, as long as the kernel waits for a command of its: one that does not answer is unknown
_PATIENCE: Final = 30.0
#: ``blkid -p`` exits with these: nothing found; several signatures that contradict each other
_NOTHING: Final = 2
_AMBIVALENT: Final = 8


class Senses(Protocol):
    """What no file shows. Every answer may be None: nobody knows."""

    def addresses_of(self, link: str) -> list[str] | None:
        """Return the IPv4 addresses of a network link of ours."""

    def is_claimed(self, node: str) -> bool | None:
        """Return whether the kernel holds the block device ``/dev/NODE`` or a part of it exclusively."""

    def is_vsock(self, pid: int, descriptor: str) -> bool | None:
        """Return whether a descriptor of a process leads to a socket of ``AF_VSOCK``: to the host of this guest."""

    def contents_of(self, nodes: Iterable[str]) -> dict[str, str | None]:
        """Return what each block device ``/dev/NODE`` holds: ``ext4``, ``gpt``; empty: nothing that anybody knows."""


class LiveSenses:
    """The running machine's."""

    def addresses_of(self, link: str) -> list[str] | None:
        """Return the first IPv4 address of a link: it has others only beside that one."""
        request = struct.pack("256s", os.fsencode(link)[:15])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            try:
                answer = fcntl.ioctl(asked, _SIOCGIFADDR, request)
            except OSError as error:
                gone = (errno.EADDRNOTAVAIL, errno.ENODEV)
                return [] if error.errno in gone else None
        return [socket.inet_ntoa(answer[20:24])]

    def is_claimed(self, node: str) -> bool | None:
        """Ask by opening it for reading with ``O_EXCL``."""
        try:
            descriptor = os.open(f"/dev/{node}", os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            return True if error.errno == errno.EBUSY else None
        os.close(descriptor)
        return False

    def is_vsock(self, pid: int, descriptor: str) -> bool | None:
        """Ask for the socket's name of its protocol (``sockfs_xattr_get``, net/socket.c)."""
        try:
            return os.getxattr(f"/proc/{pid}/fd/{descriptor}", "system.sockprotoname").strip(b"\0") == b"AF_VSOCK"
        except OSError:
            return None

    def contents_of(self, nodes: Iterable[str]) -> dict[str, str | None]:
        """Ask ``blkid -p``, several disks at a time."""
        nodes = list(nodes)
        program = shutil.which("blkid") or shutil.which("blkid", path=os.pathsep.join(_SYSTEM_PATHS))
        if program is None or not nodes:
            return dict.fromkeys(nodes)
        from concurrent.futures import ThreadPoolExecutor  # a bind at boot asks no disk, and loads it not

        with ThreadPoolExecutor(min(8, len(nodes))) as pool:
            return dict(zip(nodes, pool.map(lambda node: _blkid(program, node), nodes), strict=True))


class RecordedSenses:
    """Of a tree that stands for a machine: what no file shows, nobody knows."""

    def addresses_of(self, link: str) -> list[str] | None:  # noqa: ARG002  the protocol's
        """Return that nobody knows."""
        return None

    def is_claimed(self, node: str) -> bool | None:  # noqa: ARG002  the protocol's
        """Return that nobody knows."""
        return None

    def is_vsock(self, pid: int, descriptor: str) -> bool | None:  # noqa: ARG002  the protocol's
        """Return that nobody knows."""
        return None

    def contents_of(self, nodes: Iterable[str]) -> dict[str, str | None]:
        """Return that nobody knows."""
        return dict.fromkeys(nodes)


def _blkid(program: str, node: str) -> str | None:
    command = [program, "-p", "-o", "export", f"/dev/{node}"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)  # noqa: S603  no shell
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode == _NOTHING and not done.stderr:
        return ""
    if done.returncode == _AMBIVALENT:
        return "several signatures"
    return describe_contents(done.stdout.decode("utf-8", "replace").splitlines()) if done.returncode == 0 else None


def describe_contents(lines: Iterable[str]) -> str:
    """Return what properties of a block device say that it holds: blkid's, or udev's with ``ID_FS_`` before them."""
    found = {}
    for line in lines:
        with contextlib.suppress(ValueError):
            key, value = line.split("=", 1)
            found[key] = value
    kind = found.get("TYPE") or found.get("ID_FS_TYPE")
    label = found.get("LABEL") or found.get("ID_FS_LABEL")
    table = found.get("PTTYPE") or found.get("ID_PART_TABLE_TYPE")
    if kind:
        return f"{kind} '{label}'" if label else kind
    if found.get("ID_FS_AMBIVALENT"):
        return "several signatures"
    return f"a {table} partition table" if table else ""
