"""ftrace text to records: ``trace``, ``trace_pipe``, ``trace-cmd report``.

What is read: kprobe events of ``really_probe``, ``local_pci_probe``, a driver's own probe function and the helpers
that lead there (``kprobes.py``), ``sched_switch``, ``sched_wakeup``, ``sched_migrate_task``, and the workqueue events.
Without the scheduler's events the cost stays undivided; without the helpers nobody knows the path: the trace says so in
its warnings. A torn line, lost events, a wrapped buffer or mixed clocks are counted and told, never fatal.

There are two roads. On one a line is read after the other (``line_reader.py``). It reads whatever there is, and first.
The other one is for long texts in trace-cmd's usual layout: of a whole block it is found at once which lines matter
(``columns.py``), and only these are read. What plain lines tell of a task that probes is kept aside, and the task told
before anything else is read that could ask for its state. So both roads make the same of a text, which tests and
``make fuzz`` compare; only a line that is torn and of no concern may go without being counted. Where the clock does not
go forward the second road ends, since that is counted line by line.

Memory grows with the records, not with the trace.
"""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.kernel.calls import NAMELESS
from numaprobe.kernel.ftrace_line import EventLine, decode, parse_kprobe
from numaprobe.kernel.kprobes import LOCAL_PCI_PROBE
from numaprobe.kernel.line_reader import MAX_COMM, LineReader
from numaprobe.kernel.lines import Lines, cut
from numaprobe.kernel.reader_warnings import reader_warnings
from numaprobe.kernel.unplaced import told_honestly
from numaprobe.reading.budget import MAX_PROBES
from numaprobe.records import ProbeRecord, Trace

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from numaprobe.kernel.columns import Begun, Changes, Columns, Row, Sifted
    from numaprobe.kernel.kprobes import KprobeDefinition
    from numaprobe.reading.unpack import ByteStream
    from numaprobe.topology import Topology

#: So much of a text is read line by line if numpy is not loaded: that takes as long, and most traces are no longer.
FIRST_SLOW: Final = 1 << 19
#: Behind it, lines are read at once if there are so many bytes of them; a pipe may hand over fewer.
MIN_BLOCK: Final = 1 << 15

_STARTS, _ENDS = b"workqueue_execute_start:", b"workqueue_execute_end:"


class FtraceReader(LineReader):
    """Reads one text of ftrace, as a stream.

    Args:
        definitions: which event stands for which function, as ``parse_kprobe_events`` returns it; events that it
            does not name are told by the symbol they print, or their own name.
        topology: the machine, for the nodes of CPUs and devices.
        kernel: the release, where it is known: what a helper means depends on it.

    Attributes:
        counts: what was passed over, up to date at any time.

    """

    def __init__(
        self,
        definitions: Mapping[str, KprobeDefinition] | None = None,
        topology: Topology | None = None,
        kernel: str | None = None,
    ) -> None:
        super().__init__(definitions, topology, kernel)
        #: of the tasks that are watched in this block, what is still to be told
        self._changes: dict[bytes, Changes] = {}
        #: the works that were begun in this block, as far as they are not among the recent ones yet; the line read now
        self._begun: Begun | None = None
        self._line = 0
        self.assembler.roads.refresh = self._remember

    def records(self, stream: ByteStream) -> Iterator[ProbeRecord]:
        """Return each probe's record as soon as the probe is over."""
        lines, size = Lines(stream), FIRST_SLOW if "numpy" in sys.modules else 0
        for block in lines.chunks():
            at_once = size >= FIRST_SLOW and len(block) >= MIN_BLOCK
            yield from self._block(block) if at_once else self._one_by_one(cut(block))
            yield from self.assembler.take_left()
            size += len(block)
        self.counts.torn += lines.torn
        self.counts.cut_off = lines.cut_off
        self.assembler.drop_all()
        yield from self.assembler.take_left()

    def trace(self, stream: ByteStream) -> Trace:
        """Return all records of a stream, in order of start, and the warnings."""
        found = list(islice(self.records(stream), MAX_PROBES + 1))
        if len(found) > MAX_PROBES:
            raise InputError(f"tells of more than {MAX_PROBES} probes: divide it")
        found.sort(key=lambda record: record.start_ns or 0)
        recorded = {definition.function for definition in self._definitions.values()}
        probes, unplaced = told_honestly(
            found, entered=self._seen.pci_body, recorded=LOCAL_PCI_PROBE in recorded if recorded else None
        )
        warnings = (*unplaced, *reader_warnings(self.counts, self.assembler, probes))
        return Trace(source="kernel", probes=tuple(probes), warnings=warnings)

    # ---- many lines at once ------------------------------------------------------------------------------------------
    def _block(self, block: bytes) -> Iterator[ProbeRecord]:
        """Read what matters of a block to the tasks that probe in it."""
        try:
            from numaprobe.kernel.columns import Columns
        except ImportError:  # numpy is an extra
            yield from self._one_by_one(cut(block))
            return
        columns = Columns(block)
        line, in_order = 0, columns.plain
        if columns.plain:
            self._watched = {*self._tasks, *self.assembler.roads.noting, *columns.pids()}
        while in_order and line < columns.count:
            line, in_order = yield from self._sifted(columns, line)
        if line < columns.count:
            yield from self._one_by_one(cut(block[columns.begin(line) :]))

    def _sifted(self, columns: Columns, start: int) -> Generator[ProbeRecord, None, tuple[int, bool]]:
        """Read from line ``start`` on.

        Returns:
            where to go on, since a task begins to probe that was not watched, or a work of a probe is on its way, or
            since the clock does not go forward: then False, and the rest is to be read line by line.

        """
        from numaprobe.kernel.columns import EVENT, LINE

        if not columns.finds(self._watched):
            return start, False
        carries = self.assembler.carries or columns.queues
        sifted = columns.sift(self._watched, start, self._seen, works=carries)
        if self._other_clock() or not sifted.in_order(self._last_ns):
            return start, False
        self._follow(sifted)
        text, kprobes, event_at = columns.text, self._kprobes, columns.event
        for row in sifted.rows:
            number, kind, begin, end, head, *_ = row
            event = text[head + event_at : end]
            if kind > EVENT and self._has_dot:
                self._at_work(row, event)
            elif kind == EVENT and self._has_dot and event.partition(b":")[0] in kprobes:
                record = self._event(row, event, text)
                if record is not None:
                    yield record
            else:
                self._all_catch_up(number)
                yield from self._one_by_one([text[begin:end]])
                if self._other_clock() or not (kind != LINE or sifted.goes_on(number, self._last_ns)):
                    return number + 1, False
            if self._stranger is not None or self.assembler.carries > carries:
                self._all_catch_up(number + 1)
                if self._stranger is not None:
                    self._watched.add(self._stranger)
                return number + 1, True
        self._all_catch_up(columns.count)
        return columns.count, True

    def _follow(self, sifted: Sifted) -> None:
        self._stranger, self._changes, self._begun = None, sifted.changes, sifted.begun

    def _at_work(self, row: Row, event: bytes) -> None:
        """Handle the begin or the end of a work."""
        number, _, _, _, _, pid, _, _ = row
        if pid in self._tasks:
            self._catch_up(pid, number)
        if event.startswith(_STARTS):
            self._work_begins(pid, event[len(_STARTS) :])
        else:
            self._work_ends(pid, event[len(_ENDS) :])

    def _event(self, row: Row, event: bytes, text: bytes) -> ProbeRecord | None:
        """Handle an event of a kprobe, of which task, CPU and time are known."""
        number, _, begin, end, head, pid, cpu, now = row
        self._line = number
        self._catch_up(pid, number)
        comm = text[begin:head].rpartition(b"-")[0].lstrip()
        if not 0 < len(comm) <= MAX_COMM:  # no task has such a name
            return next(self._one_by_one([text[begin:end]]), None)
        self._forward(now)
        name, _, arguments = event.partition(b":")
        if (found := parse_kprobe(arguments)) is None:
            self.counts.torn += 1
            return None
        return self._at_kprobe(EventLine(comm, pid, cpu, b"", b"", name, arguments), found, now)

    def _remember(self) -> None:
        """Count the works that were begun before the line that is read now among the recent ones."""
        if self._begun is not None:
            self._recent.extend(self._begun.before(self._line))

    def _all_catch_up(self, line: int) -> None:
        self._line = line
        self._remember()
        for pid in self._changes:
            self._catch_up(pid, line)

    def _catch_up(self, pid: bytes, line: int) -> None:
        """Tell a task what plain lines before ``line`` tell of it; of another one nothing need be known."""
        changes, task = self._changes.get(pid), self._tasks.get(pid)
        if changes is None:
            return
        if task is None:
            changes.skip(line)
            return
        told, wakes = changes.until(line)
        if told.times:
            if task.comm in NAMELESS and (name := changes.comes(len(told))) is not None:
                task.comm = decode(name[:MAX_COMM])
            self._last_ns = max(self._last_ns, task.follow(told, wakes))


def read_ftrace(
    stream: ByteStream,
    *,
    definitions: Mapping[str, KprobeDefinition] | None = None,
    topology: Topology | None = None,
    kernel: str | None = None,
    locks: bool = False,
) -> Trace:
    """Return the trace that a stream of ftrace text holds.

    Args:
        stream: an open binary file, pipe or decompressor.
        definitions: which event stands for which function (``parse_kprobe_events``); None = ours.
        topology: the machine, for the nodes of CPUs and devices and the devices' buses.
        kernel: as for ``FtraceReader``.
        locks: lock events were recorded, even if there is none in the text.

    """
    reader = FtraceReader(definitions, topology, kernel)
    reader.assembler.locks.seen = locks
    return reader.trace(stream)
