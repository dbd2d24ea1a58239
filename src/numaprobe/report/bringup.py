"""Devices and plans as tables, for people: what is there, what would be done, and which devices are refused and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from numaprobe.report.grid import UNKNOWN, Cell, Column, Grid, console_for, draw, printable, stdout_or
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from numaprobe.bringup.forecast import Forecast
    from numaprobe.bringup.plan import Change, Plan, Skipped
    from numaprobe.bringup.reasons import Reason
    from numaprobe.bringup.status import Row

#: Names that one cell lists.
_NAMES: Final = 4
_STATUS: Final = (
    Column(title="type"),
    Column(title="device", legend="its name on its bus: for PCI the address"),
    Column(title="gives", legend="disks, links, character devices; not their partitions", spare=1),
    Column(title="node", legend="as the firmware says; '-' where it does not", align="right"),
    Column(title="driver"),
    Column(title="override", legend="driver_override: the only driver that it may be bound to", spare=2),
    Column(title="touch", legend="free: unbind would not be refused; else why: 'system' and the like have no override"),
    Column(title="used by", legend="what uses it, or what hangs on it", spare=3),
)
_PLAN: Final = (
    Column(title="wave", legend="begins when all of the waves before have ended", align="right", spare=3),
    Column(title="device"),
    Column(title="change"),
    Column(title="node", legend="the device's", align="right"),
    Column(
        title="beside", legend="others: with other devices at the same time; alone: not beside its driver's", spare=2
    ),
    Column(title="probe on", legend="predicted: CPU and its node; ! = not the device's node"),
    Column(title="in", legend="writer: in the thread that writes, so its pin decides; else the kernel queues it there"),
    Column(
        title="takes", legend="predicted from measured or assumed costs; '-': unbinding is not predicted", align="right"
    ),
)


def print_status(rows: Sequence[Row], stream: TextIO | None = None, *, warnings: Iterable[str] = ()) -> None:
    """Print a row for each device."""
    console = console_for(stdout_or(stream))
    bound = [row for row in rows if row.device.driver is not None]
    free = sum(not row.reasons for row in bound)
    console.print(f"devices: {len(rows)}, bound: {len(bound)}, free to be touched: {free}", soft_wrap=True)
    console.print()
    draw(Grid(columns=_STATUS, rows=[_status_row(row) for row in rows]), console)
    _say_warnings(warnings, console)


def _status_row(row: Row) -> list[str | Cell]:
    device = row.device
    codes = ",".join(dict.fromkeys(one.code for one in row.reasons))
    return [
        row.kind,
        device.name,
        _some(row.gives),
        UNKNOWN if device.node is None else str(device.node),
        device.driver or UNKNOWN,
        device.override or UNKNOWN,
        Cell(codes, "yellow") if codes else Cell("free" if device.driver else UNKNOWN, "green"),
        "; ".join(dict.fromkeys(one.sentence for one in row.reasons)) or UNKNOWN,
    ]


def _some(names: Sequence[str]) -> str:
    more = f" +{len(names) - _NAMES}" if len(names) > _NAMES else ""
    return ",".join(names[:_NAMES]) + more or UNKNOWN


def print_plan(plan: Plan, expected: Forecast | None = None, stream: TextIO | None = None) -> None:
    """Print what would be done, with what is predicted of it, and what is passed over and why."""
    console = console_for(stdout_or(stream))
    refused = sum(one.refused for one in plan.skipped)
    counts = (
        f"{len(plan.changes)} changes, {plan.jobs} at a time; {refused} refused, {len(plan.skipped) - refused} left"
    )
    console.print(f"{counts} as they are. {_time(plan, expected)}".rstrip(), soft_wrap=True)
    if plan.changes:
        console.print()
        draw(Grid(columns=_PLAN, rows=[_plan_row(change, expected) for change in plan.changes]), console)
    print_skipped(plan.skipped, console)
    assumed = () if expected is None else tuple(_assumptions(expected))
    _say_warnings((*plan.warnings, *assumed), console)


def _time(plan: Plan, expected: Forecast | None) -> str:
    if expected is None or expected.makespan_ns is None:
        return ""
    return f"Predicted for kernel {plan.kernel or UNKNOWN}: all probes within {format_time(expected.makespan_ns)}."


def _assumptions(expected: Forecast) -> Iterable[str]:
    if expected.assumed:
        yield f"nobody measured the probe of {', '.join(expected.assumed)}; taken to compute 1 ms"
    if expected.emulated:
        yield f"the cost of {', '.join(expected.emulated)} is from emulated hardware: an order of magnitude"
    yield from (one.message for one in expected.trace.warnings if one.kind == "kernel-profile")


def _plan_row(change: Change, expected: Forecast | None) -> list[str | Cell]:
    record = None if expected is None else expected.probes.get((change.bus, change.name))
    bound = record is not None and change.driver_after is not None
    own = None if expected is None or not bound else expected.writes_itself(change)
    where = UNKNOWN
    if bound and record is not None and record.cpu is not None:
        away = change.node is not None and record.cpu_node != change.node
        where = f"{record.cpu} (node {record.cpu_node}){'!' if away else ''}"
    return [
        str(change.wave),
        change.name,
        _what(change),
        UNKNOWN if change.node is None else str(change.node),
        "alone" if change.exclusive else "others",
        where,
        UNKNOWN if own is None or record is None else ("writer" if own else record.comm or UNKNOWN),
        format_time(record.cost_ns) if bound and record is not None and record.cost_ns is not None else UNKNOWN,
    ]


def _what(change: Change) -> str:
    if change.driver_after is None:
        return f"unbind {change.driver_before}"
    if change.driver_before is None:
        return f"bind {change.driver_after}"
    same = change.driver_before == change.driver_after
    return f"rebind {change.driver_after}" if same else f"rebind {change.driver_before} > {change.driver_after}"


def print_skipped(skipped: Sequence[Skipped], console: Console) -> None:
    """Print the devices that are passed over, each with its reasons, and what would override them."""
    for one in skipped:
        console.print()
        word = "refused" if one.refused else "left as it is"
        console.print(f"{printable(one.name)}: {word}", style="yellow" if one.refused else "", soft_wrap=True)
        for reason in one.reasons:
            console.print(f"  {printable(_said(reason, one))}", soft_wrap=True)


def _said(reason: Reason, passed: Skipped) -> str:
    other = "" if reason.device == f"{passed.bus}/{passed.name}" else f"{reason.device}: "
    override = f" ({reason.flag})" if reason.flag else " (nothing overrides this)" if passed.refused else ""
    return f"{other}{reason.sentence}{override}"


def _say_warnings(warnings: Iterable[str], console: Console) -> None:
    lines = list(warnings)
    if lines:
        console.print()
    for line in lines:
        console.print(f"warning: {printable(line)}", soft_wrap=True)
