"""What people see of a run, of the journal and of a recovery: compared with the text that was agreed on."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from numaprobe.bringup.happened import trace_of
from numaprobe.bringup.history import Entry, History, JournalLine, JournalRun
from numaprobe.bringup.outcome import ChangeOutcome, Report, SeenWrite, key_of
from numaprobe.bringup.plan import Change, Plan, Skipped, change_to_dict
from numaprobe.bringup.reasons import make_reason
from numaprobe.bringup.recover import Recovered, Recovery
from numaprobe.bringup.steps import JournalStep
from numaprobe.records import ProbeRecord, Trace
from numaprobe.report.changes import print_changes
from numaprobe.report.history import print_history, print_recovery, print_run

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parent / "golden"
MS = 1_000_000


def compared(name: str, show: Callable[[io.StringIO], None]) -> None:
    stream = io.StringIO()
    show(stream)
    path = GOLDEN / name
    if os.environ.get("NUMAPROBE_GOLDEN") == "write":
        path.write_text(stream.getvalue())
    assert stream.getvalue() == path.read_text()


def change(name: str, node: int | None, **more: str | None) -> Change:
    values = {"action": "bind", "driver_after": "nvme", **more}
    return Change(device=f"devices/pci0000:80/{name}", bus="pci", name=name, node=node, **values)  # type: ignore[arg-type]


NVME = change("0000:81:00.0", 1)
LOST = change("0000:82:00.0", None, action="rebind", driver_before="nvme", driver_after="vfio-pci")
LATE = change("0000:83:00.0", 0)
GONE = change("0000:84:00.0", 0, action="unbind", driver_before="nvme", driver_after=None)
BUSY = Skipped(
    device="devices/pci0000:80/0000:85:00.0",
    bus="pci",
    name="0000:85:00.0",
    refused=True,
    reasons=(make_reason("mounted", "nvme0n1 is mounted on /srv (ext4)", "pci", "0000:85:00.0"),),
)


def a_report() -> tuple[Plan, Report]:
    seen = SeenWrite(start_ns=5 * MS, end_ns=39 * MS, cpu=12, cpu_after=12, comm="numaprobe-n1", running_ns=MS)
    outcomes = [
        ChangeOutcome(NVME, JournalStep.VERIFIED, "0", "nvme", seen=seen),
        ChangeOutcome(
            LOST, JournalStep.UNDONE, "EIO", "nvme", "bind vfio-pci: EIO (Input/output error); put back to nvme"
        ),
        ChangeOutcome(
            LATE,
            JournalStep.LATE,
            None,
            None,
            "still in the kernel after its 30 s; a driver that hangs holds its device",
        ),
        ChangeOutcome(GONE, JournalStep.VERIFIED, "0", None),
    ]
    plan = Plan(changes=(NVME, LOST, LATE, GONE), skipped=(BUSY,), jobs=2)
    return plan, Report("5f0c2a91", outcomes, start_ns=5 * MS, end_ns=72 * MS)


def test_what_became_of_each_change() -> None:
    plan, report = a_report()
    trace = trace_of(plan, report, command="bind", machine={}, recorded=None)
    compared("changes.txt", lambda out: print_changes(plan, report, trace, out))


def test_with_the_kernels_record() -> None:
    plan, report = a_report()
    probe = ProbeRecord(
        device=NVME.name,
        driver="nvme",
        bus="pci",
        device_node=1,
        cpu=8,
        cpu_node=1,
        comm="kworker/8:1",
        cost_ns=33 * MS,
    )
    trace = trace_of(plan, report, command="bind", machine={}, recorded=Trace(source="kernel", probes=(probe,)))
    compared("changes-recorded.txt", lambda out: print_changes(plan, report, trace, out))


def a_run(number: int, boot: str, *steps: JournalStep, command: str = "bind") -> JournalRun:
    made = JournalRun(f"{number:08x}")
    made.lines.append(
        JournalLine(JournalStep.BEGIN, made.id, None, 10**18, 1, {"boot": boot, "pid": 77, "command": command})
    )
    intent = JournalLine(JournalStep.INTENT, made.id, key_of(NVME), 10**18, 1, change_to_dict(NVME))
    made.entries[key_of(NVME)] = Entry(key_of(NVME), [intent])
    for step in steps:
        line = JournalLine(
            step, made.id, None, 10**18, 2, {"sentence": "recovered"} if step is JournalStep.CLOSED else {}
        )
        if step in (JournalStep.VERIFIED, JournalStep.UNDONE):
            made.entries[key_of(NVME)].lines.append(replace(line, change=key_of(NVME), data={"result": "0"}))
        else:
            made.lines.append(line)
    return made


def test_every_run_of_a_journal() -> None:
    runs = (
        a_run(1, "before", JournalStep.VERIFIED, JournalStep.END),
        a_run(2, "before"),
        a_run(3, "now", JournalStep.UNDONE, JournalStep.CLOSED, command="rebind"),
        a_run(4, "now", JournalStep.VERIFIED, JournalStep.WAITING, JournalStep.CONFIRMED, JournalStep.END),
        a_run(5, "now"),
        a_run(6, "now", JournalStep.VERIFIED, JournalStep.WAITING),
    )
    compared("history.txt", lambda out: print_history(History(runs, 1), "now", out))
    compared("history-run.txt", lambda out: print_run(runs[0], "now", out))


def test_a_recovery() -> None:
    found = Recovery(
        (
            Recovered("5f0c2a91", "pci/0000:81:00.0", JournalStep.VERIFIED, "nvme"),
            Recovered("5f0c2a91", "pci/0000:82:00.0", JournalStep.UNDONE, None),
            Recovered(
                "5f0c2a91",
                "pci/0000:83:00.0",
                JournalStep.LEFT,
                "ixgbe",
                "it is bound to ixgbe, which is not our doing",
            ),
        ),
        closed=("0badcafe",),
    )
    compared("recovery.txt", lambda out: print_recovery(found, out))
    compared("recovery-nothing.txt", lambda out: print_recovery(Recovery(), out))
