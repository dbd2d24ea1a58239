"""The kernel's log to records: what ``initcall_debug`` prints, and the seeds' lines, in one pass.

``really_probe_debug`` of ``drivers/base/dd.c`` prints ``probe of DEVICE returned RESULT after TIME usecs`` for every
probe of a boot. That is a device, an outcome and a duration: no CPU, no task, and no driver. The driver is named only
where the log tells it elsewhere: ``probe with driver nvme failed`` (since 6.8), ``nvme: probe of … failed`` (before),
or the module whose initcall the same task is in (``calling  nvme_init+0x0/0x1000 [nvme] @ 123``, with caller ids, or
when no other initcall is under way).

In front of a line may stand a time stamp, a caller id (``[T123]``, ``[C1]``), a level, syslog's host, or the
``7,123,1234567,-;`` of ``/dev/kmsg``. The line is printed when the probe is over: with a stamp, that is its end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from numaprobe.kernel.ftrace_line import decode
from numaprobe.kernel.lines import ByteStream, Lines
from numaprobe.kernel.probes import UNNAMED
from numaprobe.records import ProbeRecord, RunWarning, Trace, parse_printk_line
from numaprobe.records.errnos import EPROBE_DEFER, errno_name
from numaprobe.records.printk import in_order, log_time_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.topology import DeviceInfo, Topology

_PROBE: Final = re.compile(
    r"probe of (\S{1,255}) returned (-?\d{1,10}|0x[0-9a-f]{1,8}) after (\d{1,15}) usecs", re.ASCII
)
_CALLER: Final = re.compile(r"\[\s{0,8}([TC]\d{1,10})\]|caller=([TC]\d{1,10})", re.ASCII)
_KMSG: Final = re.compile(r"\d{1,6},\d{1,18},(\d{1,15}),", re.ASCII)
_CALLING: Final = re.compile(r"calling {1,2}\S{1,256} \[([\w-]{1,64})\] @ (\d{1,10})", re.ASCII)
_INITCALL: Final = re.compile(r"initcall \S{1,256} \[([\w-]{1,64})\] returned", re.ASCII)
_VERSION: Final = re.compile(r"Linux version (\S{1,128}) ", re.ASCII)
_FAILED: Final = re.compile(r": probe (with driver|of) (\S{1,255}) (?:failed|rejects)", re.ASCII)
_PENDING: Final = re.compile(r": deferred probe pending(?:: (.{0,200}))?", re.ASCII)

#: Substrings of the lines that are looked at, in bytes: all others are passed over.
_HINTS: Final = (b"probe", b"calling  ", b"initcall ", b"Linux version ")
#: Remarks and initcalls kept; a log with more repeats itself.
MAX_KEPT: Final = 1000


@dataclass(slots=True)
class LogReader:
    """Reads one log as a stream.

    Attributes:
        kernel: the release that the log's first line names.
        torn: lines that look like a probe's but are not whole.

    """

    kernel: str | None = None
    torn: int = 0
    stamped: bool = False
    _pending: list[RunWarning] = field(default_factory=list)
    #: the module whose initcall a task is in, by ``T123``
    _modules: dict[str, str] = field(default_factory=dict)
    #: the driver that a line about a failed probe named, by device
    _drivers: dict[str, str] = field(default_factory=dict)
    #: tries that ended in a deferral, by device
    _deferred: dict[str, int] = field(default_factory=dict)

    def records(self, stream: ByteStream) -> Iterator[ProbeRecord]:
        """Return the probes' records in the order of their lines."""
        lines = Lines(stream)
        for block in lines.blocks():
            for line in block:
                if any(hint in line for hint in _HINTS) and (record := self._line(decode(line))) is not None:
                    yield record
        self.torn += lines.torn

    def _line(self, line: str) -> ProbeRecord | None:
        if "probe cost: " in line:
            record = parse_printk_line(line)
            self.torn += record is None
            self.stamped |= record is not None and record.end_ns is not None
            return record
        if " usecs" in line and (match := _PROBE.search(line)) is not None:
            return self._probe(line, match)
        if "probe of " in line and " returned " in line:
            self.torn += 1
        else:
            self._remember(line)
        return None

    def _remember(self, line: str) -> None:
        """Keep what a later line may need: who is in which initcall, which driver a device has."""
        if (match := _CALLING.search(line)) is not None:
            self._modules.setdefault(f"T{match[2]}", match[1])
        elif (match := _INITCALL.search(line)) is not None:
            ended = match[1]
            self._modules = {task: module for task, module in self._modules.items() if module != ended}
        elif (match := _FAILED.search(line)) is not None:
            word = _word_before(line, match.start())
            device, driver = (word, match[2]) if match[1] == "with driver" else (match[2], word)
            self._drivers[device] = driver
        elif (match := _PENDING.search(line)) is not None and len(self._pending) < MAX_KEPT:
            reason = f": {match[1].strip()}" if match[1] else ""
            message = f"{_word_before(line, match.start())} still waits for what it deferred on{reason}"
            self._pending.append(RunWarning(kind="deferred-pending", message=message, time_ns=_time_ns(line)))
        elif self.kernel is None and (match := _VERSION.search(line)) is not None:
            self.kernel = match[1]
        for names in (self._modules, self._drivers):
            if len(names) > MAX_KEPT:
                names.clear()

    def _probe(self, line: str, match: re.Match[str]) -> ProbeRecord:
        device, number, duration = match.groups()
        cost = int(duration) * 1000
        end = _time_ns(line)
        start = end - cost if end is not None and end >= cost else None
        self.stamped |= start is not None
        result = errno_name(_signed(number))
        attempt = self._deferred.pop(device, 0) + 1
        if result == EPROBE_DEFER and len(self._deferred) < MAX_KEPT:
            self._deferred[device] = attempt
        return ProbeRecord(
            device=device,
            driver=self._drivers.pop(device, "") or self._module(line) or UNNAMED,
            result=result,
            cost_ns=cost,
            start_ns=start,
            end_ns=end if start is not None else None,
            function="really_probe",
            attempt=attempt,
        )

    def _module(self, line: str) -> str | None:
        """Return the module whose initcall this line's task is in, if that is certain."""
        caller = _CALLER.search(line, 0, 160)
        if caller is not None:
            return self._modules.get(str(caller[1] or caller[2]))
        return next(iter(self._modules.values())) if len(self._modules) == 1 else None

    def warnings(self, probes: list[ProbeRecord]) -> Iterator[RunWarning]:
        """Return the remarks on what was read."""
        if self.torn:
            yield RunWarning(kind="torn-line", message=f"{self.torn} line(s) about probes could not be read")
        if self.stamped:
            message = "start and end are worked out from the time at which the log line was printed"
            yield RunWarning(kind="log-time", message=message)
        yield from self._pending
        if any(record.cpu is None for record in probes):
            message = "initcall_debug tells no CPU, task, caller, nor how a cost divides into running and waiting"
            yield RunWarning(kind="not-told", message=message)
        if any(record.cpu is not None for record in probes):
            message = "printk lines tell no result, caller, nor how a cost divides into running and waiting"
            yield RunWarning(kind="not-told", message=message)
        unnamed = sum(record.driver == UNNAMED for record in probes)
        if unnamed:
            yield RunWarning(kind="not-told", message=f"{unnamed} probe(s) do not tell their driver")


def read_log(stream: ByteStream, *, topology: Topology | None = None) -> Trace:
    """Return the trace that a kernel log holds: ``initcall_debug`` and the seeds' printk lines.

    A probe that a seeds' line tells is not told again by ``initcall_debug``'s coarser one.

    Args:
        stream: an open binary file, pipe or decompressor.
        topology: the machine, for the nodes of CPUs and devices and the devices' buses.

    """
    reader = LogReader()
    probes = list(reader.records(stream))
    finer = {record.device for record in probes if record.cpu is not None}
    probes = [record for record in probes if record.cpu is not None or record.device not in finer]
    warnings = tuple(reader.warnings(probes))
    if topology is not None:
        devices = {device.name: device for device in topology.devices}
        probes = [placed(record, devices.get(record.device), topology) for record in probes]
    return Trace(source="kernel", probes=in_order(probes), kernel=reader.kernel, warnings=warnings)


def placed(record: ProbeRecord, device: DeviceInfo | None, topology: Topology) -> ProbeRecord:
    """Return a record with the nodes and the bus that the machine tells."""
    return replace(
        record,
        bus=(device.bus or None) if device else record.bus,
        device_node=device.node if device else record.device_node,
        cpu_node=None if record.cpu is None else topology.node_of(record.cpu),
    )


def _word_before(line: str, at: int) -> str:
    """Return the last word before a place: the device or driver that a message is about."""
    return line[max(0, at - 255) : at].rpartition(" ")[2] or UNNAMED


def _signed(number: str) -> int:
    return int(number, 16 if number.startswith("0x") else 10)


def _time_ns(line: str) -> int | None:
    found = log_time_ns(line)
    if found is None and (match := _KMSG.match(line)) is not None:
        return int(match[1]) * 1000
    return found
