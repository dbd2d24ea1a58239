"""``numaprobe explore``: a scenario under a policy in every order."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from numaprobe.cli import options
from numaprobe.cli.inputs import refuse_for_programs
from numaprobe.cli.output import Shape, choose_format, text_shape, to_json, write
from numaprobe.cli.progress import ProgressLine
from numaprobe.cli.say import exit_code, tell
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from typing import TextIO

    from numaprobe.schedules import Explored, Subject

_INTERRUPTED: Final = 130


def explore(  # noqa: PLR0917  a command's signature is its options
    scenario: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="A scenario: built-in, or a TOML file; or FILE.py:FUNCTION.")
    ],
    policy: options.OnePolicy = None,
    strategy: Annotated[
        str, typer.Option("--strategy", metavar="NAME", help="dfs, pct, random, or portfolio: all of them.")
    ] = "dfs",
    preemptions: Annotated[
        int | None, typer.Option("--preemptions", min=0, metavar="N", help="dfs: no order with more pre-emptions.")
    ] = None,
    depth: Annotated[
        int, typer.Option("--depth", min=1, metavar="D", help="pct: of the bugs that are looked for.")
    ] = 3,
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="N", help="At most N schedules.")] = 2000,
    seconds: Annotated[str | None, typer.Option("--for", metavar="TIME", help="At most so long: 10s.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of pct and random.")] = 0,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, metavar="N", help="In N processes; the result is the same.")
    ] = 1,
    memory: Annotated[
        str, typer.Option("--memory", metavar="SIZE", help="For states that are remembered; beyond it none are.")
    ] = "200MiB",
    choices: Annotated[
        list[str] | None,
        typer.Option("--choice", metavar="NAME", help="A choice that is no order: no-room, full-queue. Repeatable."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="FILE", help="Keep in FILE what is left, and go on with it if it is there."),
    ] = None,
    schedule: Annotated[
        str | None, typer.Option("--schedule", metavar="TEXT", help="Run and show this one order, as it was printed.")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option("--patience", min=1, metavar="N", help="Also: a task that is passed over in N steps."),
    ] = None,
    first: Annotated[bool, typer.Option("--first", help="Stop at the first finding.")] = False,
    classes: Annotated[
        bool, typer.Option("--classes", help="Also: orders of lock classes that close a cycle, as lockdep has them.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Keep what was found as FILE.toml, for run.")
    ] = None,
    machine: options.Machine = None,
    kernel: options.Kernel = None,
    cmdline: options.Cmdline = None,
    devices: options.Devices = None,
    overrides: options.Overrides = None,
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Run a scenario under one policy in every order, and show what hangs or comes out differently.

    Time is an order and no length here: any sleep may end first, any timer may fire. What is found is told once, with
    the shortest schedule seen; numaprobe run SCENARIO --schedule TEXT repeats it as a run, and --schedule TEXT here
    shows its steps again. "Exhaustive" is said only if every order was seen.

    FILE.py:FUNCTION is an async def of a virtual machine, which builds what it wants to have explored.

    FORMAT is table, json, markdown or html, with a drawing of each schedule.

    Exit code 1: something was found.
    """
    from numaprobe import study
    from numaprobe.cli.formats import markdown
    from numaprobe.report.schedules import explored_page, explored_to_dict, print_explored
    from numaprobe.schedules import (
        STATE_BYTES,
        Limits,
        ScenarioSubject,
        Search,
        explored_once,
        faults_of,
        load_program,
        patience_of,
        read_rest,
        write_rest,
    )
    from numaprobe.study.orders import processes, save_found, stopped_by_hand
    from numaprobe.units import parse_size, parse_time

    def table(result: "Explored", stream: "TextIO") -> None:
        print_explored(result, stream)

    shapes = {
        "table": Shape(stream=table),
        "json": text_shape(lambda result: to_json(explored_to_dict(result))),
        "markdown": text_shape(markdown(table)),
        "html": text_shape(explored_page),
    }
    chosen = choose_format(format, as_json, output, shapes)
    limits = Limits(
        strategy=strategy,
        preemptions=preemptions,
        depth=depth,
        runs=runs,
        seconds=None if seconds is None else parse_time(seconds) / 1e9,
        seed=seed,
        states=parse_size(memory) // STATE_BYTES,
        first=first,
        classes=classes,
    )
    subject: Subject
    if ".py:" in scenario:
        given = {"--machine": machine, "--kernel": kernel, "--cmdline": cmdline, "--policy": policy, "--save": save}
        refuse_for_programs(scenario, {**given, "--devices": devices, "--set": overrides, "--choice": choices})
        subject = replace(load_program(scenario), patience=patience if schedule is None else patience_of(schedule))
    else:
        setting = study.make_setting(
            scenario,
            machine=machine,
            kernel=kernel,
            cmdline=cmdline,
            devices=devices,
            overrides=overrides or (),
            policy=policy,
        )
        faults = tuple(choices or ())
        if schedule is not None:
            faults, patience = faults_of(schedule), patience_of(schedule)
        subject = ScenarioSubject(setting, faults, patience)
    if schedule is not None:
        if resume is not None or save is not None:
            raise UsageError(f"{'--resume' if resume else '--save'} is for a search; --schedule runs one order")
        result = explored_once(subject, schedule)
        write(result, shapes[chosen], chosen, output)
        return _exit_code(result, chosen, output)
    rest = None if resume is None else read_rest(resume)
    keep = None if resume is None else partial(write_rest, path=resume)
    with ProgressLine("schedule") as line, processes(jobs) as pool:
        told = line.counter(runs, subject.name)
        search = Search(subject, limits, told, map=pool, rest=rest, keep=keep)
        with stopped_by_hand(search):
            result = search.explore()
    write(result, shapes[chosen], chosen, output)
    if save is not None and not result.clean and isinstance(subject, ScenarioSubject):
        tell(f"kept: {save_found(subject.setting, result, save)}")
    if resume is not None and not result.over:
        tell(f"more is left: the same command goes on from {resume}, with more --runs or --for if these ended it")
    elif result.clean and result.too_large:
        tell("too large to close so: fewer devices (--devices 2), more --runs, --resume FILE, or --strategy pct")
    sys.stdout.flush()
    return _INTERRUPTED if search.stopped else _exit_code(result, chosen, output)


def _exit_code(result: "Explored", chosen: str, output: Path | None) -> int:
    failures = [f"{one.ending.verdict}: {one.ending.text}" for one in result.findings]
    if len(result.outcomes) > 1:
        failures.append(f"{len(result.outcomes)} outcomes of one scenario")
    return exit_code(failures, chosen, output)
