"""What a journal says: runs, and in each what became of every change.

Reading needs no lock and no right but to read: the file is only ever appended to. Lines that are torn or damaged are
counted and passed over; so is what a newer version may have added. Nothing here looks at sysfs: what *is* there now is
for ``recover`` to find out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from numaprobe.bringup.journal import NAME, OLDER
from numaprobe.bringup.steps import OVER, SETTLED, JournalStep
from numaprobe.errors import InputError
from numaprobe.reading.files import read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: bytes: four times of what is rotated
_MAX_SIZE: Final = 64 * 2**20
_STEPS: Final = frozenset(JournalStep)


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One line of a journal."""

    step: JournalStep
    run: str
    #: ``ACTION BUS/NAME``; None: about the run
    change: str | None
    #: wall clock, ns since 1970; for people
    time_ns: int
    #: CLOCK_BOOTTIME, ns
    boottime_ns: int
    #: whatever else the line says
    data: Mapping[str, Any]


@dataclass(slots=True)
class Entry:
    """What happened to one change of a run."""

    change: str
    #: its lines, oldest first; the first is the intent unless that was damaged
    lines: list[JournalLine] = field(default_factory=list)

    @property
    def step(self) -> JournalStep:
        """Where it is now."""
        return self.lines[-1].step

    @property
    def intent(self) -> Mapping[str, Any]:
        """What was about to be done, and what there was before; empty if that line was lost."""
        return next((line.data for line in self.lines if line.step is JournalStep.INTENT), {})

    @property
    def is_settled(self) -> bool:
        """Whether it needs nobody any more."""
        return self.step in SETTLED


@dataclass(slots=True)
class JournalRun:
    """One run."""

    id: str
    #: its own lines, oldest first
    lines: list[JournalLine] = field(default_factory=list)
    #: change -> what happened to it, in the order of the intents
    entries: dict[str, Entry] = field(default_factory=dict)

    @property
    def begin(self) -> Mapping[str, Any]:
        """What its first line says: ``boot``, ``pid``, ``command``, ``changes``, …; empty if that line was lost."""
        return next((line.data for line in self.lines if line.step is JournalStep.BEGIN), {})

    @property
    def first(self) -> JournalLine:
        """The oldest line of it that there is."""
        return self.lines[0] if self.lines else next(iter(self.entries.values())).lines[0]

    @property
    def boot(self) -> str | None:
        """The boot that it belongs to; None if its first line was lost."""
        return self.begin.get("boot")

    @property
    def is_over(self) -> bool:
        """Whether it ended, or was closed."""
        return any(line.step in OVER for line in self.lines)

    @property
    def is_waiting(self) -> bool:
        """Whether its changes are made and wait for ``confirm``."""
        return bool(self.lines) and self.lines[-1].step is JournalStep.WAITING

    @property
    def steps(self) -> dict[str | None, JournalStep]:
        """Where it is, and where each of its changes is."""
        steps: dict[str | None, JournalStep] = {change: entry.step for change, entry in self.entries.items()}
        return steps | ({None: self.lines[-1].step} if self.lines else {})


@dataclass(frozen=True, slots=True)
class History:
    """All that a state folder tells."""

    #: oldest first
    runs: tuple[JournalRun, ...]
    #: lines that could not be read
    damaged: int

    @property
    def open_runs(self) -> tuple[JournalRun, ...]:
        """The runs that did not end."""
        return tuple(run for run in self.runs if not run.is_over)


def read_history(folder: Path) -> History:
    """Return what the journal of a state folder says, the one put aside first; nothing if there is none.

    Raises:
        InputError: it cannot be read.

    """
    runs: dict[str, JournalRun] = {}
    damaged = 0
    for name in (OLDER, NAME):
        for line in _lines(read_bytes(folder / name, _MAX_SIZE) or b""):
            if line is None:
                damaged += 1
            else:
                _add(runs.setdefault(line.run, JournalRun(line.run)), line)
    return History(tuple(runs.values()), damaged)


def _add(run: JournalRun, line: JournalLine) -> None:
    if line.change is None:
        run.lines.append(line)
    else:
        run.entries.setdefault(line.change, Entry(line.change)).lines.append(line)


def _lines(data: bytes) -> Iterator[JournalLine | None]:
    """Yield each line; None for one that is damaged."""
    for text in data.split(b"\n"):
        if text.strip(b"\0 "):
            yield _line(text)


def _line(text: bytes) -> JournalLine | None:
    try:
        found = json.loads(text)
        if found["step"] not in _STEPS:
            return None
        return JournalLine(
            step=JournalStep(found.pop("step")),
            run=_text(found.pop("run")),
            change=None if "change" not in found else _text(found.pop("change")),
            time_ns=int(found.pop("time_ns")),
            boottime_ns=int(found.pop("boottime_ns")),
            data=found,
        )
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError, InputError):
        return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
