"""Recording probes with the running kernel's own tracer.

A ``Recorder`` is entered, started, stopped, saved and left, in this order. Entering removes what crashed recordings
left, makes tracing instances of our own and defines the kprobes; leaving takes all of it away, also after an error or
a signal (the caller turns signals into exceptions). Nothing is switched on outside our instances.

There are two: kprobes have a buffer to themselves, and what comes in floods (the scheduler's events, works, locks,
allocations) has another. However busy the machine is, a probe is not pushed out of its buffer by switches. Saving
merges the two by time (``merge.py``).

What it costs the probes that it watches: two or three kprobes for each probe, a microsecond or so each; with sched
events one more for every switch of the tasks that are watched. ``docs/recording.md`` has measured figures.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from numaprobe.errors import InputError, KernelInterfaceError, RefusedError
from numaprobe.kernel.btf import KERNEL_BTF
from numaprobe.kernel.buffers import PLAIN_BUFFER_KB, SCHED_BUFFER_KB, count, default_buffer_kb, size_buffer
from numaprobe.kernel.candidates import candidate_arguments
from numaprobe.kernel.capabilities import (
    MEMORY_EVENT,
    TRACE_CLOCK,
    WORKQUEUE_EVENTS,
    Capabilities,
    detect,
)
from numaprobe.kernel.kprobes import (
    GROUP,
    REALLY_PROBE,
    KprobeDefinition,
    entry_and_return,
    kprobe_definitions,
    named_function,
    parse_kprobe_events,
)
from numaprobe.kernel.locktrace import check_lock_events, enable_lock_events
from numaprobe.kernel.merge import merged
from numaprobe.kernel.stale import clean_up
from numaprobe.kernel.tracefs import explain
from numaprobe.records import RunWarning, make_folder, open_output, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from numaprobe.kernel.buffers import BufferCounts
    from numaprobe.kernel.tracefs import Tracefs

#: Tasks that run probes: workers, and those that load modules or write to ``bind``. Patterns of the event filter.
PROBING_COMMS: Final = (
    *("kworker/*", "modprobe", "insmod", "*udev*"),
    *("sh", "bash", "dash", "tee", "numaprobe*", "python*"),
)
EVERY_COMM: Final = "*"
#: A task's name holds 15 bytes (TASK_COMM_LEN), so a pattern for it needs no more.
COMM_LENGTH: Final = 15

#: pid -> name cache of the tracer: small by default before 6.10, and then names are lost on a busy machine
_SAVED_NAMES: Final = 4096
#: tells the second instance from the first, by its name
_SCHED_KIND: Final = "sched"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """What to record."""

    #: sched events: running, runnable and sleeping time; workqueue events with them
    sched: bool = True
    #: pages that probes allocate, by node
    memory: bool = False
    #: waits for locks: for which one, and with ``sched`` for whom
    locks: bool = False
    #: names of tasks whose sched events are wanted, with ``*``
    comms: tuple[str, ...] = PROBING_COMMS
    #: further functions to time, ``MODULE:FUNCTION`` or ``FUNCTION``
    functions: tuple[str, ...] = ()
    #: ring buffer of each CPU in KiB, of each instance; None: by what is recorded and what the machine has
    buffer_kb: int | None = None
    #: the kernel's type information; None: do without
    btf: Path | None = KERNEL_BTF

    def __post_init__(self) -> None:
        """Refuse names that are no functions before anything is set up.

        Raises:
            InputError: a function's name cannot be one.

        """
        for name in self.functions:
            named_function(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a recording left in its folder."""

    folder: Path
    #: events that are in the trace, as far as the kernel counted them
    events: int
    #: events that the kernel overwrote or dropped
    lost: int
    #: of those, events of probes; with them, calls of probe functions that the kernel could not record
    lost_probes: int
    warnings: tuple[RunWarning, ...]

    @property
    def trace(self) -> Path:
        """The ftrace text."""
        return self.folder / "trace"


@dataclass
class Recorder:
    """One recording; see the top of this file for the order of calls.

    Attributes:
        tracefs: where tracing is.
        options: what to record.
        pid: names the instance.
        proc: the process file system, to tell which recordings are still alive and what memory there is.

    """

    tracefs: Tracefs
    options: RecordOptions = RecordOptions()
    pid: int = field(default_factory=os.getpid)
    proc: Path = Path("/proc")
    warnings: list[RunWarning] = field(default_factory=list)
    _instance: Tracefs | None = None
    _sched: Tracefs | None = None
    _saved_names: str | None = None

    def __enter__(self) -> Self:
        """Make the instance and the kprobes; nothing is recorded yet.

        Raises:
            KernelInterfaceError: the kernel does not offer or permit it; nothing is left behind.

        """
        capabilities = detect(self.tracefs, btf=self.options.btf)
        if self.options.locks:
            check_lock_events(self.tracefs)
        for note in clean_up(self.tracefs, self.pid, self.proc):
            self._warn("stale-recording", note)
        for sentence in capabilities.missing:
            self._warn("missing-interface", sentence)
        try:
            self._instance = self.tracefs.make_instance(self.pid)
            if self.options.sched or self.options.memory or self.options.locks:
                self._sched = self.tracefs.make_instance(self.pid, _SCHED_KIND)
            self._set_up(capabilities)
        except BaseException:
            self._tear_down(quiet=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tear_down(quiet=kind is not None)

    @property
    def instance(self) -> Tracefs:
        """The tracing instance of this recording's probes.

        Raises:
            InputError: the recorder was not entered.

        """
        if self._instance is None:
            raise InputError("a recorder records only inside its with statement")
        return self._instance

    # ---- the recording ---------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Record from now on."""
        for instance in reversed(self._instances()):
            instance.write("tracing_on", "1")

    def stop(self) -> None:
        """Record no more; the buffer stays."""
        for instance in self._instances():
            instance.write("tracing_on", "0")

    def _instances(self) -> tuple[Tracefs, ...]:
        return (self.instance,) if self._sched is None else (self.instance, self._sched)

    def mark(self, text: str) -> None:
        """Write a line of our own into the trace (``tracing_mark_write``)."""
        if self.instance.has("trace_marker"):
            self.instance.write("trace_marker", text)

    def save(self, folder: Path) -> Recording:
        """Write the trace, the definitions of its events, and the zones' page ranges to ``folder``.

        Raises:
            InputError: the folder cannot be written.
            KernelInterfaceError: the trace cannot be read.

        """
        definitions = "".join(line + "\n" for line in self.tracefs.kprobes(GROUP))
        make_folder(folder)
        self._save_trace(folder / "trace")
        write_atomically(folder / "kprobe_events", definitions)
        if self.options.memory:
            self._copy(self.proc / "zoneinfo", folder / "zoneinfo")
        counts = [count(instance) for instance in self._instances()]
        return Recording(
            folder=folder,
            events=sum(one.entries for one in counts),
            lost=sum(one.lost for one in counts),
            lost_probes=self._tell_lost(counts) + self._count_missed(),
            warnings=tuple(self.warnings),
        )

    def _save_trace(self, target: Path) -> None:
        if self._sched is None:
            self._copy(self.instance.root / "trace", target)
            return
        counts = count(self._sched)
        both = (_lines(instance.root / "trace") for instance in self._instances())
        with open_output(target) as out:
            out.writelines(merged(*both, whole_from=counts.whole_from, lost=counts.overwritten))

    # ---- setting up ------------------------------------------------------------------------------------------------
    def _set_up(self, capabilities: Capabilities) -> None:
        for instance, size in zip(self._instances(), (PLAIN_BUFFER_KB, SCHED_BUFFER_KB), strict=False):
            instance.write("tracing_on", "0")
            if capabilities.mono_clock:
                instance.write("trace_clock", TRACE_CLOCK)
            size_buffer(instance, self.options.buffer_kb or default_buffer_kb(size, self.proc))
        self._keep_names()
        self._define_kprobes(capabilities)
        self.instance.write(f"events/{GROUP}/enable", "1")
        if self.options.sched:
            self._enable_sched(capabilities)
        if self.options.locks:
            for sentence in enable_lock_events(self._instances()[-1], self._comms()):
                self._warn("missing-interface", sentence)
        if self.options.memory and capabilities.memory:
            self._enable(MEMORY_EVENT, [f'COMM ~ "{comm}"' for comm in self._comms()])

    def _define_kprobes(self, capabilities: Capabilities) -> None:
        for definition in self._definitions(capabilities):
            try:
                self.tracefs.add_kprobe(definition.command)
            except KernelInterfaceError as error:
                if definition.function == REALLY_PROBE:
                    raise
                self._warn("missing-interface", str(error))

    def _definitions(self, capabilities: Capabilities) -> tuple[KprobeDefinition, ...]:
        definitions = kprobe_definitions(pci_dev_offset=capabilities.pci_dev_offset, search=True)
        for name in self.options.functions:
            module, function = named_function(name)
            definitions += entry_and_return(function, module=module)
        return definitions

    def _enable_sched(self, capabilities: Capabilities) -> None:
        for event in capabilities.sched_events:
            fields = ("prev_comm", "next_comm") if event.endswith("sched_switch") else ("comm",)
            self._enable(event, [f'{name} ~ "{comm}"' for comm in self._comms() for name in fields])
        for event in WORKQUEUE_EVENTS:
            if self.tracefs.has(f"events/{event}"):
                self._enable(event, [])

    def _enable(self, event: str, conditions: list[str]) -> None:
        """Switch an event on beside the probes, with a filter if there are conditions and the kernel takes them."""
        instance = self._instances()[-1]
        if conditions:
            try:
                instance.write(f"events/{event}/filter", " || ".join(conditions))
            except KernelInterfaceError as error:
                self._warn("missing-interface", f"{event} is recorded for every task: {error}")
        instance.write(f"events/{event}/enable", "1")

    def _comms(self) -> tuple[str, ...]:
        """The patterns of the filter; none if every task is wanted."""
        comms = dict.fromkeys(_pattern(comm) for comm in self.options.comms)
        return () if EVERY_COMM in comms else tuple(comms)

    def _keep_names(self) -> None:
        """Let the tracer remember more names of tasks; the old size comes back at the end."""
        name = "saved_cmdlines_size"
        if not self.tracefs.has(name):
            return
        before = self.tracefs.read(name).strip()
        if before.isascii() and before.isdigit() and int(before) < _SAVED_NAMES:
            with contextlib.suppress(KernelInterfaceError):  # names get lost, the recording does not
                self.tracefs.write(name, str(_SAVED_NAMES))
                self._saved_names = before

    # ---- counting --------------------------------------------------------------------------------------------------
    def _tell_lost(self, counts: Sequence[BufferCounts]) -> int:
        """Warn of events that are not in the buffers any more; return how many were of probes."""
        probes, others = counts[0].lost, sum(one.lost for one in counts[1:])
        if probes:
            self._warn("lost-events", f"{probes} events of probes were lost: raise --buffer-kb")
        if others:
            text = f"{others} events beside the probes were lost: costs before the last of them are not divided"
            self._warn("lost-events", f"{text}; record less (--no-sched, --comm) or raise --buffer-kb")
        return probes

    def _count_missed(self) -> int:
        """Warn of calls that the kernel could not record; return how many (``kprobe_profile``: event, hits, misses)."""
        total = 0
        if not self.tracefs.has("kprobe_profile"):
            return total
        ours = parse_kprobe_events(self.tracefs.kprobes(GROUP))
        # Before 5.14 an argument that could not be fetched counted as a miss, and most candidates cannot be.
        searched = {one.function for one in ours.values() if set(one.arguments) & set(candidate_arguments())}
        for line in self.tracefs.read("kprobe_profile").splitlines():
            event, _, counts = line.strip().partition(" ")
            _hits, _, missed = counts.strip().partition(" ")
            known = event in ours and ours[event].function not in searched
            if known and missed.strip().isdigit() and int(missed):
                total += int(missed)
                self._warn("missed-kprobes", f"the kernel missed {int(missed)} calls of {event}")
        return total

    def _warn(self, kind: str, message: str) -> None:
        self.warnings.append(RunWarning(kind=kind, message=message))

    # ---- leaving ---------------------------------------------------------------------------------------------------
    def _tear_down(self, *, quiet: bool) -> None:
        """Take everything away, step by step: a step that fails does not keep the next from being done."""
        first: KernelInterfaceError | None = None
        for step in (self._remove_sched, self._remove_probes, self._remove_kprobes, self._forget_names):
            try:
                step()
            except (KernelInterfaceError, OSError) as error:
                failure = error if isinstance(error, KernelInterfaceError) else RefusedError(f"cleaning up: {error}")
                first = first or failure
        if first is not None and not quiet:
            raise first

    def _remove_probes(self) -> None:
        instance, self._instance = self._instance, None
        if instance is not None:
            self.tracefs.remove_instance(instance.root.name)

    def _remove_sched(self) -> None:
        instance, self._sched = self._sched, None
        if instance is not None:
            self.tracefs.remove_instance(instance.root.name)

    def _remove_kprobes(self) -> None:
        self.tracefs.remove_kprobes(GROUP)

    def _forget_names(self) -> None:
        before, self._saved_names = self._saved_names, None
        if before is not None:
            self.tracefs.write("saved_cmdlines_size", before)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        """Copy a file whose size is not known before it is read."""
        with open_output(target) as write:
            write.writelines(_lines(source))


def _lines(source: Path) -> Iterator[bytes]:
    """Yield the lines of a file; a failure to read it is the kernel's, not that of where it is copied to."""
    try:
        with source.open("rb") as file:
            yield from file
    except OSError as error:
        raise explain(error, f"reading {source}") from None


def _pattern(comm: str) -> str:
    """Return a pattern for tasks' names with a ``?`` for what the text of a filter cannot hold."""
    return "".join("?" if char == '"' or not char.isprintable() else char for char in comm[:COMM_LENGTH])
