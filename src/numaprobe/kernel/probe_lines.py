"""What the kernel's log says about one probe, in the words of every release: the one place that knows them.

``drivers/base/dd.c`` prints, as read in Debian's linux-source packages (5.10, 6.1, 6.12, 7.2, 7.3):

=========================  ===========================================================================================
``initcall_debug``         ``probe of DEVICE returned N after N usecs``; 7.3: ``probe of DEVICE with driver DRIVER …``
the outcome, before 6.8    ``DRIVER: probe of DEVICE failed with error N`` (dyndbg: ``rejects match N``)
the outcome, since 6.8     ``DRIVER DEVICE: probe with driver DRIVER failed with error N`` (dyndbg: ``rejects match N``)
dyndbg, before 6.8         ``bus: 'BUS': really_probe: probing driver DRIVER with device DEVICE``;
                           ``driver: 'DRIVER': driver_bound: bound to device 'DEVICE'``;
                           ``bus: 'BUS': really_probe: bound device DEVICE to driver DRIVER``
dyndbg, since 6.8          the same behind ``DRIVER-or-BUS DEVICE: ``, and without the device's name
dyndbg, all                ``… DEVICE: Driver DRIVER requests probe deferral``, ``… DEVICE: probing driver DRIVER
                           asynchronously``, ``… DEVICE: scheduling asynchronous probe``
=========================  ===========================================================================================

What ``N`` of ``returned N`` means depends on the release: ``log_dialect.py``.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

from numaprobe.records.errnos import EPROBE_DEFER, errno_value

_NAME: Final = r"[^'\s](?:[^'\n]{0,62}?[^'\s])?"
_NUMBER: Final = r"-?\d{1,10}|0x[0-9a-f]{1,8}"
_DEVICE_FIRST: Final = r"(?:(?<!\S)(\S{1,255}): )?"
_RETURNED: Final = re.compile(
    rf"probe of ((?:(?!probe of )[^\n]){{1,255}}?)(?: with driver ({_NAME}))? returned ({_NUMBER})"
    r" after (\d{1,15}) usecs?",
    re.ASCII,
)
#: the most frequent messages, whole, as nearly all of them are
_USUAL: Final = re.compile(
    r"""(?:
      probe\ of\ (\S{1,255})(?:\ with\ driver\ ([^'\s]{1,64}))?\ returned\ (-?\d{1,10}|0x[0-9a-f]{1,8})
      \ after\ (\d{1,15})\ usecs
    | bus:\ '([^'\s]{1,64})':\ really_probe:\ probing\ driver\ ([^'\s]{1,64})\ with\ device\ (\S{1,255})
    | driver:\ '([^'\s]{1,64})':\ driver_bound:\ bound\ to\ device\ '([^'\s]{1,255})'
    | bus:\ '([^'\s]{1,64})':\ really_probe:\ bound\ device\ (\S{1,255})\ to\ driver\ ([^'\s]{1,64})
    )\s*$""",
    re.VERBOSE | re.ASCII,
)
_OF: Final = re.compile(
    r"(?:^|\s)(\S{1,64}|^[^':\s][^':\n]{0,62}): probe of (\S{1,255}) (?:failed with error|rejects match) (-?\d{1,5})",
    re.ASCII,
)
_WITH: Final = re.compile(
    rf"(?<!\S)(\S{{1,255}}): probe with driver ({_NAME}) (?:failed with error|rejects match) (-?\d{{1,5}})", re.ASCII
)
_PROBING: Final = re.compile(
    rf"{_DEVICE_FIRST}bus: '([^']{{1,64}})': really_probe: probing driver ({_NAME}) with device(?: (\S{{1,255}}))?"
)
_DRIVER_BOUND: Final = re.compile(
    rf"{_DEVICE_FIRST}driver: '({_NAME})': driver_bound: bound to device(?: '([^']{{1,255}})')?"
)
_BOUND: Final = re.compile(
    rf"{_DEVICE_FIRST}bus: '([^']{{1,64}})': really_probe: bound device (?:(\S{{1,255}}) )?to driver ({_NAME})\s*$"
)
_DEFERS: Final = re.compile(rf"(?<!\S)(\S{{1,255}}): Driver ({_NAME}) requests probe deferral")
_ASYNC: Final = re.compile(rf"(?<!\S)(\S{{1,255}}): probing driver ({_NAME}) asynchronously")
_SCHEDULED: Final = re.compile(r"(?<!\S)(\S{1,255}): scheduling asynchronous probe")
#: a line of these that none of the forms fits goes on in the next line, or is torn
_BEGUN: Final = (
    "probe of ",
    "probe with driver ",
    "probing driver ",
    " requests probe",
    "driver_bound: bound",
    "really_probe: bound",
)


class LineKind(Enum):
    """What a line tells of a probe."""

    #: it is over, and how long it took (``initcall_debug``)
    RETURNED = "returned"
    #: it begins
    PROBING = "probing"
    #: the device is bound; ``really_probe`` goes on
    DRIVER_BOUND = "driver-bound"
    #: the device is bound, and ``really_probe`` is at its end
    BOUND = "bound"
    #: the driver returned an error, or asks for a later try
    FAILED = "failed"
    #: the next probe of the device will be asynchronous
    ASYNC = "async"


class ProbeLine(NamedTuple):
    """What one line says of one probe."""

    kind: LineKind
    device: str
    #: None where the line does not name it
    driver: str | None = None
    bus: str | None = None
    #: the number as printed; of ``returned`` its meaning is the release's
    number: int | None = None
    cost_ns: int | None = None
    #: of ASYNC: how the probe will be reached
    path: str | None = None
    #: the words are those of 6.8 or later
    recent: bool = False


def parse_probe_line(text: str) -> ProbeLine | None:
    """Return what a message says of a probe; None if it says nothing, or is not whole."""
    if (match := _RETURNED.search(text)) is not None:
        return _returned(*match.groups())
    return _outcome(text) or _dynamic_debug(text)


def parse_usual_line(text: str) -> ProbeLine | None:
    """Return what ``parse_probe_line`` returns of a message in one of the most frequent forms; None: it is in another.

    Most messages are in none of these, and this is known after a look at their first characters.
    """
    match = _USUAL.match(text)
    if match is None:
        return None
    device, driver, number, cost, bus, probing, to, binding, bound, on, last, by = match.groups()
    if device is not None:
        return _returned(device, driver, number, cost)
    if to is not None:
        return ProbeLine(LineKind.PROBING, to, probing, bus)
    return (
        ProbeLine(LineKind.DRIVER_BOUND, bound, binding)
        if bound is not None
        else ProbeLine(LineKind.BOUND, last, by, on)
    )


def _returned(device: str, driver: str | None, number: str, cost: str) -> ProbeLine:
    value = int(number, 16 if number.startswith("0x") else 10)
    return ProbeLine(LineKind.RETURNED, device, driver, None, value, int(cost) * 1000, None, driver is not None)


def _outcome(text: str) -> ProbeLine | None:
    if ": probe of " in text and (match := _OF.search(text)) is not None:
        return ProbeLine(kind=LineKind.FAILED, device=match[2], driver=match[1], number=int(match[3]))
    if ": probe with driver " in text and (match := _WITH.search(text)) is not None:
        return ProbeLine(kind=LineKind.FAILED, device=match[1], driver=match[2], number=int(match[3]), recent=True)
    if "requests probe deferral" in text and (match := _DEFERS.search(text)) is not None:
        return ProbeLine(kind=LineKind.FAILED, device=match[1], driver=match[2], number=-errno_value(EPROBE_DEFER))
    return None


def _dynamic_debug(text: str) -> ProbeLine | None:
    if "really_probe: probing" in text and (match := _PROBING.search(text)) is not None:
        before, bus, driver, device = match.groups()
        return _either(LineKind.PROBING, before, device, driver, bus)
    if "really_probe: bound" in text and (match := _BOUND.search(text)) is not None:
        before, bus, device, driver = match.groups()
        return _either(LineKind.BOUND, before, device, driver, bus)
    if "driver_bound: bound" in text and (match := _DRIVER_BOUND.search(text)) is not None:
        before, driver, device = match.groups()
        return _either(LineKind.DRIVER_BOUND, before, device, driver, None)
    return _asynchronous(text) if "asynchronous" in text else None


def _asynchronous(text: str) -> ProbeLine | None:
    if (match := _ASYNC.search(text)) is not None:
        return ProbeLine(kind=LineKind.ASYNC, device=match[1], driver=match[2], path="driver_attach_async")
    if (match := _SCHEDULED.search(text)) is not None:
        return ProbeLine(kind=LineKind.ASYNC, device=match[1], path="device_attach_async")
    return None


def _either(kind: LineKind, before: str | None, device: str | None, driver: str, bus: str | None) -> ProbeLine | None:
    """Return the line in the words of before 6.8, which name the device, or since, which put it in front."""
    if device is not None:
        return ProbeLine(kind=kind, device=device, driver=driver, bus=bus)
    if before is None or "really_probe" in before or "driver_bound" in before:
        return None  # dyndbg's +f puts its own words there: the device is in the next line of a mail
    return ProbeLine(kind=kind, device=before, driver=driver, bus=bus, recent=True)


def begins_probe_line(text: str) -> bool:
    """Tell whether a message has the first words of a line about a probe, but perhaps not the last."""
    return any(begun in text for begun in _BEGUN)


def tells_a_probe(text: str) -> bool:
    """Tell whether a kernel's log holds a whole line of ``initcall_debug`` about a probe."""
    return _RETURNED.search(text) is not None
