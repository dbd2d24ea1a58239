"""``numaprobe record``: watch the running kernel probe devices."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from numaprobe.cli.options import Label  # noqa: TC001  typer reads it at run time
from numaprobe.cli.output import RECORDING, check_trace_name
from numaprobe.cli.say import tell
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.records import Trace

#: where a recording goes if one does not say; ``numaprobe report`` reads it by itself
DEFAULT_OUTPUT = Path(RECORDING)


def record(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND [ARGUMENT]...]", help="Record while this command runs.")
    ] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The trace to write.")] = DEFAULT_OUTPUT,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Record for this long (10s); else until Ctrl-C.")
    ] = None,
    sched: Annotated[
        bool | None,
        typer.Option("--sched/--no-sched", help="Scheduler events: running and waiting. On; off with --boot."),
    ] = None,
    memory: Annotated[bool, typer.Option("--memory", help="From which node each probe's pages came.")] = False,
    locks: Annotated[
        bool, typer.Option("--locks", help="Waits for locks: which one, how long, who had it (Linux 5.19 and later).")
    ] = False,
    comm: Annotated[
        list[str] | None,
        typer.Option("--comm", metavar="PATTERN", help="Also watch tasks of this name; '*' watches every task."),
    ] = None,
    function: Annotated[
        list[str] | None,
        typer.Option("--function", metavar="[MODULE:]FUNCTION", help="Time this probe function, too: nvme:nvme_probe."),
    ] = None,
    buffer_kb: Annotated[
        int | None, typer.Option("--buffer-kb", min=64, max=4 * 2**20, help="Trace buffer of each CPU, in KiB.")
    ] = None,
    btf: Annotated[bool, typer.Option("--btf/--no-btf", help="Use the kernel's own type information.")] = True,
    raw: Annotated[Path | None, typer.Option("--raw", help="Keep the kernel's own text in this folder.")] = None,
    boot: Annotated[bool, typer.Option("--boot", help="Print the kernel parameters that record the boot.")] = False,
    collect: Annotated[bool, typer.Option("--collect", help="Read what this boot recorded.")] = False,
    grub: Annotated[
        Path | None,
        typer.Option("--grub", metavar="ROOT", help="With --boot: write them for GRUB below this root (/)."),
    ] = None,
    systemd_boot: Annotated[
        Path | None,
        typer.Option("--systemd-boot", metavar="ENTRY", help="With --boot: write a copy of this loader entry."),
    ] = None,
    tracefs: Annotated[
        Path | None, typer.Option("--tracefs", help="Where tracefs is mounted, if not at the usual places.")
    ] = None,
    label: Label = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the trace as JSON instead of writing a file.")] = False,
) -> None:
    """Record where the kernel probes devices, in which task, what waits for it, and what it costs.

    Needs root. Makes a tracing instance and kprobes of its own, and removes them at the end, also after Ctrl-C; what a
    crash left is removed by the next run.

    Examples: sudo numaprobe record -- modprobe nvme
    | sudo numaprobe record --for 10s --memory -o hotplug.json
    | sudo numaprobe record --locks -- modprobe nvme
    | sudo numaprobe record --boot --grub / (then update-grub, reboot, and: sudo numaprobe record --collect)
    """
    _check_usage(command, duration, boot=boot, collect=collect, loaders=(grub, systemd_boot))
    if locks and (boot or collect):
        raise UsageError(
            "--locks needs the recorder while the probes run; the kernel cannot filter these events at boot"
        )
    from numaprobe.records import check_output
    from numaprobe.study.recording import record_kernel, record_options, recorded_boot
    from numaprobe.units import parse_time

    if boot:
        _set_up_boot(sched=sched is True, btf=btf, grub=grub, entry=systemd_boot)
        return
    seconds = parse_time(duration) / 1e9 if duration else None
    if not as_json:
        check_trace_name(output)
        check_output(output)
    if collect:
        _finish(recorded_boot(tracefs=tracefs, raw=raw).labelled(label), output, as_json=as_json, note="this boot")
        return
    options = record_options(
        sched=sched is not False,
        memory=memory,
        locks=locks,
        comms=comm or (),
        functions=function or (),
        buffer_kb=buffer_kb,
        btf=btf,
    )
    endless = not command and seconds is None and sys.stderr.isatty()
    taken = record_kernel(
        options, command=command or (), seconds=seconds, raw=raw, tracefs=tracefs, told=_say_how if endless else None
    )
    _finish(taken.trace.labelled(label), output, as_json=as_json, note=f"{taken.events} events, {taken.lost} lost")
    if taken.status or not taken.trace.probes:
        raise typer.Exit(1)


def _check_usage(
    command: Sequence[str] | None, duration: str | None, *, boot: bool, collect: bool, loaders: tuple[Path | None, ...]
) -> None:
    chosen = [name for name, given in (("COMMAND", command), ("--for", duration), ("--boot", boot)) if given]
    chosen += ["--collect"] if collect else []
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} exclude each other; give one of them")
    if not boot and any(loaders):
        raise UsageError("--grub and --systemd-boot belong to --boot")


def _say_how() -> None:
    typer.echo("recording; stop with Ctrl-C", err=True)


def _finish(trace: Trace, output: Path, *, as_json: bool, note: str) -> None:
    """Write or print the trace, and say on standard error what it holds."""
    from numaprobe.records import dump_trace, write_atomically

    for warning in trace.warnings:
        tell(f"{warning.kind}: {warning.message}")
    if as_json:
        typer.echo(dump_trace(trace))
        return
    write_atomically(output, dump_trace(trace))
    typer.echo(f"{len(trace.probes)} probes ({note}) in {output}; look at them: numaprobe report {output}", err=True)


def _set_up_boot(*, sched: bool, btf: bool, grub: Path | None, entry: Path | None) -> None:
    from numaprobe.study.recording import set_up_boot

    done = set_up_boot(sched=sched, btf=btf, grub=grub, entry=entry)
    if done.grub is not None:
        typer.echo(f"wrote {done.grub}; run update-grub, reboot, then: numaprobe record --collect")
    if done.entry is not None:
        typer.echo(f"wrote {done.entry}; choose it at the next boot, then: numaprobe record --collect")
    if done.grub is None and done.entry is None:
        typer.echo(" ".join(done.parameters))
    if done.warning:
        tell(done.warning)
