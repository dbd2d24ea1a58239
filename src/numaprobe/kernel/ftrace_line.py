r"""One line of ftrace text: which task, where, when, and which event.

Written by the kernel's ``trace`` and ``trace_pipe`` and by ``trace-cmd report``, in these layouts (``kernel/trace/
trace_output.c``)::

        insmod-288     [000] d..1.    11.187711: EVENT: ARGUMENTS        the usual one, 4 or 5 flags
        insmod-288     [000]    11.187711: EVENT: ARGUMENTS              nooption irq-info; trace-cmd
        insmod-288     (    288) [000] d..1.    11.187711: EVENT: …      option record-tgid
        insmod-288       0d..1.   11us+: EVENT: ARGUMENTS                option latency-format, trace-cmd -l

A task whose name the kernel no longer knows is ``<...>``. The time is in seconds with any number of decimals, in µs
with ``us`` behind it, or, with a clock that does not count ns, a bare number.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from numaprobe.records.errnos import UNTOLD
from numaprobe.records.ranges import MAX_CPU, MAX_TIME_NS

#: third flag of a line: hard interrupt, softirq, both, non-maskable
_INTERRUPT_FLAGS: Final = frozenset((b"h", b"s", b"H", b"z", b"Z"))
_HEAD: Final = re.compile(
    rb"""\s*+(?P<comm>\S.{0,63}?)-(?P<pid>\d{1,10})
    \s++(?:\(\s*[\d-]{1,10}\)\s+)?
    (?:\[(?P<cpu>\d{1,5})\]|(?P<latency_cpu>\d{1,5})(?=[^\d\s]))
    \s*(?:(?P<flags>[^\d\s]\S{0,15})\s+)?
    (?P<time>\d{1,12}(?:\.\d{1,9})?)(?P<unit>us)?[+!\#*@$]?\s?:\s+
    (?P<event>[^\s:]{1,128}):(?P<arguments>.*)""",
    re.VERBOSE | re.DOTALL,
)
#: a line up to its first ``": "``, as nearly all are: pid, CPU, the third flag if there are any, time in µs or ns
_USUAL_HEAD: Final = re.compile(
    rb".*-(\d{1,10}) +(?:\([ \d-]{1,10}\) +)?\[(\d{1,4})\] +(?:[^\d\s].(.)\S* +)?(\d{1,9})\.(\d{6}(?:\d{3})?)",
    re.DOTALL,
)
_LOST: Final = re.compile(rb"CPU:\s?(?P<cpu>\d{1,5}) \[(?:LOST )?(?P<count>\d{0,18}) ?EVENTS(?: DROPPED)?\]")
_ENTRIES: Final = re.compile(rb"# entries-in-buffer/entries-written: (\d{1,18})/(\d{1,18})")
_WHERE: Final = re.compile(
    rb"""\s*\((?P<first>[^\s()<>]{1,256})(?:\ \[(?P<module>[^\]\s]{1,64})\])?
    (?P<returns>\ <-\ (?P<target>[^\s()]{1,256})(?:\ \[(?P<target_module>[^\]\s]{1,64})\])?)?\)
    (?P<fields>.*)""",
    re.VERBOSE | re.DOTALL,
)
_TEXT: Final = re.compile(rb'(?:^|\s)(?P<name>dev|drv)="(?P<value>.{0,512}?)"(?=\s{1,8}\w{1,64}=|\s{0,8}$)', re.DOTALL)
_RESULT: Final = re.compile(rb"(?:^|\s)ret=(-?\d{1,10}|0x[0-9a-fA-F]{1,16})(?:\s|$)")
#: what nearly all have behind the brackets; ``_TEXT`` and ``_RESULT`` read any other
_USUAL_FIELDS: Final = re.compile(
    rb'(?: dev="(?P<dev>[^"]{0,512})")?(?: drv="(?P<drv>[^"]{0,512})")?(?: ret=(?P<ret>-?\d{1,10}))?\s{0,8}'
)
_ADDRESS: Final = re.compile(rb"(?:0x)?[0-9a-f]{8,16}")

_FAULT: Final = b"(fault)"
_LONGEST_TIME: Final = 24
#: ns of the last decimal, by number of decimals
_SCALES: Final = tuple(int("1".ljust(10 - decimals, "0")) for decimals in range(10))
#: a dot and six decimals
_MICROSECONDS: Final = 7


class EventLine(NamedTuple):
    """A line, taken apart."""

    comm: bytes
    pid: bytes
    cpu: int
    #: ``d..1.``; empty where the line has none
    flags: bytes
    #: as printed, with its unit
    time: bytes
    event: bytes
    arguments: bytes


class KprobeArguments(NamedTuple):
    """What a kprobe event prints behind its name."""

    #: the symbol, if the text has one: of an entry the function itself, of a return the function that returned
    symbol: str | None
    module: str | None
    returns: bool
    device: str | None
    driver: str | None
    result: int | None


def parse_event_line(line: bytes) -> EventLine | None:
    """Take a line apart; None if it is no event line."""
    match = _HEAD.match(line)
    if match is None:
        return None
    comm, pid, cpu, latency_cpu, flags, time, unit, event, arguments = match.groups()
    number = int(cpu or latency_cpu)
    if number > MAX_CPU:
        return None
    return EventLine(comm, pid, number, flags or b"", time + (unit or b""), event, arguments)


def parse_usual_head(head: bytes) -> tuple[int, int] | None:
    """Return CPU and ns of a line that was cut at its first ``": "``; None: it is not in the usual layout."""
    match = _USUAL_HEAD.fullmatch(head)
    if match is None:
        return None
    _, cpu, _, seconds, decimals = match.groups()
    number, now = int(cpu), int(seconds + decimals)
    return (number, now * _SCALES[len(decimals)]) if number <= MAX_CPU else None


def parse_time(text: bytes) -> int | None:
    """Return ns: of ``11.187711``, ``11.187711000``, ``15us``; a bare number is taken as ns. None if it is no time."""
    found = _time(text) if len(text) <= _LONGEST_TIME else None
    return found if found is not None and 0 <= found <= MAX_TIME_NS else None


def _time(text: bytes) -> int | None:
    try:
        if text.endswith(b"us"):
            return int(text[:-2]) * 1000
        dot = text.find(b".")
        if len(text) - dot == _MICROSECONDS and dot > 0:
            return int(text[:dot] + text[dot + 1 :]) * 1000
        if dot < 0:
            return int(text)
        fraction = text[dot + 1 : dot + 10]
        return int(text[:dot]) * 1_000_000_000 + int(fraction) * _SCALES[len(fraction)]
    except ValueError:
        return None


def parse_lost(line: bytes) -> int | None:
    """Return how many events a line says were lost (0 = it does not say how many); None if it says nothing of it."""
    match = _LOST.match(line.lstrip())
    return int(match["count"] or 0) if match else None


def parse_overwritten(line: bytes) -> int:
    """Return how many events the header says were overwritten in the ring buffer."""
    match = _ENTRIES.match(line)
    return max(0, int(match[2]) - int(match[1])) if match else 0


@lru_cache(maxsize=512)  # a function's calls return alike, and a device's helpers are entered alike
def parse_kprobe(arguments: bytes) -> KprobeArguments | None:
    """Take a kprobe event's text apart; None if it is none."""
    match = _WHERE.match(arguments)
    if match is None:
        return None
    first, module, returns, target, target_module, fields = match.groups()
    if returns is not None:
        symbol, module = target, target_module
    else:
        symbol = first
    device, driver, result = _fields(fields)
    return KprobeArguments(
        None if _ADDRESS.fullmatch(symbol) else decode(symbol).partition("+")[0],
        decode(module) if module else None,
        returns is not None,
        None if device is None or device == _FAULT else decode(device),
        None if driver is None or driver == _FAULT else decode(driver),
        _bound_or_not(result) if returns is not None and _is_old(first, target) else result,
    )


def _fields(text: bytes) -> tuple[bytes | None, bytes | None, int | None]:
    """Return device, driver and result."""
    usual = _USUAL_FIELDS.fullmatch(text)
    if usual is not None:
        device, driver, result = usual.groups()
        return device, driver, None if result is None else _signed(int(result))
    texts = {found["name"]: found["value"] for found in _TEXT.finditer(text)}
    match = _RESULT.search(text)
    if match is not None:
        return texts.get(b"dev"), texts.get(b"drv"), _signed(int(match[1], 16 if match[1].startswith(b"0x") else 10))
    return texts.get(b"dev"), texts.get(b"drv"), None


def _signed(value: int) -> int:
    """Return what a register's lower half stands for."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _is_old(first: bytes, target: bytes) -> bool:
    """Tell whether a return is one of a kernel before 5.14, where ``driver_probe_device`` itself calls really_probe."""
    return target == b"really_probe" and first.startswith(b"driver_probe_device+")


def _bound_or_not(result: int | None) -> int | None:
    """Return the result that an old really_probe stands for: it returned 1 = bound, and 0 for most failures."""
    return {1: 0, 0: UNTOLD}.get(result, result) if result is not None else None


def decode(text: bytes) -> str:
    """Return a kernel's text; bytes that are no UTF-8 become escapes."""
    return text.decode(errors="backslashreplace")


def task_of(head: bytes, line: bytes) -> tuple[bytes, bool | None]:
    """Return the pid of a line that was cut at its first ``": "``, and whether an interrupt borrowed the task.

    None: there are no flags to tell, as in trace-cmd's text (but with ``-l``).
    """
    usual = _USUAL_HEAD.fullmatch(head)
    if usual is not None:
        return usual[1], None if usual[3] is None else usual[3] in _INTERRUPT_FLAGS
    parsed = parse_event_line(line)
    if parsed is None:
        return b"", None
    return parsed.pid, parsed.flags[2:3] in _INTERRUPT_FLAGS if parsed.flags else None
