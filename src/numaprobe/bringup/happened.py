"""What was done to devices, as a trace: the one form that tables, HTML and comparisons read.

Two sources. **The kernel's record** (``--record``) has each probe as the kernel saw it: CPU, task, which task waited.
Without it there is only what the writer saw from the outside: when it wrote, where it was, how long the kernel kept it.
Then where the probe ran is not told; it is not taken from the plan.

What has no probe (an unbind, a device that was refused or passed over) is a warning of the trace, one line each.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from numaprobe.bringup.outcome import key_of, sentence_of
from numaprobe.bringup.steps import JournalStep
from numaprobe.kernel.identity import this_machine
from numaprobe.listing import first_few
from numaprobe.records import NO_NODE, ProbeRecord, RunWarning, Trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from numaprobe.bringup.outcome import ChangeOutcome, Report
    from numaprobe.bringup.plan import Plan

#: what the kernel calls the way to the probe, and the function that takes the write (drivers/base/bus.c)
_PATH: Final = "device_driver_attach"
_FUNCTION: Final = "bind_store"
#: kind of the warnings that say what decided where probes ran
PLACED: Final = "placed"
#: names of devices that a sentence lists before it counts
_NAMED: Final = 4


def trace_of(plan: Plan, report: Report, *, command: str, machine: Mapping[str, Any], recorded: Trace | None) -> Trace:
    """Return what happened.

    Args:
        plan: what was asked.
        report: what became of it.
        command: ``bind``, ``unbind`` or ``rebind``.
        machine: the machine's JSON block.
        recorded: what the kernel recorded meanwhile; None: it was not asked.

    """
    warnings = (*_told(report), *_passed_over(plan))
    if recorded is not None:
        where = placement_of(report, recorded)
        return replace(recorded, scenario=command, warnings=(*recorded.warnings, *where, *warnings))
    probes = [record for outcome in report.outcomes if (record := _record(outcome)) is not None]
    return Trace(
        source="kernel",
        probes=tuple(sorted(probes, key=lambda record: record.start_ns or 0)),
        kernel=os.uname().release,
        scenario=command,
        machine=machine,
        warnings=warnings,
        identity=this_machine(command=("numaprobe", command)),
    )


def _record(outcome: ChangeOutcome) -> ProbeRecord | None:
    """Return what the writer saw of a probe; None if none came back."""
    change, seen = outcome.change, outcome.seen
    if seen is None:
        return None
    return ProbeRecord(
        device=change.name,
        driver=change.driver_after or "",
        bus=change.bus,
        device_node=NO_NODE if change.node is None else change.node,
        result=outcome.result,
        start_ns=seen.start_ns,
        end_ns=seen.end_ns,
        cost_ns=seen.end_ns - seen.start_ns,
        caller_cpu=seen.cpu,
        caller_comm=seen.comm,
        function=_FUNCTION,
        path=_PATH,
    )


def _told(report: Report) -> Iterator[RunWarning]:
    for outcome in report.outcomes:
        if not outcome.is_as_asked:
            yield RunWarning(kind=str(outcome.step or "refused"), message=sentence_of(outcome))
        elif outcome.change.driver_after is None:
            yield RunWarning(kind="unbound", message=f"{key_of(outcome.change)}: {outcome.change.driver_before} let go")
        if outcome.was_late and outcome.step is not JournalStep.LATE:
            yield RunWarning(kind="late", message=f"{key_of(outcome.change)}: it took longer than its deadline")
    for text in report.warnings:
        yield RunWarning(kind="bringup", message=text)


def _passed_over(plan: Plan) -> Iterator[RunWarning]:
    for one in plan.skipped:
        why = one.reasons[0] if one.reasons else None
        flag = f" ({why.flag})" if why is not None and why.flag else ""
        sentence = f": {why.sentence}{flag}" if why is not None else ""
        yield RunWarning(kind="refused" if one.refused else "passed-over", message=f"{one.bus}/{one.name}{sentence}")
    for text in plan.warnings:
        yield RunWarning(kind="plan", message=text)


# ---- what decided where a probe ran
def placement_of(report: Report, recorded: Trace) -> tuple[RunWarning, ...]:
    """Return, for each bus, whether the writer's pin decided where probes ran, or the kernel queued them elsewhere.

    From the record alone: a probe in the task that wrote ran where that was pinned; one in another task ran where the
    kernel put that.
    """
    writers = {(one.change.bus, one.change.name): one.seen.comm for one in report.outcomes if one.seen is not None}
    pinned: dict[str, list[ProbeRecord]] = {}
    queued: dict[str, list[ProbeRecord]] = {}
    for record in recorded.probes:
        writer = writers.get((record.bus or "", record.device))
        if writer is not None and record.comm is not None:
            (pinned if record.comm == writer else queued).setdefault(record.bus or "", []).append(record)
    return (
        *(_placed(bus, found, "in the writer's task, so its pin decided the CPU") for bus, found in pinned.items()),
        *(
            _placed(bus, found, f"where the kernel queued them, whatever the writer's pin: {_tasks(found)}")
            for bus, found in queued.items()
        ),
    )


def _placed(bus: str, records: Sequence[ProbeRecord], where: str) -> RunWarning:
    local = sum(record.local is True for record in records)
    known = sum(record.local is not None for record in records)
    on_node = f"; {local} of {known} on their device's node" if known else ""
    return RunWarning(kind=PLACED, message=f"{bus}: probes {where} ({len(records)}){on_node}")


def _tasks(records: Iterable[ProbeRecord]) -> str:
    names = list(dict.fromkeys(f"{record.comm} on CPU {record.cpu}" for record in records))
    return first_few(names, _NAMED)
