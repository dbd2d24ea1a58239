"""What the processes have open: one pass over ``/proc``.

A device is in use while a process has it open, or has its memory mapped: a mapping outlives the descriptor that it was
made from (DAX, UIO, GPUs), so ``maps`` is read, too. Kernel threads have neither. A process whose descriptors may not
be seen is counted: then nobody can say that a device is free.

``stat`` of a descriptor on a file system of another machine may wait for that machine; such files are passed over by
the mount points of remote file systems.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.bringup.nodes import DeviceNode, Nodes
    from numaprobe.bringup.root import Root

#: ``PF_KTHREAD``, include/linux/sched.h; field 9 of ``stat``
_KERNEL_THREAD: Final = 0x00200000
#: What many processes have open and nobody binds.
_DULL: Final = (
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
    "/dev/random",
    "/dev/full",
    "/dev/ptmx",
    "/dev/pts/",
    "/dev/shm/",  # noqa: S108  a name to pass over
)


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A device that a process has open."""

    node: DeviceNode
    #: as ``/proc`` names it
    name: str
    #: its memory is mapped; else a descriptor leads to it
    mapped: bool


@dataclass(frozen=True, slots=True)
class Process:
    """A process of user space."""

    pid: int
    name: str
    parent: int
    #: its controlling terminal, ``MAJOR:MINOR``; None: none
    tty: str | None
    #: the program that it runs, as its mount namespace names it
    exe: str | None
    mount_space: str | None
    net_space: str | None
    files: tuple[OpenFile, ...]
    #: its sockets: inode -> descriptor
    sockets: dict[str, str]
    #: its descriptors could not be seen
    denied: bool


def read_processes(root: Root, nodes: Nodes, remote: tuple[str, ...] = ()) -> dict[int, Process]:
    """Return all processes of user space but this one, by pid.

    Args:
        root: where ``proc`` is.
        nodes: finds device numbers.
        remote: mount points of file systems of other machines, with a slash at the end.

    """
    own = os.getpid() if root.is_live else -1
    pids = (int(name) for name in root.names("proc") if name.isascii() and name.isdigit())
    found = (_read(root, nodes, pid, remote) for pid in pids if pid != own)
    return {process.pid: process for process in found if process is not None}


def read_stat(root: Root, pid: int | str) -> tuple[str, int, str | None, int] | None:
    """Return name, parent, controlling terminal and flags of a process; None if it is gone."""
    before, _, after = (root.text(f"proc/{pid}/stat") or "").rpartition(")")
    fields = after.split()
    if len(fields) < 7:  # noqa: PLR2004  state, ppid, pgrp, session, tty_nr, tpgid, flags: proc_pid_stat(5)
        return None
    name, tty = before.partition("(")[2], int(fields[4])
    # new_encode_dev: minor bits 0-7 and 20-31, major bits 8-19
    terminal = f"{tty >> 8 & 0xFFF}:{tty & 0xFF | tty >> 12 & 0xFFF00}" if tty else None
    return name, int(fields[1]), terminal, int(fields[6])


def _read(root: Root, nodes: Nodes, pid: int, remote: tuple[str, ...]) -> Process | None:
    status = read_stat(root, pid)
    if status is None or status[3] & _KERNEL_THREAD:
        return None
    name, parent, tty, _ = status
    here = f"proc/{pid}"
    said = root.links_or_denied(f"{here}/fd")
    files = [*_opened(nodes, here, said or {}, remote), *_mapped(root, nodes, here)]
    return Process(
        pid=pid,
        name=name,
        parent=parent,
        tty=tty,
        exe=root.link(f"{here}/exe"),
        mount_space=root.link(f"{here}/ns/mnt"),
        net_space=root.link(f"{here}/ns/net"),
        files=tuple(dict.fromkeys(files)),
        sockets={text[8:-1]: number for number, text in (said or {}).items() if text.startswith("socket:[")},
        denied=said is None,
    )


def _opened(nodes: Nodes, here: str, said: dict[str, str], remote: tuple[str, ...]) -> Iterator[OpenFile]:
    for number, text in said.items():
        if not text.startswith("/") or text.startswith((*_DULL, *remote)):
            continue
        node = nodes.of_link(f"{here}/fd/{number}", text)
        if node is not None:
            yield OpenFile(node, text, mapped=False)


def _mapped(root: Root, nodes: Nodes, here: str) -> Iterator[OpenFile]:
    for line in root.table(f"{here}/maps"):
        if "/dev/" not in line:
            continue
        span, _, _, _, _, name = line.split(maxsplit=5)
        if not name.startswith(_DULL):
            node = nodes.of_link(f"{here}/map_files/{span}", name) or nodes.of_name(name)
            if node is not None:
                yield OpenFile(node, name, mapped=True)
