"""tracefs: the kernel's tracing files, as far as a recording of our own needs them.

What this file guarantees: everything that it makes, it can take away. A recording lives in *instances* of its own
(``instances/numaprobe-PID`` and ``numaprobe-PID-sched``: own buffers, own switches), so other users of tracing are not
disturbed, and its kprobes are in one group (``numaprobe``). An instance goes with ``rmdir``; kprobes can go only after
every instance has let go of them. The pid in the name tells a running recording from what a crashed one left.

Every access goes through ``TracefsFiles``, so that tests can stand a tree of their own in the kernel's place, and every
``OSError`` becomes one line that says what to do. Interface: ``Documentation/trace/ftrace.rst`` (instances since 3.10,
``error_log`` since 5.2) and ``kprobetrace.rst``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.errors import KernelInterfaceError, MissingInterfaceError, NotPermittedError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: where tracefs is mounted: its own place since 4.1, below debugfs before and where only that is mounted
MOUNT_POINTS: Final = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
LOCKDOWN: Final = Path("/sys/kernel/security/lockdown")

INSTANCE_PREFIX: Final = "numaprobe-"
_INSTANCE: Final = re.compile(rf"{INSTANCE_PREFIX}(\d{{1,10}})(?:-\w{{1,20}})?", re.ASCII)

_NOT_PERMITTED: Final = frozenset({errno.EACCES, errno.EPERM})
_MISSING: Final = frozenset({errno.ENOENT, errno.ENODEV, errno.ENOTDIR})


class TracefsFiles:
    """The few operations on files that tracefs understands. Tests put a model of the kernel here."""

    def read(self, path: Path) -> str:
        """Return the whole text of a small file."""
        return path.read_text(encoding="utf-8", errors="replace")

    def write(self, path: Path, text: str) -> None:
        """Write ``text`` in one call, as tracefs wants it: ``echo text > path``."""
        self._put(path, text, os.O_WRONLY | os.O_TRUNC)

    def append(self, path: Path, text: str) -> None:
        """Append one line: ``echo text >> path``; ``kprobe_events`` would forget all others without it."""
        self._put(path, text, os.O_WRONLY | os.O_APPEND)

    def mkdir(self, path: Path) -> None:
        """Make a directory; the kernel fills it."""
        path.mkdir()

    def rmdir(self, path: Path) -> None:
        """Remove a directory; the kernel empties it."""
        path.rmdir()

    def _put(self, path: Path, text: str, flags: int) -> None:
        descriptor = os.open(path, flags)
        try:
            os.write(descriptor, (text + "\n").encode())
        finally:
            os.close(descriptor)


def explain(error: OSError, action: str, *, lockdown: Path = LOCKDOWN) -> KernelInterfaceError:
    """Return the one-line error that says why the kernel did not do ``action``."""
    if error.errno in _NOT_PERMITTED:
        return NotPermittedError(f"{action}: not permitted; {_why_not_permitted(lockdown)}")
    if error.errno in _MISSING:
        return MissingInterfaceError(f"{action}: this kernel does not offer it ({os.strerror(error.errno or 0)})")
    return RefusedError(f"{action}: the kernel refused ({os.strerror(error.errno or 0)})")


def lockdown_mode(path: Path = LOCKDOWN) -> str | None:
    """Return the kernel's lockdown mode (``integrity``, ``confidentiality``), or None if there is none."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    chosen = re.search(r"\[(\w+)\]", text)
    return chosen[1] if chosen and chosen[1] != "none" else None


def _why_not_permitted(lockdown: Path) -> str:
    if os.geteuid() != 0:
        return "run it as root (sudo)"
    mode = lockdown_mode(lockdown)
    if mode:
        return f"the kernel is locked down ({mode}); boot without lockdown= (and without Secure Boot) to trace"
    return "root lacks the right here (a container?); run it on the host"


@dataclass(frozen=True, slots=True)
class Tracefs:
    """A mounted tracefs.

    Attributes:
        root: where it is mounted, or a tree that looks like it.
        files: how to touch it.

    """

    root: Path
    files: TracefsFiles = field(default_factory=TracefsFiles)

    @classmethod
    def find(cls, root: Path | None = None, files: TracefsFiles | None = None) -> Tracefs:
        """Return the tracefs at ``root``, or the first that is mounted.

        Raises:
            MissingInterfaceError: none is mounted, or the kernel has none.
            NotPermittedError: it is there and we may not read it.

        """
        files = files or TracefsFiles()
        places = (root,) if root else MOUNT_POINTS
        for place in places:
            try:
                if "trace" in os.listdir(place):  # noqa: PTH208  a name is wanted, and a refusal must show as itself
                    return cls(place, files)
            except PermissionError as error:
                raise explain(error, f"reading {place}") from None
            except OSError:
                continue
        raise MissingInterfaceError(
            f"no tracefs at {' or '.join(map(str, places))}; mount it (mount -t tracefs nodev /sys/kernel/tracing) "
            "or use a kernel with CONFIG_FTRACE"
        )

    # ---- single files --------------------------------------------------------------------------------------------
    def read(self, name: str) -> str:
        """Return the text of a file of tracefs.

        Raises:
            KernelInterfaceError: it cannot be read.

        """
        try:
            return self.files.read(self.root / name)
        except OSError as error:
            raise explain(error, f"reading {self.root / name}") from None

    def write(self, name: str, text: str) -> None:
        """Write a file of tracefs.

        Raises:
            KernelInterfaceError: the kernel did not take it.

        """
        try:
            self.files.write(self.root / name, text)
        except OSError as error:
            raise explain(error, f"writing '{text[:80]}' to {self.root / name}") from None

    def has(self, name: str) -> bool:
        """Tell whether this kernel has the file or folder."""
        return (self.root / name).exists()

    # ---- kprobes -------------------------------------------------------------------------------------------------
    def kprobes(self, group: str) -> tuple[str, ...]:
        """Return the lines of ``kprobe_events`` that are in ``group``; none if the kernel has no kprobe events."""
        if not self.has("kprobe_events"):
            return ()
        mark = re.compile(rf"[pr]\d*:{re.escape(group)}/")
        return tuple(line for line in self.read("kprobe_events").splitlines() if mark.match(line))

    def add_kprobe(self, command: str) -> None:
        """Append one definition to ``kprobe_events``.

        Raises:
            KernelInterfaceError: the kernel refused it: no such symbol, a fetch argument that it does not know.

        """
        self._kprobe_command(command)

    def remove_kprobes(self, group: str) -> None:
        """Disable and remove every kprobe of ``group``.

        Raises:
            RefusedError: an instance still uses one.

        """
        lines = self.kprobes(group)
        if lines and self.has(f"events/{group}/enable"):
            with contextlib.suppress(KernelInterfaceError):  # the removal below says whether it matters
                self.write(f"events/{group}/enable", "0")
        for line in lines:
            event = line.split(None, 1)[0].partition(":")[2]
            self._kprobe_command(f"-:{event}")

    def _kprobe_command(self, command: str) -> None:
        path = self.root / "kprobe_events"
        try:
            self.files.append(path, command)
        except OSError as error:
            raise explain(error, f"kprobe '{command[:100]}'") from None

    # ---- instances -----------------------------------------------------------------------------------------------
    def instances(self) -> Iterator[tuple[int, str]]:
        """Yield the pid and name of each of our instances, whoever made it."""
        folder = self.root / "instances"
        names = sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208  names are wanted
        for name in names:
            match = _INSTANCE.fullmatch(name)
            if match:
                yield int(match[1]), name

    def make_instance(self, pid: int, kind: str = "") -> Tracefs:
        """Make an instance of process ``pid`` and return it: it has the same files as the root.

        Args:
            pid: whose it is.
            kind: what tells it from others of the same process; "": the first.

        Raises:
            KernelInterfaceError: no instances, or not permitted.

        """
        path = self.root / "instances" / f"{INSTANCE_PREFIX}{pid}{f'-{kind}' if kind else ''}"
        try:
            self.files.mkdir(path)
        except OSError as error:
            raise explain(error, f"making the tracing instance {path}") from None
        return Tracefs(path, self.files)

    def remove_instance(self, name: str) -> None:
        """Remove an instance: its buffer, and its hold on events.

        Raises:
            RefusedError: somebody reads from it.

        """
        path = self.root / "instances" / name
        try:
            self.files.rmdir(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise explain(error, f"removing the tracing instance {path} (is its trace_pipe being read?)") from None
