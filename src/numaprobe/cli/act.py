"""What ``bind``, ``unbind`` and ``rebind`` share: from devices or a plan's file to what happened.

In this order: a plan, made or read; with ``--dry-run`` or ``--save-plan`` it is shown or saved, and that is all; else
it is carried out in a process of its own (``bringup/apart.py``), under the kernel's record if asked for, and what
happened is shown.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import typer

from numaprobe.cli.bringup import DEVICES_HELP, open_machine, parse_allowances, plan_changes
from numaprobe.cli.output import Shape, choose_format, text_shape, to_json, write
from numaprobe.cli.say import complain, tell
from numaprobe.errors import UsageError
from numaprobe.units import parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.bringup.outcome import ChangeOutcome, Report
    from numaprobe.bringup.plan import Plan
    from numaprobe.cli.bringup import OpenedMachine
    from numaprobe.records import Trace

_FAILED: Final = 1
_INTERRUPTED: Final = 130

Devices = Annotated[list[str] | None, typer.Argument(metavar="DEVICE...", help=DEVICES_HELP)]
Driver = Annotated[
    str | None, typer.Option("--driver", metavar="NAME", help="This driver, through driver_override (put back after).")
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", "-j", min=1, max=1024, metavar="N", help="At most N at a time; by default what is known to be safe."
    ),
]
Deadline = Annotated[
    str | None,
    typer.Option("--deadline", metavar="TIME", help="Tell a probe that takes longer (30s), and go on without it."),
]
Policy = Annotated[
    str,
    typer.Option("--policy", "-p", metavar="NAME", help="migrate-caller: write from the node; inline: from anywhere."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be done, and what is predicted of it.")]
SavePlan = Annotated[
    Path | None, typer.Option("--save-plan", metavar="FILE", help="Write the plan to FILE instead of doing it.")
]
FromPlan = Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="Do what a saved plan says.")]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow", metavar="DEVICE=REASON", help="Do it although DEVICE is refused for this REASON. Repeatable."
    ),
]
Try = Annotated[
    str | None,
    typer.Option("--try", metavar="TIME", help="Undo everything after TIME (120s) unless 'numaprobe confirm' comes."),
]
Record = Annotated[
    bool, typer.Option("--record", help="Have the kernel record the probes: where each ran, in whose task.")
]
Memory = Annotated[bool, typer.Option("--memory", help="With --record: from which node each probe's pages came.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a command line asked for; see the options above."""

    action: str
    devices: Sequence[str]
    driver: str | None = None
    jobs: int | None = None
    deadline: str | None = None
    policy: str = "migrate-caller"
    dry_run: bool = False
    save_plan: Path | None = None
    plan: Path | None = None
    allow: Sequence[str] = ()
    try_for: str | None = None
    record: bool = False
    memory: bool = False
    root: Path | None = None
    state: Path | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What happened."""

    plan: Plan
    report: Report
    trace: Trace


def act(asked: Asked, *, name: str | None, as_json: bool, output: Path | None) -> int:
    """Do what a command line asks for; return the exit code."""
    _check_usage(asked)
    formats = _plan_shapes(asked) if _only_shows(asked) else _shapes()
    chosen = choose_format(name, as_json, output, formats)
    machine = open_machine(asked.root)
    plan = _plan(machine, asked)
    if asked.save_plan is not None:
        _save(plan, asked.save_plan)
    if _only_shows(asked):
        if asked.dry_run or asked.save_plan is None:
            write(plan, formats[chosen], chosen, output)
        return _code(plan, ())
    done = _carry_out(machine, plan, asked)
    write(done, formats[chosen], chosen, output)
    _say(done, asked, chosen, output)
    return _INTERRUPTED if done.report.interrupted else _code(plan, done.report.failures)


def _only_shows(asked: Asked) -> bool:
    return asked.dry_run or asked.save_plan is not None


def _check_usage(asked: Asked) -> None:
    """Accept options that go together.

    Raises:
        UsageError: they do not.

    """
    if asked.plan is not None and (asked.devices or asked.driver or asked.allow):
        raise UsageError("--plan says which devices, drivers and allowances; leave them out, or make a new plan")
    if asked.policy not in ("migrate-caller", "inline"):
        raise UsageError(f"policy '{asked.policy[:40]}' is not a writer's; migrate-caller (from the node) or inline")
    if asked.memory and not asked.record:
        raise UsageError("--memory belongs to --record")
    if asked.root is not None and not _only_shows(asked):
        raise UsageError("--root is for looking; with it, --dry-run or --save-plan is needed")


# ---- the plan --------------------------------------------------------------------------------------------------------
def _plan(machine: OpenedMachine, asked: Asked) -> Plan:
    deadline_ns = parse_time(asked.deadline) if asked.deadline else None
    if asked.plan is not None:
        plan = read_plan(asked.plan)
        return replace(plan, jobs=asked.jobs or plan.jobs, deadline_ns=deadline_ns or plan.deadline_ns)
    from numaprobe.bringup.guard import Guard
    from numaprobe.bringup.planner import Wish

    guard = Guard(machine.sysfs, machine.senses, parse_allowances(asked.allow))
    wish = Wish(action=asked.action, driver=asked.driver, jobs=asked.jobs, deadline_ns=deadline_ns)
    return plan_changes(machine, asked.devices, wish, guard)


def read_plan(path: Path) -> Plan:
    """Return the plan of a file.

    Raises:
        InputError: it is not there, or holds no plan that can be carried out.

    """
    from numaprobe.bringup.plan import load_plan
    from numaprobe.errors import InputError
    from numaprobe.reading.files import read_document

    data = read_document(path, "json")
    if data is None:
        raise InputError("is not there; bind --save-plan FILE writes a plan", str(path))
    return load_plan(data, str(path))


def _save(plan: Plan, path: Path) -> None:
    from numaprobe.bringup.plan import dump_plan
    from numaprobe.records import write_atomically

    write_atomically(path, dump_plan(plan))
    tell(f"{len(plan.changes)} changes in {path}; do them: numaprobe bind --plan {path}")


# ---- doing it --------------------------------------------------------------------------------------------------------
def _carry_out(machine: OpenedMachine, plan: Plan, asked: Asked) -> Done:
    from numaprobe.bringup.apart import perform_apart
    from numaprobe.bringup.happened import trace_of
    from numaprobe.bringup.session import tools_for
    from numaprobe.study.recording import record_options, record_while
    from numaprobe.topology import read_sysfs
    from numaprobe.topology import to_json as machine_json

    tools = tools_for(plan, state=asked.state)
    try_ns = parse_time(asked.try_for) if asked.try_for else None

    def work() -> Report:
        return perform_apart(
            plan,
            tools,
            command=asked.action,
            try_ns=try_ns,
            pins=asked.policy != "inline",
            told=_show,
            stopping=_stopping,
        )

    recorded = None
    if asked.record and plan.changes:
        taken, report = record_while(record_options(memory=asked.memory), work, command=sys.argv)
        recorded, topology = taken.trace, taken.trace.machine
    else:
        report = work()
        topology = machine_json(read_sysfs(machine.sysfs.root.at("sys")))
    trace = trace_of(plan, report, command=asked.action, machine=topology, recorded=recorded)
    return Done(plan, report, replace(trace, policy=asked.policy))


def _show(outcome: ChangeOutcome) -> None:
    """Tell a change that is over, to whoever looks."""
    from numaprobe.bringup.outcome import key_of

    if sys.stderr.isatty():
        tell(f"{key_of(outcome.change)}: {outcome.step}")


def _stopping() -> None:
    tell("stopping: what is under way ends first; nothing more is begun")


# ---- showing it ------------------------------------------------------------------------------------------------------
def _plan_shapes(asked: Asked) -> dict[str, Shape]:
    def table(plan: Plan, stream: TextIO) -> None:
        from numaprobe.cli.bringup import foresee
        from numaprobe.report.bringup import print_plan

        print_plan(plan, foresee(open_machine(asked.root), plan), stream)

    return {"table": Shape(stream=table), "json": text_shape(_plan_json)}


def _plan_json(plan: Plan) -> str:
    from numaprobe.bringup.plan import plan_to_dict

    return to_json(plan_to_dict(plan))


def _shapes() -> dict[str, Shape]:
    """Return the formats of a trace, of what happened; the table is our own."""
    from numaprobe.cli.formats import TableOptions, trace_shapes

    return {name: _of_trace(shape) for name, shape in trace_shapes(TableOptions()).items()} | {
        "table": Shape(stream=_table)
    }


def _of_trace(shape: Shape) -> Shape:
    stream, file = shape.stream, shape.file
    return Shape(
        stream=None if stream is None else lambda done, out: stream(done.trace, out),
        file=None if file is None else lambda done, path: file(done.trace, path),
    )


def _table(done: Done, stream: TextIO) -> None:
    from numaprobe.report.changes import print_changes

    print_changes(done.plan, done.report, done.trace, stream)


def _say(done: Done, asked: Asked, chosen: str, output: Path | None) -> None:
    """Say on standard error what must not be missed."""
    report = done.report
    if report.waits_until_ns is not None:
        tell(f"run {report.run} is undone {asked.try_for} after its last change, unless: numaprobe confirm")
    if report.failures and (chosen != "table" or output is not None):
        more = f"; and {len(report.failures) - 1} more" if len(report.failures) > 1 else ""
        complain(f"{report.failures[0]}{more}")


def _code(plan: Plan, failures: Sequence[Any]) -> int:
    return _FAILED if failures or any(one.refused for one in plan.skipped) else 0
