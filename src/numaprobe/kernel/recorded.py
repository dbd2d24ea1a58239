"""A saved recording as a trace: the records, the machine, and what the recording itself has to say.

The folder of a recording holds what the kernel gave, unchanged: ``trace`` (ftrace text), ``kprobe_events`` (what its
events mean), ``zoneinfo`` (with ``--memory``), ``machine.json`` (the machine as it was when the recording ended). So a
recording can be read again elsewhere, and by other tools.
"""

from __future__ import annotations

import fnmatch
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.kernel.candidates import candidate_arguments, find_offset, is_pci_address, rewrite
from numaprobe.kernel.ftrace import read_ftrace
from numaprobe.kernel.kprobes import REALLY_PROBE, parse_kprobe_events
from numaprobe.kernel.memory import parse_zoneinfo, with_memory
from numaprobe.kernel.unplaced import UNPLACED, without_place
from numaprobe.reading.files import read_document
from numaprobe.reading.weigh import JSON_WEIGHTS, check_weight
from numaprobe.records import RunWarning, Trace, open_output, write_atomically
from numaprobe.topology.codec import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numaprobe.records import ProbeRecord
    from numaprobe.topology import DeviceInfo, Topology

MACHINE_FILE: Final = "machine.json"
#: the parts of a cost, when nobody knows them
_UNDIVIDED: Final[dict[str, None]] = dict.fromkeys(
    ("running_ns", "runnable_ns", "sleeping_ns", "remote_ns", "segments")
)


def save_machine(folder: Path, topology: Topology) -> None:
    """Write the machine beside the recording.

    Raises:
        InputError: it cannot be written.

    """
    write_atomically(folder / MACHINE_FILE, json.dumps(to_json(topology), indent=1) + "\n")


def load_machine(folder: Path) -> Topology | None:
    """Return the machine that was saved with the recording, or None.

    Raises:
        InputError: the file is there and holds no machine.

    """
    path = folder / MACHINE_FILE
    content = read_document(path, "machine")
    if content is None:
        return None
    check_weight("machine", content, JSON_WEIGHTS, str(path))
    try:
        block = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON: {error}", str(path)) from None
    if not isinstance(block, dict):
        raise InputError("holds no machine", str(path))
    return from_json(block)


def with_devices_of(after: Topology, before: Topology) -> Topology:
    """Return the machine ``after`` with the devices that only ``before`` had: they may have been probed, too."""
    known = {(device.bus, device.name) for device in after.devices}
    gone = tuple(device for device in before.devices if (device.bus, device.name) not in known)
    devices: tuple[DeviceInfo, ...] = (*after.devices, *gone)
    return replace(after, devices=devices)


def read_recording(
    folder: Path,
    topology: Topology | None,
    *,
    comms: Sequence[str] = (),
    warnings: Sequence[RunWarning] = (),
    kernel: str | None = None,
    locks: bool = False,
) -> Trace:
    """Return what a recording holds.

    Args:
        folder: where it was saved.
        topology: the machine; None: nodes stay unknown.
        comms: the patterns of tasks whose sched events were recorded; empty: every task's.
        warnings: what the recorder had to say.
        kernel: the kernel's release; None: this one's.
        locks: lock events were recorded, even if there was none.

    Raises:
        InputError: there is no recording in ``folder``.

    """
    path = folder / "trace"
    if not path.is_file():
        raise InputError("there is no recording here (a file 'trace')", str(folder))
    definitions = parse_kprobe_events(_lines(folder / "kprobe_events"))
    asked = any(set(one.arguments) & set(candidate_arguments()) for one in definitions.values())
    if asked:
        path, offset = _settle_candidates(path, topology)
    kernel = kernel or os.uname().release
    with path.open("rb") as stream:
        trace = read_ftrace(stream, definitions=definitions or None, topology=topology, kernel=kernel, locks=locks)
    probes, told = trace.probes, trace.warnings
    if asked and offset is None:
        probes, unplaced = _without_guesses(probes)
        told = (*(warning for warning in told if warning.kind != UNPLACED), *unplaced)
    probes = _with_memory(probes, folder)
    probes, dropped = _without_unwatched(probes, comms)
    return replace(
        trace,
        probes=probes,
        kernel=kernel,
        machine=to_json(topology) if topology is not None else {},
        warnings=(*warnings, *told, *dropped),
    )


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="ascii", errors="replace").splitlines() if path.is_file() else []


def _settle_candidates(path: Path, topology: Topology | None) -> tuple[Path, int | None]:
    """Write the trace again with the one argument that names devices; return the new file and the offset, if any."""
    known = [device.name for device in topology.devices] if topology is not None else ()
    with path.open(encoding="utf-8", errors="replace") as lines:
        offset = find_offset(lines, known)
    settled = path.with_name("trace.settled")
    with path.open(encoding="utf-8", errors="replace") as lines, open_output(settled) as out:
        out.writelines(line.encode() for line in rewrite(lines, offset))
    return settled, offset


def _without_guesses(probes: tuple[ProbeRecord, ...]) -> tuple[tuple[ProbeRecord, ...], tuple[RunWarning, ...]]:
    """Take the place from PCI probes of which only the outer task is known: PCI sends the body elsewhere."""
    outer = {index for index, one in enumerate(probes) if one.function == REALLY_PROBE and is_pci_address(one.device)}
    if not outer:
        return probes, ()
    message = (
        f"without BTF, {len(outer)} PCI probe(s) do not tell where they ran: no place in struct pci_dev names the "
        "devices that are there"
    )
    kept = tuple(without_place(one) if index in outer else one for index, one in enumerate(probes))
    return kept, (RunWarning(kind="not-told", message=message),)


def _with_memory(probes: tuple[ProbeRecord, ...], folder: Path) -> tuple[ProbeRecord, ...]:
    zones = folder / "zoneinfo"
    if not zones.is_file():
        return probes
    with (folder / "trace").open(encoding="utf-8", errors="replace") as lines:
        return with_memory(probes, lines, parse_zoneinfo(zones.read_text(encoding="ascii", errors="replace")))


def _without_unwatched(
    probes: tuple[ProbeRecord, ...], comms: Sequence[str]
) -> tuple[tuple[ProbeRecord, ...], tuple[RunWarning, ...]]:
    """Take the split of cost from probes whose task's sched events were filtered away: it would be wrong."""
    unwatched = {
        probe.comm
        for probe in probes
        if comms and probe.comm is not None and not any(fnmatch.fnmatchcase(probe.comm, comm) for comm in comms)
    }
    if not unwatched:
        return probes, ()
    message = f"sched events of {', '.join(sorted(unwatched))} were not recorded (--comm): their cost is not divided"
    kept = tuple(replace(probe, **_UNDIVIDED) if probe.comm in unwatched else probe for probe in probes)  # type: ignore[arg-type]
    return kept, (RunWarning(kind="sched-filter", message=message),)
