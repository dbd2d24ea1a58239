"""Traces into a dataset: each read once, those that are there already passed over, those that cannot be read named.

What one call adds is one part of the dataset: it is there in whole when the call ends, and Ctrl-C keeps what was read.
Of the days that are there already nothing is read but their traces' fingerprints (``known``).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from numaprobe.datasets import DatasetWriter, is_dataset, rows_of_trace
from numaprobe.errors import InputError
from numaprobe.extras import need
from numaprobe.study.fleet.identity import COLUMNS, KEYS, known_by
from numaprobe.study.fleet.known import KnownTraces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numaprobe.datasets import Part
    from numaprobe.study.fleet.identity import KnownBy
    from numaprobe.study.fleet.sources import TraceSource

#: The dataset's ``kind``.
KIND: Final = "fleet"
#: Traces that could not be read: so many are kept by name, the others are counted.
MAX_REFUSED: Final = 1000


@dataclass(slots=True)
class Collected:
    """What a call has done."""

    folder: str
    #: traces that were added, and probes in them; hosts and days that they are of
    added: int = 0
    probes: int = 0
    hosts: set[str] = field(default_factory=set)
    days: set[str] = field(default_factory=set)
    #: traces that were there already
    known: int = 0
    #: what could not be read: its name, and why
    refused: list[tuple[str, str]] = field(default_factory=list)
    #: how many these are
    failed: int = 0
    #: Ctrl-C
    interrupted: bool = False

    @property
    def looked_at(self) -> int:
        """All of them."""
        return self.added + self.known + self.failed

    def refuse(self, name: str, why: str) -> None:
        """Note what cannot be read."""
        self.failed += 1
        if len(self.refused) < MAX_REFUSED:
            self.refused.append((name, why))


def collect(
    folder: str | Path, sources: Iterable[TraceSource], *, told: Callable[[Collected], object] | None = None
) -> Collected:
    """Add traces to a fleet's dataset, which is made if it is not there.

    Args:
        folder: the dataset.
        sources: what to read; each is read before the next one is asked for.
        told: called after each.

    Raises:
        InputError: the dataset is another kind's, of another version or damaged, cannot be written, or somebody else
            writes to it. What cannot be read of the sources is in the result.
        MissingInterfaceError: DuckDB is not installed.

    """
    need("data", "a dataset")
    done = Collected(str(folder))
    with _opened(folder) as writer:
        known = KnownTraces(writer.folder, writer.manifest)
        name = f"{len(writer.manifest.parts):06d}"
        adding = _Adding(writer, known, name, done)
        try:
            for source in sources:
                adding.take(source)
                if told is not None:
                    told(done)
        except KeyboardInterrupt:
            done.interrupted = True
        except BaseException:
            adding.give_up()
            raise
        adding.finish()
    return done


def _opened(folder: str | Path) -> DatasetWriter:
    if is_dataset(folder):
        return DatasetWriter.open(folder, KIND)
    return DatasetWriter.create(folder, KIND, keys=KEYS, columns={"runs": COLUMNS})


class _Adding:
    """A part that begins with the first trace to add: of nothing there is no part."""

    def __init__(self, writer: DatasetWriter, known: KnownTraces, name: str, done: Collected) -> None:
        self._writer = writer
        self._known = known
        self._name = name
        self._done = done
        self._run = writer.manifest.runs
        self._open = contextlib.ExitStack()
        self._part: Part | None = None

    def take(self, source: TraceSource) -> None:
        """Read a source and add its trace, unless it is known or cannot be read."""
        if self._known.has_file(source.key):
            self._done.known += 1
            return
        try:
            trace = source.read()
            who = known_by(trace, source.name)
            if self._known.has_trace(who.fingerprint):
                self._done.known += 1
                return
            rows = rows_of_trace(self._run, trace, topology=who.topology, file=source.name, extra=who.values())
        except InputError as error:
            self._done.refuse(source.name, _without(str(error), source.name))
            return
        self._begun().add(rows)
        self._known.add(who.fingerprint, source.key)
        self._run += 1
        self._count(who, len(trace.probes))

    def _count(self, who: KnownBy, probes: int) -> None:
        self._done.added += 1
        self._done.probes += probes
        self._done.hosts.add(who.host_key)
        if who.day is not None:
            self._done.days.add(who.day)

    def _begun(self) -> Part:
        if self._part is None:
            self._part = self._open.enter_context(self._writer.part(self._name, runs=self._run))
        return self._part

    def finish(self) -> None:
        """Put what was added into the dataset."""
        if self._part is not None:
            self._known.write(self._name)
            self._part.runs = self._run
        self._open.close()

    def give_up(self) -> None:
        """Leave the dataset as it was."""
        with contextlib.suppress(_NothingAddedError):
            self._open.__exit__(_NothingAddedError, _NothingAddedError(), None)


class _NothingAddedError(Exception):
    """Ends a part that shall not be."""


def _without(text: str, name: str) -> str:
    return text.removeprefix(f"{name}: ")
