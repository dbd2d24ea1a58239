"""The kernel's log to records: ``initcall_debug``, the driver core's dyndbg lines, and the threads' lines, in one pass.

``really_probe_debug`` of ``drivers/base/dd.c`` prints ``probe of DEVICE returned RESULT after TIME usecs`` for every
probe of a boot; 7.3 names the driver too. The line is printed when the probe is over: with a stamp, that is its end.
dyndbg prints when a probe begins and when its device is bound. Neither tells a CPU, a node or a caller. The pieces:
``log_line.py`` takes off what stands around the kernel's words, ``probe_lines.py`` knows these words in every release,
``log_dialect.py`` what the result means, ``log_drivers.py`` finds the driver, ``log_boot.py`` makes the records.

A mail cuts long lines: a line that stops in the middle is tried together with the next one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.kernel.ftrace_line import decode
from numaprobe.kernel.lines import Lines
from numaprobe.kernel.log_boot import MAX_NAMED, Boot, Told
from numaprobe.kernel.log_dialect import find_release
from numaprobe.kernel.log_line import LogLine, messages
from numaprobe.kernel.log_plain import plain_lines
from numaprobe.kernel.probe_lines import begins_probe_line, parse_probe_line, parse_usual_line
from numaprobe.kernel.probes import UNNAMED
from numaprobe.kernel.reader_warnings import NO_ERRNO
from numaprobe.listing import first_few
from numaprobe.reading.budget import MAX_PROBES
from numaprobe.records import RunWarning, Trace, parse_printk_line
from numaprobe.records.errnos import UNTOLD_NAME
from numaprobe.records.printk import in_order
from numaprobe.topology import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.reading.unpack import ByteStream
    from numaprobe.records import ProbeRecord
    from numaprobe.topology import DeviceInfo, Topology

#: Lines with one of these are looked at whole; of all others the first two words.
_HINTS: Final = re.compile(r"prob[ei]|driver_bound|calling |initcall |Linux version |ainted|Manufacturer: Linux ")
_CALLS: Final = ("calling ", "initcall ")
_PENDING: Final = re.compile(r"(?<!\S)(\S{1,255}): deferred probe pending(?:: (.{0,200}))?", re.ASCII)
_SEEDS: Final = "probe cost: "
_VERSION: Final = "Linux version "
#: Boots in one log.
MAX_BOOTS: Final = 1000
#: Warnings kept; a log with more repeats itself.
MAX_KEPT: Final = 1000
#: Lines that one line is tried with.
_MOST_PARTS: Final = 3


@dataclass(slots=True)
class LogReader:
    """Reads one log as a stream.

    Attributes:
        kernel: the release, where the log itself does not name one.
        until: texts whose first line is a milestone.
        torn: lines that look like a probe's but are not whole.

    """

    kernel: str | None = None
    until: Sequence[str] = ()
    torn: int = 0
    boots: list[Boot] = field(default_factory=list)
    _boot: Boot = field(default_factory=Boot)
    _pending: list[RunWarning] = field(default_factory=list)
    #: a line that goes on in the next one, perhaps; and of how many it is made
    _held: LogLine | None = None
    _parts: int = 1

    def records(self, stream: ByteStream) -> list[ProbeRecord]:
        """Return the probes' records: in order of start within a boot where all have one, else as they were told."""
        self._begin(self._boot)
        lines = Lines(stream)
        for chunk in lines.chunks():
            self._piece(decode(chunk))
            if sum(len(boot.told) for boot in self.boots) > MAX_PROBES:
                raise InputError(f"tells of more than {MAX_PROBES} probes: divide it")
        self._let_go()
        self.torn += lines.torn
        for boot in self.boots:
            boot.evidence.release = boot.release or self.kernel
        return [record for boot in self.boots for record in in_order(list(boot.records()))]

    def _begin(self, boot: Boot) -> None:
        boot.timeline.until = self.until
        self._boot = boot
        self.boots.append(boot)

    @property
    def release(self) -> str | None:
        """The first release that the log itself names."""
        return next((boot.release for boot in self.boots if boot.release), None)

    # ---- lines -------------------------------------------------------------------------------------------------------
    def _piece(self, piece: str) -> None:
        """Read whole lines, many at a time."""
        for seconds, us, caller, text, other in plain_lines(piece):
            if other:
                for line in messages(other):
                    self._message(line)
                continue
            if self._held is not None:
                self._let_go()
            time_ns = int(seconds + us) * 1000
            if self.until:
                self._boot.timeline.look(text, time_ns)
            if (said := parse_usual_line(text)) is not None:
                self._boot.probe_line(said, time_ns, caller or None)
            elif text.startswith(_CALLS) and self._boot.initcall(text, time_ns):
                pass
            elif _may_be_hinted(text):
                line = LogLine(text.rstrip(), time_ns, caller or None, f"[{seconds}.{us}] {text}")
                if not self._take(line):
                    self._held, self._parts = line, 1
            else:
                self._boot.said(text, time_ns)

    def _message(self, line: LogLine) -> None:
        if self._held is not None and self._goes_on(self._held, line):
            return
        self._let_go()
        if not self._take(line):
            self._held, self._parts = line, 1

    def _goes_on(self, held: LogLine, line: LogLine) -> bool:
        """Try a held line together with this one; tell whether that was it."""
        if line.begins or _begins(line.text):
            return False
        text = held.text[:-1] + line.raw if held.text.endswith("=") else f"{held.text} {line.text}"
        joined = held._replace(text=text)
        if self._take(joined):
            self._held = None
            return True
        self._parts += 1
        if self._parts > _MOST_PARTS:
            return False
        self._held = joined
        return True

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        if "probe of " in held.text and " returned " in held.text:
            self.torn += 1
        else:
            self._remember(held)

    def _take(self, line: LogLine) -> bool:
        """Take a message; tell whether it is whole."""
        text = line.text
        if self.until:
            self._boot.timeline.look(text, line.time_ns)
        if _HINTS.search(text) is None:
            self._boot.said(text, line.time_ns)
            return True
        if _SEEDS in text:
            self._seeds(line)
        elif (said := parse_probe_line(text)) is not None:
            self._boot.probe_line(said, line.time_ns, line.caller)
        elif not self._boot.initcall(text, line.time_ns):
            if _begins(text):
                return False
            self._remember(line)
        return True

    def _seeds(self, line: LogLine) -> None:
        record = parse_printk_line(line.raw)
        if record is None:
            self.torn += 1
        else:
            self._boot.told.append(Told(device=record.device, cost_ns=record.cost_ns, ready=record))

    def _remember(self, line: LogLine) -> None:
        text = line.text
        if "deferred probe pending" in text and (match := _PENDING.search(text)) is not None:
            if len(self._pending) < MAX_KEPT:
                reason = f": {match[2].strip()}" if match[2] else ""
                message = f"{match[1]} still waits for what it deferred on{reason}"
                self._pending.append(RunWarning(kind="deferred-pending", message=message, time_ns=line.time_ns))
        elif (release := find_release(text)) is not None:
            if _VERSION in text and (self._boot.told or self._boot.release):
                if len(self.boots) >= MAX_BOOTS:
                    raise InputError(f"holds more than {MAX_BOOTS} boots: divide it")
                self._begin(Boot())
            self._boot.release = self._boot.release or release
        else:
            self._boot.said(text, line.time_ns)

    # ---- warnings ---------------------------------------------------------------------------------------------------
    def warnings(self, probes: list[ProbeRecord]) -> Iterator[RunWarning]:
        """Return the warnings on what was read."""
        if self.torn:
            yield RunWarning(kind="torn-line", message=f"{self.torn} line(s) about probes could not be read")
        if len(self.boots) > 1:
            message = f"holds {len(self.boots)} boots, one after the other: times of different boots do not compare"
            yield RunWarning(kind="several-boots", message=message)
        yield from self._results()
        if any(record.start_ns is not None for record in probes):
            message = "start and end are worked out from the time at which the log line was printed"
            yield RunWarning(kind="log-time", message=message)
        yield from self._pending
        yield from self._unfinished()
        yield from self._drivers(probes)
        if untold := sum(record.result == UNTOLD_NAME for record in probes):
            yield RunWarning(kind="not-told", message=NO_ERRNO.format(untold))
        if any(record.cpu is None for record in probes):
            message = "a kernel's log tells no CPU, node, task, caller, nor how a cost divides into running and waiting"
            yield RunWarning(kind="not-told", message=message)
        if any(record.cpu is not None for record in probes):
            message = "printk lines tell no result, node, caller, nor how a cost divides into running and waiting"
            yield RunWarning(kind="not-told", message=message)

    def _results(self) -> Iterator[RunWarning]:
        if self.kernel is not None and any(boot.release is None and boot.evidence.numbers for boot in self.boots):
            message = (
                f"the log does not name its kernel; its results are read as those of {self.kernel[:60]}, its machine's"
            )
            yield RunWarning(kind="kernel", message=message)
        if any(boot.evidence.assumed for boot in self.boots):
            message = (
                "nothing tells the kernel's release: 'returned 0' is read as bound, as since 5.14; before, it meant "
                "the opposite (--machine with a machine of that kernel tells it)"
            )
            yield RunWarning(kind="assumed-results", message=message)

    def _unfinished(self) -> Iterator[RunWarning]:
        if number := sum(boot.unfinished for boot in self.boots):
            named = [f"{device} ({driver})" for boot in self.boots for device, driver in boot.unfinished_probes]
            message = f"{number} probe(s) began and are not over where the log ends: {_some(named, number)}"
            yield RunWarning(kind="unfinished", message=message)
        untimed = [f"{device} ({driver})" for boot in self.boots for device, driver in boot.untimed.items()]
        if untimed:
            message = f"{len(untimed)} probe(s) are named without a begin or without times, and left out"
            yield RunWarning(kind="untimed", message=f"{message}: {_some(untimed, len(untimed))}")

    def _drivers(self, probes: list[ProbeRecord]) -> Iterator[RunWarning]:
        assumed = sum(boot.assumed_drivers for boot in self.boots)
        if assumed:
            message = (
                f"{assumed} probe(s) are named after the initcall that they ran in, which may not be the driver's name"
            )
            yield RunWarning(kind="assumed-driver", message=message)
        unnamed = sum(record.driver == UNNAMED for record in probes)
        if unnamed:
            yield RunWarning(kind="not-told", message=f"{unnamed} probe(s) do not tell their driver")


def _may_be_hinted(text: str) -> bool:
    """Tell whether ``_HINTS`` may find something: it finds no more than this, which takes a third of its time."""
    return (
        "prob" in text
        or "ling " in text
        or "call " in text
        or "Linux " in text
        or "ainted" in text
        or "r_bound" in text
    )


def _begins(text: str) -> bool:
    """Tell whether a message has the first words of one that is looked at whole."""
    return begins_probe_line(text) or text.startswith(_CALLS)


def _some(names: list[str], number: int) -> str:
    return first_few(names, MAX_NAMED, last=", and", of=number)


def read_log(
    stream: ByteStream, *, topology: Topology | None = None, kernel: str | None = None, until: Sequence[str] = ()
) -> Trace:
    """Return the trace that a kernel log holds: ``initcall_debug``, dyndbg lines and the threads' printk lines.

    A probe that a printk line tells is not told again by ``initcall_debug``'s coarser one.

    Args:
        stream: an open binary file, pipe or decompressor.
        topology: the machine, for the nodes of CPUs and devices and the devices' buses.
        kernel: the release, where the log does not name it: what a result means depends on it.
        until: texts to look for: the first line with one is a milestone.

    """
    reader = LogReader(kernel=kernel, until=until)
    probes = reader.records(stream)
    finer = {record.device for record in probes if record.cpu is not None}
    probes = [record for record in probes if record.cpu is not None or record.device not in finer]
    warnings = tuple(reader.warnings(probes))
    if topology is not None:
        devices = {device.name: device for device in topology.devices}
        probes = [placed(record, devices.get(record.device), topology) for record in probes]
    timeline = reader.boots[0].timeline  # of several boots the first: their times do not compare
    machine = timeline.topology(reader.release) if timeline.initcalls and topology is None else None
    return Trace(
        source="kernel",
        probes=tuple(probes),
        kernel=reader.release,
        machine={} if machine is None else to_json(machine),
        warnings=warnings,
        initcalls=tuple(timeline.initcalls),
        milestones=timeline.milestones,
    )


def placed(record: ProbeRecord, device: DeviceInfo | None, topology: Topology) -> ProbeRecord:
    """Return a record with the nodes and the bus that the machine tells."""
    return replace(
        record,
        bus=(device.bus or None) if device else record.bus,
        device_node=device.node if device else record.device_node,
        cpu_node=None if record.cpu is None else topology.node_of(record.cpu),
    )
