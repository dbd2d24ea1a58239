"""One line of a kernel's log without what logs, mails and consoles put around it.

In front of the kernel's own words may stand, in any order: marks of quotation (``> > ``), a level (``<6>``, ``kern
:info  :``), a time stamp (``[   12.345678]``; of ``dmesg -d``, ``-T``, ``-e`` and ``--time-format iso`` too), a caller
(``[T123]``, ``[C0]``, MediaTek's ``(0)[1:swapper/0]``, a vendor's ``[pid:1,cpu0,init]``), a date and a host with
``kernel:``, the head of ``/dev/kmsg``. Behind them a carriage return, and colours anywhere. A journal in JSON has the
words in ``MESSAGE`` and the time in ``_SOURCE_MONOTONIC_TIMESTAMP``.

A time counts only if it is the kernel's own, in µs since it booted: a date tells no duration worth the name.
"""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from numaprobe.kernel.ftrace_line import decode
from numaprobe.records.printk import log_time_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

_DATE: Final = r"""
      (?:[A-Z][a-z]{2}\s)?[A-Z][a-z]{2}\s+\d{1,2}\s\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:\s\d{4})?
    | \d{4}-\d\d-\d\d[T\s]\d\d:\d\d:\d\d\S{0,20}
    | \d{2}:\d\d:\d\d(?:[.,]\d{1,9})?
    | \d{9,10}\.\d{6}(?=\s)"""
_DRESS: Final = re.compile(
    rf"""(?:
      \s++ | [>|] | <\d{{1,3}}>
    | \[(?: [\s\d.,:<>+-]{{1,48}} | \d{{4}}-\d\d-\d\d[T\s][^\]\[]{{1,30}} | [A-Z][a-z]{{2}}[\s\d][^\]\[]{{4,26}}
        | \s{{0,8}}[TC]\d{{1,10}} | CPU\d{{1,5}} | pid:[^\]\[]{{1,48}} | \s{{0,8}}\d{{1,7}}:[^\]\[]{{1,40}} )\]
    | \(\d{{1,4}}\)
    | kern\s*:\s?\w{{1,8}}\s*:
    | \d{{1,6}},\d{{1,18}},\d{{1,15}},[^;]{{0,80}};
    | (?:[\w.-]{{1,64}}\s)?kernel(?:\[\d{{1,10}}\])?:(?=\s)
    | {_DATE}
    )*+""",
    re.VERBOSE | re.ASCII,
)
_CALLER: Final = re.compile(r"\[\s{0,8}([TC]\d{1,10})\]|caller=([TC]\d{1,10})", re.ASCII)
_KMSG: Final = re.compile(r"\d{1,6},\d{1,18},(\d{1,15}),", re.ASCII)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;?]{0,16}[A-Za-z]")
#: where a message begins whose predecessor lost its newline
_GLUED: Final = re.compile(r"(?<=[^\s\]>:;,|])(?=\s{0,4}(?:<\d>)?\[\s{0,5}\d{1,6}\.\d{6}\])", re.ASCII)
_STAMP: Final = re.compile(r"\[\s{0,5}\d{1,6}\.\d{6}\]", re.ASCII)
_ENTITY: Final = re.compile(r"&(?:#\d{1,4}|gt|lt|quot|amp|apos);", re.ASCII)
#: The kernel's own messages are shorter (``LOG_LINE_MAX``); what follows is somebody else's.
_LONGEST: Final = 2048
#: A line that two messages share is longer than this when the second begins.
_SHORTEST: Final = 30
#: what is looked at for a stamp and a caller
_HEAD: Final = 160
_JOURNAL: Final = (b'"MESSAGE"', b'"_SOURCE_MONOTONIC_TIMESTAMP"', b'"__REALTIME_TIMESTAMP"')


class LogLine(NamedTuple):
    """One message of the kernel."""

    #: its words
    text: str
    #: when it was printed, ns since the kernel booted; None if the log does not tell
    time_ns: int | None
    #: what printed it: ``T123`` a task, ``C1`` a CPU in an interrupt; None if the log does not tell
    caller: str | None
    #: the line as it stands, for a mail that cut it in two
    raw: str

    @property
    def begins(self) -> bool:
        """Whether the line has a head of its own: it does not go on with the one before."""
        return self.time_ns is not None or self.caller is not None


def messages(line: str) -> Iterator[LogLine]:
    """Return the messages of a line: one, or more where a console lost a newline."""
    if "\x1b" in line:
        line = _COLOUR.sub("", line)
    text = line.rstrip("\r")
    if text.startswith("{") and (entry := _of_journal(text)) is not None:
        yield entry
        return
    if "&" in text and _ENTITY.search(text):
        text = html.unescape(text)
    if _STAMP.search(text, _SHORTEST) is None:
        yield _undressed(text[:_LONGEST])
        return
    for part in _GLUED.split(text):
        yield _undressed(part[:_LONGEST])


def is_journal(head: bytes) -> bool:
    """Tell whether a text is a journal in JSON (``journalctl -o json``), an object a line."""
    return head.startswith(b"{") and any(key in head.split(b"\n", 1)[0] for key in _JOURNAL)


def _undressed(text: str) -> LogLine:
    match = _DRESS.match(text)
    words = text[match.end() :] if match else text
    caller = _CALLER.search(text, 0, _HEAD)
    printer = str(caller[1] or caller[2]) if caller else None
    return LogLine(words.rstrip(), _time_ns(text), printer, text)


def _time_ns(text: str) -> int | None:
    found = log_time_ns(text)
    if found is None and (match := _KMSG.match(text)) is not None:
        return int(match[1]) * 1000
    return found


def _of_journal(text: str) -> LogLine | None:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    message = entry.get("MESSAGE") if isinstance(entry, dict) else None
    if isinstance(message, list):  # bytes that are no UTF-8
        message = decode(bytes(value for value in message if isinstance(value, int) and 0 <= value < 256))  # noqa: PLR2004
    if not isinstance(message, str):
        return None
    inner = _undressed(message)
    stamp = entry.get("_SOURCE_MONOTONIC_TIMESTAMP")
    known = isinstance(stamp, str) and stamp.isascii() and stamp.isdigit() and len(stamp) < 16  # noqa: PLR2004
    time = int(stamp) * 1000 if known else inner.time_ns
    return LogLine(inner.text, time, inner.caller, message)
