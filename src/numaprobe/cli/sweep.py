"""``numaprobe sweep``: thousands of settings, run by many processes or machines, into a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numaprobe.cli import options
from numaprobe.cli.output import Shape, choose_format, text_shape, to_json, write
from numaprobe.cli.progress import ProgressLine
from numaprobe.cli.say import tell
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from typing import TextIO

    from numaprobe.study.sweep.crew import SweepWorkers
    from numaprobe.study.sweep.driver import SweepProgress, Swept
    from numaprobe.study.sweep.question import SweepQuestion

_INTERRUPTED = 130


def sweep(  # noqa: PLR0917  a command's signature is its options
    what: Annotated[
        str | None, typer.Argument(metavar="INPUT", help="A scenario, a recorded trace, or a sweep's TOML file.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="A new folder for the dataset.")
    ] = None,
    vary: options.Vary = None,
    random: Annotated[
        int | None,
        typer.Option("--random", min=1, metavar="N", help="N points drawn from all that varies, spans KEY=A..B too."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, metavar="N", help="Of --random; by default 0.")] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="FOLDER", help="Go on with what is missing there.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-w", min=1, metavar="N", help="Processes; by default one per CPU.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="WHERE", help="Dask: local, ssh:HOST,HOST, slurm, tcp://HOST:PORT, a file."),
    ] = None,
    policy: options.OnePolicy = None,
    machine: options.Machine = None,
    kernel: options.Kernel = None,
    cmdline: options.Cmdline = None,
    devices: options.Devices = None,
    overrides: options.Overrides = None,
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
) -> int:
    """Run every combination of settings, or points drawn from them, and keep all runs, probes and findings.

    INPUT is a scenario, a recorded trace, or a TOML file that says what varies. The dataset is Parquet, for numaprobe
    query and for anything else that reads it; the same question gives the same bytes, whoever worked on it. A run that
    fails is a row with its error.

    What is done is never lost: Ctrl-C, a full disk or a lost cluster leave what is done, and --resume does the rest.

    FORMAT is table or json.
    """
    chosen = choose_format(format, as_json, None, SHAPES)
    given: dict[str, Any] = {
        "policy": policy,
        "machine": machine,
        "kernel": kernel,
        "cmdline": cmdline,
        "devices": devices,
        "overrides": tuple(overrides or ()),
        "random": random,
        "seed": seed,
    }
    asked = any(value not in (None, ()) for value in (what, output, *(vary or ()), *given.values()))
    if resume is not None and asked:
        raise UsageError("--resume goes on with what was asked; leave out all but --workers and --cluster")
    if resume is None and (what is None or output is None):
        raise UsageError(
            "name an INPUT, and a new folder for the dataset: numaprobe sweep nvme-epyc -o FOLDER --vary …"
        )
    from numaprobe.study.sweep.driver import begin, carry_out
    from numaprobe.study.sweep.driver import resume as go_on

    started = go_on(resume) if resume is not None else begin(output or "", _question(what or "", vary, given))
    with ProgressLine("run") as line:
        done = carry_out(*started, lambda: _crew(cluster, workers), lambda progress: _show(line, progress))
    write(done, SHAPES[chosen], chosen, None)
    if done.complete:
        return 0
    tell(f"interrupted; go on with: numaprobe sweep --resume {done.folder}")
    return _INTERRUPTED


def _question(what: str, vary: "list[str] | None", given: "dict[str, Any]") -> "SweepQuestion":
    from numaprobe.study.sweep.question import SweepQuestion, is_sweep_file, read_question, with_options
    from numaprobe.study.sweep.space import parse_space

    axes = parse_space(vary or ())
    asked = read_question(what) if is_sweep_file(what) else SweepQuestion(source=what)
    if axes and asked.points is not None:
        raise UsageError(f"--vary: '{what[:80]}' lists its points one by one")
    return with_options(asked, given | {"axes": axes})


def _crew(cluster: str | None, workers: int | None) -> "SweepWorkers":
    from numaprobe.study.sweep.crew import LocalCrew, cpus_here

    if cluster is None:
        return LocalCrew(workers or cpus_here())
    from numaprobe.study.sweep.cluster import DaskCrew

    return DaskCrew(cluster, workers)


def _show(line: ProgressLine, progress: "SweepProgress") -> None:
    words = [f"{progress.workers} workers"]
    if progress.rate is not None and progress.left is not None:
        words += [f"{progress.rate:.0f}/s", f"{_duration(progress.left)} left"]
    if progress.failed:
        words.append(f"{progress.failed} failed")
    line.show(progress.done, progress.total, ", ".join(words))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _table(done: "Swept", stream: "TextIO") -> None:
    rate = f", {done.new / done.seconds:.0f} runs/s" if done.new else ""
    of = "" if done.complete else f" of {done.total:,}"
    stream.write(f"{done.done:,}{of} runs in {done.folder}\n{done.new:,} new in {_duration(done.seconds)}{rate}\n")
    if done.deaths:
        stream.write(f"{done.deaths} workers died meanwhile, and were replaced\n")
    if done.failed:
        stream.write(f"{done.failed:,} runs did not pass; the first: {done.error}\n")


def _json(done: "Swept") -> str:
    return to_json(
        {
            "schema": "numaprobe.sweep/1",
            "folder": str(done.folder),
            "complete": done.complete,
            "total": done.total,
            "done": done.done,
            "new": done.new,
            "failed": done.failed,
            "error": done.error,
            "deaths": done.deaths,
            "seconds": round(done.seconds, 3),
        }
    )


SHAPES: dict[str, Shape] = {"table": Shape(stream=_table), "json": text_shape(_json)}
