"""A journal for programs and for tables: each run with its end, each change with what there was and what there is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from numaprobe.bringup.clock import wall_text
from numaprobe.bringup.steps import JournalStep

if TYPE_CHECKING:
    from numaprobe.bringup.history import Entry, History, JournalRun

SCHEMA: Final = "numaprobe.history/1"
_PLACE: Final = (
    "device",
    "bus",
    "name",
    "action",
    "driver_before",
    "driver_after",
    "override_before",
    "override_after",
)


def history_to_dict(history: History, boot: str) -> dict[str, Any]:
    """Return the journal as ``numaprobe.history/1``; ``boot``: this boot's id."""
    return {
        "schema": SCHEMA,
        "runs": [run_to_dict(run, boot) for run in history.runs],
        "damaged": history.damaged,
    }


def run_to_dict(run: JournalRun, boot: str) -> dict[str, Any]:
    """Return one run: who and when, how it ended, what became of its changes."""
    begin, first = run.begin, run.first
    return {
        "run": run.id,
        "time": wall_text(first.time_ns),
        "time_ns": first.time_ns,
        "this_boot": run.boot == boot,
        "pid": begin.get("pid"),
        "command": begin.get("command"),
        "try_ns": begin.get("try_ns"),
        "end": end_of(run, boot),
        "changes": [_change(entry) for entry in run.entries.values()],
    }


def end_of(run: JournalRun, boot: str) -> str:
    """Return how a run ended, for people; ``open`` and ``waits`` need somebody."""
    if run.is_waiting and run.boot == boot:
        return "waits for confirm"
    if not run.is_over:
        return "open: recover" if run.boot == boot else "ended by a reboot"
    steps = {line.step for line in run.lines}
    if JournalStep.CLOSED in steps:
        return str(run.lines[-1].data.get("sentence", "closed"))
    if JournalStep.CONFIRMED in steps:
        return "confirmed"
    interrupted = any(line.data.get("interrupted") for line in run.lines)
    return "interrupted" if interrupted else "done"


def counts_of(run: JournalRun) -> str:
    """Return how many changes ended how: ``6 verified, 1 undone``."""
    found = Counter(str(entry.step) for entry in run.entries.values())
    return ", ".join(f"{count} {step}" for step, count in found.items()) or "no changes"


def _change(entry: Entry) -> dict[str, Any]:
    intent = entry.intent
    last = entry.lines[-1]
    return {
        "change": entry.change,
        **{name: intent.get(name) for name in _PLACE},
        "step": str(entry.step),
        "time": wall_text(last.time_ns),
        "result": next((line.data["result"] for line in entry.lines if "result" in line.data), None),
        "sentence": last.data.get("sentence", ""),
        "by": last.data.get("by"),
    }
