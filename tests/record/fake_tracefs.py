"""A tree that behaves like tracefs where a recording relies on it; not a test.

``mkdir`` below instances fills the new folder, ``kprobe_events`` is a list that is appended to, an event that is
defined gets its folder everywhere, a kprobe that is switched on somewhere cannot be removed, and symbols that this
kernel does not have are refused.
"""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

from numaprobe.kernel.tracefs import TracefsFiles

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = (
    "sched/sched_switch",
    "sched/sched_wakeup",
    "sched/sched_wakeup_new",
    "sched/sched_migrate_task",
    "workqueue/workqueue_queue_work",
    "workqueue/workqueue_execute_start",
    "kmem/mm_page_alloc",
)
LOCK_EVENTS = ("lock/contention_begin", "lock/contention_end")
INSTANCE_FILES = {
    "trace": "# tracer: nop\n",
    "tracing_on": "1\n",
    "trace_clock": "[local] global counter uptime perf mono mono_raw boot\n",
    "buffer_size_kb": "7 (expanded: 1408)\n",
    "trace_marker": "",
}


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class FakeKernel(TracefsFiles):
    """The kernel behind the tree; ``root`` is what ``Tracefs`` is given, ``recorded`` what its buffer will hold."""

    def __init__(self, root: Path, *, events: tuple[str, ...] = EVENTS, unknown: tuple[str, ...] = ()) -> None:
        self.root = root
        self.events = events
        self.unknown = unknown
        self.largest_buffer = 1 << 30
        self.refuse: dict[str, int] = {}
        self.log: list[tuple[str, str]] = []
        self.recorded = b""
        self.overrun = 0
        self._fill(root)
        _put(root / "kprobe_events", "")
        _put(root / "kprobe_profile", "")
        _put(root / "saved_cmdlines_size", "128\n")
        (root / "instances").mkdir()

    def _fill(self, folder: Path) -> None:
        for name, text in INSTANCE_FILES.items():
            _put(folder / name, text)
        for event in (*self.events, *self._kprobe_events()):
            self._event(folder, event)
        for cpu in range(2):
            _put(
                folder / f"per_cpu/cpu{cpu}/stats",
                f"entries: {10 + cpu}\noverrun: {self.overrun * cpu}\ncommit overrun: 0\ndropped events: 0\n",
            )

    def _event(self, folder: Path, event: str) -> None:
        _put(folder / "events" / event / "enable", "0\n")
        _put(folder / "events" / event / "filter", "none\n")
        _put(folder / "events" / event / "trigger", "# Available triggers:\n")
        _put(folder / "events" / event.partition("/")[0] / "enable", "0\n")

    def _kprobe_events(self) -> list[str]:
        path = self.root / "kprobe_events"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split()[0].partition(":")[2] for line in lines]

    def _folders(self) -> list[Path]:
        return [self.root, *(self.root / "instances").iterdir()]

    def write(self, path: Path, text: str) -> None:
        name = str(path.relative_to(self.root))
        self.log.append((name, text))
        for ending, code in self.refuse.items():
            if name.endswith(ending):
                raise OSError(code, os.strerror(code))
        if name.endswith("buffer_size_kb") and int(text) > self.largest_buffer:
            raise OSError(errno.ENOMEM, "out of memory")
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, "no such file")
        path.write_text(text + "\n")
        if path.name == "tracing_on" and text == "0" and self.recorded:
            (path.parent / "trace").write_bytes(self.recorded)
        if path.name == "enable" and path.parent.parent.name == "events":
            for event in path.parent.glob("*/enable"):
                event.write_text(text + "\n")

    def append(self, path: Path, text: str) -> None:
        self.log.append((str(path.relative_to(self.root)), text))
        assert path == self.root / "kprobe_events"
        if self.refuse.get("kprobe_events"):
            raise OSError(self.refuse["kprobe_events"], "refused")
        lines = path.read_text().splitlines()
        if text.startswith("-:"):
            self._remove(path, text[2:], lines)
        else:
            self._define(path, text, lines)

    def _remove(self, path: Path, event: str, lines: list[str]) -> None:
        for folder in self._folders():
            if (folder / "events" / event / "enable").read_text().strip() == "1":
                raise OSError(errno.EBUSY, "busy")
        path.write_text("".join(line + "\n" for line in lines if line.split()[0].partition(":")[2] != event))
        for folder in self._folders():
            shutil.rmtree(folder / "events" / event)

    def _define(self, path: Path, text: str, lines: list[str]) -> None:
        name, symbol = text.split()[:2]
        event = name.partition(":")[2]
        if symbol in self.unknown:
            raise OSError(errno.ENOENT, "no such symbol")
        if event in self._kprobe_events():
            raise OSError(errno.EEXIST, "exists")
        path.write_text("".join(line + "\n" for line in [*lines, text]))
        for folder in self._folders():
            self._event(folder, event)

    def mkdir(self, path: Path) -> None:
        if self.refuse.get("mkdir"):
            raise OSError(self.refuse["mkdir"], os.strerror(self.refuse["mkdir"]))
        path.mkdir()
        self._fill(path)

    def rmdir(self, path: Path) -> None:
        if self.refuse.get("rmdir"):
            raise OSError(self.refuse["rmdir"], os.strerror(self.refuse["rmdir"]))
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, "no such instance")
        shutil.rmtree(path)

    # ---- what a test looks at --------------------------------------------------------------------------------------
    @property
    def kprobes(self) -> list[str]:
        return (self.root / "kprobe_events").read_text().splitlines()

    @property
    def instances(self) -> list[str]:
        return sorted(path.name for path in (self.root / "instances").iterdir())

    def untouched(self) -> bool:
        """Whether nothing of a recording is left."""
        return not self.kprobes and not self.instances and (self.root / "saved_cmdlines_size").read_text() == "128\n"
