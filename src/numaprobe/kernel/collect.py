"""What a boot recorded, as one trace: its kprobes where there were any, its log for the rest.

The kernel's kprobes begin later than its log, so a boot has probes that only ``initcall_debug`` tells (device, result
and cost). Those that both tell are told once, by the kprobes: same device, and an end within ``SAME_NS``; the log's
clock is not the trace's, and a probe of one device cannot be that close to the next.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.errors import MissingInterfaceError
from numaprobe.kernel.boot import KMSG, collect
from numaprobe.kernel.identity import this_machine
from numaprobe.kernel.initcall import read_log
from numaprobe.kernel.recorded import read_recording, save_machine
from numaprobe.records import Trace
from numaprobe.topology.sysfs import read_sysfs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.kernel.boot import BootRecording
    from numaprobe.kernel.tracefs import Tracefs
    from numaprobe.records import ProbeRecord
    from numaprobe.topology import Topology

#: one end, told by two clocks (our choice)
SAME_NS: Final = 100_000_000


def collect_boot(
    find: Callable[[], Tracefs], raw: Path | None = None, *, kmsg: Path = KMSG, sysfs: Path = Path("/sys")
) -> Trace:
    """Return what this boot recorded, and remove the boot's kprobes.

    Args:
        find: returns tracefs or raises ``MissingInterfaceError``: then the log alone is read.
        raw: keep the kernel's own text in this folder; None: do not keep it.
        kmsg: the kernel's log.
        sysfs: the machine.

    Raises:
        KernelInterfaceError: nothing was recorded, or it may not be read.

    """
    tracefs = None
    with contextlib.suppress(MissingInterfaceError):
        tracefs = find()
    topology = read_sysfs(sysfs)
    with contextlib.ExitStack() as stack:
        folder = raw or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="numaprobe-")))
        recording = collect(tracefs, folder, kmsg=kmsg)
        save_machine(folder, topology)
        return replace(read_boot(recording, topology), identity=this_machine())


def read_boot(recording: BootRecording, topology: Topology) -> Trace:
    """Return the trace that a boot's files hold."""
    empty = Trace(source="kernel", probes=())
    traced = read_recording(recording.folder, topology) if recording.trace else empty
    logged = empty
    if recording.log is not None:
        with recording.log.open("rb") as stream:
            logged = read_log(stream, topology=topology, kernel=topology.info.get("kernel"))
    if not traced.probes:
        return replace(
            logged, kernel=traced.kernel or logged.kernel or topology.info.get("kernel"), machine=traced.machine
        )
    probes = (*traced.probes, *not_told(logged.probes, traced.probes))
    return replace(
        traced,
        probes=tuple(sorted(probes, key=lambda probe: probe.start_ns or 0)),
        warnings=(*traced.warnings, *(one for one in logged.warnings if one not in traced.warnings)),
    )


def not_told(logged: tuple[ProbeRecord, ...], traced: tuple[ProbeRecord, ...]) -> tuple[ProbeRecord, ...]:
    """Return the probes of the log that the kprobes did not see."""
    ends = defaultdict(list)
    for probe in traced:
        if probe.end_ns is not None:
            ends[probe.device].append(probe.end_ns)
    return tuple(
        probe
        for probe in logged
        if probe.end_ns is None or not any(abs(probe.end_ns - end) < SAME_NS for end in ends[probe.device])
    )
