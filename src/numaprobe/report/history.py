"""Tables of what was done to devices: all runs of a journal, the changes of one, what a recovery did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from numaprobe.bringup.clock import wall_text
from numaprobe.bringup.told import counts_of, end_of, run_to_dict
from numaprobe.report.grid import UNKNOWN, Column, Grid, console_for, draw, stdout_or

if TYPE_CHECKING:
    from numaprobe.bringup.history import History, JournalRun
    from numaprobe.bringup.recover import Recovery

_RUNS: Final = (
    Column(title="run"),
    Column(title="when", legend="by the wall clock, which may have jumped; the order is the order of writing"),
    Column(title="command"),
    Column(
        title="changes",
        legend="verified: as asked; undone: as before; refused: not touched; left: neither; late: the kernel has it",
    ),
    Column(title="end"),
)
_CHANGES: Final = (
    Column(title="change"),
    Column(title="before", legend="the driver that it had"),
    Column(title="asked", legend="the driver that it should have"),
    Column(title="step"),
    Column(title="result", legend="what the kernel answered: 0, or the errno's name", spare=1),
    Column(title="what there is to say", spare=2),
)
_RECOVERED: Final = (
    Column(title="run"),
    Column(title="device"),
    Column(
        title="became", legend="verified: as asked; undone: as before; left: neither; late: the kernel has its write"
    ),
    Column(title="driver", legend="that it has now"),
    Column(title="what there is to say", spare=1),
)


def print_history(history: History, boot: str, stream: TextIO | None = None) -> None:
    """Print every run, the oldest first."""
    console = console_for(stdout_or(stream))
    rows = [
        [
            run.id,
            wall_text(run.first.time_ns),
            str(run.begin.get("command") or UNKNOWN),
            counts_of(run),
            end_of(run, boot),
        ]
        for run in history.runs
    ]
    draw(Grid(columns=_RUNS, rows=rows), console)
    if history.damaged:
        console.print(f"{history.damaged} lines of the journal cannot be read, and were passed over")


def print_run(run: JournalRun, boot: str, stream: TextIO | None = None) -> None:
    """Print the changes of one run."""
    console = console_for(stdout_or(stream))
    told = run_to_dict(run, boot)
    console.print(f"run {run.id}, {told['time']}, {told['command'] or UNKNOWN} (pid {told['pid']}): {told['end']}")
    console.print()
    rows = [
        [
            one["change"],
            one["driver_before"] or "none",
            one["driver_after"] or "none",
            one["step"],
            one["result"] or UNKNOWN,
            one["sentence"],
        ]
        for one in told["changes"]
    ]
    draw(Grid(columns=_CHANGES, rows=rows), console)


def print_recovery(recovery: Recovery, stream: TextIO | None = None) -> None:
    """Print what became of each device that somebody had to look after."""
    console = console_for(stdout_or(stream))
    for run in recovery.closed:
        console.print(f"run {run} was ended by a reboot: closed, nothing replayed")
    if not recovery.devices:
        console.print("nothing is open")
        return
    rows = [[one.run, one.device, str(one.step), one.driver or "none", one.sentence] for one in recovery.devices]
    draw(Grid(columns=_RECOVERED, rows=rows), console)
