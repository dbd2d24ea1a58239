"""One recording from beginning to end: what ``numaprobe record`` does, for those who call it from Python.

``take`` looks at the machine before and after, so that devices that are removed meanwhile keep their node; records
while the command runs, for a time or until a signal; saves the kernel's text; cleans up; and only then reads what was
recorded: reading takes longer than recording, and the kernel should be free of us by then.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from numaprobe.kernel.identity import this_machine
from numaprobe.kernel.record import EVERY_COMM, PROBING_COMMS, Recorder, RecordOptions
from numaprobe.kernel.recorded import read_recording, save_machine, with_devices_of
from numaprobe.kernel.session import StopSignals, find_program, record_command, record_for
from numaprobe.records import RunWarning, Trace, make_folder
from numaprobe.topology.sysfs import read_sysfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numaprobe.kernel.record import Recording
    from numaprobe.kernel.tracefs import Tracefs
    from numaprobe.topology import Topology

SYSFS: Final = Path("/sys")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one recording gave."""

    trace: Trace
    #: exit status of the command; None if there was none
    status: int | None
    #: events saved, and events that the kernel lost
    events: int
    lost: int


def take(
    tracefs: Tracefs,
    options: RecordOptions,
    *,
    command: Sequence[str] = (),
    seconds: float | None = None,
    raw: Path | None = None,
    sysfs: Path = SYSFS,
) -> Taken:
    """Record, clean up, and return what was recorded.

    Args:
        tracefs: where tracing is.
        options: what to record.
        command: record while it runs; empty: for ``seconds``.
        seconds: how long; None: until SIGINT, SIGTERM or SIGHUP.
        raw: keep the kernel's own text in this folder; None: do not keep it.
        sysfs: the machine.

    Raises:
        InputError: the command is no program, or a folder cannot be written.
        KernelInterfaceError: the kernel does not offer or permit it.

    """
    if command:
        find_program(command)

    def until_its_end(recorder: Recorder, stop: StopSignals) -> int | None:
        if command:
            return record_command(recorder, command, stop)
        record_for(recorder, seconds, stop)
        return None

    taken, status = _take(tracefs, with_command(options, command), until_its_end, command, raw, sysfs)
    trace = taken.trace
    if status:
        trace = _with_warning(trace, "command-failed", f"'{command[0]}' ended with status {status}")
    return replace(taken, trace=trace, status=status)


def take_while(
    tracefs: Tracefs,
    options: RecordOptions,
    work: Callable[[], _Result],
    *,
    command: Sequence[str] = (),
    raw: Path | None = None,
    sysfs: Path = SYSFS,
) -> tuple[Taken, _Result]:
    """Record while ``work`` runs in this process; return what was recorded, and what it returned. Else as ``take``.

    Signals are ``work``'s to answer; ``command`` is what the trace calls it.
    """

    def recorded(recorder: Recorder, _stop: StopSignals) -> _Result:
        recorder.start()
        try:
            return work()
        finally:
            recorder.stop()

    return _take(tracefs, options, recorded, command, raw, sysfs)


def _take(
    tracefs: Tracefs,
    options: RecordOptions,
    body: Callable[[Recorder, StopSignals], _Result],
    command: Sequence[str],
    raw: Path | None,
    sysfs: Path,
) -> tuple[Taken, _Result]:
    before = read_sysfs(sysfs, name=os.uname().nodename)
    with _folder(raw) as folder:
        with StopSignals() as stop, Recorder(tracefs, options) as recorder:
            result = body(recorder, stop)
            recording = recorder.save(folder)
        topology = with_devices_of(read_sysfs(sysfs, name=os.uname().nodename), before)
        save_machine(folder, topology)
        trace = replace(_read(folder, topology, options, recording), identity=this_machine(command=command))
    if not trace.probes:
        trace = _with_warning(trace, "no-probes", no_probes(recording.lost_probes))
    return Taken(trace=trace, status=None, events=recording.events, lost=recording.lost), result


def no_probes(lost: int) -> str:
    """Return what to say of a recording without a probe; lost: events of probes that the kernel lost."""
    if lost:
        return f"no probe is left of the recording: {lost} events of probes were lost; raise --buffer-kb"
    return "nothing was probed while it was recorded"


def _with_warning(trace: Trace, kind: str, message: str) -> Trace:
    return replace(trace, warnings=(*trace.warnings, RunWarning(kind=kind, message=message)))


def with_command(options: RecordOptions, command: Sequence[str]) -> RecordOptions:
    """Return ``options`` that watch the command's own task, too, if they choose tasks by the default names."""
    if not command or options.comms != PROBING_COMMS:
        return options
    return replace(options, comms=(*options.comms, Path(command[0]).name))


def _read(folder: Path, topology: Topology, options: RecordOptions, recording: Recording) -> Trace:
    comms = () if not options.sched or EVERY_COMM in options.comms else options.comms
    return read_recording(folder, topology, comms=comms, warnings=recording.warnings, locks=options.locks)


@contextlib.contextmanager
def _folder(raw: Path | None) -> Iterator[Path]:
    if raw is not None:
        make_folder(raw)
        yield raw
        return
    with tempfile.TemporaryDirectory(prefix="numaprobe-") as folder:
        yield Path(folder)
