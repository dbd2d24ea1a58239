"""``numaprobe report``: what a recorded trace says."""

from pathlib import Path
from typing import Annotated

import typer

from numaprobe.cli import options
from numaprobe.cli.formats import TableOptions, trace_shapes
from numaprobe.cli.output import RECORDING, choose_format, write
from numaprobe.cli.progress import ProgressLine
from numaprobe.errors import UsageError


def report(  # noqa: PLR0917  a command's signature is its options
    traces: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TRACE]...", help=f"A file, or - for standard input; {RECORDING} if none is given."),
    ] = None,
    machine: options.RecordedOn = None,
    kprobes: options.Kprobes = None,
    sort: options.Sort = None,
    top: options.Top = None,
    blame: options.Blame = False,
    critical_chain: options.Chain = False,
    explain: options.Explain = False,
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Show the probes of a recorded trace, and what is wrong with them.

    TRACE is our JSON or Parquet, the kernel log with probe lines, or ftrace text of the kernel; compressed or not.
    Several traces are shown one after the other; numaprobe compare puts them side by side. FORMAT is table, json,
    markdown, csv, printk, html, svg, png, perfetto or parquet.
    """
    from numaprobe.study import diagnose, read_trace

    shown = TableOptions(sort=sort, top=top, blame=blame, chain=critical_chain, explain=explain)
    shapes = trace_shapes(shown)
    chosen = choose_format(format, as_json, output, shapes)
    shown.check(chosen)
    names = traces or [RECORDING]
    if traces is None and not Path(RECORDING).exists():
        raise UsageError(f"no trace was named and {RECORDING} is not here; numaprobe record writes it")
    if len(names) > 1 and (output is not None or chosen not in {"table", "printk"}):
        raise UsageError(f"one trace at a time as {chosen}; numaprobe compare puts several into one")
    for name in names:
        trace = read_trace(name, machine=machine, kprobes=kprobes, named=len(names) > 1)
        if not shown.is_list:
            with ProgressLine("repetition") as line:
                trace = diagnose(trace, progress=line.tell)
        write(trace, shapes[chosen], chosen, output)
    return 0
