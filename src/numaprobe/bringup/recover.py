"""What a journal left open, brought to an end: finished or undone, and which of the two.

A run is open if it has no last line, or a change of it was late. What became of its process is not asked: whoever holds
the lock is the only one, and the journal and sysfs say the rest. For each device of the run:

* it has the driver that was asked for: that is finished, and only ``driver_override`` may still have to be put back;
* else it goes back to the driver and override that the journal has from before;
* a run that waits for a word (``--try``) gets the second for all of its devices;
* a write that the kernel still has (``late``, and its task is there) is left alone, and so is its run.

The last change is looked at first, as the first may be what the others stand on. A run of another boot is closed: its
devices are another kernel's, which never heard of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from numaprobe.bringup.alive import is_same_task
from numaprobe.bringup.history import read_history
from numaprobe.bringup.journal import Journal
from numaprobe.bringup.lock import RunLock
from numaprobe.bringup.plan import change_from_dict
from numaprobe.bringup.putback import PutBack, whole
from numaprobe.bringup.state import make_state
from numaprobe.bringup.steps import CHANGE_STEPS, JournalStep
from numaprobe.errors import InputError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.bringup.history import Entry, JournalRun
    from numaprobe.bringup.plan import Change
    from numaprobe.bringup.tools import BringupTools

SCHEMA: Final = "numaprobe.recovery/1"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of one device."""

    run: str
    #: ``BUS/NAME``
    device: str
    #: ``VERIFIED``: finished; ``UNDONE``: as before; ``LEFT``: neither; ``LATE``: the kernel still has the write
    step: JournalStep
    #: the driver it has now; None: none
    driver: str | None
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found open, and what became of it."""

    devices: tuple[Recovered, ...] = ()
    #: runs that another boot ended
    closed: tuple[str, ...] = ()
    #: what its reader should know
    warnings: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every device is as asked or as before."""
        return all(one.step in (JournalStep.VERIFIED, JournalStep.UNDONE) for one in self.devices)


def recovery_to_dict(recovery: Recovery) -> dict[str, Any]:
    """Return it as ``numaprobe.recovery/1``."""
    return {
        "schema": SCHEMA,
        "devices": [asdict(one) for one in recovery.devices],
        "closed": list(recovery.closed),
        "warnings": list(recovery.warnings),
    }


# ---- what is open ----------------------------------------------------------------------------------------------------
def check_free(runs: Iterable[JournalRun], boot: str) -> None:
    """Accept open runs of which none is of this boot.

    Raises:
        RefusedError: one waits for a word, or did not end.

    """
    for run in runs:
        if run.boot == boot and run.is_waiting:
            advice = "'numaprobe confirm' keeps it, 'numaprobe recover' undoes it"
            raise RefusedError(f"run {run.id} waits for a word: {advice}")
        if run.boot == boot:
            advice = "'numaprobe recover' finishes or undoes it"
            raise RefusedError(f"run {run.id} (pid {run.begin.get('pid', '?')}) did not end: {advice}")


def close_foreign(tools: BringupTools, runs: Iterable[JournalRun]) -> tuple[str, ...]:
    """Close the open runs of other boots; return their ids."""
    foreign = [run for run in runs if run.boot != tools.clock.boot]
    for run in foreign:
        with _opened(tools, run) as journal:
            journal.append(JournalStep.CLOSED, sentence="the machine was booted since; nothing was replayed")
    return tuple(run.id for run in foreign)


def _opened(tools: BringupTools, run: JournalRun) -> Journal:
    """Return the journal, to go on with a run; one whose own lines were lost counts as begun."""
    journal = Journal(tools.state, tools.clock, run.id)
    journal.resume(run.steps if run.lines else {None: JournalStep.BEGIN, **run.steps})
    return journal


# ---- recover ---------------------------------------------------------------------------------------------------------
def recover(tools: BringupTools) -> Recovery:
    """Bring everything that is open to an end.

    Raises:
        KernelInterfaceError: another run is at work, or the journal cannot be written.
        InputError: the journal cannot be read.

    """
    make_state(tools.state)
    with RunLock(tools.state, tools.clock):
        history = read_history(tools.state)
        closed = close_foreign(tools, history.open_runs)
        devices: list[Recovered] = []
        warnings = [f"{history.damaged} lines of the journal cannot be read"] if history.damaged else []
        for run in reversed(history.runs):
            if run.boot == tools.clock.boot and (not run.is_over or _late(run)):
                devices += settle_run(tools, run, warnings)
        return Recovery(tuple(devices), closed, tuple(warnings))


def settle_run(tools: BringupTools, run: JournalRun, warnings: list[str]) -> list[Recovered]:
    """Bring the devices of a run of this boot to an end, and the run too unless the kernel still has a write of it."""
    back = PutBack(tools.sysfs, tools.writer, tools.recheck)
    found = []
    with _opened(tools, run) as journal:
        for entries, change in _devices(run, warnings):
            if _is_with_the_kernel(entries):
                sentence = "the kernel still has its write; run 'numaprobe recover' again when it is back"
                found.append(Recovered(run.id, _name(change), JournalStep.LATE, None, sentence))
                continue
            settled = back.settle(change, finish=not run.is_waiting)
            _write_down(journal, run, entries, settled.step, settled.sentence)
            found.append(Recovered(run.id, _name(change), settled.step, settled.driver, settled.sentence))
        if not run.is_over and all(one.step is not JournalStep.LATE for one in found):
            journal.append(JournalStep.CLOSED, sentence="not confirmed" if run.is_waiting else "recovered")
    return found


def _devices(run: JournalRun, warnings: list[str]) -> list[tuple[list[Entry], Change]]:
    """Return the devices of a run that need somebody, the last first, each with its entries and its whole change."""
    by_device: dict[str, list[tuple[Entry, Change]]] = {}
    for entry in run.entries.values():
        try:
            change = change_from_dict(dict(entry.intent), entry.change)
        except InputError:
            warnings.append(
                f"run {run.id}: what was to be done by '{entry.change}' cannot be read; look at it yourself"
            )
            continue
        by_device.setdefault(change.device, []).append((entry, change))
    return [
        ([entry for entry, _ in pairs], whole([change for _, change in pairs]))
        for pairs in reversed(by_device.values())
        if _needs_somebody([entry for entry, _ in pairs], run)
    ]


def _needs_somebody(entries: Sequence[Entry], run: JournalRun) -> bool:
    last = entries[-1].step
    if run.is_waiting:
        return last not in (JournalStep.REFUSED, JournalStep.UNDONE)
    half_done = last is JournalStep.REFUSED and entries[0].step is JournalStep.VERIFIED
    return half_done or not all(entry.is_settled for entry in entries)


def _late(run: JournalRun) -> bool:
    return any(entry.step is JournalStep.LATE for entry in run.entries.values())


def _is_with_the_kernel(entries: Sequence[Entry]) -> bool:
    lines = [entry.lines[-1] for entry in entries if entry.step is JournalStep.LATE]
    return any(is_same_task(line.data.get("task")) for line in lines)


def _write_down(journal: Journal, run: JournalRun, entries: Sequence[Entry], step: JournalStep, sentence: str) -> None:
    data = {"sentence": sentence} if sentence else {}
    for entry in entries:
        if step in CHANGE_STEPS[entry.step]:
            journal.append(step, entry.change, lasting=False, by="confirm" if run.is_waiting else "recover", **data)


def _name(change: Change) -> str:
    return f"{change.bus}/{change.name}"
