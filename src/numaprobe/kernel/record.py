"""Recording probes with the running kernel's own tracer.

A ``Recorder`` is entered, started, stopped, saved and left, in this order. Entering removes what crashed recordings
left, makes a tracing instance of our own and defines the kprobes; leaving takes all of it away, also after an error or
a signal (the caller turns signals into exceptions). Nothing is switched on outside our instance.

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
from numaprobe.kernel.candidates import with_candidates
from numaprobe.kernel.capabilities import (
    MEMORY_EVENT,
    TRACE_CLOCK,
    WORKQUEUE_EVENTS,
    Capabilities,
    detect,
)
from numaprobe.kernel.kprobes import (
    GROUP,
    LOCAL_PCI_PROBE,
    REALLY_PROBE,
    KprobeDefinition,
    entry_and_return,
    kprobe_definitions,
)
from numaprobe.kernel.stale import clean_up
from numaprobe.kernel.tracefs import explain
from numaprobe.records import RunWarning, make_folder, open_output, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from numaprobe.kernel.tracefs import Tracefs

#: Tasks that run probes: workers, and those that load modules or write to ``bind``. Patterns of the event filter.
PROBING_COMMS: Final = (
    *("kworker/*", "modprobe", "insmod", "*udev*"),
    *("sh", "bash", "dash", "tee", "numaprobe*", "python*"),
)
EVERY_COMM: Final = "*"
#: A task's name holds 15 bytes (TASK_COMM_LEN), so a pattern for it needs no more.
COMM_LENGTH: Final = 15

#: Ring buffer for each CPU, in KiB: one probe is under 1 KiB without sched events; a busy CPU switches 10,000 times a
#: second at about 64 bytes each.
PLAIN_BUFFER_KB: Final = 1024
SCHED_BUFFER_KB: Final = 8192
#: All CPUs together take at most this (in KiB), and at most an eighth of the memory that is available.
TOTAL_BUFFER_KB: Final = 512 * 1024
MINIMAL_BUFFER_KB: Final = 64

#: pid -> name cache of the tracer: small by default before 6.10, and then names are lost on a busy machine
_SAVED_NAMES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """What to record."""

    #: sched events: running, runnable and sleeping time; workqueue events with them
    sched: bool = True
    #: pages that probes allocate, by node
    memory: bool = False
    #: names of tasks whose sched events are wanted, with ``*``
    comms: tuple[str, ...] = PROBING_COMMS
    #: further functions to time, ``MODULE:FUNCTION`` or ``FUNCTION``
    functions: tuple[str, ...] = ()
    #: ring buffer of each CPU in KiB; None: by what is recorded and what the machine has
    buffer_kb: int | None = None
    #: the kernel's type information; None: do without
    btf: Path | None = KERNEL_BTF


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a recording left in its folder."""

    folder: Path
    #: events that are in the trace, as far as the kernel counted them
    events: int
    #: events that the kernel overwrote or dropped
    lost: int
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
    _saved_names: str | None = None

    def __enter__(self) -> Self:
        """Make the instance and the kprobes; nothing is recorded yet.

        Raises:
            KernelInterfaceError: the kernel does not offer or permit it; nothing is left behind.

        """
        capabilities = detect(self.tracefs, btf=self.options.btf)
        for note in clean_up(self.tracefs, self.pid, self.proc):
            self._warn("stale-recording", note)
        for sentence in capabilities.missing:
            self._warn("missing-interface", sentence)
        try:
            self._instance = self.tracefs.make_instance(self.pid)
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
        """The tracing instance of this recording.

        Raises:
            InputError: the recorder was not entered.

        """
        if self._instance is None:
            raise InputError("a recorder records only inside its with statement")
        return self._instance

    # ---- the recording ---------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Record from now on."""
        self.instance.write("tracing_on", "1")

    def stop(self) -> None:
        """Record no more; the buffer stays."""
        self.instance.write("tracing_on", "0")

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
        self._copy(self.instance.root / "trace", folder / "trace")
        write_atomically(folder / "kprobe_events", definitions)
        if self.options.memory:
            self._copy(self.proc / "zoneinfo", folder / "zoneinfo")
        lost = self._lost()
        self._count_missed()
        return Recording(folder=folder, events=self._written(), lost=lost, warnings=tuple(self.warnings))

    # ---- setting up ------------------------------------------------------------------------------------------------
    def _set_up(self, capabilities: Capabilities) -> None:
        instance = self.instance
        instance.write("tracing_on", "0")
        if capabilities.mono_clock:
            instance.write("trace_clock", TRACE_CLOCK)
        self._size_buffer()
        self._keep_names()
        self._define_kprobes(capabilities)
        instance.write(f"events/{GROUP}/enable", "1")
        if self.options.sched:
            self._enable_sched(capabilities)
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
        offset = capabilities.pci_dev_offset
        definitions = tuple(
            with_candidates(one) if one.event == LOCAL_PCI_PROBE and offset is None else one
            for one in kprobe_definitions(pci_dev_offset=offset)
        )
        for name in self.options.functions:
            module, _, function = name.rpartition(":")
            definitions += entry_and_return(function, module=module or None)
        return definitions

    def _enable_sched(self, capabilities: Capabilities) -> None:
        for event in capabilities.sched_events:
            fields = ("prev_comm", "next_comm") if event.endswith("sched_switch") else ("comm",)
            self._enable(event, [f'{name} ~ "{comm}"' for comm in self._comms() for name in fields])
        for event in WORKQUEUE_EVENTS:
            if self.instance.has(f"events/{event}"):
                self._enable(event, [])

    def _enable(self, event: str, conditions: list[str]) -> None:
        """Switch an event on, with a filter if there are conditions and the kernel takes them."""
        if conditions:
            try:
                self.instance.write(f"events/{event}/filter", " || ".join(conditions))
            except KernelInterfaceError as error:
                self._warn("missing-interface", f"{event} is recorded for every task: {error}")
        self.instance.write(f"events/{event}/enable", "1")

    def _comms(self) -> tuple[str, ...]:
        """The patterns of the filter; none if every task is wanted."""
        comms = dict.fromkeys(comm[:COMM_LENGTH].replace('"', "?") for comm in self.options.comms)
        return () if EVERY_COMM in comms else tuple(comms)

    def _size_buffer(self) -> None:
        size = self.options.buffer_kb or self._default_buffer()
        while True:
            try:
                self.instance.write("buffer_size_kb", str(size))
            except RefusedError:
                if size <= MINIMAL_BUFFER_KB:
                    raise
                size = max(MINIMAL_BUFFER_KB, size // 2)
            else:
                return

    def _default_buffer(self) -> int:
        wanted = SCHED_BUFFER_KB if self.options.sched or self.options.memory else PLAIN_BUFFER_KB
        total = min(TOTAL_BUFFER_KB, self._available_kb() // 8)
        return max(MINIMAL_BUFFER_KB, min(wanted, total // max(1, os.cpu_count() or 1)))

    def _available_kb(self) -> int:
        try:
            text = (self.proc / "meminfo").read_text(encoding="ascii", errors="replace")
        except OSError:
            return TOTAL_BUFFER_KB
        amounts = [line.split()[1] for line in text.splitlines() if line.startswith("MemAvailable:")]
        return int(amounts[0]) if amounts else TOTAL_BUFFER_KB

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
    def _stats(self, key: str) -> int:
        """Return the sum over all CPUs of one line of ``per_cpu/cpu*/stats``."""
        total = 0
        for path in sorted((self.instance.root / "per_cpu").glob("cpu*/stats")):
            for line in self.tracefs.files.read(path).splitlines():
                name, _, value = line.partition(":")
                if name == key and value.strip().isdigit():
                    total += int(value)
        return total

    def _written(self) -> int:
        return self._stats("entries")

    def _lost(self) -> int:
        lost = self._stats("overrun") + self._stats("commit overrun") + self._stats("dropped events")
        if lost:
            self._warn("lost-events", f"{lost} events were lost: record less (--no-sched, --comm) or raise --buffer-kb")
        return lost

    def _count_missed(self) -> None:
        """Warn of calls that the kernel could not record: ``kprobe_profile`` has event, hits, misses."""
        if not self.tracefs.has("kprobe_profile"):
            return
        ours = {line.split()[0].partition("/")[2] for line in self.tracefs.kprobes(GROUP)}
        for line in self.tracefs.read("kprobe_profile").splitlines():
            event, _, counts = line.strip().partition(" ")
            _hits, _, missed = counts.strip().partition(" ")
            if event in ours and missed.strip().isdigit() and int(missed):
                self._warn("missed-kprobes", f"the kernel missed {int(missed)} calls of {event}")

    def _warn(self, kind: str, message: str) -> None:
        self.warnings.append(RunWarning(kind=kind, message=message))

    # ---- leaving ---------------------------------------------------------------------------------------------------
    def _tear_down(self, *, quiet: bool) -> None:
        """Take everything away, step by step: a step that fails does not keep the next from being done."""
        first: KernelInterfaceError | None = None
        for step in (self._remove_instance, self._remove_kprobes, self._forget_names):
            try:
                step()
            except (KernelInterfaceError, OSError) as error:
                failure = error if isinstance(error, KernelInterfaceError) else RefusedError(f"cleaning up: {error}")
                first = first or failure
        if first is not None and not quiet:
            raise first

    def _remove_instance(self) -> None:
        instance, self._instance = self._instance, None
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
            write.writelines(_blocks(source))


def _blocks(source: Path) -> Iterator[bytes]:
    """Yield what a file holds; a failure to read it is the kernel's, not that of where it is copied to."""
    try:
        with source.open("rb") as file:
            while block := file.read(1 << 20):
                yield block
    except OSError as error:
        raise explain(error, f"reading {source}") from None
