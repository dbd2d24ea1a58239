"""``numaprobe lab``: boot a kernel in QEMU and record a scenario there."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path  # noqa: TC003  typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numaprobe.cli.completing import scenario_names
from numaprobe.cli.options import Cmdline, Label, Machine, Overrides  # noqa: TC001  typer reads them at run time
from numaprobe.cli.progress import tell_boot
from numaprobe.cli.say import complain, tell
from numaprobe.errors import UsageError
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.analysis.agreement import Agreement, ProbeAgreement
    from numaprobe.kernel.lab.guest import GuestResult
    from numaprobe.records import Trace
    from numaprobe.study.deviation import SmallestDifference
    from numaprobe.study.lab import GuestCheck, GuestSetting

#: exit status of a check that failed
_FAILED = 1


def lab(
    scenario: Annotated[
        str | None, typer.Argument(metavar="SCENARIO", autocompletion=scenario_names, help="A scenario's name or file.")
    ] = None,
    *,
    kernel: Annotated[
        str | None,
        typer.Option(
            *("--kernel", "-k"),
            metavar="KERNEL",
            help="A release (6.12), build tree, image, package, or TREE@REVISION to build; else the newest.",
        ),
    ] = None,
    machine: Machine = None,
    cmdline: Cmdline = None,
    overrides: Overrides = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the virtual machine's prediction; exit 1 if they differ.")
    ] = False,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            "-p",
            metavar="NAME|FILE.py:CLASS",
            help="With --check: the policy that this kernel should follow.",
        ),
    ] = None,
    alone: Annotated[
        Path | None,
        typer.Option("--alone", metavar="FILE.toml", help="With --check: write what differs as a scenario of its own."),
    ] = None,
    module: Annotated[
        bool,
        typer.Option(
            "--module", help="Have devices and drivers that do what the scenario says, from a module of ours."
        ),
    ] = False,
    scale: Annotated[
        int | None,
        typer.Option("--scale", min=1, max=1000, metavar="N", help="With --module: probes take so many times as long."),
    ] = None,
    repeat: Annotated[
        int | None,
        typer.Option(
            "--repeat", min=2, max=100, metavar="N", help="N rounds, compared with the prediction: distributions."
        ),
    ] = None,
    overhead: Annotated[
        int | None,
        typer.Option("--overhead", min=2, max=200, metavar="ROUNDS", help="Measure what recording costs the probes."),
    ] = None,
    sched: Annotated[bool, typer.Option("--sched/--no-sched", help="Record scheduler events, too.")] = True,
    memory: Annotated[bool, typer.Option("--memory", help="Record from which node pages came.")] = False,
    locks: Annotated[bool, typer.Option("--locks", help="Record waits for locks (Linux 5.19 and later).")] = False,
    timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help="End a guest that takes longer.")] = "300s",
    kvm: Annotated[bool, typer.Option("--kvm", help="Use the processor's virtualisation, where that works.")] = False,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="FOLDER", help="Keep console, scripts and the kernel's text here.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the trace here.")] = None,
    label: Label = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: the trace, or with --check all three.")] = False,
    config: Annotated[
        bool, typer.Option("--config", help="Print a kernel configuration for guests; make olddefconfig completes it.")
    ] = False,
    lockdep: Annotated[bool, typer.Option("--lockdep", help="With --config: have orders of locks checked.")] = False,
    fetch: Annotated[
        str | None,
        typer.Option("--fetch", metavar="SERIES", help="Fetch a Debian kernel (5.10 to 7.x) with apt first."),
    ] = None,
) -> None:
    """Boot a kernel on a scenario's machine in QEMU, record its probes, and compare them with the prediction.

    Needs QEMU, virtme-ng, busybox and a Debian-like kernel image with its modules; works without KVM.

    Examples: numaprobe lab --fetch 6.12 lab-nvme --check
    | numaprobe lab sriov --module --check --machine "2 nodes x 4 cores"
    | numaprobe lab lab-nvme --kernel 6.1 -o trace.json
    | numaprobe lab lab-nvme --kernel ~/linux --policy queue-on-node
    | numaprobe lab nested --module --machine "2 nodes x 2 cores" --repeat 10
    | numaprobe lab lab-nvme --overhead 15
    """
    if config:
        from numaprobe.kernel.lab.config import guest_config

        typer.echo(guest_config(lockdep=lockdep), nl=False)
        return
    if fetch is not None:
        from numaprobe.kernel.lab.fetch import fetch_kernel

        image = fetch_kernel(fetch)
        kernel = kernel or str(image.path)
        if scenario is None:
            typer.echo(f"kernel {image.release}: {image.path}", err=True)
            return
    if scenario is None:
        raise UsageError("name a scenario (lab-nvme), or a kernel to fetch (--fetch 6.12)")
    from numaprobe.study import scenario_of
    from numaprobe.study.guests import guest_options
    from numaprobe.study.lab import guest_setting, module_setting, overhead_in_guest
    from numaprobe.units import parse_time

    chosen = scenario_of(scenario, overrides, machine=machine)
    given = {"cmdline": cmdline, "machine": machine}
    chosen = chosen.model_copy(update={key: value for key, value in given.items() if value is not None})
    if output is not None:
        from numaprobe.cli.output import check_trace_name
        from numaprobe.records import check_output

        check_trace_name(output)
        check_output(output)
    if policy is not None:
        from numaprobe.policies import make_policy

        make_policy(policy)  # a name that is none is told before anything is booted
    _check_options(module=module, scale=scale, overhead=overhead, repeat=repeat, output=output)
    _check_alone(alone, compared=(check or policy is not None) and repeat is None and overhead is None)
    options = guest_options(kernel, timeout=parse_time(timeout) / 1e9, keep=keep, kvm=kvm, told=tell)
    setting = (
        module_setting(chosen, options, machine=machine, factor=scale, told=tell)
        if module
        else guest_setting(chosen, options, machine=machine)
    )
    if overhead is not None:
        _show_overhead(overhead_in_guest(setting, overhead, told=tell_boot), as_json=as_json)
        return
    record = ["--sched" if sched else "--no-sched", *(["--memory"] if memory else [])]
    record += ["--locks"] if locks else []
    if repeat is not None:
        _repeat(setting, record, repeat, policy=policy, as_json=as_json, label=label)
        return
    _record(setting, record, check=check, policy=policy, output=output, as_json=as_json, label=label, alone=alone)


def _check_options(
    *, module: bool, scale: int | None, overhead: int | None, repeat: int | None, output: Path | None
) -> None:
    if scale is not None and not module:
        raise UsageError("--scale is for --module: QEMU's devices take the time that they take")
    if overhead is not None and module:
        raise UsageError("--overhead measures drivers of QEMU's devices; leave out --module")
    if repeat is not None and overhead is not None:
        raise UsageError("--overhead ROUNDS repeats by itself; leave out --repeat")
    if repeat is not None and output is not None:
        raise UsageError("--repeat brings several traces: --json prints them, --keep FOLDER keeps them; leave out -o")


def _repeat(
    setting: GuestSetting,
    record: Sequence[str],
    count: int,
    *,
    policy: str | None,
    as_json: bool,
    label: str | None,
) -> None:
    """Record the scenario several times, and show what differs and what does not."""
    from numaprobe.report.rounds import print_rounds, rounds_line, rounds_to_json
    from numaprobe.study.rounds import repeat_in_guests

    found = repeat_in_guests(setting, count, record, policy=policy, told=tell_boot).labelled(label)
    for line in dict.fromkeys(line for splat in found.splats for line in splat.lines):
        tell(f"  {line}")
    if as_json:
        _echo_json(rounds_to_json(found))
    else:
        typer.echo(f"kernel {setting.options.image.release}", err=True)
        print_rounds(found)
    for trouble in found.troubles:
        complain(trouble)
    if not found.passed:
        if as_json:
            complain(f"check failed: {rounds_line(found)}")
        raise typer.Exit(_FAILED)


def _record(
    setting: GuestSetting,
    record: Sequence[str],
    *,
    check: bool,
    policy: str | None,
    output: Path | None,
    as_json: bool,
    label: str | None,
    alone: Path | None,
) -> None:
    """Record the scenario, compare if asked, and show both."""
    from numaprobe.study.lab import check_guest, explain_guest, record_in_guest

    result = record_in_guest(setting, record, told=tell_boot)
    result = replace(result, trace=result.trace.labelled(label))
    trace = result.trace
    if output is not None:
        _write(trace, output)
    checked = check_guest(setting, trace, policy) if check or policy else None
    report = None if checked is None else checked.report
    for line in (line for splat in result.splats for line in splat.lines):
        tell(f"  {line}")
    explained = None if checked is None or checked.report.passed else explain_guest(setting, trace, checked)
    if as_json:
        _print_json(trace, checked, explained)
    else:
        _print_text(result, checked, setting.options.image.release, output)
        _print_deviations(checked, explained)
    if alone is not None:
        _write_alone(setting, trace, checked, explained, alone)
    failures = _failures(result, report)
    if as_json and failures:
        complain("; ".join(failures))
    if failures:
        raise typer.Exit(_FAILED)


def _show_overhead(figures: dict[str, Any], *, as_json: bool) -> None:
    from numaprobe.kernel.lab.overhead import overhead_lines

    if as_json:
        _echo_json(figures)
    else:
        typer.echo("\n".join(overhead_lines(figures)))


def _write(trace: Trace, output: Path) -> None:
    from numaprobe.records import dump_trace, write_atomically

    write_atomically(output, dump_trace(trace))


def _echo_json(value: Any) -> None:  # noqa: ANN401  any JSON value
    from numaprobe.cli.output import to_json

    sys.stdout.write(to_json(value) + "\n")


def _check_alone(alone: Path | None, *, compared: bool) -> None:
    """Return if a scenario of what differs can be written.

    Raises:
        UsageError, InputError: nothing is compared once, or the file cannot be written.

    """
    if alone is None:
        return
    from numaprobe.records import check_output

    if not compared:
        raise UsageError("--alone writes what --check finds; give --check, without --repeat and --overhead")
    if alone.suffix != ".toml":
        raise UsageError(f"--alone {alone}: the name of a scenario's file ends in .toml")
    check_output(alone)


def _print_deviations(checked: GuestCheck | None, explained: SmallestDifference | None) -> None:
    if checked is None or explained is None:
        return
    from numaprobe.study.deviation import deviation_lines, deviations

    for line in (*deviation_lines(deviations(checked.report)), explained.line()):
        typer.echo(line)


def _write_alone(
    setting: GuestSetting, trace: Trace, checked: GuestCheck | None, explained: SmallestDifference | None, path: Path
) -> None:
    """Write the smallest scenario that shows what differed, or say why there is none."""
    from numaprobe.scenario import save_scenario
    from numaprobe.study.lab import scenario_alone

    if checked is None or explained is None:
        tell(f"every probe is as predicted: {path} is not written")
        return
    scenario = scenario_alone(setting, trace, checked, explained)
    if scenario is None:
        tell(f"what differs is not explained, so nothing shows it alone: {path} is not written")
        return
    save_scenario(scenario, path)
    tell(f"what differs, alone: {path}")


def _print_json(trace: Trace, checked: GuestCheck | None, explained: SmallestDifference | None) -> None:
    from numaprobe.kernel.lab.check import LAB_SCHEMA, report_to_json
    from numaprobe.records import trace_to_json

    if checked is None:
        _echo_json(trace_to_json(trace))
        return
    block: dict[str, Any] = {
        "schema": LAB_SCHEMA,
        "trace": trace_to_json(trace),
        "prediction": trace_to_json(checked.predicted),
    }
    block |= {"policy": checked.policy, "check": report_to_json(checked.report)}
    if checked.follows:
        from numaprobe.study.following import explanations_to_json

        block |= {"follows": explanations_to_json(checked.follows, checked.stock)}
    if explained is not None:
        from numaprobe.study.deviation import deviations, difference_to_json

        block |= {"deviations": [one._asdict() for one in deviations(checked.report)]}
        block |= {"explained": difference_to_json(explained)}
    _echo_json(block)


def _failures(result: GuestResult, report: Agreement | None) -> list[str]:
    """Return what makes a guest's run a failed one."""
    failures = [failure.message for failure in result.failures]
    if result.status and not failures:
        failures.append(f"the recording in the guest ended with {result.status}")
    if report is not None and not report.passed:
        failures.append(f"check failed: {_verdict(report)}")
    return failures


def _verdict(report: Agreement) -> str:
    more = f", and {len(report.unexpected)} that were not predicted" if report.unexpected else ""
    return f"{sum(row.agrees for row in report.rows)} of {len(report.rows)} probes as predicted{more}"


def _print_text(result: GuestResult, checked: GuestCheck | None, release: str, output: Path | None) -> None:
    for warning in result.trace.warnings:
        tell(f"{warning.kind}: {warning.message}")
    kept = f" in {output}" if output else ""
    typer.echo(
        f"kernel {release}: {len(result.trace.probes)} probes recorded in {result.seconds:.0f} s{kept}", err=True
    )
    if checked is None:
        from numaprobe.records import printk_lines

        sys.stdout.write(printk_lines(result.trace))
        return
    for line in _table(checked.report):
        typer.echo(line)
    typer.echo(_policy_line(checked))


def _policy_line(checked: GuestCheck) -> str:
    """Say which policy was predicted, or which ones explain what was recorded."""
    if not checked.follows:
        return f"predicted: {checked.policy}"
    from numaprobe.study.following import following_line

    return following_line(checked.follows, checked.stock)


def _table(report: Agreement) -> list[str]:
    """Return the comparison as text: one line for each probe, then the verdict."""
    heads = " ".join(report.rows[0].verdicts if report.rows else ())
    lines = [f"{'device':<14} {'driver':<11} {'predicted':<22} {'recorded':<22} {heads}  cost"]
    lines += [_line(row) for row in report.rows]
    lines += [f"{probe.device:<14} {probe.driver:<11} {'(not predicted)':<22} recorded" for probe in report.unexpected]
    error = report.median_cost_error
    cost = "" if error is None else f"; recorded cost / predicted - 1: median {error:+.1%} (judges nothing)"
    lines.append(f"{_verdict(report)}{cost}")
    return lines


def _line(row: ProbeAgreement) -> str:
    here = row.recorded
    shown = " ".join(f"{_MARK[verdict]:<{len(head)}}" for head, verdict in row.verdicts.items())
    error = "" if row.cost_error is None else f"{row.cost_error:+.1%}"
    if row.left_ns:
        error += f"  off its node for {format_time(row.left_ns)} ({row.hold or 'guarantee unknown'})"
    where = f"CPU {here.cpu} {here.comm}" if here else "not probed"
    predicted = f"CPU {row.predicted.cpu} {row.predicted.comm}"
    return f"{row.device:<14} {row.driver:<11} {predicted:<22} {where:<22} {shown}  {error}"


_MARK = {True: "yes", False: "NO", None: "-"}
