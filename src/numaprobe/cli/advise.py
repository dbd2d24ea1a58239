"""``numaprobe advise``: which settings of a stock kernel make probes faster, or more local."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numaprobe.cli import options
from numaprobe.cli.completing import scenario_names
from numaprobe.cli.inputs import refuse_trace_options
from numaprobe.cli.output import Shape, choose_format, text_shape, to_json, write
from numaprobe.cli.progress import ProgressLine
from numaprobe.cli.registry import COMMANDS
from numaprobe.units import parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from numaprobe.records import Trace
    from numaprobe.study.advise import Advice, Around, SearchProgress


def advise(  # noqa: PLR0917  a command's signature is its options
    what: Annotated[
        str,
        typer.Argument(metavar="INPUT", autocompletion=scenario_names, help="A recorded trace, a scenario, or host."),
    ],
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="DRIVER", help="Do not keep DRIVER out, whatever speaks for it. Repeatable."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TEXT", help="Of a boot: the milestone, device or line to reach sooner."),
    ] = None,
    patience: Annotated[
        str, typer.Option("--for", metavar="TIME", help="Search so long at most; the best so far is the answer.")
    ] = "60s",
    machine: options.Machine = None,
    kernel: options.Kernel = None,
    cmdline: options.Cmdline = None,
    devices: options.Devices = None,
    overrides: options.Overrides = None,
    kprobes: options.Kprobes = None,
    learn: options.Learn = None,
    costs: options.Costs = None,
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Search the settings of a stock kernel for those that help, and say what to write and how to undo it.

    INPUT is a recorded trace, a scenario (a built-in one or a TOML file), or host: this machine's devices. Settings are
    driver_async_probe=, a module's async_probe, from where a module is loaded, workqueue.default_affinity_scope= and
    isolcpus=. Each, and each combination, is run on the virtual machine: none is added up. Drivers whose order somebody
    may rely on are kept out, each with its reason. That nothing would help is an answer, too.

    Of a boot's log (initcall_debug) what counts is a milestone: --until "Run /init", which is also what counts if
    nothing is said, a device whose probe is waited for, or a piece of any line.

    FORMAT is table or json.
    """
    from numaprobe import study
    from numaprobe.study.advise import advise as search
    from numaprobe.study.advise import goal_of

    shapes = advice_shapes(
        _source(
            what, machine, kernel, cmdline, devices, kprobes, {"--set": overrides, "--learn": learn, "--costs": costs}
        )
    )
    chosen = choose_format(format, as_json, output, shapes)
    seconds = parse_time(patience) / 1e9
    recorded = _recorded(what, machine, kprobes, until)
    if recorded is None:
        refuse_trace_options([what], {"--learn": learn})
    taught = [study.read_trace(one, machine=machine, kprobes=kprobes) for one in learn or ()]
    changes: Any = {
        "learn": taught,
        "kernel": kernel,
        "cmdline": cmdline,
        "devices": devices,
        "overrides": overrides,
        "costs": costs or (),
    }
    kprobes = None if recorded else kprobes
    setting = study.make_setting(recorded or what, machine=None if recorded else machine, kprobes=kprobes, **changes)
    with ProgressLine("run") as line:

        def tell(progress: "SearchProgress") -> None:
            line.show(progress.runs, progress.total or 0, f"best so far: {progress.best.name}")

        advice = search(
            setting,
            recorded=recorded,
            around=_around(what, machine),
            goal=goal_of(until, recorded),
            allowed=tuple(allow or ()),
            seconds=seconds,
            progress=tell,
        )
    write(advice, shapes[chosen], chosen, output)
    return 0


def _recorded(what: str, machine: str | None, kprobes: "Path | None", until: str | None) -> "Trace | None":
    """Return the trace that INPUT is; None: it is a scenario."""
    from numaprobe import study

    if not study.is_trace(what):
        return None
    return study.read_trace(what, machine=machine, kprobes=kprobes, until=() if until is None else (until,))


def _around(what: str, machine: str | None) -> "Around":
    """Return what this machine tells, if it is the one that is asked about."""
    from numaprobe.cli.around import around_here
    from numaprobe.study.advise import Around

    here = what == "host" and machine in (None, "host")
    return replace(around_here() if here else Around(), can_bind="bind" in COMMANDS)


def _source(
    what: str,
    machine: str | None,
    kernel: str | None,
    cmdline: str | None,
    devices: int | None,
    kprobes: Path | None,
    repeated: "Mapping[str, list[str] | None]",
) -> str:
    """Return the words of a command line that name the same input."""
    given = {"-m": machine, "-k": kernel, "-c": cmdline, "-n": devices, "--kprobes": kprobes}
    words = [what, *(str(word) for key, value in given.items() if value is not None for word in (key, value))]
    more = (word for key, values in repeated.items() for value in values or () for word in (key, value))
    return shlex.join([*words, *more])


def _json(advice: "Advice") -> str:
    from numaprobe.study.advise import advice_to_json

    return to_json(advice_to_json(advice))


def advice_shapes(source: str) -> dict[str, Shape]:
    """Return the formats of an advice; ``source`` names its input on a command line."""

    def table(advice: "Advice", stream: "TextIO") -> None:
        from numaprobe.report.advice import print_advice
        from numaprobe.report.explain import print_warnings
        from numaprobe.report.grid import console_for

        print_advice(advice, stream, source=source)
        print_warnings(advice.warnings, console_for(stream))

    return {"table": Shape(stream=table), "json": text_shape(_json)}
