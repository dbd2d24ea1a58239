"""What a reader of kernel text tells besides the records: what was lost, what was torn, what it cannot know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.kernel.calls import DYING
from numaprobe.records import RunWarning
from numaprobe.records.errnos import UNTOLD_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.kernel.probes import ProbeAssembler
    from numaprobe.records import ProbeRecord


#: of results that are ``E?``
NO_ERRNO: Final = "{} probe(s) did not bind their device (E?), and nobody says why: kernels before 5.14 drop the errno"


@dataclass(slots=True)
class ReaderCounts:
    """What the reader of lines passed over."""

    #: lines that are no event, no header and no comment of ftrace
    torn: int = 0
    #: events that the kernel says it dropped, and how often it said so
    lost_events: int = 0
    lost_places: int = 0
    #: events that newer ones overwrote in the ring buffer
    overwritten: int = 0
    #: small steps back of the clock, and changes to another clock
    unordered: int = 0
    clock_changes: int = 0
    whole_number_clock: bool = False
    cut_off: bool = False


def reader_warnings(
    counts: ReaderCounts, assembler: ProbeAssembler, probes: Sequence[ProbeRecord]
) -> Iterator[RunWarning]:
    """Return the warnings on one trace, each kind once."""
    for kind, number, message in (*_reading(counts), *_assembling(assembler), *_not_told(assembler, probes)):
        if number:
            yield RunWarning(kind=kind, message=message.replace("{}", str(number), 1))


def _reading(counts: ReaderCounts) -> Iterator[tuple[str, int, str]]:
    lost = "events were lost in {} place(s)"
    yield "cut-off", counts.cut_off, "the compressed file ends before its end: what follows is missing"
    yield "torn-line", counts.torn, "{} line(s) could not be read"
    yield (
        "lost-events",
        counts.lost_places,
        f"{lost}, {counts.lost_events} as counted: probes in flight there keep their cost, not its parts",
    )
    yield (
        "wrapped-buffer",
        counts.overwritten,
        "{} event(s) were overwritten before they were read: make the buffer larger",
    )
    yield "unordered", counts.unordered, "the clock steps back {} time(s) by less than a second: CPUs' clocks disagree"
    yield "mixed-clocks", counts.clock_changes, "the clock changes {} time(s): probes in flight there were dropped"
    yield (
        "whole-number-clock",
        counts.whole_number_clock,
        "time stamps without a unit are taken as ns: with the trace clock counter or x86-tsc costs mean nothing",
    )


def _assembling(assembler: ProbeAssembler) -> Iterator[tuple[str, int, str]]:
    counts = assembler.counts
    named = ", ".join(counts.unfinished_probes) + (" …" if counts.unfinished > len(counts.unfinished_probes) else "")
    yield (
        "unfinished",
        counts.unfinished,
        f"{{}} probe(s) did not return while it was recorded, or their return was missed: {named}",
    )
    yield "begin-missing", counts.orphans, "{} return(s) of a function whose call was not recorded"
    yield "no-device", counts.unnamed, "{} call(s) of a probe function name no device and belong to no probe"
    yield (
        "no-segments",
        counts.segments_dropped,
        "{} probe(s) keep their sums but not their segments: there are too many",
    )


def _not_told(assembler: ProbeAssembler, probes: Sequence[ProbeRecord]) -> Iterator[tuple[str, int, str]]:
    if not probes:
        return
    seen = assembler.seen
    yield (
        "not-told",
        not seen.switch,
        "without sched_switch nobody can tell how a cost divides into running and waiting, nor a move to another CPU",
    )
    yield (
        "not-told",
        seen.switch and not seen.wakeup,
        "without sched_wakeup nobody can tell waiting for a CPU from sleeping",
    )
    yield "not-told", sum(r.path is None for r in probes), "{} probe(s) do not tell how they were reached"
    yield "not-told", sum(r.caller_comm is None for r in probes), "{} probe(s) do not tell which task waited for them"
    yield (
        "not-told",
        sum(r.comm == DYING for r in probes),
        "{} probe(s) ran in a worker that has ended since, and no switch to it tells its name before: its pool is lost",
    )
    yield "not-told", sum(r.result == UNTOLD_NAME for r in probes), NO_ERRNO
    yield "not-told", sum(r.device_node is None for r in probes), "{} probe(s) are of a device whose node is not known"
