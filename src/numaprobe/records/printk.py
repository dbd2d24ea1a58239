r"""The printk line of the December 2025 threads: one probe, as their patches made the kernel print it.

``nvme 0000:01:00.0: CPU: 5, COMM: kworker/u1025:5, probe cost: 34765890 ns``

Written and read. In front of it may stand whatever a log, a mail or a journal puts there: a time stamp and a caller id
(``[   12.345678][  T123]``), a level (``<6>``), ``> `` of a quotation, host and ``kernel:`` of syslog. The line holds
neither node, outcome nor start: those stay unknown. What could break the line (a newline in a hostile name) is written
as ``\x0a``; what is not known as ``?``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from numaprobe.records.model import ProbeRecord, RunWarning, Trace
from numaprobe.records.ranges import MAX_CPU

if TYPE_CHECKING:
    from collections.abc import Iterable

_MARK: Final = ", probe cost: "
_LINE: Final = re.compile(
    r"(?P<driver>[^\s\[\]<>:]\S{0,63})[ ](?P<device>\S{1,255}):"
    r"[ ]CPU:[ ](?P<cpu>\d{1,9}|\?),[ ]COMM:[ ](?P<comm>.{0,64}),[ ]probe[ ]cost:[ ](?P<cost>\d{1,18})[ ]ns\s*",
    re.ASCII | re.DOTALL,
)
#: ``[   12.345678]``; of Android's MSM kernels ``[   12.345678,3]``, of ``dmesg -d`` ``[   12.345678 <    0.000123>]``
_PREFIX: Final = re.compile(
    r"\[\s{0,20}(?P<s>\d{1,9})\.(?P<us>\d{6})(?:,\d{1,3}|\s<\s{0,20}[\d.+]{1,20}>)?\]", re.ASCII
)
#: what ends the log's own words in front of the driver's name: a blank, a stamp, a level or quotation, /dev/kmsg's head
_PREFIX_ENDS: Final = (" ", "]", ">", ";")
_UNKNOWN: Final = "?"


def printk_line(record: ProbeRecord) -> str:
    """Return the threads' line for one record, without a newline."""
    cpu = _UNKNOWN if record.cpu is None else str(record.cpu)
    comm = _UNKNOWN if record.comm is None else _one_line(record.comm)
    driver, device = _one_word(record.driver), _one_word(record.device)
    return f"{driver} {device}: CPU: {cpu}, COMM: {comm}{_MARK}{record.cost_ns} ns"


def printk_lines(trace: Trace) -> str:
    """Return the threads' lines for all records of a trace, a newline behind each."""
    return "".join(printk_line(record) + "\n" for record in trace.probes)


def parse_printk_line(line: str) -> ProbeRecord | None:
    """Return the record that a line holds, or None if it is no such line."""
    match = _last_match(line)
    if match is None:
        return None
    cost = int(match["cost"])
    if match["cpu"] != _UNKNOWN and int(match["cpu"]) > MAX_CPU:
        return None
    end = log_time_ns(line)
    start = end - cost if end is not None and end >= cost else None
    return ProbeRecord(
        device=match["device"],
        driver=match["driver"],
        cpu=None if match["cpu"] == _UNKNOWN else int(match["cpu"]),
        comm=None if match["comm"] == _UNKNOWN else match["comm"],
        cost_ns=cost,
        start_ns=start,
        end_ns=end if start is not None else None,
    )


def read_printk(lines: Iterable[str]) -> Trace:
    """Return the trace that the threads' lines among ``lines`` make; every other line is passed over."""
    probes: list[ProbeRecord] = []
    torn = 0
    for line in lines:
        if _MARK in line:
            record = parse_printk_line(line)
            if record is None:
                torn += 1
            else:
                probes.append(record)
    return Trace(source="kernel", probes=in_order(probes), warnings=tuple(_warnings(probes, torn)))


def in_order(probes: list[ProbeRecord]) -> tuple[ProbeRecord, ...]:
    """Return records in order of start if every one has a start, else as they came."""
    if any(record.start_ns is None for record in probes):
        return tuple(probes)
    return tuple(sorted(probes, key=lambda record: record.start_ns or 0))


def _warnings(probes: list[ProbeRecord], torn: int) -> Iterable[RunWarning]:
    if torn:
        yield RunWarning(kind="torn-line", message=f"{torn} line(s) speak of a probe's cost but are no whole line")
    if any(record.end_ns is not None for record in probes):
        yield RunWarning(
            kind="log-time",
            message="start and end are worked out from the time at which the log line was printed",
        )
    if probes:
        yield RunWarning(
            kind="not-told",
            message="printk lines tell no node, result, caller, nor how the cost divides into running and waiting",
        )


def log_time_ns(line: str) -> int | None:
    """Return the printk time stamp (``[   12.345678]``) near the start of a line, in ns; None if there is none."""
    match = _PREFIX.search(line, 0, 120)
    return int(match["s"]) * 10**9 + int(match["us"]) * 1000 if match else None


def _last_match(line: str) -> re.Match[str] | None:
    """Match the line from the driver's name on, two words before ``: CPU:``; what is further left is the log's."""
    at = line.find(": CPU: ")
    while at >= 0:
        device = line.rfind(" ", 0, at)
        driver = max(line.rfind(end, 0, max(device, 0)) for end in _PREFIX_ENDS)
        if device > 0 and (match := _LINE.fullmatch(line, driver + 1)):
            return match
        at = line.find(": CPU: ", at + 1)
    return None


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _one_word(text: str) -> str:
    return "".join(c if c.isprintable() and c != " " else _escape(c) for c in text) or _UNKNOWN


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004  two hexadecimal digits
