"""How a probe was reached, and which task waited for it.

A helper of ``dd.c`` that leads to a probe (``device_driver_attach``: a write to ``bind``; ``__device_attach``: a device
came) is entered by the task that will wait. On stock kernels the same task enters ``really_probe``. Where the driver
core itself sends a probe to a node (the series of January 2026), a worker does, and the task sleeps until it is done.
Which task that is, is told by the first of these that knows:

1. a helper that the probing task itself entered for the device: nobody else waits;
2. the workqueue's events: which task queued the work that the worker is at (an async or a deferred work has no waiter);
3. the newest helper that another task entered for the device, if that task has done nothing else since: it sleeps.

Before 5.14 ``__driver_attach`` called ``device_driver_attach`` as well, for each device of a driver that is registered:
there a task that is inside ``driver_attach`` binds nothing by hand, and without that event the path is not told.

Where none knows, nobody is named. A task's notes are dropped once it turns to another device; everything is bounded.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from numaprobe.kernel.ftrace_line import EventLine, decode, parse_event_line
from numaprobe.kernel.kprobes import DEVICE_DRIVER_ATTACH, PATHS, SYNC_PATH
from numaprobe.runtime.facts import value_of
from numaprobe.runtime.release import parse_release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Tasks and devices with notes; devices noted by one task.
MAX_TASKS: Final = 4096
MAX_DEPTH: Final = 32
#: Workqueue events looked back at for the task that queued a work: its worker starts within a few (our choice).
RECENT_WORKS: Final = 1024
#: Without workqueue events: a helper longer ago than this did not lead to this probe (our choice).
PATIENCE_NS: Final = 1_000_000_000

_WORK: Final = re.compile(rb"\s*work struct[ =](?:0x)?([0-9a-fA-F]+):? function[ =]([^\s]{1,128})")
_QUEUED: Final = b"workqueue_queue_work"
_STARTED: Final = b"workqueue_execute_start"
#: works that nobody waits for: the worker is its own caller
_WITHOUT_WAITER: Final = (b"async_run_entry_fn", b"deferred_probe_work_func")
_UNKNOWN_COMM: Final = b"<...>"


class Road(NamedTuple):
    """How a probe was reached."""

    #: None: the source does not tell
    path: str | None
    #: the task that waits, if it is another than the one that probes
    caller: WaitingTask | None = None
    #: a worker probes and it is not known for which task
    waiter_unknown: bool = False


class WaitingTask(NamedTuple):
    """A task that waits for a probe."""

    comm: str | None
    cpu: int
    pid: bytes


@dataclass(slots=True)
class _Note:
    """A task entered a helper for a device."""

    device: str
    #: None: the helper does not tell
    path: str | None
    caller: WaitingTask
    since_ns: int


class Roads:
    """What the helpers and the workqueue tell of the probes to come.

    Args:
        kernel: the release, where it is known.

    Attributes:
        attaches: ``driver_attach`` is being recorded.
        refresh: called before the recent workqueue events are looked at, by whoever keeps some back.

    """

    def __init__(self, kernel: str | None = None) -> None:
        self.attaches = False
        release = parse_release(kernel or "")
        self._only_binds = release is None or value_of("attach_means_bind", release)
        #: tasks inside ``driver_attach``, and how often
        self._attaching: dict[bytes, int] = {}
        #: the last workqueue events as they stand in the trace, oldest first
        self.recent: deque[bytes] = deque(maxlen=RECENT_WORKS)
        self.refresh: Callable[[], None] | None = None
        self._notes: dict[bytes, dict[str, _Note]] = {}
        #: the newest note of a device whose task has done nothing else since
        self._sleepers: dict[str, _Note] = {}
        self._sleeps_for: dict[bytes, str] = {}

    @property
    def noting(self) -> Iterable[bytes]:
        """The tasks that have notes."""
        return self._notes

    def note(self, caller: WaitingTask, function: str, device: str, now: int) -> None:
        """A task entered a helper."""
        self.awake(caller.pid)
        if len(self._notes) >= MAX_TASKS:
            self._notes.clear()
        if len(self._sleepers) >= MAX_TASKS:
            self._sleepers.clear()
            self._sleeps_for.clear()
        notes = self._notes.setdefault(caller.pid, {})
        if len(notes) >= MAX_DEPTH:
            notes.clear()
        note = _Note(device, self._path(function, caller.pid), caller, now)
        notes[device] = self._sleepers[device] = note
        self._sleeps_for[caller.pid] = device

    def _path(self, function: str, pid: bytes) -> str | None:
        if function != DEVICE_DRIVER_ATTACH:
            return PATHS[function]
        if pid in self._attaching:
            return SYNC_PATH
        return PATHS[function] if self._only_binds or self.attaches else None

    def attach(self, pid: bytes, *, ends: bool) -> None:
        """A task enters ``driver_attach``, or returns from it."""
        self.attaches = True
        self.awake(pid)
        depth = self._attaching.pop(pid, 0) + (-1 if ends else 1)
        if depth > 0:
            if len(self._attaching) >= MAX_TASKS:
                self._attaching.clear()
            self._attaching[pid] = depth

    def awake(self, pid: bytes) -> None:
        """A task did something else than to wait for the device of its last helper."""
        device = self._sleeps_for.pop(pid, None)
        if device is not None and (note := self._sleepers.get(device)) is not None and note.caller.pid == pid:
            del self._sleepers[device]

    def only(self, pid: bytes, device: str) -> None:
        """A task begins an outermost probe: what it noted of other devices is over."""
        notes = self._notes.get(pid)
        if notes is not None and (len(notes) > 1 or device not in notes):
            self._notes[pid] = {device: notes[device]} if device in notes else {}

    def forget(self, pid: bytes) -> None:
        """A worker turns to other work."""
        self._notes.pop(pid, None)
        self._attaching.pop(pid, None)

    def probed(self, device: str, now: int) -> None:
        """A probe of the device is over; whoever waits may see another driver tried."""
        if (note := self._sleepers.get(device)) is not None:
            note.since_ns = now

    def clear(self) -> None:
        """Forget everything: another trace begins."""
        for table in (self._notes, self._sleepers, self._sleeps_for, self._attaching, self.recent):
            table.clear()

    def road(self, pid: bytes, device: str, now: int, *, in_worker: bool, helpers: bool) -> Road:
        """Return how the probe of ``device`` that the task ``pid`` begins was reached.

        Args:
            pid: the task that enters ``really_probe``.
            device: its device.
            now: when, ns.
            in_worker: the task is a kworker and has no probe open.
            helpers: the trace records helpers at all.

        """
        if (own := self._notes.get(pid, {}).get(device)) is not None:
            return Road(own.path)
        if not (helpers and in_worker):
            return Road(SYNC_PATH if helpers else None)
        if self.refresh is not None:
            self.refresh()
        if (work := _work_of(self.recent, pid)) is not None:
            return self._of_queuer(device, work)
        note = self._sleepers.get(device)
        if note is not None and note.caller.pid != pid and now - note.since_ns <= PATIENCE_NS:
            return Road(note.path, note.caller)
        return Road(SYNC_PATH, waiter_unknown=True)

    def _of_queuer(self, device: str, work: tuple[bytes, bytes]) -> Road:
        struct, function = work
        if function in _WITHOUT_WAITER:
            return Road(SYNC_PATH)
        queuer = _queuer(self.recent, struct)
        if queuer is None:
            return Road(SYNC_PATH, waiter_unknown=True)
        comm = None if queuer.comm == _UNKNOWN_COMM else decode(queuer.comm)
        note = self._notes.get(queuer.pid, {}).get(device)
        caller = WaitingTask(comm, queuer.cpu, queuer.pid)
        return Road(note.path, caller) if note is not None else Road(SYNC_PATH, caller)


def _work_of(recent: Iterable[bytes], pid: bytes) -> tuple[bytes, bytes] | None:
    """Return address and function of the work that a worker is at; None if no event tells."""
    for event in _backwards(recent, _STARTED):
        if event.pid == pid and (match := _WORK.match(event.arguments)) is not None:
            return match[1], match[2]
    return None


def _queuer(recent: Iterable[bytes], struct: bytes) -> EventLine | None:
    """Return the last event that queued a work."""
    for event in _backwards(recent, _QUEUED):
        if (match := _WORK.match(event.arguments)) is not None and match[1] == struct:
            return event
    return None


def _backwards(recent: Iterable[bytes], name: bytes) -> Iterable[EventLine]:
    for line in reversed(list(recent)):
        if name in line and (event := parse_event_line(line)) is not None and event.event == name:
            yield event
