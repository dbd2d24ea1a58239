"""``numaprobe compare``: every policy side by side on one scenario or recorded trace, or traces beside each other."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from numaprobe.cli import options
from numaprobe.cli.completing import scenario_names
from numaprobe.cli.formats import TableOptions, comparison_shapes
from numaprobe.cli.inputs import refuse_scenario_options, refuse_trace_options
from numaprobe.cli.measure import compare_measured
from numaprobe.cli.output import choose_format, write
from numaprobe.cli.progress import ProgressLine
from numaprobe.cli.say import exit_code
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.study import Compared

#: formats that show when a probe ran, waited and slept
DRAWN: Final = {"html", "svg", "png", "perfetto"}


def compare(  # noqa: PLR0917  a command's signature is its options
    what: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", autocompletion=scenario_names, help="A scenario, or recorded traces."),
    ],
    replay: Annotated[
        bool | None,
        typer.Option(
            "--replay/--no-replay", help="Run the trace again under every policy; by default if it is one trace."
        ),
    ] = None,
    policy: options.Policies = None,
    machine: options.Machine = None,
    kernel: options.Kernel = None,
    cmdline: options.Cmdline = None,
    baseline: options.Baseline = None,
    devices: options.Devices = None,
    overrides: options.Overrides = None,
    vary: options.Vary = None,
    kprobes: options.Kprobes = None,
    learn: options.Learn = None,
    costs: options.Costs = None,
    details: options.Details = None,
    measure: options.Measure = False,
    repeat: options.Repeat = None,
    sort: options.Sort = None,
    top: options.Top = None,
    explain: options.Explain = False,
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Show every policy side by side: where each probe ran, what it cost, what went wrong.

    INPUT is a scenario: a built-in one (numaprobe scenarios), a TOML file, or host: this machine's devices. Or it is
    a recorded trace: it is replayed under the policies, and stands beside them as 'recorded'. Several traces are
    compared with each other. All policies are compared unless --policy chooses; the base is the policy that the kernel
    profile itself follows. FORMAT is table, json, markdown, csv, html, svg, png or perfetto.

    Which gain comes depends on what probes share, a lock or a controller. --learn takes it from further traces of the
    machine: serial beside parallel ones. Without, figures are ranges, and a gain is at most what is shown. --costs
    takes what a driver's probe costs from traces of any machine: for traces that tell sums alone (printk lines), and
    for host.

    With --vary settings are compared in place of policies: every value of every KEY with every other, in one table. The
    base is the row with the first value of each.

    With --measure a scenario is predicted for this machine and run on it under each policy: table or json.

    Exit code 1: a check of the scenario failed under some policy, or a policy deadlocked.
    """
    changes: Any = {"kernel": kernel, "cmdline": cmdline, "devices": devices, "overrides": overrides}
    if measure or repeat is not None:
        if vary:
            raise UsageError("--vary is predicted only; leave out --measure")
        form = (format, as_json, output)
        return compare_measured(what, policy, baseline, form, measure, repeat, machine=machine, **changes)
    from numaprobe.analysis import compare as put_together
    from numaprobe.study import is_trace, named_file, read_traces

    shown = TableOptions(sort=sort, top=top, explain=explain, details=details)
    shapes = comparison_shapes(shown)
    chosen = choose_format(format, as_json, output, shapes)
    shown.check(chosen)
    if is_trace(named_file(what[0])[1]) and not _is_replay(replay, len(what)):
        refuse_scenario_options({"policy": policy, "vary": vary, "learn": learn, "costs": costs, **changes})
        labels, traces = zip(*read_traces(what, machine=machine, kprobes=kprobes), strict=True)
        write(put_together(traces, baseline, labels=labels), shapes[chosen], chosen, output)
        return 0
    what = [named_file(one)[1] for one in what]
    if not is_trace(what[0]):
        refuse_trace_options(what, {"--replay": replay, "--kprobes": kprobes, "--learn": learn})
    compared = _compare(
        what[0], machine, (kprobes, learn, costs), changes, (policy, vary), baseline, timeline=chosen in DRAWN
    )
    write(compared.comparison, shapes[chosen], chosen, output)
    return exit_code(compared.failures, chosen, output)


def _compare(
    what: str,
    machine: str | None,
    reading: "tuple[Path | None, list[str] | None, list[str] | None]",
    changes: Any,  # noqa: ANN401  options of ``make_setting``
    rows: "tuple[list[str] | None, list[str] | None]",
    baseline: str | None,
    *,
    timeline: bool,
) -> "Compared":
    from numaprobe import study

    (policies, varied), (kprobes, learn, costs) = rows, reading
    recorded = study.read_trace(what, machine=machine, kprobes=kprobes) if study.is_trace(what) else None
    taught = [study.read_trace(one, machine=machine, kprobes=kprobes) for one in learn or ()]
    setting = study.make_setting(
        recorded or what, machine=None if recorded else machine, learn=taught, costs=costs or (), **changes
    )
    shared: Any = {"baseline": baseline, "recorded": recorded, "timeline": timeline}
    if not varied:
        with ProgressLine("policy") as line:
            return study.compare(setting, policies or None, progress=line.tell, **shared)
    axes = study.parse_axes([*varied, *([f"policy={one}" for one in policies] if policies else [])])
    with ProgressLine("variation") as line:
        return study.compare_variations(setting, axes, progress=line.tell, **shared)


def _is_replay(wanted: bool | None, count: int) -> bool:
    if wanted and count > 1:
        raise UsageError("one trace at a time is replayed; give --replay one TRACE")
    return count == 1 if wanted is None else wanted
