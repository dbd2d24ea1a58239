"""What a guest's kernel complained of: its WARNs, BUGs, oopses, lockdep's reports, tasks that hang.

A report begins with a line of its own (``WARNING: …``, ``BUG: …``, ``kernel BUG at …``) and ends with ``end trace`` or
the end of its stack. Where it stands in the log does not matter: a stock kernel boots in the lab without one, so one
that is there belongs to the run. Not looked at: soft lockups and RCU stalls, because an emulated CPU stands still for
as long as the host has something better to do.

The first lines: ``kernel/panic.c`` (WARN; its words changed in 6.18), ``lib/bug.c``, ``kernel/locking/lockdep.c``,
``lib/ubsan.c``, ``kernel/hung_task.c``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

#: a line of the log without its time and caller
_MESSAGE: Final = re.compile(r"(?:<\d{1,3}>)?\[ *\d{1,12}\.\d{1,9}\](?:\[ *[TC]\d{1,10}\])? (.*)", re.ASCII)
_HEAD: Final = re.compile(
    r"WARNING: |BUG: |kernel BUG at |UBSAN: |Oops: |general protection fault|Unable to handle |"
    r"INFO: task \S.{0,40} blocked for more than \d|INFO: possible |DEADLOCK|list_(?:add|del) corruption"
)
_TAIL: Final = re.compile(r"---\[ end trace |\s*</TASK>|stack backtrace ends")
#: lines of one report, and reports, that are told
MAX_LINES: Final = 60
MAX_SPLATS: Final = 20


@dataclass(frozen=True, slots=True)
class Splat:
    """One report of the kernel's."""

    #: its lines as the log has them
    lines: tuple[str, ...]

    @property
    def head(self) -> str:
        """What it is about: its first line, without the time."""
        return _message(self.lines[0])


def find_splats(lines: Iterable[str]) -> tuple[Splat, ...]:
    """Return the reports in a kernel's log or console, in their order."""
    found: list[list[str]] = []
    is_open = False
    for raw in lines:
        line = raw.rstrip()
        message = _message(line)
        if is_open and (_TAIL.match(message) or len(found[-1]) >= MAX_LINES):
            found[-1].append(line)
            is_open = False
        elif is_open:
            found[-1].append(line)
        elif _HEAD.match(message):
            if len(found) == MAX_SPLATS:
                break
            found.append([line])
            is_open = True
    return tuple(Splat(tuple(one)) for one in found)


def _message(line: str) -> str:
    match = _MESSAGE.fullmatch(line)
    return match[1] if match is not None else line
